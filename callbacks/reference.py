"""What is known of the real images that samples are compared with, from the cache where it can be."""

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor

from lightning_gen.metrics import (
    FrechetDistance,
    Share,
    features_of,
    load_statistics,
    save_statistics,
    slices,
)

from .data import PlacedBatches, data_module, placed_batches

MOST = 50_000  # features that are kept, as many as papers take
CACHED = 2**29  # bytes of features that are worth a file
ROWS = 2000  # that processes exchange at a time


class Reference:
    """All real images of a split by count, sum and second moments and, if asked, feature by feature.

    The statistics are those of `distance`; the features, float32 on the CPU, are of all images or of
    MOST of them, evenly spaced. Both are cached under the fingerprint of the images and the digest of
    the network; features of more than 512 MiB are not, and are made anew by each run.

    Arguments:
        distance: Holds the network and the statistics, of all processes together.
        split: Of the data.
        keeps: Whether to keep features.
    """

    def __init__(self, distance: FrechetDistance, split: str, keeps: bool) -> None:
        self.distance, self.split, self.keeps = distance, split, keeps
        self.features: Tensor | None = None
        self.count = 0
        self._stem, self._fingerprint = "", ""

    @property
    def name(self) -> str:
        """Network, digest, data, split, count and fingerprint, for protocols."""
        return f"{self._stem}-{self.count}:{self._fingerprint}"

    @property
    def name_of_features(self) -> str:
        """The same with the number of images whose features are kept."""
        kept = self.count if self.features is None else len(self.features)
        count = str(kept) if kept == self.count else f"{kept}of{self.count}"
        return f"{self._stem}-{count}:{self._fingerprint}"

    def refer(self, trainer: Trainer, model: LightningModule, share: Share, caller: object) -> bool:
        """Sees to it that all is known of the present images; says whether they are others.

        The first process alone reads the cache, and holds the statistics that it finds; they add up
        anyway. All have the features.
        """
        data, network = data_module(trainer, caller), self.distance.extractor
        fingerprint = str(data.fingerprint(self.split))
        stem = f"{network.name}-{network.digest}:{data.name}-{self.split}"
        if (stem, fingerprint) == (self._stem, self._fingerprint):
            return False
        key = {"fingerprint": fingerprint, "split": self.split, "features": network.name}
        key["digest"] = network.digest
        wide = {**key, "kind": f"features of {MOST}"}
        first = trainer.is_global_zero
        found = _cached(key) if first else None
        kept = _cached(wide) if first and self.keeps else None
        self.distance.load_real_statistics(found)
        news = [found is None, self.keeps and kept is None]
        news = trainer.strategy.broadcast(news)
        self.features = self._spread(trainer, share, kept) if self.keeps and not news[1] else None
        if any(news):
            self._see(placed_batches(data.loader(self.split)), model, share, *news)
        if news[0]:
            with self.distance.sync_context():
                if first:
                    save_statistics(self.distance.real_statistics(), key)
        if news[1] and first:
            self._save(wide)
        count = self.distance.real_features_num_samples.clone()
        self.count = int(trainer.strategy.reduce(count, reduce_op="sum"))  # type: ignore[arg-type]
        self._stem, self._fingerprint = stem, fingerprint
        return True

    def _see(
        self, batches: PlacedBatches, model: LightningModule, share: Share, sums: bool, keep: bool
    ) -> None:
        """Takes the network through this process's share of the images."""
        row_of, own = torch.empty(0, dtype=torch.int64), torch.empty(0)
        if keep:
            total, kept = batches.images, min(batches.images, MOST)
            row_of = torch.full((total,), -1)
            row_of[torch.arange(kept) * total // kept] = torch.arange(kept)
            own = torch.zeros(kept, self.distance.extractor.num_features)
        for places, images, _ in share.watch("real images", batches):
            features, _ = features_of(self.distance.extractor, images.to(model.device))
            if sums:
                self.distance.add(features, real=True)
            if keep:
                rows = row_of[places]
                own[rows[rows >= 0]] = features.float().cpu()[rows >= 0]
        if keep:
            gather(own, share)
            self.features = own

    def _spread(self, trainer: Trainer, share: Share, kept: dict[str, Tensor] | None) -> Tensor:
        """What the first process found, on all of them."""
        found = None if kept is None else kept["features"]
        shape = trainer.strategy.broadcast((0, 0) if found is None else tuple(found.shape))
        every = torch.zeros(shape) if found is None else found
        gather(every, share)
        return every

    def _save(self, key: dict[str, str]) -> None:
        assert self.features is not None
        size = self.features.numel() * self.features.element_size()
        if size <= CACHED:
            save_statistics({"features": self.features}, key)
        else:
            print(
                f"features of real images take {size / 1e6:.0f} MB and are not kept for later runs"
            )


def gather(features: Tensor, share: Share) -> None:
    """Fills in, in place, the rows of other processes; each row is zero on all but one."""
    if share.world > 1:
        for rows in slices(len(features), ROWS):
            features[rows] = share.total(features[rows].clone())


def _cached(key: dict[str, str]) -> dict[str, Tensor] | None:
    try:
        return load_statistics(key)
    except ValueError as error:
        rank_zero_warn(f"{error}; they are computed anew")
        return None
