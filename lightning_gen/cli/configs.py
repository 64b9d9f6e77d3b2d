"""Reading configs: YAML that says plain things, of a size that a person could have written.

A few lines of aliases of aliases stand for more than any memory holds, and a few thousand brackets
for more calls than Python makes. Both are found by the events of the parser, before anything is built.
"""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import set_loader
from jsonargparse._loaders_dumpers import yaml_load  # what the parser takes by default

LARGEST = 2**20  # bytes
MOST = 10_000  # values, each alias counted as what it stands for
DEEPEST = 50  # lists and mappings within each other
OPTIONS = ("--config", "-c")
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
WORDS = {list: "a list", str: "a text", type(None): "nothing but comments"}


def read_config(path: Path) -> dict[str, Any]:
    """The content of a config.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is anything else.
    """
    text = _text(path)
    try:
        content = load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"the config {path} cannot be read: {problem(error)}; mend it") from error
    if not isinstance(content, dict):
        found = WORDS.get(type(content), "a value") if text.strip() else "empty"
        raise ValueError(
            f"the config {path} should state model, data and trainer, but it is {found}; "
            "configs/digits/dcgan.yaml is one"
        )
    for name, value in content.items():
        if not isinstance(name, str):
            raise ValueError(f"the config {path} has {name} where a name must be, such as model")
        if name == "trainer" and isinstance(value, list):  # which the parser takes for no settings
            raise ValueError(
                f"trainer of {path} must be a mapping, such as max_epochs: 10, got a list"
            )
    return content


def check_configs(arguments: Sequence[str]) -> None:
    """Raises ValueError for a config among a command's arguments that cannot be read, with its name."""
    for before, argument in zip(["", *arguments], arguments, strict=False):
        option, equals, value = argument.partition("=")
        named = value if equals and option in OPTIONS else argument if before in OPTIONS else None
        if named == "" or (named and named.startswith("--")):
            raise ValueError("--config needs a file, such as --config configs/digits/dcgan.yaml")
        if named and named != "-" and not named.lstrip().startswith("{"):  # a config itself
            read_config(Path(named))


def read_safely() -> None:
    """Has every parser read YAML by `load`, also where a value is a file of its own."""
    set_loader("yaml", load, exceptions=(yaml.YAMLError,))


def load(text: str) -> Any:
    """What a parser takes YAML for, once it is checked.

    Raises:
        yaml.YAMLError: If it is no YAML, or too much.
    """
    _measure(text)
    _refuse_doubles(yaml.compose(text, Loader=LOADER))
    return yaml_load(text)


def problem(error: yaml.YAMLError) -> str:
    """What is wrong with a text, and where."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return " ".join(str(error).replace('"<unicode string>", ', "").split())
    what = ", ".join(part for part in (error.context, error.problem) if part)
    if "cannot start any token" in what:
        what += ", which a tab is, so indent by spaces,"
    mark = error.problem_mark
    return what + (f" in line {mark.line + 1}, column {mark.column + 1}" if mark else "")


def _text(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise ValueError(f"{path} has more than {LARGEST:,} bytes, too many for a config")
        return data.decode("utf-8-sig")
    except FileNotFoundError:
        folder = path.parent
        names = [each.name for each in folder.iterdir()] if folder.is_dir() else []
        near = difflib.get_close_matches(path.name, names, n=1)
        hint = f"did you mean {folder / near[0]}?" if near else "see configs/ for those there are"
        raise FileNotFoundError(f"there is no config {path}; {hint}") from None
    except IsADirectoryError:
        raise ValueError(f"the config {path} is a folder; name a .yaml file in it") from None
    except UnicodeDecodeError:
        raise ValueError(f"the config {path} is not a text in UTF-8; save it as one") from None


def _measure(text: str) -> None:
    """Raises YAMLError for more values, or deeper ones, than a config has; nothing is built."""
    known: dict[str, tuple[int, int]] = {}  # by anchor, the count and the depth of what it names
    within: list[list[Any]] = []  # anchor, count before it, depth below it
    count = 0
    event: Any  # its marks are of the class of whichever parser there is
    for event in yaml.parse(text, Loader=LOADER):
        size, depth, anchor = 1, 0, str(getattr(event, "anchor", None))
        if isinstance(event, yaml.AliasEvent):
            if any(anchor == outer for outer, *_ in within):
                raise yaml.MarkedYAMLError(None, None, f"*{anchor} is within itself")
            size, depth = known.get(anchor, (1, 0))
        elif isinstance(event, yaml.CollectionStartEvent):
            within.append([anchor, count, 0])
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before, below = within.pop()
            size, depth = 0, below + 1
            known[anchor] = count - before, depth
        elif isinstance(event, yaml.ScalarEvent):
            known[anchor] = 1, 0
        else:
            continue  # the beginning or the end of the text
        count += size
        if within:
            within[-1][2] = max(within[-1][2], depth)
        if count > MOST or len(within) + depth > DEEPEST:
            what = f"it has more than {MOST:,} values, or more than {DEEPEST} within each other"
            raise yaml.MarkedYAMLError(None, None, what, event.start_mark)


def _refuse_doubles(node: yaml.Node | None) -> None:
    """Raises YAMLError for a key that a mapping has twice, of which YAML keeps the last."""
    if isinstance(node, yaml.SequenceNode):
        for each in node.value:
            _refuse_doubles(each)
    if not isinstance(node, yaml.MappingNode):
        return
    found = set()
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode) and key.value in found:
            raise yaml.MarkedYAMLError(None, None, f"{key.value} is there twice", key.start_mark)
        found.add(str(key.value))
        _refuse_doubles(value)
