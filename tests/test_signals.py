"""Signals: the step is finished and saved, the exit code says why, and the run goes on exactly."""

import os
import signal
import subprocess
import sys
import time

import pytest

from .runs import CONFIGS, ROOT, config_of, differences, fit, folder_of_digits, rows, state

pytestmark = pytest.mark.slow
SOURCE = {path.stem: path for path in CONFIGS}


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return folder_of_digits(tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="module")
def whole(digits, tmp_path_factory):
    """A run that nothing happens to."""
    folder = tmp_path_factory.mktemp("whole")
    config = config_of(SOURCE["dcgan"], digits, folder / "config.yaml")
    assert fit(config, folder / "run", "--trackers=[csv]") == 0
    return folder / "run"


def same(run, whole):
    return differences(state(whole), state(run)) == [] and rows(whole) == rows(run)


def sending(number, at, times=1):
    """Has a process send itself a signal after so many batches, in the middle of the next step."""

    def install():
        from lightning_gen.models.base import GenerativeModel

        before = GenerativeModel.to_batch

        def to_batch(self, raw):
            if self.trainer.fit_loop.epoch_loop.batch_progress.total.processed == at:
                for _ in range(times):
                    os.kill(os.getpid(), number)
            return before(self, raw)

        GenerativeModel.to_batch = to_batch

    return install


@pytest.mark.parametrize("at", [3, 6, 13])  # in an epoch, at its end, at the end of all
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, 138)]
)
def test_a_signal_saves_after_the_step_and_exits_with_its_code(
    number, code, at, digits, whole, tmp_path
):
    config = config_of(SOURCE["dcgan"], digits, tmp_path / "config.yaml")
    run = tmp_path / "run"
    assert fit(config, run, "--trackers=[csv]", dies=sending(number, at)) == code
    assert state(run)["global_step"] == at + 1
    said = run.with_suffix(".log").read_text()
    assert f"stopped by {signal.Signals(number).name} after step {at + 1}; go on with" in said
    assert "Traceback" not in said
    assert fit(config, run, "--trackers=[csv]", "--ckpt_path=auto") == 0
    assert same(run, whole)


def test_gradients_that_accumulate_are_not_lost(digits, tmp_path):
    config = config_of(SOURCE["vae"], digits, tmp_path / "config.yaml", accumulate_grad_batches=3)
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert fit(config, whole, "--trackers=[csv]") == 0
    assert fit(config, run, "--trackers=[csv]", dies=sending(signal.SIGTERM, 3)) == 143
    assert state(run)["global_step"] == 2  # of batches 0 to 5
    assert fit(config, run, "--trackers=[csv]", "--ckpt_path=last") == 0
    assert same(run, whole)


def test_critic_steps_of_a_round_are_not_lost(digits, tmp_path):
    config = config_of(SOURCE["wgan_gp"], digits, tmp_path / "config.yaml")
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert fit(config, whole, "--trackers=[csv]") == 0
    for at, more in (
        (1, []),
        (8, ["--ckpt_path=last"]),
    ):  # before the first round, and in the second
        assert fit(config, run, "--trackers=[csv]", *more, dies=sending(signal.SIGTERM, at)) == 143
    assert fit(config, run, "--trackers=[csv]", "--ckpt_path=last") == 0
    assert same(run, whole)


def test_ctrl_c_twice_stops_at_once(digits, tmp_path):
    config = config_of(SOURCE["dcgan"], digits, tmp_path / "config.yaml")
    run = tmp_path / "run"
    assert fit(config, run, "--trackers=[csv]", dies=sending(signal.SIGINT, 3, times=2)) == 130
    assert not (run / "checkpoints" / "last.ckpt").exists()
    said = run.with_suffix(".log").read_text()
    assert "interrupted at step 3; there is no checkpoint yet" in said


def test_an_evaluation_is_left_at_once_and_begun_again(digits, whole, tmp_path):
    config = config_of(SOURCE["dcgan"], digits, tmp_path / "config.yaml")
    run = tmp_path / "run"

    def slow():
        from callbacks import FID

        def look(self, trainer, model):
            if trainer.global_step:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(60)
            else:
                before(self, trainer, model)

        before, FID.look = FID.look, look

    start = time.monotonic()
    assert fit(config, run, "--trackers=[csv]", dies=slow) == 143
    assert time.monotonic() - start < 30
    assert state(run)["global_step"] == 7
    assert fit(config, run, "--trackers=[csv]", "--ckpt_path=last") == 0
    assert same(run, whole)


