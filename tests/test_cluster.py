"""Several nodes, by torchrun and under SLURM: real processes that meet, stop, start again and agree."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from pytorch_lightning.utilities import rank_zero_only
from torch.distributed import TCPStore

from lightning_gen.cli import cluster, main

from .runs import (
    CONFIGS,
    ROOT,
    begun,
    config_of,
    differences,
    ended,
    fit,
    folder_of_digits,
    rows,
    state,
)

pytestmark = pytest.mark.slow
SOURCE = {path.stem: path for path in CONFIGS}
CSV = "--trackers=[csv]"
SCRIPT = """
import os, sys, time
import lightning_gen.cli.train
from callbacks import LastCheckpoint
from lightning_gen.cli import main
after = LastCheckpoint.on_train_batch_end
def slowly(self, trainer, *rest):
    after(self, trainer, *rest)
    with open(f"{os.environ['PLACES']}/{trainer.global_rank}", "w") as file:
        file.write(f"{os.getpid()} {trainer.global_step}")
    time.sleep(float(os.environ["SLOW"]))
LastCheckpoint.on_train_batch_end = slowly
sys.exit(main())
"""


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return folder_of_digits(tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="module")
def whole(digits, tmp_path_factory):
    """Runs of one process that nothing happens to."""
    runs = {}

    def of(name, precision="32-true"):
        if (name, precision) not in runs:
            folder = tmp_path_factory.mktemp(f"whole-{name}")
            config = config_of(SOURCE[name], digits, folder / "config.yaml", precision=precision)
            assert fit(config, folder / "run", CSV) == 0
            runs[name, precision] = folder / "run"
        return runs[name, precision]

    return of


@pytest.fixture(scope="module")
def whole_of_two(digits, tmp_path_factory):
    """A run of two processes that nothing happens to."""
    folder = tmp_path_factory.mktemp("whole-of-two")
    config = config_of(SOURCE["gan"], digits, folder / "config.yaml")
    assert two_ranks(folder, config, f"--run_dir={folder / 'run'}") == [0, 0]
    return folder / "run"


def free_port():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def two_ranks(folder, config, *arguments, dies=None, seconds=None):
    """Two forked processes with the variables of torchrun, but no agent; their exit codes."""
    given = {
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "1",
        "LOCAL_RANK": "0",
        "TORCHELASTIC_RUN_ID": "x",
    }
    given |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(free_port())}

    def rank(k):
        def child():
            os.environ.update(given, RANK=str(k), GROUP_RANK=str(k))
            rank_zero_only.rank = k  # as when Lightning is imported
            os.chdir(folder)
            if dies:
                dies(k)
            return main(["fit", f"--config={config}", CSV, "--trainer.num_nodes=2", *arguments])

        return begun(child, folder / f"rank{k}.log")

    pids = [rank(0), rank(1)]
    if seconds is None:
        return [ended(pid) for pid in pids]
    code = ended(pids[0])  # the other is stuck
    os.kill(pids[1], signal.SIGKILL)
    return [code, ended(pids[1])]


def furthest(a, b):
    pairs = zip(state(a)["state_dict"].values(), state(b)["state_dict"].values(), strict=True)
    return max((x.double() - y.double()).abs().max().item() for x, y in pairs)


def numbers(row):
    return {key: float(value) for key, value in row.items()}


def scores(run):
    found = json.loads((run / "result.json").read_text())["scores"]
    return {key: score["value"] for key, score in found.items()}


def same(run, other):
    return differences(state(other), state(run)) == [] and rows(other) == rows(run)


class Launch:
    """Commands that run side by side in one folder, and what they say."""

    def __init__(self, folder, commands, slow=0.0, **variables):
        folder.mkdir(exist_ok=True)
        self.folder, self.places = folder, folder / "places"
        shutil.rmtree(self.places, ignore_errors=True)
        self.places.mkdir()
        (folder / "run.py").write_text(SCRIPT)
        path = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
        own = {"PLACES": str(self.places), "SLOW": str(slow), "PYTHONPATH": path}
        self.logs = [folder / f"{k}.log" for k in range(len(commands))]
        self.processes = []
        for command, log in zip(commands, self.logs):
            with open(log, "wb") as file:
                process = subprocess.Popen(
                    command,
                    cwd=folder,
                    env={**os.environ, **own, **variables},
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            self.processes.append(process)

    @property
    def said(self):
        return "\n".join(log.read_text() for log in self.logs)

    def pid(self, rank):
        return int((self.places / str(rank)).read_text().split()[0])

    def reach(self, step):
        """Waits for both processes of the run to have passed a step."""
        end = time.monotonic() + 120
        while not all(self.steps(rank) >= step for rank in range(2)):
            assert all(p.poll() is None for p in self.processes), self.said
            assert time.monotonic() < end, self.said
            time.sleep(0.05)

    def steps(self, rank):
        path = self.places / str(rank)
        words = path.read_text().split() if path.exists() else []
        return int(words[1]) if len(words) == 2 else -1

    def ended(self, seconds=120):
        end = time.monotonic() + seconds
        try:
            return [p.wait(max(0.0, end - time.monotonic())) for p in self.processes]
        except subprocess.TimeoutExpired:
            for process in self.processes:
                os.killpg(process.pid, signal.SIGKILL)
            raise AssertionError(f"hangs: {self.said}") from None


# torchrun

TORCHRUN = (sys.executable, "-m", "torch.distributed.run")
ONE_TASK = {  # of `srun torchrun`: there is one task for each node, whatever the processes
    "SLURM_JOB_ID": "4711",
    "SLURM_NNODES": "1",
    "SLURM_NTASKS": "1",
    "SLURM_NTASKS_PER_NODE": "1",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
}


def nodes(rendezvous, config, *arguments):
    """The commands that two nodes are given, or one."""
    port = free_port()
    meeting = {
        "c10d": ["--rdzv-backend=c10d", f"--rdzv-endpoint=localhost:{port}", "--rdzv-id=7"],
        "static": ["--master-addr=localhost", f"--master-port={port}"],
        "one": [],
        "srun": ["--standalone"],
    }[rendezvous]
    count = 2 if rendezvous in ("c10d", "static") else 1
    size = [f"--nnodes={count}", f"--nproc-per-node={2 // count}"]
    job = ["run.py", "fit", f"--config={config}", f"--trainer.devices={2 // count}"]
    if count == 2:
        job.append("--trainer.num_nodes=2")
    extra = [a for a in arguments if a.startswith("--max-restarts")]
    job += [a for a in arguments if a not in extra]
    rank = {"static": [["--node-rank=0"], ["--node-rank=1"]]}.get(rendezvous, [[], []])
    return [[*TORCHRUN, *size, *meeting, *rank[k], *extra, *job] for k in range(count)]


@pytest.mark.parametrize(
    ("rendezvous", "name", "precision", "bound"),
    [
        ("c10d", "gan", "32-true", 1e-6),
        ("static", "vae", "64-true", 1e-10),
        ("one", "vae", "32-true", 1e-5),
        ("srun", "gan", "64-true", 1e-10),
    ],
)
def test_torchrun_computes_what_one_process_computes(
    rendezvous, name, precision, bound, digits, whole, tmp_path
):
    config = config_of(SOURCE[name], digits, tmp_path / f"{name}.yaml", precision=precision)
    slurm = ONE_TASK if rendezvous == "srun" else {}
    launch = Launch(tmp_path / "nodes", nodes(rendezvous, config), **slurm)
    assert set(launch.ended()) == {0}, launch.said
    (run,) = (tmp_path / "nodes").glob("runs/*/*")
    assert run.parent.name == f"{tmp_path.name}-{name}"
    one = whole(name, precision)
    print(name, precision, furthest(run, one))
    assert furthest(run, one) <= bound
    for mine, other in zip(rows(run), rows(one), strict=True):
        assert numbers(mine) == pytest.approx(numbers(other), rel=1e-4)  # logged in float32
    exact = 1e-5 if precision == "32-true" else 1e-9
    print({k: v / scores(one)[k] - 1 for k, v in scores(run).items()})
    assert scores(run) and scores(run) == pytest.approx(scores(one), rel=exact)
    for what in ("run folder ", "model  ", "result  ", "checkpoints  "):
        assert launch.said.count(what) == 1, launch.said
    for files in ("metrics.csv", "result.json", "tensorboard/events*", "wandb/offline-run-*"):
        assert len(list(run.glob(files))) == 1, files
    assert len(list((tmp_path / "nodes").rglob("*.wandb"))) == 1


def test_a_node_that_is_told_to_stop_stops_all(digits, whole, whole_of_two, tmp_path):
    config = config_of(SOURCE["gan"], digits, tmp_path / "gan.yaml", workers=1)
    launch = Launch(tmp_path / "nodes", nodes("c10d", config, CSV), slow=0.3)
    launch.reach(2)
    start = time.monotonic()
    launch.processes[1].send_signal(signal.SIGTERM)
    assert launch.ended(20) == [1, 1], launch.said  # torchrun's code for any other than 0
    print("stopped in", time.monotonic() - start)
    assert launch.said.count("exitcode  : 143") == 1, launch.said  # of the node that was not told
    assert launch.said.count("; go on with --run_dir") == 1, launch.said
    (run,) = (tmp_path / "nodes").glob("runs/*/*")
    assert 2 <= state(run)["global_step"] < 14

    alone = Path(shutil.copytree(run, tmp_path / "alone"))
    assert fit(config, alone, CSV, "--ckpt_path=auto") == 0
    print("alone", furthest(alone, whole("gan")))
    assert furthest(alone, whole("gan")) <= 1e-6
    launch = Launch(
        tmp_path / "nodes", nodes("static", config, CSV, f"--run_dir={run}", "--ckpt_path=auto")
    )
    assert launch.ended() == [0, 0], launch.said
    assert same(run, whole_of_two)


def test_processes_that_torchrun_restarts_go_on(digits, whole_of_two, tmp_path):
    config = config_of(SOURCE["gan"], digits, tmp_path / "gan.yaml")
    arguments = ("--ckpt_path=auto", "--checkpoint_every=2", CSV)
    commands = nodes("c10d", config, "--max-restarts=1", *arguments)
    launch = Launch(tmp_path / "nodes", commands, slow=0.3)
    launch.reach(3)
    os.kill(launch.pid(1), signal.SIGKILL)
    assert launch.ended() == [0, 0], launch.said
    assert launch.said.count("exitcode: -9") == 1, launch.said
    (run,) = (tmp_path / "nodes").glob("runs/*/*")
    assert same(run, whole_of_two)


def test_restarted_processes_do_not_meet_where_dead_ones_did(tmp_path):
    agent = TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    agent.set("lightning_gen/port", str(free_port()))  # what a dead process left
    agent.set("address", "of a dead process")
    given = {"TORCHELASTIC_RUN_ID": "x", "TORCHELASTIC_USE_AGENT_STORE": "True"}
    given |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(agent.port)}

    def meeting(rank):
        def child():
            os.environ.update(given, RANK=str(rank))
            cluster.meet()
            store = TCPStore("localhost", int(os.environ["MASTER_PORT"]), is_master=False)
            assert not store.check(["address"])
            store.set(f"address {rank}", "")
            store.wait([f"address {1 - rank}"], timedelta(seconds=30))
            time.sleep(1)  # for the other to have it too

        return begun(child, tmp_path / f"{rank}.log")

    second = meeting(1)
    time.sleep(1)
    assert [ended(meeting(0)), ended(second)] == [0, 0], (tmp_path / "1.log").read_text()


def test_nodes_without_a_launcher_are_refused(digits, tmp_path, capsys):
    config = config_of(SOURCE["gan"], digits, tmp_path / "gan.yaml")
    assert main(["fit", f"--config={config}", "--trainer.num_nodes=2"]) == 2
    assert "--trainer.num_nodes 2 is for torchrun or srun" in capsys.readouterr().err


def test_a_process_that_hangs_is_given_up_after_the_timeout(digits, tmp_path):
    def hangs(rank):
        from callbacks import LastCheckpoint

        after = LastCheckpoint.on_train_batch_end

        def stuck(self, trainer, *rest):
            after(self, trainer, *rest)
            if rank and trainer.global_step == 3:
                time.sleep(600)

        LastCheckpoint.on_train_batch_end = stuck

    config = config_of(SOURCE["gan"], digits, tmp_path / "gan.yaml")
    timeout = "--trainer.strategy=DDPStrategy", "--trainer.strategy.timeout=00:00:04"
    start = time.monotonic()
    assert two_ranks(tmp_path, config, *timeout, dies=hangs, seconds=60) == [2, -signal.SIGKILL]
    assert 4 < time.monotonic() - start < 30
    assert "process 0 lost another process of the run" in (tmp_path / "rank0.log").read_text()


def test_no_thread_is_left_to_abort_a_process_that_ends(digits, tmp_path):
    def watched(rank):
        from callbacks import LastCheckpoint

        after = LastCheckpoint.teardown

        def look(self, *rest, **more):
            assert any(t.name == "signals" for t in threading.enumerate())
            after(self, *rest, **more)
            assert not any(t.name == "signals" for t in threading.enumerate())

        LastCheckpoint.teardown = look

    config = config_of(SOURCE["gan"], digits, tmp_path / "gan.yaml")
    assert two_ranks(tmp_path, config, "--trainer.max_steps=1", dies=watched) == [0, 0]


# SLURM

SRUN = f"""#!{sys.executable} -S
import os, signal, subprocess, sys
options, command = [], sys.argv[1:]
while command[0].startswith("--"):
    options.append(command.pop(0))
