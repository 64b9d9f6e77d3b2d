"""The command line. Torch is imported only by the commands that need it."""

import difflib
import os
import re
import sys
import traceback
from collections.abc import Sequence

from lightning_gen.secrets import redact_message
from lightning_gen.stopping import Stopped

# Of a process that is lost torch warns with stack traces; this is read when it is imported.
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")

USAGE = """\
usage: python run.py COMMAND [--help] [OPTION ...] [--debug]

Training, by LightningCLI (see `fit --help`):
  fit       train:          run.py fit --config configs/mnist/dcgan.yaml [--trainer.devices 4 ...]
            go on:          run.py fit --config RUN/config.yaml --run_dir RUN --ckpt_path last
                            (auto: go on if there is a checkpoint, else begin)
  validate  on held-out:    run.py validate --config RUN/config.yaml --ckpt_path RUN/checkpoints/last.ckpt
  test      on test:        run.py test --config RUN/config.yaml --ckpt_path RUN/checkpoints/last.ckpt

Tools:
  models    every model: family, capabilities, paper, status        run.py models [--json]
  data      examine a data set: counts, duplicates, leakage, ...    run.py data digits [--root DIR]
  sample    draw images from a checkpoint                           run.py sample --checkpoint C
  evaluate  score a checkpoint under one protocol                   run.py evaluate --checkpoint C
  probe     an encoder with few labels, and its controls            run.py probe --checkpoint C
  export    write networks to be used without Lightning             run.py export --checkpoint C
  compare   runs in one table, with intervals over seeds            run.py compare RUN ... [--output R.html]
  reproduce a published table, with its cost and a verdict          run.py reproduce mnist-likelihood
  sweep     search settings of a config for the best score          run.py sweep FILE

Data sets are looked for under $LIGHTNING_GEN_DATA, else ./data; --debug shows where an error was raised.
A config may name classes of the platform, of torch.nn, torch.optim, torchvision, torchmetrics and
Lightning; with --allow-any-class any other, whose code is then run. A checkpoint never may.
"""

TRAINING = ("fit", "validate", "test")
TOOLS = ("models", "data", "sample", "evaluate", "probe", "export", "compare", "reproduce", "sweep")
TRUST = ("--allow-any-class", "--allow_any_class")
FLAGS = ("--debug", *TRUST)  # of every command; no config can set them


def main(args: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code; what a user did wrong ends in one sentence."""
    given = list(sys.argv[1:] if args is None else args)
    arguments = without_flags(given)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0
    try:
        run_command(arguments[0], given)
    except Stopped as stop:
        return int(stop.code or 0)
    except KeyboardInterrupt as interrupt:
        print(f"\n{str(interrupt) or 'interrupted'}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 141
    except Exception as error:
        if _is_users(error) and "--debug" not in given:
            if not getattr(error, "said", False):  # by another process of the run
                print(f"error: {redact_message(_sentence(error), given)}", file=sys.stderr)
            return 2
        if args is not None:
            raise
        print(redact_message(traceback.format_exc(), given), end="", file=sys.stderr)
        return 1
    return 0


def run_command(command: str, given: Sequence[str]) -> None:
    """Runs a command with the arguments that were given, flags and command included."""
    if command not in TRAINING + TOOLS:
        near = difflib.get_close_matches(command, TRAINING + TOOLS, n=1)
        hint = f"did you mean {near[0]}?" if near else "see `python run.py --help`"
        raise ValueError(f"there is no command {command}; {hint}")
    from .allowed import any_class, classes_of_the_platform

    with any_class() if set(TRUST) & set(given) else classes_of_the_platform():
        if command in TOOLS:
            from .tools import run_tool

            run_tool(command, without_flags(given)[1:])
        else:
            from .train import run_training

            run_training(given)


def without_flags(arguments: Sequence[str]) -> list[str]:
    """The arguments of a command, without those that every command has."""
    return [argument for argument in arguments if argument not in FLAGS]


def is_first_process() -> bool:
    """Whether this is the first process of a run, or its only one."""
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))


def _is_users(error: Exception) -> bool:
    """Whether an error is one that a user can make: a wrong value, a missing file, bad numbers."""
    if isinstance(error, ValueError | OSError | ArithmeticError | ModuleNotFoundError | EOFError):
        return True
    if _lacks_memory(error):
        return True
    return type(error).__name__ in (
        "MisconfigurationException",
        "ArgumentError",
        "OutOfMemoryError",
    )


def _lacks_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or "can't allocate memory" in str(error)


def _sentence(error: Exception) -> str:
    """The message of an error on one line, and what was noted about it.

    Names of files may hold anything: what would move a terminal's cursor is spelt out.
    """
    said = [_message(error), *getattr(error, "__notes__", [])]
    line = "; ".join(" ".join(part.split()) for part in said if part) or type(error).__name__
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


def _message(error: Exception) -> str:
    """What an error says; where that is a system's or a processor's, in words."""
    if _lacks_memory(error):
        wanted = re.search(
            r"tried to allocate (\d+) bytes|Unable to allocate ([\d.]+ \w+)", str(error)
        )
        size = f" for {wanted[2] or f'{int(wanted[1]):,} bytes'}" if wanted else ""
        return f"there is not enough memory{size}; take smaller batches, images or networks"
    if isinstance(error, ZeroDivisionError):
        return f"{error}: a setting by which is divided is 0; --debug shows where"
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return (
            f"{os.fsdecode(error.filename)}: {error.strerror}; check the path and its permissions"
        )
    return str(error)
