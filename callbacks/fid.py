"""The Fréchet distance of samples to real images, the same number on any number of devices."""

import lightning_gen._torchvision  # isort: skip  # noqa: F401

from pytorch_lightning import LightningModule, Trainer

from .sample_scores import SampleScores
from .sampling import samples, share_of, watcher


class FID(SampleScores):
    """Scores samples as `fid/<features>@<n>`, in little memory.

    Only distances with the same n compare: fewer give larger ones. `SampleQuality` gives the same
    number and others besides. Arguments: see `SampleScores`.
    """

    def look(self, trainer: Trainer, model: LightningModule) -> None:
        assert self.distance is not None
        assert self.reference is not None
        watch = watcher(trainer, self.told)
        self.distance.to(model.device)
        self.reference.refer(trainer, model, share_of(trainer, model, watch), self)
        self.distance.reset()
        for _, images, finite in samples(trainer, model, self.n, self.batch_size, self.key, watch):
            self.distance.update(images, real=False)
            if not finite:
                self.distance.spoil()
        self.score(trainer, model, self.distance.compute().item())

    def score(self, trainer: Trainer, model: LightningModule, value: float) -> None:
        """Publishes the value and, once training has begun, records it with its protocol."""
        assert self.reference is not None
        protocol = f"fid@{self.n}:{self.reference.name}"
        self.note(trainer, model, {self.key: {"value": value, "protocol": protocol}})
