"""The runs of a suite: their folders, their commands, and what is there of them already."""

import json
import re
import time
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from lightning_gen.files import write_text
from lightning_gen.tracking import read_results

from .processes import STOPPED, Caller, call, options
from .suite import Row, Scale, Suite

NOTE = "suite.json"
PROBED = re.compile(r"accuracy/(probe|finetune|scratch)@(\d+)")  # scores of `run.py probe`


class Job(NamedTuple):
    """One run of a row.

    Arguments:
        row: Which row.
        scale: At which scale.
        seed: Its seed.
        folder: Of the run.
        data: Where data sets lie; None leaves it to the config.
    """

    row: Row
    scale: Scale
    seed: int
    folder: Path
    data: str | None = None

    @property
    def label(self) -> str:
        """How it is called where it is spoken of."""
        return f"{self.row.name}, seed {self.seed}"

    @property
    def config(self) -> Path:
        """What its row is run by."""
        if self.row.config is None:
            raise ValueError(f"the row {self.row.name} has no config, so it cannot be run")
        return self.row.config

    @property
    def recipe(self) -> str:
        """A hash of all that the run is made by."""
        made = [self.config.read_text(), self.scale.overrides, self.seed]
        return sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:16]

    def fit(self) -> list[str]:
        """The arguments that begin the run, or go on with it."""
        settings = {"seed_everything": self.seed, **self.scale.overrides}
        if self.data is not None:
            settings["data.root"] = self.data
        place = [f"--run_dir={self.folder}", "--ckpt_path=auto", "--trackers=[csv]"]
        return ["fit", f"--config={self.config}", *place, *options(settings)]

    def test(self) -> list[str]:
        """The arguments that score the test images, where `fit` has not."""
        last = self.folder / "checkpoints" / "last.ckpt"
        place = [f"--config={self.folder / 'config.yaml'}", f"--ckpt_path={last}"]
        return ["test", *place, *([] if self.data is None else [f"--data.root={self.data}"])]

    def probe(self, score: str) -> list[str]:
        """The arguments that measure what codes are worth, such as `accuracy/probe@1000`."""
        found = PROBED.fullmatch(score)
        assert found is not None, score
        mode, labels = found.groups()
        last = self.folder / "checkpoints" / "last.ckpt"
        place = [f"--checkpoint={last}", f"--mode={mode}", f"--labels={labels}"]
        return ["probe", *place, *([] if self.data is None else [f"--root={self.data}"])]

    def scores(self) -> dict[str, dict[str, Any]]:
        """Those of the expected scores that the run has, of its last weights and test images.

        Where it has collapsed, and may, each has no value but the reason.
        """
        content = read_results(self.folder / "result.json")
        stopped = content.get("stopped")
        if self.scale.may_collapse and isinstance(stopped, dict):
            reason = f"{stopped.get('reason')} at step {stopped.get('step')}"
            return {name: {"value": None, "protocol": reason} for name in self.scale.expect}
        seen = content.get("budget", {}).get("images_seen")
        found = {}
        for name in self.scale.expect:
            newest = content.get("scores", {}).get(name, {})
            also = newest.get("also", {}) if isinstance(newest, dict) else {}
            every = [each for each in (newest, *also.values()) if isinstance(each, dict)]
            made = [s for s in every if s.get("images_seen") == seen and of_test(s)]
            if made and "finished" in content:
                found[name] = {key: value for key, value in made[0].items() if key != "also"}
        return found

    def is_finished(self) -> bool:
        """Whether training is over."""
        return "finished" in read_results(self.folder / "result.json")

    def is_started(self) -> bool:
        """Whether there is something to go on with."""
        return any((self.folder / "checkpoints").glob("*.ckpt"))

    def is_complete(self) -> bool:
        """Whether nothing is left to do."""
        return set(self.scores()) == set(self.scale.expect)

    def note(self) -> dict[str, Any]:
        """What an earlier call noted of the run.

        Raises:
            ValueError: If the run is not what the suite has now.
        """
        path = self.folder / NOTE
        try:
            content = json.loads(path.read_text()) if path.exists() else {}
        except ValueError as error:
            raise ValueError(
                f"{path} cannot be read; remove the run, or name another --output"
            ) from error
        begun = self.is_started() or (self.folder / "result.json").exists()
        if content.get("recipe", None if begun else self.recipe) != self.recipe:
            raise ValueError(
                f"{self.folder} was made by other settings than the suite has now; remove it, or name "
                "another --output"
            )
        return content

    def jot(self, **more: Any) -> None:
        """Adds to what is noted of the run."""
        self.folder.mkdir(parents=True, exist_ok=True)
        content = {**self.note(), "recipe": self.recipe, "row": self.row.name, **more}
        write_text(self.folder / NOTE, json.dumps(content, indent=2) + "\n")


def jobs_of(suite: Suite, scale: str, output: Path, data: str | None = None) -> list[Job]:
    """All runs of a suite at a scale.

    Raises:
        ValueError: If no row has it.
    """
    if scale not in suite.scales:
        raise ValueError(f"{suite.name} has no scale {scale}, but {', '.join(suite.scales)}")
    return [
        Job(row, at, seed, output / suite.name / scale / f"{row.slug}-{seed}", data)
        for row in suite.rows
        for at in [row.scales.get(scale)]
        if at is not None
        for seed in at.seeds
    ]


def commands(job: Job) -> Iterator[list[str]]:
    """What is left to do, one command after the other."""
    if not job.is_finished():
        yield job.fit()
    missing = set(job.scale.expect) - set(job.scores())
    probed = sorted(filter(PROBED.fullmatch, missing))
    yield from map(job.probe, probed)
    if missing - set(probed):
        yield job.test()


def run(job: Job, caller: Caller = call) -> None:
    """Makes a run, or what is missing of it, by processes of its own.

    Arguments:
        job: Which.
        caller: Runs a command and gives its exit code.

    Raises:
        KeyboardInterrupt: If it was stopped; it has saved its state.
        ChildProcessError: If it failed; it has said why.
    """
    start, before = time.monotonic(), job.note().get("seconds", 0.0)
    job.jot()  # by what settings, before there is anything
    try:
        for command in commands(job):
            _call(command, job, caller)
    finally:
        job.jot(seconds=before + time.monotonic() - start)
    if not job.is_complete():
        missing = ", ".join(set(job.scale.expect) - set(job.scores()))
        raise ChildProcessError(f"{job.label}: the run in {job.folder} does not give {missing}")


def _call(command: list[str], job: Job, caller: Caller) -> None:
    code = caller(command)
    if code in STOPPED:
        raise KeyboardInterrupt(f"stopped at {job.label}; the same command goes on")
    if code and not job.is_complete():  # a run that has collapsed may be complete
        raise ChildProcessError(f"{job.label} ended with exit code {code}; its reason is above")


def of_test(score: Mapping[str, Any]) -> bool:
    """Whether a score was measured on test images, or against them."""
    return "-test-" in str(score.get("protocol"))
