"""How well images are rebuilt from their codes, beside the best that a linear map of that size can do."""

from collections.abc import Callable
from typing import Any, Protocol, cast, runtime_checkable

import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor

from lightning_gen.analysis.pca import PrincipalComponents
from lightning_gen.capabilities import Classifier, Decoder, Encoder
from lightning_gen.metrics import PlacedNoise
from lightning_gen.tracking import publish, record

from .data import FirstImages, check_split, data_module, inputs, placed_batches
from .images import grid, show
from .periodic import Periodic

MOST = 3072  # numbers of an image, of which the principal components take seconds


@runtime_checkable
class Reconstructor(Protocol):
    """Rebuilds images."""

    def reconstruct(self, x: Tensor) -> Tensor:
        """The images that it makes of the codes of some, as they are."""


class ReconstructionError(Periodic):
    """Scores `mse/code`, and `mse/pca`, its control: principal components as many as codes are long.

    Codes as long as images have no such control. Errors are means over sub-pixels with black at 0 and
    white at 1. Of a model that was trained on corrupted images there are also `mse/denoised`, what it
    makes of images that are corrupted in the same way, and `mse/corrupted`, these as they are. Pictures
    show columns of images, above what was made of them; where there is a corruption, as they are,
    corrupted, and rebuilt from that.

    Arguments:
        split: The images at validations.
        test_split: The images at tests.
        columns: Images that are shown.
        kwargs: See `Periodic`.
    """

    needs = (Encoder,)
    needs_data = True

    def __init__(
        self,
        split: str = "val",
        test_split: str = "test",
        columns: int = 10,
        every_n_epochs: int = 1,
        every_n_steps: int | None = None,
        at_start: bool = False,
    ) -> None:
        super().__init__(every_n_epochs, every_n_steps, at_start)
        if columns < 1:
            raise ValueError(f"columns must be at least 1, got {columns}")
        self.split, self.test_split = check_split(split), check_split(test_split)
        self.shown = FirstImages(columns, split)
        self._pca: PrincipalComponents | None = None
        self._size = 0  # of codes

    def setup(self, trainer: Trainer, model: LightningModule, stage: str) -> None:
        super().setup(trainer, model, stage)
        if self._active:
            if not isinstance(model, Reconstructor | Decoder):
                raise ValueError(f"{type(model).__name__} rebuilds no images; leave it out")
            if getattr(model, "num_classes", None) and not isinstance(model, Classifier):
                raise ValueError(
                    f"{type(model).__name__} finds codes given the label, so that they say less of "
                    "the image than its error does; leave ReconstructionError out"
                )

    def look(self, trainer: Trainer, model: LightningModule) -> None:
        data = data_module(trainer, self)
        split = self.test_split if trainer.testing else self.split
        if self._pca is None:
            self._pca = components(trainer, model, data)
        sums: dict[str, Tensor] = {}
        count = torch.zeros((), dtype=torch.float64, device=model.device)
        for places, images, _ in placed_batches(data.loader(split)):
            x = inputs(model, images)
            self._size = self._size or cast(Encoder, model).encode(x[:1]).shape[1]
            for name, made in self.versions(model, x, places).items():
                error = (made.clamp(-1, 1) - x).double().square().flatten(1).mean(1).sum() / 4
                sums[name] = sums.get(name, 0) + error
            count += len(x)
        names = trainer.strategy.broadcast(sorted(sums))
        totals = torch.stack([count, *(sums.get(name, torch.zeros_like(count)) for name in names)])
        number, *errors = trainer.strategy.reduce(totals, reduce_op="sum").tolist()  # type: ignore[union-attr]
        if number == 0:  # no images are held out
            return
        values = {f"mse/{name}": error / number for name, error in zip(names, errors, strict=True)}
        self.note(trainer, model, split, int(number), values)
        self.draw(trainer, model, data)

    def versions(self, model: LightningModule, x: Tensor, places: Tensor) -> dict[str, Tensor]:
        """What is made of images, by name."""
        rebuild = rebuilding(model)
        made = {"code": rebuild(x)}
        if self._pca is not None:
            made["pca"] = self._pca.reconstruct(x)
        corruption = getattr(model, "corruption", None)
        if corruption is not None:
            noise = PlacedNoise(("corruption",), places, x.device, x.dtype)
            made["corrupted"] = corruption(x, noise).images
            made["denoised"] = rebuild(made["corrupted"])
        return made

    def note(
        self,
        trainer: Trainer,
        model: LightningModule,
        split: str,
        count: int,
        values: dict[str, float],
    ) -> None:
        """Publishes and records the errors."""
        data = data_module(trainer, self)
        made = f"{data.name}-{split}-{count}:{data.fingerprint(split)}:in-0-to-1"
        publish(trainer, values)
        rest = {"n": count, "split": split, "images_seen": getattr(model, "images_seen", 0)}
        record(
            trainer,
            {
                name: {"value": value, "protocol": f"{name}:{made}{self.how(model, name)}", **rest}
                for name, value in values.items()
            },
        )

    def how(self, model: LightningModule, name: str) -> str:
        """What an error depends on beside the images, for its protocol."""
        spoilt = name in ("mse/corrupted", "mse/denoised")
        found = f":{cast(Any, model).corruption.name}" if spoilt else ""
        if name != "mse/corrupted":
            found += f":codes-{self._size}"
        if name in ("mse/code", "mse/denoised") and getattr(
            getattr(model, "decoder", None), "unpools", False
        ):
            found += ":switches"  # which go past the codes
        return found

    def draw(self, trainer: Trainer, model: LightningModule, data: Any) -> None:
        """Shows images above what was made of them, on the first process."""
        if not trainer.is_global_zero:
            return
        images, _ = self.shown.of(data)
        if len(images) == 0:
            return
        x = inputs(model, images)
        made = self.versions(model, x, torch.arange(len(x)))
        rows = (
            [x, made["corrupted"], made["denoised"]] if "corrupted" in made else [x, made["code"]]
        )
        show(trainer, "reconstructions", grid(torch.cat(rows).float(), len(x)))


def components(trainer: Trainer, model: LightningModule, data: Any) -> PrincipalComponents | None:
    """Those of all training images, by all processes together.

    None of images that are too large, nor for codes as long as images, which would lose nothing.
    """
    batches = data.loader("train")
    first = next((inputs(model, images[:1]) for images, _ in batches), None)
    if first is None or first[0].numel() > MOST:
        return None
    size = cast(Encoder, model).encode(first).shape[1]
    if size >= first[0].numel():
        return None

    def total(part: Tensor) -> Tensor:
        return cast(Tensor, trainer.strategy.reduce(part, reduce_op="sum"))

    return PrincipalComponents((inputs(model, images) for images, _ in batches), size, total)


def rebuilding(model: LightningModule) -> Callable[[Tensor], Tensor]:
    """How a model rebuilds images."""
    if isinstance(model, Reconstructor):
        return model.reconstruct
    encoder, decoder = cast(Encoder, model), cast(Decoder, model)
    return lambda x: decoder.decode(encoder.encode(x))