each = int(os.environ["SLURM_NTASKS_PER_NODE"])
tasks = {{}}
for k in range(int(os.environ["SLURM_NTASKS"])):
    own = dict(SLURM_PROCID=k, SLURM_LOCALID=k % each, SLURM_NODEID=k // each, SLURM_STEP_ID=0)
    env = {{**os.environ, **{{name: str(value) for name, value in own.items()}}}}
    task = subprocess.Popen(command, env=env, start_new_session=True)
    tasks[task.pid] = task
def forward(number, frame):
    for task in tasks.values():
        task.send_signal(number)
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
    signal.signal(number, forward)
highest = 0
while tasks:
    pid, status = os.wait()
    del tasks[pid]
    code = os.waitstatus_to_exitcode(status)
    code = code if code >= 0 else 128 - code
    highest = max(highest, code)
    if code and "--kill-on-bad-exit=1" in options:
        forward(signal.SIGKILL, None)
sys.exit(highest)
"""
SCONTROL = '#!/bin/sh\necho "$@" >>"$SLURM_SUBMIT_DIR/requeued"\n'
SQUEUE = '#!/bin/sh\ncat "$SLURM_SUBMIT_DIR/state"\n'


def batch(folder, arguments=(), srun=SRUN, slow=0.0, job=None):
    """Runs the batch script of a job with two nodes, as SLURM would."""
    tools = folder / "tools"
    tools.mkdir(parents=True, exist_ok=True)
    for name, text in {"srun": srun, "scontrol": SCONTROL, "squeue": SQUEUE}.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    script = shutil.copy(ROOT / "scripts" / "slurm.sbatch", tools / "slurm_script")
    variables = {"JOB_ID": job or "1", "JOB_NAME": "lightning_gen", "NNODES": "2", "NTASKS": "2"}
    variables |= {"NODELIST": "localhost,other", "JOB_NODELIST": "localhost,other"}
    variables |= {"NTASKS_PER_NODE": "1", "CPUS_PER_TASK": "1", "SUBMIT_DIR": str(folder)}
    variables |= {"PROCID": "0", "LOCALID": "0", "NODEID": "0"}
    slurm = {f"SLURM_{name}": value for name, value in variables.items()}
    (folder / "state").write_text("RUNNING\n")
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    return Launch(
        folder, [["bash", script, *arguments]], slow, PATH=path, PYTHON=sys.executable, **slurm
    )


def requeued(folder):
    path = folder / "requeued"
    return path.read_text().splitlines() if path.exists() else []


def test_a_job_that_is_stopped_goes_on_when_it_is_queued_again(digits, whole_of_two, tmp_path):
    config = config_of(SOURCE["gan"], digits, tmp_path / "gan.yaml", workers=1)
    arguments = (f"--config={config}", CSV)
    job = str(70000 + free_port() % 10000)  # Lightning takes the port from it
    for number, code, shell in ((signal.SIGTERM, 143, True), (signal.SIGUSR1, 138, False)):
        launch = batch(tmp_path / "job", arguments, slow=0.3, job=job)
        launch.reach(3 if shell else 6)
        if shell:  # some sites tell the batch shell as well
            launch.processes[0].send_signal(signal.SIGTERM)
        for rank in range(2):
            os.killpg(launch.pid(rank), number)
        assert launch.ended(20) == [code], launch.said
        assert launch.said.count("; go on with --run_dir") == 1, launch.said
    assert requeued(tmp_path / "job") == [f"requeue {job}"] * 2
    launch = batch(tmp_path / "job", arguments, job=job)
    assert launch.ended() == [0], launch.said
    assert requeued(tmp_path / "job") == [f"requeue {job}"] * 2
    (run,) = (tmp_path / "job").glob("runs/*/*")
    assert run.name == job
    assert same(run, whole_of_two)


def test_a_job_with_a_mistake_is_not_queued_again(digits, tmp_path):
    config = config_of(SOURCE["gan"], digits, tmp_path / "gan.yaml")
    launch = batch(tmp_path / "job", (f"--config={config}", "--model.ema_half_live=3"))
    assert launch.ended() == [2], launch.said
    assert "did you mean ema_half_life?" in launch.said
    assert requeued(tmp_path / "job") == []


@pytest.mark.parametrize(
    ("code", "state", "again"),
    [
        (143, "RUNNING", True),
        (138, "RUNNING", True),
        (143, "COMPLETING", False),  # cancelled
        (130, "RUNNING", False),
        (137, "RUNNING", False),
        (1, "RUNNING", False),
        (0, "RUNNING", False),
    ],
)
def test_only_a_job_that_was_stopped_is_queued_again(code, state, again, tmp_path):
    srun = f'#!/bin/sh\necho {state} >state\necho srun "$@"\nexit {code}\n'
    launch = batch(tmp_path / "job", ("--config=x.yaml",), srun=srun)
    assert launch.ended(20) == [code], launch.said
    assert requeued(tmp_path / "job") == (["requeue 1"] if again else [])
    assert "--cpus-per-task=1" in launch.said
