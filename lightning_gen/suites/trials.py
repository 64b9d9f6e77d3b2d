"""Making the trials of a sweep: one process each, which may be stopped and goes on."""

import csv
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning_gen.tracking import read_results

from .jobs import RUN, interruptible, plain
from .sweep import Sweep, settings_of, study_of

POLL = 1.0  # seconds between two looks at a run's scores


def run_sweep(sweep: Sweep, folder: Path) -> Any:
    """Makes the trials that are missing and returns the study; a trial that was cut short goes on.

    Raises:
        KeyboardInterrupt: If it was stopped.
    """
    study = study_of(sweep, folder)
    with interruptible():
        for trial in _trials(study, sweep):
            settings = settings_of(trial, sweep.space)
            shown = ", ".join(f"{k.split('.')[-1]} {plain(v)}" for k, v in settings.items())
            print(f"\n[trial {trial.number + 1} of {sweep.trials}] {shown}", flush=True)
            run = folder / f"{trial.number:04d}"
            _judge(study, trial, sweep, run, _run(sweep, settings, run, trial))
    return study


def _trials(study: Any, sweep: Sweep) -> Iterator[Any]:
    """Those that were cut short, then new ones, until there are as many as wanted."""
    import optuna

    running = study.get_trials(states=[optuna.trial.TrialState.RUNNING], deepcopy=False)
    for frozen in running:
        yield optuna.trial.Trial(study, frozen._trial_id)
    while True:
        states = [trial.state for trial in study.get_trials(deepcopy=False)]
        waiting = states.count(optuna.trial.TrialState.WAITING)  # of a grid
        over = sweep.sampler == "grid" and not waiting
        if over or len(states) - waiting >= sweep.trials:
            return
        yield study.ask()


def _run(sweep: Sweep, settings: dict[str, Any], run: Path, trial: Any) -> int:
    """Trains; its exit code, or that of SIGTERM if it was pruned on the way."""
    every = {"seed_everything": sweep.seed, **sweep.overrides, **settings}
    options = [f"--{key}={plain(value)}" for key, value in every.items()]
    place = [f"--config={sweep.config}", f"--run_dir={run}", "--ckpt_path=auto"]
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, "fit", *place, "--trackers=[csv]", *options]
    )
    told: set[int] = set()
    try:
        while True:
            try:
                return process.wait(POLL)
            except subprocess.TimeoutExpired:
                if _is_hopeless(trial, run, sweep.score, told):
                    process.terminate()
                    process.wait()
                    return 0
    except BaseException:  # a signal, which a terminal sends to both: it saves, and then ends
        process.terminate()
        process.wait()
        raise


def _is_hopeless(trial: Any, run: Path, score: str, told: set[int]) -> bool:
    """Tells the study what there is of a score, and asks whether to go on."""
    for step, value in _course(run, score):
        if step not in told:
            told.add(step)
            trial.report(value, step)
    return bool(told) and trial.should_prune()


def _course(run: Path, score: str) -> Iterator[tuple[int, float]]:
    path = run / "metrics.csv"
    if not path.exists():
        return
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            value, step = row.get(score), row.get("step")
            if value and step and step != "0" and math.isfinite(float(value)):
                yield int(step), float(value)


def _judge(study: Any, trial: Any, sweep: Sweep, run: Path, code: int) -> None:
    """Tells the study how a trial ended."""
    from optuna.trial import TrialState

    content = read_results(run / "result.json")
    value = content.get("scores", {}).get(sweep.score, {}).get("value")
    trial.set_user_attr("folder", str(run))
    if code in (130, 138, 143):
        raise KeyboardInterrupt("stopped; the same command goes on")
    if "stopped" in content:
        trial.set_user_attr("reason", content["stopped"]["reason"])
        study.tell(trial, state=TrialState.PRUNED)
    elif "finished" in content and value is not None:
        study.tell(trial, value)
    elif code == 0 and run.is_dir():
        trial.set_user_attr("reason", "worse than the median")
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, state=TrialState.FAIL)
        if trial.number == 0:  # all others would fail too
            raise ValueError(f"the first trial failed with exit code {code}; its reason is above")
