"""What only comparisons need to be installed."""

from importlib import import_module
from typing import Any


def load(name: str) -> Any:
    """A module of the extra `compare`.

    Raises:
        ModuleNotFoundError: If it is not installed, with what to install.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"comparing runs needs {name.partition('.')[0]}; pip install 'lightning-gen[compare]'"
        ) from error