# Two processes, as Lightning launches them

SCRIPT = """
import os, sys, time
import lightning_gen.cli.train
from callbacks import FID, LastCheckpoint
from lightning_gen.cli import main
after, look = LastCheckpoint.on_train_batch_end, FID.look
def slowly(self, trainer, *rest):
    after(self, trainer, *rest)
    rank = trainer.global_rank
    with open(os.environ["PLACES"] + f"/{rank}", "w") as file:
        file.write(f"{os.getpid()} {trainer.global_step}")
    time.sleep(float(os.environ["SLOW"]))
def evaluate(self, trainer, model):
    if trainer.global_step and os.environ.get("EVALUATE"):
        open(os.environ["PLACES"] + "/evaluating", "w").close()
        time.sleep(60 if trainer.global_rank else 0)  # the other waits for this one
    look(self, trainer, model)
LastCheckpoint.on_train_batch_end, FID.look = slowly, evaluate
sys.exit(main())
"""


class Pair:
    """Two processes of one run."""

    def __init__(self, config, run, folder, slow=0.3, **environment):
        self.places, script = folder / "places", folder / "two.py"
        self.places.mkdir(exist_ok=True)
        for old in self.places.iterdir():
            old.unlink()
        script.write_text(SCRIPT)
        path = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
        environment = {
            "PLACES": str(self.places),
            "SLOW": str(slow),
            "PYTHONPATH": path,
        } | environment
        more = ["--ckpt_path=auto", "--trackers=[csv]", "--trainer.devices=2"]
        self.log = folder / "two.log"
        command = [sys.executable, str(script), "fit", f"--config={config}", f"--run_dir={run}"]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*command, *more],
                env={**os.environ, **environment},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_for(self, condition):
        end = time.monotonic() + 120
        while not condition():
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < end, self.log.read_text()[-3000:]
            time.sleep(0.05)

    def pid(self, rank):
        return int((self.places / str(rank)).read_text().split()[0])

    def ready(self, step=2):
        def there():
            found = [(self.places / str(rank)) for rank in range(2)]
            texts = [p.read_text().split() for p in found if p.exists()]
            return len(texts) == 2 and all(len(t) == 2 and int(t[1]) >= step for t in texts)

        self.wait_for(there)

    def ended(self, seconds):
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise AssertionError(f"hangs: {self.log.read_text()[-3000:]}") from None


@pytest.fixture(scope="module")
def whole_of_two(digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole-of-two")
    config = config_of(SOURCE["dcgan"], digits, folder / "config.yaml")
    assert Pair(config, folder / "run", folder, slow=0).ended(120) == 0
    return folder / "run"


@pytest.mark.parametrize("whom", ["first", "second", "group"])
def test_both_processes_stop_after_the_same_step(whom, digits, whole_of_two, tmp_path):
    config = config_of(SOURCE["dcgan"], digits, tmp_path / "config.yaml")
    run, code = tmp_path / "run", 143
    pair = Pair(config, run, tmp_path)
    pair.ready()
    if whom == "group":  # as a terminal does
        os.killpg(pair.process.pid, signal.SIGINT)
        code = 130
    else:
        os.kill(pair.pid(int(whom == "second")), signal.SIGTERM)
    assert pair.ended(20) == code, pair.log.read_text()
    said = pair.log.read_text()
    assert said.count("; go on with --run_dir") == 1, said
    assert "Traceback" not in said, said
    assert state(run)["global_step"] > 2
    assert Pair(config, run, tmp_path, slow=0).ended(120) == 0
    assert same(run, whole_of_two)


def test_both_processes_leave_an_evaluation_at_once(digits, whole_of_two, tmp_path):
    config = config_of(SOURCE["dcgan"], digits, tmp_path / "config.yaml")
    run = tmp_path / "run"
    pair = Pair(config, run, tmp_path, slow=0, EVALUATE="yes")
    pair.wait_for((pair.places / "evaluating").exists)
    time.sleep(1)
    os.kill(pair.pid(0), signal.SIGTERM)
    assert pair.ended(20) == 143, pair.log.read_text()
    assert state(run)["global_step"] == 7
    assert Pair(config, run, tmp_path, slow=0).ended(120) == 0
    assert same(run, whole_of_two)
