"""What rows are called: as their suite does, or by their model and what it has other than most of its kind."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ..settings import HOW_LONG

MOST = 4  # settings in a name
LONG = {f"trainer.{name}" for name in HOW_LONG}  # said only of what differs in nothing else
_LABELS = "num_classes"  # of networks: null where they are given no labels
_ROLE = re.compile(r"(Generator|Discriminator|Critic|Encoder|Decoder|Network|Stack)$")

Settings = Mapping[str, str]  # values as JSON, by their paths


def model_names(runs: Sequence[Settings], rows: Sequence[str]) -> list[str]:
    """A name for each run, the same for those of the same settings and no others.

    Runs of the same classes are a kind of model. If all of a kind are of suites, they are called as
    their rows there; else it is the model that names them. To this come the settings by which a run departs from
    most of that name, as few as tell them apart.

    Arguments:
        runs: Their settings, those alone that make a model.
        rows: The row of a suite that each is of, empty where it is of none.
    """
    kinds: dict[tuple[str, ...], list[int]] = {}
    for k, settings in enumerate(runs):
        classes = sorted(f"{p}={v}" for p, v in settings.items() if _is_class(p, v))
        kinds.setdefault((settings.get("model", ""), *classes), []).append(k)
    titles = _titles([runs[members[0]] for members in kinds.values()])
    named = [""] * len(runs)
    for title, members in zip(titles, kinds.values(), strict=True):
        for k in members:
            named[k] = title
    for k, row in enumerate(_rows(runs, rows, list(kinds.values()))):
        named[k] = row or named[k]
    names = [""] * len(runs)
    for title in dict.fromkeys(named):
        members = [k for k, name in enumerate(named) if name == title]
        for k, said in zip(members, _told_apart([runs[k] for k in members]), strict=True):
            names[k] = " ".join([title, *said])
    return _numbered(names, runs)


def number(value: float) -> str:
    """A setting's number as one would write it: 1e-4, 64."""
    if value == 0 or 1e-2 <= abs(value) < 1e6:
        return f"{value:.6g}"
    digits, _, power = f"{value:.5e}".partition("e")
    return f"{digits.rstrip('0').rstrip('.')}e{int(power)}"


def words(value: Any) -> str:
    """A setting as a few words."""
    if isinstance(value, float) and not isinstance(value, bool):
        return number(value)
    if isinstance(value, str):
        return value.rpartition(".")[2] if re.fullmatch(r"[a-z_]\w*(\.\w+)+", value) else value
    return json.dumps(value, default=str)


def _rows(runs: Sequence[Settings], rows: Sequence[str], kinds: Sequence[list[int]]) -> list[str]:
    """The rows that runs are called by, with the data where these differ; empty where they are not."""
    known: dict[frozenset[tuple[str, str]], set[str]] = {}
    same = [frozenset(settings.items()) for settings in runs]
    for each, row in zip(same, rows, strict=True):
        known.setdefault(each, set()).update([row] if row else [])
    own = [next(iter(known[each])) if len(known[each]) == 1 else "" for each in same]
    data = [settings.get("data", '"data"') for settings in runs]
    if len(set(data)) > 1:
        own = [f"{row} on {_class(of)}" if row else "" for row, of in zip(own, data, strict=True)]
    spread = Counter(row for members in kinds for row in {own[k] for k in members})
    for members in kinds:
        if not all(own[k] and spread[own[k]] == 1 for k in members):
            for k in members:
                own[k] = ""
    return own


