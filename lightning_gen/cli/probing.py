"""Probing a checkpoint's encoder with few labels; the models that it takes have `encode`."""

import lightning_gen._torchvision  # isort: skip  # noqa: F401  # before pytorch_lightning

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from jsonargparse import ArgumentParser
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor
from tqdm import tqdm

from lightning_gen.analysis import probe as tools
from lightning_gen.analysis.pca import PrincipalComponents
from lightning_gen.analysis.probe import Labelled
from lightning_gen.capabilities import Encoder
from lightning_gen.files import write_text
from lightning_gen.models.autoencoders.latent import LatentModel
from lightning_gen.models.base import GenerativeModel
from lightning_gen.randomness import seed_of
from lightning_gen.tracking import record

from .allowed import classes_of_the_platform
from .checkpoints import load_model, read_model_checkpoint
from .classes import import_classes, nearest
from .evaluation import data_of
from .quiet import quieten

MODES = ("probe", "finetune", "scratch")
AT_A_TIME = 500  # images


class Probing:
    """A model of a checkpoint, and the images that its codes are probed on.

    Arguments:
        checkpoint: A checkpoint of `fit`.
        data: A data set's name, by default the run's.
        root: Where data sets lie, by default as in the run.
    """

    def __init__(self, checkpoint: Path, data: str | None, root: str | None) -> None:
        self.checkpoint, self.folder = checkpoint, checkpoint.resolve().parent.parent
        model = load_model(checkpoint)
        if not isinstance(model, Encoder) or not isinstance(model, GenerativeModel):
            raise ValueError(f"{type(model).__name__} has no encoder that could be probed")
        told = isinstance(model, LatentModel) and model.num_classes
        if told and not getattr(model, "sums_over_classes", False):
            raise ValueError(
                f"{type(model).__name__} finds codes given the label, which they would be probed "
                "for; probe a model that is not told it"
            )
        module = data_of(self.folder / "config.yaml", data, root)
        module.prepare_data()
        self.data: Any = module
        self.model: LightningModule = self.placed(model)
        self.train: Any = module.images("train")
        self.test: Any = module.images("test")
        if not self.data.num_classes or self.train.labels.dim() != 1:
            raise ValueError(f"{self.data.name} has no classes to probe for; name other data")
        if tuple(self.data.shape) != tuple(model.shape):
            raise ValueError(
                f"the model encodes images of shape {tuple(model.shape)} but {self.data.name} has "
                f"{tuple(self.data.shape)}; name data that agree"
            )

    @property
    def table(self) -> Path:
        """Where accuracies are kept."""
        return self.folder / "probe.json"

    @property
    def weights(self) -> dict[str, Any]:
        """Which weights are probed."""
        seen = getattr(self.model, "images_seen", 0)
        return {"checkpoint": self.checkpoint.name, "images_seen": seen}

    @staticmethod
    def placed(model: LightningModule) -> LightningModule:
        """A model on the accelerator, if there is one."""
        return model.to("cuda" if torch.cuda.is_available() else "cpu")

    def fresh(self, seed: int) -> LightningModule:
        """The model as it was before training, with other first weights for each seed."""
        arguments = dict(read_model_checkpoint(self.checkpoint)["hyper_parameters"])
        named = {"class_path": arguments.pop("_class_path"), "init_args": arguments}
        arguments.pop("_instantiator", None)
        import_classes()
        parser = ArgumentParser(exit_on_error=False)
        parser.add_subclass_arguments(LightningModule, "model", fail_untyped=False)
        with classes_of_the_platform(), torch.random.fork_rng():
            torch.manual_seed(seed_of("scratch", seed))
            model = parser.instantiate(parser.parse_object({"model": named})).model
        model.images_seen = cast(GenerativeModel, self.model).images_seen  # so the same networks
        return self.placed(model)

    def subset(self, count: int, seed: int) -> Labelled:
        """Labelled training images, as the model takes them."""
        places = tools.balanced_subset(self.train.labels, count, seed)
        images, labels = self.train[places]
        return Labelled(self.floats(images), labels)

    def batches(self, images: Any) -> Iterator[Labelled]:
        """All images of a split, as the model takes them."""
        for places in torch.arange(len(images)).split(AT_A_TIME):
            levels, labels = images[places]
            yield Labelled(self.floats(levels), labels)

    def floats(self, levels: Tensor) -> Tensor:
        """What the model takes, on its device."""
        return cast(GenerativeModel, self.model).to_floats(levels.to(self.model.device))

    def codes(self, parts: Sequence[Tensor]) -> Tensor:
        """The codes of images in parts."""
        return tools.codes_of(self.model, cast(Encoder, self.model).encode, parts)

    def protocol(self, mode: str, on: str, count: int, subsets: int) -> str:
        """How an accuracy was made."""
        labels = "with" if self.model.num_classes or hasattr(self.model, "labelled") else "without"
        how = "" if mode == "probe" else f":{tools.STEPS}-steps-of-{tools.BATCH}"
        return (
            f"accuracy@{count}:{mode}{how}:{on}:{self.part('train')}:{self.part('test')}:"
            f"seeds-0-to-{subsets - 1}:pretrained-{labels}-labels"
        )

    def part(self, split: str) -> str:
        """A split of the data, for protocols."""
        count = len(self.data.images(split))
        return f"{self.data.name}-{split}-{count}:{self.data.fingerprint(split)}"

    def spaces(self) -> dict[str, Any]:
        """What is probed, by name: a function of parts of images, and the same of all test images."""
        test = [part for part, _ in self.batches(self.test)]
        codes = self.codes(test)
        made: dict[str, Any] = {f"code{codes.shape[1]}": (self.codes, codes)}
        pixels = test[0][0].numel()

        def flat(parts: Sequence[Tensor]) -> Tensor:
            return torch.cat([part.flatten(1).double().cpu() for part in parts])

        made[f"pixels{pixels}"] = flat, flat(test)
        if codes.shape[1] < pixels:
            every = (part for part, _ in self.batches(self.train))
            pca = PrincipalComponents(every, codes.shape[1])

            def components(parts: Sequence[Tensor]) -> Tensor:
                return torch.cat([pca.encode(part).cpu() for part in parts])

            made[f"pca{codes.shape[1]}"] = components, components(test)
        return made


