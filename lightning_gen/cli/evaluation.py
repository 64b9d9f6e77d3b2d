"""Scoring a checkpoint, with the very callbacks that score it in training."""

import lightning_gen._torchvision  # isort: skip  # noqa: F401  # before pytorch_lightning

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from jsonargparse import ArgumentParser
from pytorch_lightning import (
    Callback,
    LightningDataModule,
    LightningModule,
    Trainer,
    seed_everything,
)

from callbacks import (
    AnnealedLikelihood,
    BitsPerDim,
    ImportanceBound,
    Progress,
    SampleQuality,
    SamplingSpeed,
)
from callbacks.sample_quality import SCORES
from callbacks.speed import device_name
from datamodules import DATASETS
from lightning_gen.capabilities import ImportanceLikelihood, Likelihood, Sampler, Unnormalised
from lightning_gen.files import write_text
from lightning_gen.models.fitted import FittedModel
from lightning_gen.models.likelihood import LikelihoodModel
from lightning_gen.tracking import read_results

from .allowed import refuse_code
from .checkpoints import load_model
from .classes import class_error, nearest
from .configs import read_config
from .quiet import quieten
from .train import print_scores

RESAMPLES = 20  # of the intervals of Frechet distances
METRICS: dict[str, type] = {
    "fid": Sampler,
    "kid": Sampler,
    "is": Sampler,
    "pr": Sampler,
    "dc": Sampler,
    "bpd": Likelihood,
    "iw": ImportanceLikelihood,
    "ais": Unnormalised,
    "speed": Sampler,
}
LIKELIHOODS = {"bpd", "iw", "ais"}


def evaluate(
    checkpoint: Path,
    metrics: Sequence[str],
    data: str | None,
    root: str | None,
    importance: int = 250,
    **choices: Any,
) -> None:
    """Scores a checkpoint; the scores are printed and join the result.json of its run.

    Arguments:
        checkpoint: A checkpoint of `fit`.
        metrics: Which of METRICS; if empty, all that the model can have.
        data: A data set's name, by default the run's.
        root: Where data sets lie, by default as in the run.
        importance: How many samples the importance-weighted bound takes.
        choices: `n`, `extractor`, `weights` and `reference_split` of the scores of samples, where they
            should be others than those of the run's Frechet distance; the split is that of likelihoods
            as well.

    Raises:
        ValueError: If a name is unknown, or the model can have none of the scores.
    """
    quieten()
    for metric in metrics:
        if metric not in METRICS:
            raise ValueError(f"there is no metric {metric}; {nearest(metric, list(METRICS))}")
    seed_everything(0, verbose=False)
    start, model = time.perf_counter(), load_model(checkpoint)
    folder = checkpoint.resolve().parent.parent
    module = data_of(folder / "config.yaml", data, root)
    able = [metric for metric in metrics or METRICS if isinstance(model, METRICS[metric])]
    lacks = {metric: kind for metric, kind in METRICS.items() if metric not in able}
    for metric in metrics or METRICS:
        if metric in lacks:
            missing = lacks[metric].__name__.removeprefix("Importance").lower()
            print(f"{metric:12} n/a: {type(model).__name__} has no {missing}")
    if not able:
        others = [name for name, kind in METRICS.items() if isinstance(model, kind)]
        raise ValueError(
            f"{type(model).__name__} can have none of {', '.join(metrics)}; it has {', '.join(others)}"
        )
    if isinstance(
        model, FittedModel | LikelihoodModel
    ):  # samples may be compared with images that it gives none
        model.scores_images = not LIKELIHOODS.isdisjoint(able)
    chosen = scorers(able, folder / "config.yaml", importance, not metrics, choices)
    with TemporaryDirectory() as nowhere:  # a checkpoint without its run: scores are printed only
        place = folder if (folder / "config.yaml").exists() else Path(nowhere)
        trainer = run(model, module, chosen, place)
        seconds, device = time.perf_counter() - start, trainer.strategy.root_device
        note_evaluation(place / "result.json", checkpoint, model, seconds, device)
        print_scores(trainer, place)


