"""A training on MNIST that is killed 25 times, at random instants and in the middle of writing too."""

import mmap
import os
import random
import signal
import struct
import time

import pytest

from lightning_gen.checkpoints import newest_checkpoint

from .runs import ROOT, begun, differences, ended, rows, state

KILLS, STEPS, EVERY = 25, 320, 4
ARGUMENTS = [
    "fit",
    f"--config={ROOT / 'configs' / 'mnist' / 'gan.yaml'}",
    "--data.batch_size=32",
    "--trainer.callbacks=[]",
    "--trainer.accelerator=cpu",
    "--trainer.max_epochs=-1",
    f"--trainer.max_steps={STEPS}",
    "--trainer.log_every_n_steps=1",
    f"--checkpoint_every={EVERY}",
    "--trackers=[csv]",
    "--ckpt_path=auto",
]


def started(run, step):
    """The training in a process of its own, which tells its step through shared memory."""

    def child():
        from callbacks import LastCheckpoint
        from lightning_gen.cli import main

        after = LastCheckpoint.on_train_batch_end

        def telling(self, trainer, *rest):
            step[:8] = struct.pack("q", trainer.global_step)
            after(self, trainer, *rest)

        LastCheckpoint.on_train_batch_end = telling
        return main([*ARGUMENTS, f"--run_dir={run}"])

    return begun(child, run.with_suffix(".log"))


def reached(step):
    return struct.unpack("q", step[:8])[0]


@pytest.mark.slow
def test_a_storm_of_kills_changes_nothing(real_data, tmp_path, record_property):
    if not (real_data / "MNIST").is_dir():
        pytest.skip("needs MNIST under LIGHTNING_GEN_DATA")
    step, whole, run = mmap.mmap(-1, 8), tmp_path / "whole", tmp_path / "run"
    assert ended(started(whole, step)) == 0, whole.with_suffix(".log").read_text()
    chance, lost, writing = random.Random(0), [], 0
    for kill in range(KILLS):
        step[:8] = struct.pack("q", -1)
        pid = started(run, step)
        target = (STEPS - 20) * (kill + chance.random()) // KILLS
        while reached(step) < target:
            assert os.waitpid(pid, os.WNOHANG)[0] == 0, run.with_suffix(".log").read_text()
            time.sleep(0.001)
        time.sleep(chance.random() * 0.1)
        os.kill(pid, signal.SIGKILL)
        assert ended(pid) == -signal.SIGKILL
        writing += bool(list((run / "checkpoints").glob(".*.part")))
        kept = 0
        if any((run / "checkpoints").glob("*.ckpt")):
            kept = newest_checkpoint(run / "checkpoints")[1]["global_step"]
        lost.append(reached(step) - kept)
    assert ended(started(run, step)) == 0, run.with_suffix(".log").read_text()
    print(f"steps lost by each of {KILLS} kills: {lost}; {writing} in the middle of writing")
    record_property("lost_steps", lost)
    assert differences(state(whole), state(run)) == []
    assert rows(whole) == rows(run)
    assert max(lost) <= EVERY + 1  # a write that was cut short loses as much again
    assert writing > 0
    assert not list((run / "checkpoints").glob(".*.part"))
