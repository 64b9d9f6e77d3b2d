"""What a network computes, as far as its weights do not say it."""

import inspect
import sys

import torch
from torch import nn

# Whose classes are known by their names.
KNOWN = {"torch", "torchvision", "torch_fidelity", "lightning_gen", *sys.stdlib_module_names}


def code_of(module: nn.Module) -> str:
    """The source files and plain attributes of the classes of others in a module, the same anywhere.

    Whole files, since what a class computes may lie in functions beside it: so an edit of a comment
    counts as well. Of a class without a file, such as one typed into a prompt, the bytecode counts.
    """
    parts = [(name, part) for name, part in module.named_modules() if not _known(type(part))]
    files = {source_of(kind): None for _, part in parts for kind in type(part).__mro__}
    scripted = [x for x in module.modules() if isinstance(x, torch.jit.ScriptModule)]
    scripts = [getattr(x, "code", "") for x in scripted]  # some have no forward
    return "\n".join([*filter(None, files), *(_plain(*part) for part in parts), *scripts])


def source_of(kind: type) -> str:
    """The file that a class stands in, with the class's name; nothing of a known one."""
    if _known(kind):
        return ""
    try:
        text = inspect.getsource(sys.modules[kind.__module__])
    except (KeyError, OSError, TypeError):
        codes = [each.__code__ for each in vars(kind).values() if inspect.isfunction(each)]
        text = repr([(code.co_code, code.co_names, _constants(code)) for code in codes])
    return f"{kind.__qualname__}:{text}"


def _constants(code: object) -> list[str]:
    """A function's constants; those of nested ones would be known by their addresses."""
    return [repr(x) for x in getattr(code, "co_consts", ()) if not inspect.iscode(x)]


def _plain(name: str, part: nn.Module) -> str:
    """The numbers and strings that a module keeps beside its weights."""
    kept = {
        key: value
        for key, value in sorted(vars(part).items())
        if isinstance(value, bool | int | float | str) and key not in ("digest", "training")
    }
    return f"{name}:{type(part).__qualname__}:{kept}"


def _known(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in KNOWN
