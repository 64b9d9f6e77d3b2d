"""Scoring a checkpoint, with the very callbacks that score it in training."""

import lightning_gen._torchvision  # isort: skip  # noqa: F401  # before pytorch_lightning

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jsonargparse import ArgumentParser
from pytorch_lightning import (
    Callback,
    LightningDataModule,
    LightningModule,
    Trainer,
    seed_everything,
)

from callbacks import FID, BitsPerDim, Progress
from datamodules import DATASETS
from lightning_gen.capabilities import Likelihood, Sampler

from .allowed import refuse_code
from .checkpoints import load_model
from .classes import class_error, nearest
from .configs import read_config
from .quiet import quieten
from .train import print_scores

METRICS = {"fid": Sampler, "bpd": Likelihood}


def evaluate(
    checkpoint: Path,
    metrics: Sequence[str],
    data: str | None,
    root: str | None,
    **choices: Any,
) -> None:
    """Scores a checkpoint; the scores are printed and join the result.json of its run.

    Arguments:
        checkpoint: A checkpoint of `fit`.
        metrics: Which of METRICS.
        data: A data set's name, by default the run's.
        root: Where data sets lie, by default as in the run.
        choices: `n`, `extractor` and `reference_split` of the Frechet distance, where they should
            be others than the run's; the split is that of the likelihood as well.

    Raises:
        ValueError: If a name is unknown, or the model can have none of the scores.
    """
    quieten()
    for metric in metrics:
        if metric not in METRICS:
            raise ValueError(f"there is no metric {metric}; {nearest(metric, list(METRICS))}")
    seed_everything(0, verbose=False)
    model = load_model(checkpoint)
    folder = checkpoint.resolve().parent.parent
    module = data_of(folder / "config.yaml", data, root)
    chosen: list[Callback] = []
    for metric in metrics:
        if not isinstance(model, METRICS[metric]):
            print(
                f"{metric:12} n/a: {type(model).__name__} has no {METRICS[metric].__name__.lower()}"
            )
        elif metric == "fid":
            settings = distance_of(folder / "config.yaml", choices.get("extractor"))
            given = {key: value for key, value in choices.items() if value is not None}
            distance = FID(**{**settings, **given})
            refuse_code(distance.extractor)
            chosen.append(distance)
        else:
            chosen.append(BitsPerDim(test_split=choices.get("reference_split") or "test"))
    if not chosen:
        others = [name for name, kind in METRICS.items() if isinstance(model, kind)]
        raise ValueError(
            f"{type(model).__name__} can have none of {', '.join(metrics)}; it has {', '.join(others)}"
        )
    with TemporaryDirectory() as nowhere:  # a checkpoint without its run: scores are printed only
        run(model, module, chosen, folder if (folder / "config.yaml").exists() else Path(nowhere))


def run(
    model: LightningModule, data: LightningDataModule, scores: list[Callback], folder: Path
) -> None:
    """Lets callbacks score a model, and prints what they found."""
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
    print_scores(trainer, folder)


def distance_of(config: Path, extractor: str | None) -> dict[str, Any]:
    """The settings of the run's Frechet distance with these features, or any, by its config.yaml."""
    content = read_config(config) if config.exists() else {}
    trainer = content.get("trainer")
    callbacks = trainer.get("callbacks") if isinstance(trainer, dict) else None
    for callback in callbacks if isinstance(callbacks, list) else [callbacks]:
        if not isinstance(callback, dict):
            continue
        settings = callback.get("init_args") or {}
        scores = str(callback.get("class_path")).split(".")[-1] == "FID"
        if scores and extractor in (None, settings.get("extractor")):
            names = ("n", "extractor", "weights", "reference_split")
            return {name: settings[name] for name in names if name in settings}
    return {}


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
