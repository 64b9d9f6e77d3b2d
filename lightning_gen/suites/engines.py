"""Where the runs of a suite are made: here, one after the other, or by a cluster's own engine."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from .jobs import Job, run
from .processes import interruptible

Engine = Callable[[Sequence[Job], Mapping[str, Any]], list[str]]
POLL = 10.0  # seconds between two looks at the jobs of a cluster
CLUSTER = "slurm"  # submitit's name of it


def here(jobs: Sequence[Job], options: Mapping[str, Any]) -> list[str]:
    """Makes the runs on this machine; what failed, as sentences."""
    if options:
        raise ValueError(f"the engine `here` takes no options, got {', '.join(options)}")
    failed = []
    with interruptible():
        for number, job in enumerate(jobs, 1):
            print(f"\n[{number} of {len(jobs)}] {job.label}", flush=True)
            try:
                run(job)
            except ChildProcessError as error:
                failed.append(str(error))
                print(f"error: {error}", file=sys.stderr, flush=True)
    return failed


def slurm(jobs: Sequence[Job], options: Mapping[str, Any]) -> list[str]:
    """Submits each run as a job of SLURM and waits for them; jobs that are queued are not queued again.

    Arguments:
        jobs: What is to be run.
        options: As submitit's `update_parameters` takes them, such as `gpus_per_node` and
            `slurm_partition`.
    """
    submitit = _library("submitit", "slurm")
    waiting = []
    for job in jobs:
        queued = _queued(submitit, job)
        if queued is None:
            executor = submitit.AutoExecutor(folder=job.folder / "slurm", cluster=CLUSTER)
            minutes = max(10, round(4 * job.scale.minutes))
            executor.update_parameters(timeout_min=minutes, name=job.row.slug, **options)
            queued = executor.submit(run, job)
            job.jot(job=queued.job_id)
        waiting.append((job, queued))
        print(f"job {queued.job_id}  {job.label}", flush=True)
    print("waiting; if this is stopped the jobs go on, and the same command waits for them again")
    while not all(queued.done() for _, queued in waiting):
        time.sleep(POLL)
    errors = [(job, queued.exception()) for job, queued in waiting]
    return [f"{job.label}: {_reason(error)}" for job, error in errors if error is not None]


def ray(jobs: Sequence[Job], options: Mapping[str, Any]) -> list[str]:
    """Hands the runs to a Ray cluster and waits for them.

    Arguments:
        jobs: What is to be run.
        options: As `ray.remote` takes them, such as `num_gpus`.
    """
    library = _library("ray", "ray")
    library.init(ignore_reinit_error=True, log_to_driver=True)
    remote = library.remote(**{"max_retries": 3, **options})(run)
    waiting = {remote.remote(job): job for job in jobs}
    failed = []
    for reference, job in waiting.items():
        try:
            library.get(reference)
        except library.exceptions.RayError as error:
            failed.append(f"{job.label}: {_reason(error)}")
    return failed


ENGINES: dict[str, Engine] = {"here": here, "slurm": slurm, "ray": ray}


def _queued(submitit: Any, job: Job) -> Any:
    """The job of an earlier call that is still on its way, if there is one."""
    number = job.note().get("job")
    if number is None:
        return None
    kind = submitit.SlurmJob if CLUSTER == "slurm" else submitit.LocalJob
    earlier = kind(folder=job.folder / "slurm", job_id=number)
    return None if earlier.done() else earlier


def _library(name: str, extra: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"the engine {extra} needs {name}: pip install 'lightning-gen[{extra}]'"
        ) from error


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