def probe(
    checkpoint: Path,
    labels: Sequence[str],
    modes: Sequence[str],
    subsets: int,
    data: str | None,
    root: str | None,
) -> None:
    """Probes a checkpoint's encoder, prints a table and writes probe.json beside result.json.

    Arguments:
        checkpoint: A checkpoint of `fit`.
        labels: How many, as numbers that are not read yet.
        modes: Which of MODES.
        subsets: How many times, with other labels each.
        data: A data set's name, by default the run's.
        root: Where data sets lie, by default as in the run.

    Raises:
        ValueError: If a mode is unknown, or the model or the data cannot be probed.
    """
    quieten()
    if not all(each.isdigit() for each in labels):
        raise ValueError(f"labels must be numbers, such as 100,1000; got {','.join(labels)}")
    counts, modes = [int(each) for each in dict.fromkeys(labels)], list(dict.fromkeys(modes))
    for mode in modes:
        if mode not in MODES:
            raise ValueError(f"there is no mode {mode}; {nearest(mode, list(MODES))}")
    if subsets < 1:
        raise ValueError(f"subsets must be at least 1, got {subsets}")
    case = Probing(checkpoint, data, root)
    earlier = noted(case)  # before what may take minutes
    for count in counts:
        tools.balanced_subset(case.train.labels, count, 0)
    spaces = case.spaces() if "probe" in modes else {}
    rows: dict[tuple[int, str, str], list[float]] = {}
    work = [(count, seed) for count in counts for seed in range(subsets)]
    for count, seed in tqdm(work, disable=None, desc="subsets"):
        train = case.subset(count, seed)
        for on, (function, test) in spaces.items():
            seen = Labelled(function(train.x.split(AT_A_TIME)), train.y)
            found = tools.linear_accuracy(seen, Labelled(test, case.test.labels), seed)
            rows.setdefault((count, "probe", on), []).append(found)
        for mode in [mode for mode in modes if mode != "probe"]:
            rows.setdefault((count, mode, "weights"), []).append(tuned(case, mode, train, seed))
    finish(case, rows, subsets, earlier)


def tuned(case: Probing, mode: str, train: Labelled, seed: int) -> float:
    """The accuracy of an encoder that is trained with labels, from its weights or from fresh ones."""
    fresh = mode == "scratch"
    model = case.fresh(seed) if fresh else case.model
    rate = tools.RATE if fresh else tools.RATE * tools.SLOWER
    found = tools.fine_tune(model, train, rate, tools.STEPS, seed)
    return tools.accuracy(found.classify, case.batches(case.test))


def finish(
    case: Probing,
    rows: dict[tuple[int, str, str], list[float]],
    subsets: int,
    earlier: list[dict[str, Any]],
) -> None:
    """Prints accuracies, and keeps them with the run if there is one, beside those of earlier calls."""
    table, scores = [], {}
    print(f"{'labels':>6}  {'mode':9} {'on':10} accuracy over {subsets} subsets")
    for (count, mode, on), values in rows.items():
        mean, spread = tools.summary(values)
        shown = "" if spread is None else f" ± {100 * spread:.2f}"
        print(f"{count:6}  {mode:9} {on:10} {100 * mean:.2f}{shown} %")
        protocol = case.protocol(mode, on, count, subsets)
        table.append(
            {"labels": count, "mode": mode, "on": on, "accuracies": values, "mean": mean,
             "std": spread, "protocol": protocol}
        )  # fmt: skip
        if on.startswith(("code", "weights")):  # the others are not of the model
            error = None if spread is None else spread / len(values) ** 0.5
            key = f"accuracy/{mode}@{count}"
            seen = getattr(case.model, "images_seen", 0)
            score = {"value": mean, "standard_error": error, "protocol": protocol}
            scores[key] = {**score, "split": "test", "images_seen": seen}
    if (case.folder / "config.yaml").exists():  # else a checkpoint without its run
        now = {row["protocol"] for row in table}
        rest = [row for row in earlier if row["protocol"] not in now]
        content = {**case.weights, "rows": rest + table}
        write_text(case.table, json.dumps(content, indent=2) + "\n")
        record(Trainer(default_root_dir=case.folder, logger=False, accelerator="cpu"), scores)
        print(f"table        {case.table}")


def noted(case: Probing) -> list[dict[str, Any]]:
    """The rows that earlier calls left of the same weights.

    Raises:
        ValueError: If the file is not what they write.
    """
    if not case.table.exists():
        return []
    try:
        content = json.loads(case.table.read_text())
        same = {name: content[name] for name in case.weights} == case.weights
        found = [row for row in content["rows"] if row["protocol"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{case.table} cannot be read; remove it") from error
    return found if same else []
