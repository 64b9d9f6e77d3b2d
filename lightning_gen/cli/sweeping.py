"""`sweep`: trials of a config's settings, and what came out best."""

from pathlib import Path

import yaml

from lightning_gen.files import write_text
from lightning_gen.suites.sweep import read_sweep, wandb_sweep
from lightning_gen.suites.trials import run_sweep


def sweep(file: Path, trials: int | None, output: Path, wandb: Path | None) -> None:
    """Makes the trials of a sweep, or writes it for W&B; see the command's own words.

    Raises:
        ValueError: If the file is no sweep.
    """
    found = read_sweep(file)
    if trials is not None and trials < 1:
        raise ValueError(f"trials must be at least 1, got {trials}")
    found = found._replace(trials=found.trials if trials is None else trials)
    if wandb is not None:
        write_text(wandb, yaml.safe_dump(wandb_sweep(found), sort_keys=False))
        print(f"sweep        {wandb}: wandb sweep {wandb}")
        return
    study = run_sweep(found, output / found.name)
    sign = 1 if found.direction == "minimize" else -1
    every = study.get_trials(deepcopy=False)
    complete = [trial for trial in every if trial.state.name == "COMPLETE"]
    print()
    for trial in sorted(every, key=lambda t: (t not in complete, sign * (t.value or 0.0))):
        value = f"{trial.value:.4f}" if trial in complete else "-"
        settings = ", ".join(f"{key} {value}" for key, value in trial.params.items())
        reason = trial.user_attrs.get("reason", "")
        print(f"{trial.number:4} {trial.state.name.lower():9} {value:>12}  {settings}  {reason}")
    if not complete:
        print("best         none, as no trial came to its end")
    else:
        print(
            f"\nbest         {found.score} {study.best_value:.4f}: {study.best_trial.user_attrs['folder']}"
        )
