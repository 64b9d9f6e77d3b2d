"""How long one waits for the command line's answer."""

import os
import subprocess
import sys
from pathlib import Path

from .timing import Ratio

ROOT = Path(__file__).parents[1]
COMMANDS = {
    "run.py --help": (["run.py", "--help"], "<= 0.1"),
    "run.py models": (["run.py", "models"], "<= 0.1"),
    "run.py, a wrong command": (["run.py", "train"], "<= 0.1"),
    "run.py models, a wrong option": (["run.py", "models", "--all"], "<= 0.1"),
    "run.py fit, a wrong option": (["run.py", "fit", "--nonsense"], None),
    "import lightning_gen": (["-c", "import lightning_gen"], "<= 1.05"),
}


def run(rounds: int = 5) -> list[Ratio]:
    """Ratios of CPU seconds, of the fastest of some runs each, over `import torch`."""
    commands = {name: command for name, (command, _) in COMMANDS.items()}
    commands["import torch"] = ["-c", "import torch"]
    seconds = {name: [cpu_seconds(c) for _ in range(rounds)] for name, c in commands.items()}
    torch = seconds["import torch"]
    return [
        Ratio(
            f"{name} / import torch",
            min(seconds[name]) / min(torch),
            min(seconds[name]) / max(torch),
            max(seconds[name]) / min(torch),
            rounds,
            goal,
            "fastest of each; slowest in brackets",
        )
        for name, (_, goal) in COMMANDS.items()
    ]


def cpu_seconds(arguments: list[str]) -> float:
    """User and system time of Python with these arguments, whatever it answers."""
    child = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime
