"""A sweep: trials of settings of a config, each a run of its own, chosen by Optuna and kept in SQLite.

A sweep is YAML::

    config: configs/digits/dcgan.yaml
    score: fid/digits@2000
    trials: 20
    sampler: tpe                # or random, or grid
    prune: median               # or none
    overrides: {trainer.max_steps: 500}
    space:
      model.generator_optimizer.init_args.lr: {low: 1.0e-5, high: 1.0e-3, log: true}
      data.batch_size: [32, 64, 128]

A trial whose loss is no number is pruned, as is one that is worse than the median of those before it.
"""

import itertools
import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml

from lightning_gen.randomness import seed_of
from lightning_gen.scores import direction

SAMPLERS = ("tpe", "random", "grid")
PRUNERS = ("median", "none")


class Range(NamedTuple):
    """Numbers between two bounds; whole ones if both bounds are."""

    low: float
    high: float
    log: bool


class Sweep(NamedTuple):
    """What is tried, and by which score it is judged."""

    name: str
    config: Path
    score: str
    trials: int
    sampler: str
    prune: str
    seed: int
    overrides: dict[str, Any]
    space: dict[str, Range | list[Any]]

    @property
    def direction(self) -> Literal["minimize", "maximize"]:
        """Whether less or more of the score is better."""
        return "maximize" if direction(self.score) > 0 else "minimize"

    @property
    def recipe(self) -> str:
        """A hash of all that the trials depend on."""
        made = [self.config.read_text(), self.score, self.sampler, self.seed, self.overrides]
        return sha256(json.dumps([*made, self.space], sort_keys=True).encode()).hexdigest()[:16]


