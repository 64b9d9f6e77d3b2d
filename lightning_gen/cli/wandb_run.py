"""W&B's side of a run: what the run folder states is told to W&B too."""

import json
from pathlib import Path
from typing import Any

import yaml
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.utilities import rank_zero_only


class TrackedRun(WandbLogger):
    """Lightning's, with the whole config, and scores with their protocols, under `run` and `result`.

    Lightning's has the arguments of the model only: neither its class, nor the data or the seed.

    Arguments:
        run_dir: The run folder.
        kwargs: See `WandbLogger`.
    """

    def __init__(self, run_dir: Path, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._run_dir = run_dir

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        super().log_hyperparams(*args, **kwargs)
        self._tell()

    def finalize(self, status: str) -> None:
        if self._experiment is not None:
            self._tell()
        super().finalize(status)

    @rank_zero_only
    def _tell(self) -> None:
        config, result = self._run_dir / "config.yaml", self._run_dir / "result.json"
        stated = {}
        if config.exists():
            stated["run"] = yaml.safe_load(config.read_text())
        if result.exists():
            stated["result"] = json.loads(result.read_text())
        self.experiment.config.update(stated, allow_val_change=True)