def scorers(
    metrics: Sequence[str],
    config: Path,
    importance: int,
    skip_missing: bool,
    choices: Mapping[str, Any],
) -> list[Callback]:
    """The callbacks behind some of METRICS; the scores of samples come from one pass."""
    split = choices.get("reference_split") or "test"
    chosen: list[Callback] = []
    if of_samples := [metric for metric in metrics if metric in SCORES]:
        settings = distance_of(config, choices.get("extractor"))
        given = {key: value for key, value in choices.items() if value is not None}
        quality = SampleQuality(
            **{**settings, **given},
            scores=of_samples,
            resamples=RESAMPLES,
            skip_missing=skip_missing,
        )
        refuse_code(quality.extractor)
        chosen.append(quality)
    if "bpd" in metrics:
        chosen.append(BitsPerDim(test_split=split))
    if "iw" in metrics:
        chosen.append(ImportanceBound(importance, test_split=split))
    if "ais" in metrics:
        chosen.append(AnnealedLikelihood(**annealing_of(config), test_split=split))
    if "speed" in metrics:
        chosen.append(SamplingSpeed())
    return chosen


def note_evaluation(
    path: Path, checkpoint: Path, model: LightningModule, seconds: float, device: torch.device
) -> None:
    """Adds to result.json what was evaluated, and how long that took.

    Arguments:
        path: The result.json.
        checkpoint: What was evaluated.
        model: What stands in it.
        seconds: How long that took.
        device: Where it ran; when Lightning is done, the model is on the CPU.
    """
    content = read_results(path)
    content["evaluation"] = {
        "checkpoint": checkpoint.name,
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "images_seen": getattr(model, "images_seen", 0),
        "seconds": round(seconds, 3),
        "device": device_name(device),
    }
    write_text(path, json.dumps(content, indent=2) + "\n")


def run(
    model: LightningModule, data: LightningDataModule, scores: list[Callback], folder: Path
) -> Trainer:
    """Lets callbacks score a model."""
    trainer = Trainer(
        default_root_dir=folder,
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        limit_test_batches=1,  # the callbacks have their own passes
        callbacks=[Progress(), *scores],
    )
    trainer.test(model, data, verbose=False)
    return trainer


def distance_of(config: Path, extractor: str | None) -> dict[str, Any]:
    """The settings of the run's scores of samples with these features, or any, by its config.yaml."""
    for name, settings in callbacks_of(config):
        scores = name in ("FID", "SampleQuality")
        if scores and extractor in (None, settings.get("extractor")):
            return only(settings, "n", "extractor", "weights", "reference_split")
    return {}


def annealing_of(config: Path) -> dict[str, Any]:
    """How the run estimates its constant, by its config.yaml: other estimates are another protocol."""
    for name, settings in callbacks_of(config):
        if name == "AnnealedLikelihood":
            return only(settings, "chains", "temperatures")
    return {}


def callbacks_of(config: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The callbacks of a run by its config.yaml, if there is one: names of classes and arguments."""
    content = read_config(config) if config.exists() else {}
    trainer = content.get("trainer")
    callbacks = trainer.get("callbacks") if isinstance(trainer, dict) else None
    for callback in callbacks if isinstance(callbacks, list) else [callbacks]:
        if isinstance(callback, dict):
            yield str(callback.get("class_path")).split(".")[-1], callback.get("init_args") or {}


def only(settings: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Those of some settings that are there."""
    return {name: settings[name] for name in names if name in settings}


def data_of(config: Path, name: str | None, root: str | None) -> LightningDataModule:
    """The data of a run, by its config.yaml, or a data set by its name."""
    if name is not None:
        if name not in DATASETS:
            raise ValueError(f"there is no data set {name}; {nearest(name, list(DATASETS))}")
        return DATASETS[name]() if root is None else DATASETS[name](root=root)
    if not config.exists():
        raise FileNotFoundError(f"there is no {config}, so say which data: --data mnist")
    content = read_config(config).get("data")
    if not isinstance(content, dict):
        raise ValueError(f"{config} does not say the data of the run; say which: --data mnist")
    if root is not None:
        content.setdefault("init_args", {})["root"] = root
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(LightningDataModule, "data", fail_untyped=False)
    try:
        return parser.instantiate(parser.parse_object({"data": content})).data
    except Exception as error:
        raise class_error(error) from error
