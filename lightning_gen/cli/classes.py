"""The classes that a config may name by their last name, and what to say of one that is not there."""

import difflib
import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, get_args, get_origin, get_type_hints

from . import TRUST
from .allowed import refusal
from .reasons import reason_of, renamed, wrong_value

FORMER = {  # classes that are gone, and what a config should say instead
    "GatedPixelCNN": "GatedPixelCNN is now PixelModel with a GatedCausalStack network",
}
BASES = ("pytorch_lightning.LightningModule", "pytorch_lightning.LightningDataModule")


def import_classes() -> None:
    """Imports every model, network and optimizer, so that short names find them: no registry."""
    for package in ("lightning_gen.models", "lightning_gen.networks", "lightning_gen.nn"):
        module = importlib.import_module(package)
        for found in pkgutil.walk_packages(module.__path__, f"{package}."):
            importlib.import_module(found.name)
    for name in ("callbacks", "datamodules", "lightning_gen.optimizers"):
        importlib.import_module(name)


def class_error(error: Exception, options: Iterable[str] = (), command: str = "fit") -> Exception:
    """A parser's error, which lists all that it tried, as one sentence; other errors as they are.

    Arguments:
        error: What was raised.
        options: All that the parser takes, such as `--trainer.max_steps`.
        command: Whose parser it is.
    """
    message = " ".join(str(error).split())
    if "loading state_dict" in message:
        why = re.search(
            r"size mismatch for ([\w.]+)|(?:Missing|Unexpected) key.*?\"([\w.]+)\"", message
        )
        what = f", starting with {why[1] or why[2]}" if why else ""
        return ValueError(
            f"the checkpoint's weights do not fit the configured networks{what}; give the config "
            "that the checkpoint was made with"
        )
    refused = refusal(message)
    if refused:
        return ValueError(f"{refused}; if you trust its code, add {TRUST[0]}")
    if named := renamed(message):
        return ValueError(named)
    if type(error).__name__ != "ArgumentError" and "Does not validate against any" not in message:
        return error
    reason = reason_of(str(error))
    where = list(dict.fromkeys(re.findall(r'[Pp]arser key "([\w.]+)"', reason)))
    place, wrong = ".".join(where), wrong_value(reason)
    known = (
        unknown_option(reason, options, command)
        or unstructured(reason, place, command)
        or unknown_argument(reason)
        or unknown_class(reason, where, message)
        or missing(reason, place)
        or (f"{place or 'a value'} {wrong}" if wrong else None)
    )
    return ValueError(known or innermost(reason) + (f" (for {place})" if place else ""))


def unknown_option(reason: str, options: Iterable[str], command: str) -> str | None:
    """That there is no such option, if that is a parser's reason."""
    found = re.search(r"(unrecognized arguments: |does not accept option ')([^\s=']+)", reason)
    if found is None:
        return None
    given = found[2]
    near = difflib.get_close_matches(f"--{given.removeprefix('--')}", options, n=1)
    meant = near[0].removeprefix("" if given.startswith("--") else "--") if near else ""
    hint = f"did you mean {meant}?" if meant else f"see `run.py {command} --help`"
    if found[1].startswith("unrec") and not given.startswith("-"):
        return f"{given} follows no option; {hint}"
    return f"there is no option {given}; {hint}"


def unstructured(reason: str, place: str, command: str) -> str | None:
    """That something is not laid out as it must be, if that is a parser's reason."""
    found = re.search(r"argument (?:-\w/)?(--[\w.]+): expected one argument", reason)
    if found:
        return f"{found[1]} needs a value; see `run.py {command} --help`"
    found = re.match(r"Unable to load config '(.*?)'", reason.partition(": ")[2] or reason)
    found = found or re.search(r"Unable to load config '(.*?)'", reason)
    if found and place:
        return f"{place} must be a mapping of settings, or a file of them, got {found[1]}"
    if "object has no attribute 'keys'" in reason:
        return f"init_args of {place} must be a mapping of its arguments"
    owner = (owners_in(reason) or [""])[-1]
    if owner in BASES and "is not accepted" in reason:
        return f"{place} must have a class_path, and its arguments in init_args"
    return None


def unknown_argument(reason: str) -> str | None:
    """That a class has no such argument, if that is a parser's reason."""
    found = re.search(r"Option '([\w.]+)' is not accepted(?:.*?class_path='([\w.]+)')?", reason)
    if found is None:
        return None
    owner, names = found[2] or owners_in(reason)[-1], found[1]
    return f"{owner.split('.')[-1]} has no argument {names}; {nearest(names, arguments_of(class_at(owner)))}"


