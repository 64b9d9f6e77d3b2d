"""Making the trials of a sweep: one process each, which may be stopped and goes on."""

import csv
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning_gen.tracking import read_results

from .processes import STOPPED, call, interruptible, options, plain
from .sweep import Sweep, sampler_of, settings_of, study_of


def run_sweep(sweep: Sweep, folder: Path) -> Any:
    """Makes the trials that are missing and returns the study; a trial that was cut short goes on.

    Raises:
        KeyboardInterrupt: If it was stopped.
        ValueError: If the first trial fails, as all others would.
    """
    study = study_of(sweep, folder)
    with interruptible():
        for trial in _trials(study, sweep):
            settings = settings_of(trial, sweep.space)
            shown = ", ".join(f"{k.split('.')[-1]} {plain(v)}" for k, v in settings.items())
            print(f"\n[trial {trial.number}] {shown}", flush=True)
            run = folder / f"{trial.number:04d}"
            _judge(study, trial, sweep, run, _run(sweep, settings, run, trial))
    return study


def _trials(study: Any, sweep: Sweep) -> Iterator[Any]:
    """Those that were cut short, then new ones, until there are as many as wanted."""
    from optuna.trial import Trial, TrialState

    running = study.get_trials(states=[TrialState.RUNNING], deepcopy=False)
    for frozen in running:
        yield Trial(study, frozen._trial_id)
    while True:
        states = [trial.state for trial in study.get_trials(deepcopy=False)]
        made = len(states) - states.count(TrialState.WAITING) - states.count(TrialState.FAIL)
        over = sweep.sampler == "grid" and TrialState.WAITING not in states
        if over or made >= sweep.trials:
            return
        study.sampler = sampler_of(sweep, len(states))
        yield study.ask()


def _run(sweep: Sweep, settings: dict[str, Any], run: Path, trial: Any) -> int | None:
    """Trains; the exit code, or None if the trial was pruned on the way."""
    every = {"seed_everything": sweep.seed, **sweep.overrides, **settings}
    place = [f"--config={sweep.config}", f"--run_dir={run}", "--ckpt_path=auto"]
    told: set[int] = set()
    return call(
        ["fit", *place, "--trackers=[csv]", *options(every)],
        lambda: _is_hopeless(trial, run, sweep.score, told),
    )


def _is_hopeless(trial: Any, run: Path, score: str, told: set[int]) -> bool:
    """Tells the study what there is of a score, and asks whether to go on."""
    for images, value in _course(run, score):
        if images not in told:
            told.add(images)
            trial.report(value, images)
    return bool(told) and trial.should_prune()


def _course(run: Path, score: str) -> Iterator[tuple[int, float]]:
    """A score by the images that were seen, which is what trials of other batch sizes share."""
    path = run / "metrics.csv"
    if not path.exists():
        return
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            value, images = row.get(score), float(row.get("images_seen") or 0)
            if value and images and math.isfinite(float(value)):
                yield int(images), float(value)


def _judge(study: Any, trial: Any, sweep: Sweep, run: Path, code: int | None) -> None:
    """Tells the study how a trial ended."""
    from optuna.trial import TrialState

    if code in STOPPED:
        raise KeyboardInterrupt("stopped; the same command goes on")
    content = read_results(run / "result.json")
    value = content.get("scores", {}).get(sweep.score, {}).get("value")
    trial.set_user_attr("folder", str(run))
    if code is None or "stopped" in content:
        why = "worse than the median" if code is None else content["stopped"]["reason"]
        trial.set_user_attr("reason", why)
        study.tell(trial, state=TrialState.PRUNED)
    elif code == 0 and value is not None:
        study.tell(trial, value)
    else:
        study.tell(trial, state=TrialState.FAIL)
        if trial.number == 0:
            there = ", ".join(content.get("scores", {})) or "none"
            why = f"it gives no {sweep.score}, but {there}" if code == 0 else "its reason is above"
            raise ValueError(f"the first trial failed with exit code {code}: {why}")