def read_sweep(path: Path) -> Sweep:
    """The sweep in a file.

    Raises:
        ValueError: If it is none, in one sentence.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(
            f"the sweep {path} cannot be read: {' '.join(str(error).split())}"
        ) from error
    lacks = [
        key
        for key, kind in (("config", str), ("score", str), ("space", dict))
        if not isinstance(content, Mapping) or not isinstance(content.get(key), kind)
    ]
    if lacks:
        raise ValueError(f"the sweep {path} lacks {', '.join(lacks)}; see docs/reproducing.md")
    space = {str(key): _choices(key, value, path) for key, value in content["space"].items()}
    sampler, prune = content.get("sampler", "tpe"), content.get("prune", "median")
    for value, known in ((sampler, SAMPLERS), (prune, PRUNERS)):
        if value not in known:
            raise ValueError(f"the sweep {path} should have one of {', '.join(known)}, got {value}")
    ranges = [key for key, values in space.items() if isinstance(values, Range)]
    if sampler == "grid" and ranges:
        raise ValueError(f"a grid has lists only, but {ranges[0]} of the sweep {path} is a range")
    config, trials = Path(content["config"]), content.get("trials", 20)
    if not config.is_file() or not isinstance(trials, int) or trials < 1:
        raise ValueError(f"the sweep {path} needs a config that is there and trials of at least 1")
    overrides, seed = content.get("overrides") or {}, content.get("seed", 0)
    if not isinstance(overrides, dict) or not isinstance(seed, int):
        raise ValueError(f"the sweep {path} needs overrides by name and a whole seed")
    if direction(content["score"]) == 0:
        raise ValueError(f"of {content['score']} it is not known which way is better; take another")
    return Sweep(
        path.stem, config, content["score"], trials, sampler, prune, seed, overrides, space
    )


def _choices(key: str, value: Any, path: Path) -> Range | list[Any]:
    if isinstance(value, list) and value:
        return value
    if isinstance(value, Mapping) and {"low", "high"} <= set(value):
        low, high = value["low"], value["high"]
        numbers = isinstance(low, int | float) and isinstance(high, int | float)
        if numbers and low < high and (low > 0 or not value.get("log")):
            return Range(low, high, bool(value.get("log")))
    raise ValueError(
        f"{key} of the sweep {path} should be a list, or low and high (with log: true above 0), got {value}"
    )


def study_of(sweep: Sweep, folder: Path) -> Any:
    """The study of a sweep, new or as it was left; ValueError without Optuna or of another sweep."""
    try:
        import optuna
        from sqlalchemy.exc import DatabaseError
    except ModuleNotFoundError as error:
        raise ValueError("a sweep needs optuna: pip install 'lightning-gen[sweep]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        study = optuna.create_study(
            storage=f"sqlite:///{folder / 'study.db'}",
            study_name=sweep.name,
            direction=sweep.direction,
            pruner=pruner if sweep.prune == "median" else optuna.pruners.NopPruner(),
            load_if_exists=True,
        )
    except (optuna.exceptions.StorageInternalError, DatabaseError) as error:
        raise ValueError(f"{folder / 'study.db'} cannot be read; name another --output") from error
    if study.user_attrs.get("made", sweep.recipe) != sweep.recipe:
        raise ValueError(
            f"{folder} holds a sweep of another config, score, space, seed or overrides; name another "
            "--output"
        )
    study.set_user_attr("made", sweep.recipe)
    if sweep.sampler == "grid":
        _enqueue(study, sweep)
    return study


def sampler_of(sweep: Sweep, number: int) -> Any:
    """Chooses the trial of a number; the same one wherever the sweep was stopped before."""
    from optuna import samplers

    kind = samplers.TPESampler if sweep.sampler == "tpe" else samplers.RandomSampler
    return kind(seed=seed_of(sweep.seed, "trial", number) % 2**32)


def _enqueue(study: Any, sweep: Sweep) -> None:
    """Has the points of a grid tried that were not, or that failed."""
    from optuna.trial import TrialState

    trials = [t for t in study.get_trials(deepcopy=False) if t.state != TrialState.FAIL]
    known = [t.params or t.system_attrs.get("fixed_params") for t in trials]
    for point in itertools.product(*sweep.space.values()):
        chosen = dict(zip(sweep.space, point, strict=True))
        if chosen not in known:
            study.enqueue_trial(chosen)


def settings_of(trial: Any, space: Mapping[str, Range | list[Any]]) -> dict[str, Any]:
    """What a trial is to try; its choice is kept in the study."""
    found: dict[str, Any] = {}
    for key, values in space.items():
        if isinstance(values, list):
            found[key] = trial.suggest_categorical(key, values)
        elif isinstance(values.low, int) and isinstance(values.high, int):
            found[key] = trial.suggest_int(key, values.low, values.high, log=values.log)
        else:
            found[key] = trial.suggest_float(key, values.low, values.high, log=values.log)
    return found


def wandb_sweep(sweep: Sweep) -> dict[str, Any]:
    """The sweep for `wandb sweep FILE`, as near as W&B comes to it."""
    method = {"tpe": "bayes", "random": "random", "grid": "grid"}[sweep.sampler]
    fixed = {"seed_everything": sweep.seed, **sweep.overrides}
    parameters: dict[str, dict[str, Any]] = {k: {"value": v} for k, v in fixed.items()}
    for key, values in sweep.space.items():
        parameters[key] = {"values": values} if isinstance(values, list) else _for_wandb(values)
    stop = {"early_terminate": {"type": "hyperband", "min_iter": 3}}
    return {
        "program": "run.py",
        "method": method,
        "metric": {"name": sweep.score, "goal": sweep.direction},
        "parameters": parameters,
        "run_cap": sweep.trials,
        **(stop if sweep.prune == "median" else {}),
        "command": [
            *("${env}", "${interpreter}", "${program}", "fit"),
            *(f"--config={sweep.config}", "--trackers=[csv,wandb]", "${args}"),
        ],
    }


def _for_wandb(values: Range) -> dict[str, Any]:
    bounds: dict[str, Any] = {"min": values.low, "max": values.high}
    if not values.log:
        return bounds  # whole numbers stay so
    if isinstance(values.low, int) and isinstance(values.high, int):
        return {"distribution": "q_log_uniform_values", "q": 1, **bounds}
    return {"distribution": "log_uniform_values", **bounds}
