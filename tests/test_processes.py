"""Two processes with half of each batch compute what one computes with all of it, for every model."""

import pytest
import torch
import yaml
from jsonargparse import ArgumentParser
from pytorch_lightning import Callback, LightningModule

from datamodules import Digits
from datamodules.images import InMemory, Splits
from lightning_gen.cli.classes import import_classes

from .game import trainer, two_processes
from .runs import CHANNELS, CONFIGS, OTHERS, SIDES, kind_of, small

CONTENTS = {path.stem: yaml.safe_load(path.read_text()) for path in CONFIGS}
SOURCES = {name: content["model"] for name, content in CONTENTS.items()}
for path in OTHERS:
    if "generator" not in SOURCES[path.stem]["init_args"]:
        SOURCES[path.stem] = small(SOURCES[path.stem])
LEARNS_NOTHING = ("uniform",)
# Some losses compare the images of a batch, so a round gathers them or their sums as well.
GATHERED = {"softmax_gan": 4, "ebgan": 1, "improved": 2, "semi_supervised": 2}
GATHERED |= {"resnet_vae": 1, "resnet_vae_iaf": 1}  # free bits are of the batch of all
NORMALISING = (
    *("DCGAN", "StridedAutoencoder", "SpatialGenerator", "PatchDiscriminator"),
    *("AttributeEncoder", "AttributeDecoder"),
)
WITH_NORM = [name for name in SOURCES if any(kind in str(SOURCES[name]) for kind in NORMALISING)]


def built(name: str, normalised: bool) -> LightningModule:
    """The model of a config in float64, without batch normalisation unless it is asked for."""
    import_classes()
    content = yaml.safe_load(yaml.safe_dump(SOURCES[name]))
    if name == "infogan" and not normalised:  # nor in its recogniser's hidden layer
        content["init_args"]["hidden"] = 0
    for network in content["init_args"].values():
        if isinstance(network, dict) and network["class_path"].startswith(NORMALISING):
            if "widths" not in network["init_args"]:
                network["init_args"]["width"] = 8
            norm = network["init_args"].get("norm", "batch")
            network["init_args"]["norm"] = norm if normalised or norm != "batch" else "none"
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(LightningModule, "model", fail_untyped=False)
    torch.manual_seed(0)
    return parser.instantiate(parser.parse_object({"model": content})).model.double()


class Coloured(Digits):
    """Digits in the levels or colours of a kind; see `kind_of`."""

    def __init__(self, kind: str, **kwargs) -> None:
        super().__init__(**kwargs)
        self.kind = kind
        self.shape = (CHANNELS.get(kind, 1), *self.shape[1:])

    def read(self) -> Splits:
        return Splits(*(self._coloured(part) for part in super().read()[:3]))

    def _coloured(self, part: InMemory) -> InMemory:
        pixels = part.pixels
        if self.kind == "binary":
            pixels = (pixels > 127).to(torch.uint8) * 255
        turned = [pixels.roll(shift, 3) for shift in range(CHANNELS.get(self.kind, 1))]
        pixels = torch.cat(turned, 1)
        return InMemory(pixels, part.labels)


def data_of(name: str) -> Digits:
    """Digits as the model of a config needs them."""
    kind = kind_of(CONTENTS[name])
    size = CONTENTS[name]["data"]["init_args"].get("size", SIDES.get(kind, 28))
    return Coloured(kind, size=size, batch_size=16)


class Collectives(Callback):
    """Counts what a step does over processes beside its moves, and beside what its loss gathers."""

    def __init__(self, gathered: int = 0) -> None:
        self.gathered = gathered

    def on_train_start(self, trainer, model) -> None:
        if trainer.world_size == 1:
            return
        self.calls = 0
        for name in (
            "all_reduce",
            "broadcast",
            "all_gather",
            "reduce",
            "barrier",
            "all_gather_into_tensor",
        ):
            setattr(torch.distributed, name, self.counted(getattr(torch.distributed, name)))

    def counted(self, function):
        def call(*args, **kwargs):
            self.calls += 1
            return function(*args, **kwargs)

        return call

    def on_train_batch_end(self, trainer, model, outputs, batch, batch_idx) -> None:
        if trainer.world_size > 1:
            moves = sum(getattr(model, "moves", {"model": trainer.global_step}).values())
            allowed = moves + self.gathered * (batch_idx + 1)
            assert self.calls == allowed, f"{self.calls} collectives for {moves} moves"


def trained(name: str, normalised: bool, micro_batches: int = 1, **kwargs) -> LightningModule:
    from callbacks import LastCheckpoint

    model = built(name, normalised)
    model.micro_batches = micro_batches
    counting = [] if normalised else [Collectives(GATHERED.get(name, 0))]
    folder = kwargs.pop("folder")
    run = trainer(
        precision="64-true",
        max_epochs=1,
        limit_train_batches=10,
        limit_val_batches=0,
        log_every_n_steps=1000,
        enable_checkpointing=True,
        callbacks=[*counting, LastCheckpoint(folder)],
        **kwargs,
    )
    run.fit(model, data_of(name))
    return model


def furthest(a: LightningModule, b: LightningModule) -> float:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return max((x.double() - y.double()).abs().max().item() for x, y in pairs)


@pytest.mark.slow
@pytest.mark.parametrize("name", SOURCES)
def test_two_processes_compute_what_one_computes(name, tmp_path):
    one = trained(name, False, folder=tmp_path / "one")
    two = trained(name, False, folder=tmp_path / "two", **two_processes())
    assert name in LEARNS_NOTHING or furthest(one, built(name, False)) > 1e-4
    assert furthest(one, two) <= 1e-10


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_NORM)
def test_two_processes_that_normalise_together_compute_what_one_computes(name, tmp_path):
    one = trained(name, True, folder=tmp_path / "one")
    pair = {**two_processes(), "sync_batchnorm": True}
    two = trained(name, True, folder=tmp_path / "two", **pair)
    assert furthest(one, two) <= 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vae", "gan", "wgan_gp"])
def test_gradients_are_averaged_once_for_all_micro_batches(name, tmp_path):
    """As `Collectives` counts them."""
    parts = {"accumulate_grad_batches": 2} if name == "vae" else {}
    one = trained(name, False, folder=tmp_path / "one", micro_batches=2, **parts)
    pair = {**parts, **two_processes()}
    two = trained(name, False, folder=tmp_path / "two", micro_batches=2, **pair)
    assert furthest(one, two) <= 1e-10