def unknown_class(reason: str, where: list[str], message: str) -> str | None:
    """That there is no such class, or not of the kind that is wanted, if that is a parser's reason."""
    place = f" for {'.'.join(where)}" if where else ""
    found = re.search(r"module '([\w.]+)' has no attribute '(\w+)'", reason)
    if found:
        if found[2] in FORMER:
            return f"{FORMER[found[2]]} ({place.strip()})"
        there = getattr(sys.modules.get(found[1]), "__dict__", {})
        names = [name for name in there if not name.startswith("_")]
        near = difflib.get_close_matches(found[2], names, n=1)
        hint = f"did you mean {near[0]}?" if near else "see its documentation"
        return f"{found[0]} ({place.strip()}); {hint}"
    found = re.search(r"Expected a dot import path string: ([^\s,]+?)\.?(?:\s|$)", reason)
    if found:
        role = role_of(where, reason, message)
        if found[1] in FORMER:
            return f"there is no class {found[1]}{place}; {FORMER[found[1]]}"
        hint = nearest(found[1], subclasses_of(role), subclasses_of(role, ours=False))
        if where == ["model"] and hint.startswith("there are"):  # too many for a sentence
            hint = "`run.py models` lists those that there are"
        return f"there is no class {found[1]}{place}; {hint}"
    found = re.search(r"(?:Not a valid|does not correspond to a) subclass of (\w+)", reason)
    if found:
        names = subclasses_of(role_of(where, reason, message))
        hint = f": there are {', '.join(names)}" if names else ""
        return f"{'.'.join(where) or 'it'} must be the class_path of a {found[1]}, and its init_args{hint}"
    return None


def missing(reason: str, place: str) -> str | None:
    """What must be given and is not, if that is a parser's reason."""
    found = re.search(
        r"arguments are required: (\w[\w.]*(?:, [\w.]*\w)*)", reason.split(". Got")[0]
    )
    if found is None:
        return None
    names = " and ".join(name.split(".")[-1] for name in found[1].split(", "))
    if place and owners_in(reason):
        owners, keys = owners_in(reason), place.split(".")  # the last may have none that is said
        owner = owners[-1].split(".")[-1] if len(owners) == len(keys) else place
        return f"{owner} needs {names}: set {'them' if ' and ' in names else 'it'} in {place}.init_args"
    if "fit." in found[1] or place:
        return f"a run needs {names}: name a config, such as --config configs/digits/dcgan.yaml"
    return f"{names} must be given"


def owners_in(reason: str) -> list[str]:
    """The classes on the way to what a parser's message is about."""
    return re.findall(r"class_path '([\w.]+)'", reason)


def innermost(reason: str) -> str:
    """The end of a parser's message, without the way there."""
    reason = re.sub(
        r"^((- )?Problem with given class_path '[\w.]+': |[Pp]arser key \"[\w.]+\": )+", "", reason
    )
    return re.split(r" - Expected a| Given value type:|\. Got value: \[?Namespace", reason)[
        0
    ].removeprefix("- ")


def arguments_of(owner: type) -> list[str]:
    """The arguments of a class, those that it passes on to its bases included."""
    bases = inspect.getmro(owner)
    found = {
        name
        for base in bases
        if base is bases[0] or base.__module__.split(".")[0] != "torch"
        for name in own_arguments(base)
    }
    return sorted(found - {"self", "args", "kwargs", "params", "optimizer"})


def own_arguments(cls: type) -> list[str]:
    """The arguments of a class's own constructor."""
    return list(inspect.signature(cls.__init__).parameters) if "__init__" in vars(cls) else []  # type: ignore[misc]


def role_of(where: list[str], reason: str, message: str) -> type | None:
    """What a class must be a kind of to stand at a key: by the annotation of its owner's argument."""
    owners = owners_in(reason)
    if owners and len(where) > 1:
        for base in inspect.getmro(class_at(owners[-1])):
            hint = get_type_hints(base.__init__).get(where[-1]) if own_arguments(base) else None  # type: ignore[misc]
            if hint is not None:
                return next(iter(classes_in(hint)), None)
    kinds = re.search(r"Subtypes: \[(.*?)\] Errors", message)
    path = re.search(r"[\w.]+\.[A-Z]\w*", kinds[1]) if kinds else None
    return class_at(path[0]) if path else None


def classes_in(hint: Any) -> Iterator[type]:
    """The classes of an annotation, such as Network of `Network | None` and of `Callable[[...], Network]`."""
    if isinstance(hint, type) and hint not in (type(None), list, tuple, dict):
        yield hint
    parts = get_args(hint)
    for part in parts[-1:] if get_origin(hint) is Callable else parts:
        yield from classes_in(part)


def class_at(path: str) -> type:
    """The class with a dotted path."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def subclasses_of(role: type | None, ours: bool = True) -> list[str]:
    """The names of classes that may stand for a role, ours or those of others."""
    pending, found = [] if role is None else [role], set()
    while pending:
        cls = pending.pop()
        pending += cls.__subclasses__()
        here = cls.__module__.split(".")[0] in ("lightning_gen", "datamodules", "callbacks")
        if here is ours and not inspect.isabstract(cls) and not cls.__name__.startswith("_"):
            found.add(cls.__name__)
    return sorted(found)


def nearest(name: str, names: list[str], others: Sequence[str] = ()) -> str:
    """A hint at the name that was meant, of some that are listed if none is near, or of others."""
    near = difflib.get_close_matches(name, [*names, *others], n=1)
    if near:
        return f"did you mean {near[0]}?"
    return f"there are {', '.join(sorted(names))}" if names else "see the README for what there is"
