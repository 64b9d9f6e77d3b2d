"""A corpus of inputs that are wrong, each with what the command line says of it.

What is written beforehand is written to an empty folder, in which the command runs.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

SMALL = """\
model:
  class_path: GAN
  init_args:
    generator: {class_path: MLPGenerator, init_args: {shape: [1, 8, 8], latent_size: 4, widths: [8]}}
    discriminator: {class_path: MLPDiscriminator, init_args: {shape: [1, 8, 8], widths: [8]}}
data: {class_path: Digits, init_args: {size: 8, batch_size: 16}}
trainer: {max_steps: 1, limit_val_batches: 0}
"""


class Bad(NamedTuple):
    """An input that is refused.

    Arguments:
        command: What is run, words apart by spaces; `fit` by default, with `small.yaml`.
        says: What its one sentence must hold, in this order, apart by ` .. `.
        files: What is written to the empty folder that it runs in; a text is `small.yaml`.
    """

    command: str
    says: str
    files: str | bytes | Callable[[Path], object] = SMALL


def put(path: str | Path, content: str | bytes) -> None:
    """Writes a file, and the folders that it is in."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


class Code:
    """What a pickle may run when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("this must not be run",)