def _titles(kinds: Sequence[Mapping[str, str]]) -> list[str]:
    """Names of kinds of model: the class, then the networks and the data where these differ."""
    named = []
    models = [_class(kind.get("model", '"model"')) for kind in kinds]
    data = [_class(kind.get("data", '"data"')) for kind in kinds]
    for k, kind in enumerate(kinds):
        same = [other for other, model in zip(kinds, models, strict=True) if model == models[k]]
        own = [p for p in kind if _is_class(p, kind[p]) and p.startswith("model.")]
        differ = [p for p in own if len({other.get(p) for other in same}) > 1]
        nets = dict.fromkeys(_ROLE.sub("", _class(kind[p])) for p in differ)
        title = models[k]
        if len(nets) == 1 and next(iter(nets)).endswith(title):  # DCGAN is a GAN
            title = next(iter(nets))
        elif nets:
            title = " ".join([title, *list(nets)[:MOST]])
        named.append(f"{title} on {data[k]}" if len(set(data)) > 1 else title)
    return [
        name if named.count(name) == 1 else f"{name} #{named[: k + 1].count(name)}"
        for k, name in enumerate(named)
    ]


def _told_apart(runs: Sequence[Settings]) -> list[list[str]]:
    """What is said of each of some runs of one title: of the most usual ones nothing."""
    paths = dict.fromkeys(path for settings in runs for path in settings)
    usual = {p: Counter(each.get(p) for each in runs).most_common(1)[0][0] for p in paths}
    labels = _switch([p for p in paths if p.endswith(f".{_LABELS}")], runs)
    short, long = [], []
    for each in runs:
        given = ["conditional" for p in labels[:1] if each.get(p, "null") != "null"]
        changed = {p: each.get(p) for p in paths if each.get(p) != usual[p] and p not in labels}
        brief = {p: value for p, value in changed.items() if p not in LONG}
        short.append([*given, *_departures(brief)])
        long.append([*given, *_departures(changed)])
    alike: dict[tuple[str, ...], set[frozenset[tuple[str, str]]]] = {}
    for said, each in zip(short, runs, strict=True):
        alike.setdefault(tuple(said), set()).add(frozenset(each.items()))
    return [
        brief if len(alike[tuple(brief)]) == 1 else all_of_it
        for brief, all_of_it in zip(short, long, strict=True)
    ]


def _switch(paths: Sequence[str], runs: Sequence[Settings]) -> list[str]:
    """Those of some settings that differ, if in each run all are null or all the one other value."""
    values = {p: {each.get(p, "null") for each in runs} for p in paths}
    differ = [p for p in paths if len(values[p]) > 1]
    states = {tuple(each.get(p, "null") for p in differ) for each in runs}
    plain = all(len(set(state)) == 1 for state in states) and len(states) == 2
    return differ if plain and ("null",) * len(differ) in states else []


def _departures(changed: Mapping[str, str | None]) -> list[str]:
    """`lr=1e-4`, where all of that name have changed alike; else with what it is of."""
    values: dict[str, set[str | None]] = {}
    for path, value in changed.items():
        values.setdefault(path.rpartition(".")[2], set()).add(value)
    said = {}
    for path, value in changed.items():
        leaf = path.rpartition(".")[2]
        longer = path.partition(".")[2] if path.count(".") > 1 else path
        name = leaf if len(values[leaf]) == 1 else longer
        said[name] = f"{name}={words(json.loads(value)) if value is not None else 'unset'}"
    more = [f"+{len(said) - MOST} more"] if len(said) > MOST else []
    return [*list(said.values())[:MOST], *more]


def _numbered(names: Sequence[str], runs: Sequence[Settings]) -> list[str]:
    """Names with a number where two settings have been shortened to the same."""
    seen: dict[str, list[Settings]] = {}
    numbered = []
    for name, settings in zip(names, runs, strict=True):
        same = seen.setdefault(name, [])
        if settings not in same:
            same.append(settings)
        place = same.index(settings)
        numbered.append(name if place == 0 else f"{name} #{place + 1}")
    return numbered


def _class(value: str) -> str:
    """The name of a class, of its path as JSON."""
    return words(json.loads(value))


def _is_class(path: str, value: str) -> bool:
    """Whether a setting names a class of ours that a model or the data consist of."""
    return "." in value and re.fullmatch(r'"[A-Za-z_]\w*(\.\w+)+"', value) is not None
