"""What a parser's message is about: the one reason that counts, in words for whoever wrote the value.

jsonargparse tells all that it tried, for a type with alternatives each of them, indented below
"Errors:", and each class on the way to the value.
"""

import re

WORDS = {
    "<class 'int'>": "an integer",
    "<class 'float'>": "a number",
    "<class 'bool'>": "true or false",
    "<class 'str'>": "a text",
    "<class 'list'>": "a list",
    "<class 'tuple'>": "a list",
    "<class 'dict'>": "a mapping",
}
UNSAID = ("Expected a <class 'NoneType'>", "Expected a <class 'list'>")  # if there is another
SAID = (  # on the way to the reason, where a class or a file could have been meant
    r"^ *- Expected a path but .* either not accessible or invalid\n",
    r"Type collections\.abc\.Callable\[.*\] expects a function or a callable class: ",
)

RENAMED = (  # what the libraries say of a setting without its name, or at length
    (
        r"(-?\d+) is not in bounds, numpy accepts from (\d+) to (\d+)",
        r"seed_everything must be from \2 to \3, got \1",
    ),
    (
        r"`Timer\(duration='(.*?)'\)` is not a valid duration.*",
        r"trainer.max_time must be DD:HH:MM:SS, such as 00:12:00:00, got \1",
    ),
    (
        r"You have passed invalid value (\S+) for (\w+), it has to be .*",
        r"trainer.\2 must be a share from 0.0 to 1.0, or a number of batches, got \1",
    ),
    (
        r"`(max_\w+)` must be a non-negative integer or -1.* You passed in (\S+)\.",
        r"trainer.\1 must be 0 or more, or -1 for no end, got \2",
    ),
    (
        r"`num_nodes` must be a positive integer, but got (\S+)\.",
        r"trainer.num_nodes must be at least 1, got \1",
    ),
    (
        r"You selected an invalid accelerator name: `accelerator='(.*?)'`.*",
        r"trainer.accelerator must be auto, cpu or gpu, got \1",
    ),
    (
        r"You selected an invalid strategy name: `strategy='(.*?)'`.*",
        r"trainer.strategy must be auto, ddp or the name of another of Lightning's, got \1",
    ),
)


def renamed(message: str) -> str | None:
    """What a library says of a setting, with the setting's name, if it is one of those known."""
    for said, instead in RENAMED:
        if re.fullmatch(said, message):
            return re.sub(said, instead, message)
    return None


def reason_of(message: str) -> str:
    """A parser's message on one line, with one alternative of each type, the one that was meant."""
    for said in SAID:
        message = re.sub(said, "", message, flags=re.MULTILINE)
    return " ".join(_pruned(message).split())


def _pruned(message: str) -> str:
    head, found, rest = message.partition("Errors:\n")
    if not found:
        return message
    head = re.split(r"(?:- )?Does not validate against any", head)[0]
    indent = len(rest) - len(rest.lstrip(" "))
    items = re.split(rf"^ {{{indent}}}- ", rest, flags=re.MULTILINE)[1:]
    value = re.search(rf"^ {{0,{indent - 1}}}Given value: (.*)", items[-1], re.MULTILINE)
    items = [
        item.partition("Given value type:")[0] if "Errors:" not in item else item for item in items
    ]
    items = [item for item in items if not item.startswith(UNSAID)] or items
    if all(item.startswith("Expected a") for item in items) and "import path" not in items[0]:
        kinds = dict.fromkeys(kind for item in items for kind in [_expected(item)])
        best = f"Expected a {' or '.join(kinds)}"
    else:
        best = _pruned(max(items, key=_depth))
    given = f". Got value: {value[1]}" if value and "Got value: " not in best else ""
    return f"{head}{best.rstrip()}{given}"


def _depth(item: str) -> int:
    return 2 if "Problem with given class_path" in item else 1 if "Not a valid" not in item else 0


def _expected(item: str) -> str:
    return re.sub(r"^Expected an? ", "", item).partition(". Got value")[0].strip()


def wrong_value(reason: str) -> str | None:
    """That a value must be something else, if this is the reason that a parser gives."""
    found = re.search(
        r"Expected an? (.+?)\. Got value:\s*(.*?)(?:\. Got value: Namespace|$)", reason
    )
    if found is None or "import path" in found[1]:
        return None
    names = [
        name
        for part in re.findall(r"typing.Literal\[(.+?)\]", found[1])
        for name in part.split(", ")
    ]
    kinds = [_in_words(k) for k in found[1].split(" or ") if not k.startswith("typing.Literal")]
    if names:
        kinds.append("one of " + ", ".join(dict.fromkeys(name.strip("'") for name in names)))
    such = f", such as [{found[2]}]" if kinds == ["a list"] else ""
    return f"must be {' or '.join(kinds)}{such}, got {'null' if found[2] == 'None' else found[2] or 'nothing'}"


def _in_words(kind: str) -> str:
    """A type as one would say it."""
    sized = re.fullmatch(r"tuple with (\d+) elements", kind)
    return f"a list of {sized[1]}" if sized else WORDS.get(kind, kind)
