"""Where the runs of a suite are made: here, one or several at a time, or by a cluster's own engine."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from importlib import import_module
from typing import Any

from .jobs import Job, run
from .processes import Several, interruptible

Engine = Callable[[Sequence[Job], Mapping[str, Any]], list[str]]
POLL = 10.0  # seconds between two looks at the jobs of a cluster
CLUSTER = "slurm"  # submitit's name of it


def here(jobs: Sequence[Job], options: Mapping[str, Any]) -> list[str]:
    """Makes the runs on this machine; what failed, as sentences.

    Arguments:
        jobs: What is to be run.
        options: `jobs`, how many runs are made at the same time; by default one.
    """
    count = at_once(options)
    with interruptible():
        return one_by_one(jobs) if count == 1 else side_by_side(jobs, count)


def at_once(options: Mapping[str, Any]) -> int:
    """How many runs are made at the same time here."""
    count = options.get("jobs", 1)
    if set(options) - {"jobs"} or not isinstance(count, int) or count < 1:
        raise ValueError(f"the engine `here` takes jobs of at least 1 and no more, got {options}")
    return count


def one_by_one(jobs: Sequence[Job]) -> list[str]:
    """Makes runs that say in the terminal how far they are."""
    failed = []
    for number, job in enumerate(jobs, 1):
        print(f"\n[{number} of {len(jobs)}] {job.label}", flush=True)
        try:
            run(job)
        except ChildProcessError as error:
            failed.append(str(error))
            print(f"error: {error}", file=sys.stderr, flush=True)
    return failed


def side_by_side(jobs: Sequence[Job], count: int) -> list[str]:
    """Makes several runs at the same time, each of which speaks into `log.txt` in its folder."""
    several, failed = Several(count), []
    print(f"{count} runs at a time; what they say is in the log.txt of each", flush=True)
    with ThreadPoolExecutor(count) as pool:
        waiting = {pool.submit(_quietly, job, several): job for job in jobs}
        try:
            for number, done in enumerate(as_completed(waiting), 1):
                job, error = waiting[done], done.exception()
                if error is not None and not isinstance(error, ChildProcessError):
                    raise error
                minutes = job.note().get("seconds", 0.0) / 60
                state = "failed" if error else f"done, {minutes:.1f} minutes"
                print(f"[{number} of {len(jobs)}] {job.label}: {state}", flush=True)
                if error is not None:
                    failed.append(str(error))
                    print(f"error: {error}", file=sys.stderr, flush=True)
        except (
            BaseException
        ):  # a signal, or a run that was stopped: the others save their state too
            pool.shutdown(wait=False, cancel_futures=True)
            several.stop()
            raise
    return failed


def _quietly(job: Job, several: Several) -> None:
    log = job.folder / "log.txt"
    try:
        run(job, lambda arguments: several.call(arguments, log))
    except ChildProcessError as error:
        last = [line for line in log.read_text(errors="replace").splitlines() if line.strip()][-1:]
        said = f"{str(error).removesuffix('; its reason is above')}: {''.join(last)}"
        raise ChildProcessError(f"{said} (see {log})") from error


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
