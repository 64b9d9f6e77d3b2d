"""Which classes a config may name: naming one imports its module, and that runs the module's code."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jsonargparse import set_parsing_settings
from jsonargparse._common import parsing_settings  # nothing public undoes a denial

from . import TRUST, is_first_process

ALLOWED = (
    *("lightning_gen", "datamodules", "callbacks", "torch.nn", "torch.optim"),
    *("pytorch_lightning", "lightning_fabric", "torchmetrics", "torchvision"),
    "pytorch_lightning.cli.ReduceLROnPlateau",
)
DENIED = ("*", "lightning_gen.cli", "pytorch_lightning.cli")  # the latter import what they are told


@contextmanager
def classes_of_the_platform() -> Iterator[None]:
    """Within it, what parsers are given to read can name classes of the platform only.

    jsonargparse holds every class path against the list before it imports it, be it in a file, on
    the command line or in an environment variable, and then the place where the class was defined.
    """
    before = dict(parsing_settings)
    set_parsing_settings(
        import_path_denylist=list(DENIED),
        import_path_allowlist=list(ALLOWED),
        # Else an argument without a type is made an object of whatever class it names.
        instantiate_subclass_spec_in_any=False,
    )
    try:
        yield
    finally:
        parsing_settings.update(before)


@contextmanager
def any_class() -> Iterator[None]:
    """Within it, any class can be named. Says so, once for all processes of a run."""
    if is_first_process():
        print(f"warning: {TRUST[0]}: code that the configuration names is run", file=sys.stderr)
    yield


def refuse_code(features: object) -> None:
    """Raises ValueError for a name of features that is code, which is no class for the list to hold."""
    code = isinstance(features, str) and (":" in features or Path(features).is_file())
    if code and "*" in parsing_settings["import_path_verdicts"]:
        raise ValueError(
            f"extractor names {features}, which is code; if you trust it, add {TRUST[0]}"
        )


def refusal(message: str) -> str | None:
    """The first half of a sentence if a parser's error is that a class may not be named, else None."""
    found = re.search(r"Importing '([\w.]+)' is not allowed", message)
    if found is None:
        return None
    option = re.search(r"(?:^|error: )(--[\w.]+): Importing", message)
    keys = re.findall(r'[Pp]arser key "([\w.]+)"', message)
    place = option[1] if option else ".".join(keys) or "the configuration"
    if found[1].endswith((".yaml", ".yml", ".json")):
        return f"{place} names {found[1]}, and there is no such file"
    return f"{place} names {found[1]}, which is not a class of the platform"
