"""The command line. Torch is imported only by the commands that need it."""

import difflib
import sys
from collections.abc import Sequence

USAGE = """\
usage: python run.py COMMAND [--help] [OPTION ...] [--debug]

Training, by LightningCLI (see `fit --help`):
  fit       train:          run.py fit --config configs/mnist/dcgan.yaml [--trainer.devices 4 ...]
            go on:          run.py fit --config RUN/config.yaml --run_dir RUN --ckpt_path last
  validate  on held-out:    run.py validate --config RUN/config.yaml --ckpt_path RUN/checkpoints/last.ckpt
  test      on test:        run.py test --config RUN/config.yaml --ckpt_path RUN/checkpoints/last.ckpt

Tools:
  models    every model: family, capabilities, paper, status        run.py models [--json]
  data      examine a data set: counts, duplicates, leakage, ...    run.py data digits [--root DIR]
  sample    draw images from a checkpoint                           run.py sample --checkpoint C
  evaluate  score a checkpoint under one protocol                   run.py evaluate --checkpoint C

Data sets are looked for under $LIGHTNING_GEN_DATA, else ./data; --debug shows where an error was raised.
"""

TRAINING = ("fit", "validate", "test")
TOOLS = ("models", "data", "sample", "evaluate")


def main(args: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code; what a user did wrong ends in one sentence."""
    arguments = list(sys.argv[1:] if args is None else args)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0
    command = arguments[0]
    try:
        if command in TOOLS:
            from .tools import run_tool

            run_tool(command, arguments[1:])
        elif command in TRAINING:
            from .train import run_training

            run_training(arguments)
        else:
            near = difflib.get_close_matches(command, TRAINING + TOOLS, n=1)
            hint = f"did you mean {near[0]}?" if near else "see `python run.py --help`"
            raise ValueError(f"there is no command {command}; {hint}")
    except KeyboardInterrupt as interrupt:
        print(f"\n{str(interrupt) or 'interrupted'}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 141
    except Exception as error:
        if debug or not _is_users(error):
            raise
        print(f"error: {_sentence(error)}", file=sys.stderr)
        return 2
    return 0


def _is_users(error: Exception) -> bool:
    """Whether an error is one that a user can make: a wrong value, a missing file, bad numbers."""
    if isinstance(error, ValueError | OSError | ArithmeticError | ModuleNotFoundError | EOFError):
        return True
    return type(error).__name__ in (
        "MisconfigurationException",
        "ArgumentError",
        "OutOfMemoryError",
    )


def _sentence(error: Exception) -> str:
    """The message of an error on one line."""
    return " ".join(str(error).split()) or type(error).__name__
