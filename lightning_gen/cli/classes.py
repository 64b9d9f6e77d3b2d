"""The classes that a config may name by their last name, and what to say of one that is not there."""

import difflib
import importlib
import inspect
import pkgutil
import re
from typing import get_type_hints

from . import TRUST
from .allowed import refusal


def import_classes() -> None:
    """Imports every model, network and optimizer, so that short names find them: no registry."""
    for package in ("lightning_gen.models", "lightning_gen.networks", "lightning_gen.nn"):
        module = importlib.import_module(package)
        for found in pkgutil.walk_packages(module.__path__, f"{package}."):
            importlib.import_module(found.name)
    for name in ("callbacks", "datamodules", "lightning_gen.optimizers"):
        importlib.import_module(name)


def class_error(error: Exception) -> Exception:
    """A parser's error, which lists all that it tried, as one sentence; other errors as they are."""
    message = " ".join(str(error).split())
    if "loading state_dict" in message:
        why = re.search(
            r"size mismatch for ([\w.]+)|(?:Missing|Unexpected) key.*?\"([\w.]+)\"", message
        )
        what = f", starting with {why[1] or why[2]}" if why else ""
        return ValueError(f"the checkpoint's weights do not fit the configured networks{what}")
    refused = refusal(message)
    if refused:
        return ValueError(f"{refused}; if you trust its code, add {TRUST[0]}")
    if type(error).__name__ != "ArgumentError" and "Does not validate against any" not in message:
        return error
    where = re.findall(r'[Pp]arser key "([\w.]+)"', message)
    place = f" for {'.'.join(where)}" if where else ""
    unknown = re.search(r"Option '([\w.]+)' is not accepted", message)
    if unknown:
        owner = re.findall(r"class_path '([\w.]+)'", message)[-1]
        name, names = unknown[1], arguments_of(owner)
        return ValueError(f"{owner.split('.')[-1]} has no argument {name}; {nearest(name, names)}")
    unknown = re.search(r"does not accept option '([\w.]+)'", message)
    if unknown:
        return ValueError(f"there is no option {unknown[1]}; see `run.py fit --help`")
    unknown = re.search(r"Expected a dot import path string: (\w+)", message)
    if unknown:
        names = subclasses_of(role_of(where, message))
        return ValueError(f"there is no class {unknown[1]}{place}; {nearest(unknown[1], names)}")
    return ValueError(innermost(message) + (f" ({place.strip()})" if place else ""))


def innermost(message: str) -> str:
    """The first reason that a parser gives, without the alternatives that it tried as well."""
    while "Errors: - " in message:
        message = message.split("Errors: - ", 1)[1]
    message = re.sub(
        r"^(Problem with given class_path '[\w.]+': |[Pp]arser key \"[\w.]+\": )+", "", message
    )
    return re.split(r" - Expected a| Given value type:", message)[0].removeprefix("- ")


def arguments_of(class_path: str) -> list[str]:
    """The arguments of a class, those that it passes on to its bases included."""
    bases = inspect.getmro(class_at(class_path))
    found = {
        p for base in bases if base.__module__.split(".")[0] != "torch" for p in own_arguments(base)
    }
    return sorted(found - {"self", "args", "kwargs"})


def own_arguments(cls: type) -> list[str]:
    """The arguments of a class's own constructor."""
    return list(inspect.signature(cls.__init__).parameters) if "__init__" in vars(cls) else []  # type: ignore[misc]


def role_of(where: list[str], message: str) -> type | None:
    """What a class must be a kind of to stand at a key: by the annotation of its owner's argument."""
    path = re.findall(r"Subtypes: \[<class '([\w.]+)'>", message)
    owners = re.findall(r"class_path '([\w.]+)'", message)
    if owners and len(where) > 1:
        for base in inspect.getmro(class_at(owners[-1])):
            hint = get_type_hints(base.__init__).get(where[-1]) if own_arguments(base) else None  # type: ignore[misc]
            if isinstance(hint, type):
                return hint
    return class_at(path[0]) if path else None


def class_at(path: str) -> type:
    """The class with a dotted path."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def subclasses_of(role: type | None) -> list[str]:
    """The names of our classes that may stand for a role."""
    pending, found = [] if role is None else [role], set()
    while pending:
        cls = pending.pop()
        pending += cls.__subclasses__()
        ours = cls.__module__.split(".")[0] in ("lightning_gen", "datamodules", "callbacks")
        if ours and not inspect.isabstract(cls):
            found.add(cls.__name__)
    return sorted(found)


def nearest(name: str, names: list[str]) -> str:
    """A hint at the name that was meant."""
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f"did you mean {near[0]}?"
    return f"there are {', '.join(sorted(names))}" if names else "see the README for what there is"
