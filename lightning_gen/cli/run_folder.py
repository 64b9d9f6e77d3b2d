"""Which folder a run has: chosen once, by the first process, and known to the others."""

import contextlib
import errno
import os
import shutil
import time
from pathlib import Path
from typing import IO, Any

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

from lightning_gen.files import writing

from . import is_first_process
from .cluster import agreed, by_srun, starts_again

VARIABLE = "LIGHTNING_GEN_RUN_DIR"
_made: list[Path] = []  # folders that this process made
_held: list[IO[str]] = []  # the locks of those where it is at work


def choose_run_folder(config: Any, checkpoint: str | None) -> Path:
    """The folder of a run of `fit`: `--run_dir`, or a new runs/<data>-<model>/<id>.

    The processes that Lightning launches inherit the choice through the environment; those that
    torchrun launches ask its store.

    Raises:
        ValueError: If the folder holds a run already, and this one does not go on from it.
    """
    again = checkpoint == "auto" and starts_again()
    launched = os.environ.get(VARIABLE)
    if launched and os.environ.get("LOCAL_RANK", "0") != "0":
        return Path(launched)
    if config.run_dir == "":  # of a variable that is not set
        raise ValueError("--run_dir is empty; name a folder, or leave it out for a new one")
    if config.run_dir is None and checkpoint is not None and not again:
        raise ValueError("--ckpt_path goes on with a run, so --run_dir must name its folder")
    if config.run_dir is None and config.trainer.num_nodes > 1 and not starts_again():
        raise ValueError(
            f"--trainer.num_nodes {config.trainer.num_nodes} is for torchrun or srun, which start it "
            "on each node and tell the folder of the run; see docs/cluster.md"
        )
    if config.run_dir is None:
        name = run_name(config)
        folder = Path(agreed("run folder", lambda: str(new_run_folder(name, again))))
    else:
        folder = Path(config.run_dir)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--run_dir {folder} is a file; name a folder")
    if checkpoint is None and any((folder / "checkpoints").glob("*.ckpt")):
        raise ValueError(
            f"{folder} holds a run already: add --run_dir {folder} --ckpt_path last to go on with "
            "it, or choose another --run_dir"
        )
    if not folder.exists() and is_first_process():
        _made.append(folder)  # once something is written
    os.environ[VARIABLE] = str(folder)
    return folder


def existing_run_folder(config: Any, checkpoint: str | None) -> Path:
    """The folder that scores of `validate` and `test` belong to: the checkpoint's, if it has one."""
    if config.run_dir is not None:
        return Path(config.run_dir)
    if checkpoint is not None:
        folder = Path(checkpoint).resolve().parent.parent
        if (folder / "config.yaml").exists():
            return folder
    return new_run_folder(run_name(config))


def run_name(config: Any) -> str:
    """<data>-<model>: from configs/<data>/<model>.yaml, or from the classes."""
    files = config.get("config") or []
    path = Path(str(files[-1])) if files else Path()
    if path.suffix == ".yaml" and path.stem != "config" and path.resolve().parent.name:
        return f"{path.resolve().parent.name}-{path.stem}"
    data, model = (config[key].class_path.split(".")[-1].lower() for key in ("data", "model"))
    return f"{data}-{model}"


def new_run_folder(name: str, again: bool = False, root: Path = Path("runs")) -> Path:
    """A folder that no run has yet; its id is the time, to the second, and a number if need be.

    The processes that srun started come to the same one by the number of their job step, or, where
    the run is to go on whenever its job is queued `again`, of the job.
    """
    if by_srun():
        job, step = os.environ["SLURM_JOB_ID"], os.environ.get("SLURM_STEP_ID")
        return root / name / (job if again or step is None else f"{job}.{step}")
    stem = time.strftime("%Y%m%d-%H%M%S")
    for number in range(1000):
        folder = root / name / (stem if number == 0 else f"{stem}-{number}")
        try:
            folder.mkdir(parents=True)
            _made.append(folder)
            return folder
        except FileExistsError:
            continue
    raise OSError(f"could not make a new folder under {root / name}")


def hold(folder: Path) -> None:
    """Keeps other runs out of a folder for as long as this process lives.

    Raises:
        ValueError: If another process is at work there.
    """
    if fcntl is None:
        return
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / ".lock", "w")  # noqa: SIM115  # closed at the end of the process
    _held.append(file)
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:  # some shared file systems have no locks
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise ValueError(
                f"another process is at work in {folder}; wait for its end, or choose another --run_dir"
            ) from error


def forget_failed_start() -> None:
    """Removes a folder that this process made for a run that failed at its start."""
    while _made:
        folder = _made.pop()
        if not (folder / "checkpoints").exists():
            shutil.rmtree(folder, ignore_errors=True)
            with contextlib.suppress(OSError):  # others have runs there
                for parent in list(folder.parents)[:2] if folder.parts[0] == "runs" else ():
                    parent.rmdir()


def keep_run_folder() -> None:
    """To be called once there is something in the folder that is worth more than a start."""
    _made.clear()
