"""Which runs are one row: those whose settings differ in nothing but the seed."""

import difflib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..settings import EACH_STEP, EXECUTION, FETCHING, HOW_LONG
from .runs import Run

TRAINER = {*EACH_STEP, *HOW_LONG}  # its settings that make another model of it
ELSEWHERE = {  # settings of data and model that do not
    "data.seed",
    *(f"data.{name}" for name in FETCHING),
    *(f"model.{name}" for name in EXECUTION),
}
MOST = 4  # settings in a name
_ROLE = re.compile(r"(Generator|Discriminator|Critic|Encoder|Decoder|Network|Stack)$")


@dataclass
class Group:
    """Runs that are averaged over."""

    name: str
    runs: list[Run]

    @property
    def model(self) -> str:
        """The class path of the model, if all runs have the same."""
        found = {str(dict(flatten(run.config)).get("model", "")) for run in self.runs}
        return found.pop() if len(found) == 1 else ""


def flatten(config: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by their paths as on the command line; a class stands under the path of its object."""
    if isinstance(config, Mapping):
        if "class_path" in config:
            yield path, config["class_path"]
        for key, value in config.items():
            if key in ("init_args", "dict_kwargs"):
                yield from flatten(value, path)
            elif key != "class_path":
                yield from flatten(value, f"{path}.{key}" if path else str(key))
    elif isinstance(config, list) and any(isinstance(each, Mapping) for each in config):
        for k, each in enumerate(config):
            yield from flatten(each, f"{path}.{k}")
    elif path:
        yield path, config


def group_runs(runs: Sequence[Run], by: str = "model") -> list[Group]:
    """Groups of runs with their names, in the order of the runs.

    Arguments:
        runs: Those without a config are left out.
        by: `model`, for all that makes a model but its seed; `class`, for the model's class alone;
            `run`, for each run by itself; or settings, such as `data` or `lr,batch_size`.

    Raises:
        ValueError: If no run has such a setting.
    """
    known = [run for run in runs if run.config]
    settings = [dict(flatten(run.config)) for run in known]
    if by == "run":
        names = [run.name for run in known]
    elif by == "model":
        names = _model_names([_relevant(each) for each in settings])
    else:
        wanted = ["model" if name == "class" else name.strip() for name in by.split(",")]
        paths = [_path_of(name, settings) for name in wanted]
        names = [" ".join(_setting(p, s.get(p), len(paths) > 1) for p in paths) for s in settings]
    groups: dict[str, Group] = {}
    for run, name in zip(known, names, strict=True):
        groups.setdefault(name, Group(name, [])).runs.append(run)
    return list(groups.values())


def without_twins(runs: Sequence[Run], by: str, problems: list[tuple[str, str]]) -> list[Run]:
    """The runs without those that have the settings and the seed of another of their group.

    Of twins the one stays that is finished, then the one that saw the most images, then that of the
    most scores; the others are added to the problems.
    """
    left_out = set()
    for group in group_runs(runs, by):
        twins: dict[tuple[Any, ...], list[Run]] = {}
        for run in group.runs:
            settings = _relevant(dict(flatten(run.config)))
            twins.setdefault((run.seed, *sorted(settings.items())), []).append(run)
        for same in twins.values():
            kept = max(same, key=_worth)
            for run in same if kept.seed is not None else ():
                if run is not kept:
                    left_out.add(id(run))
                    said = f"left out, as {kept.name} has the same settings and the same seed"
                    problems.append((run.name, said))
    return [run for run in runs if id(run) not in left_out]


def _worth(run: Run) -> tuple[bool, float, int]:
    """How much there is of a run: whether it is finished, its images, its scores."""
    scores = sum(score.value is not None for score in run.scores)
    return run.finished is True, run.budget.get("images_seen", 0.0), scores


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


def _relevant(settings: Mapping[str, Any]) -> dict[str, str]:
    """What of the settings makes a model, each as a text."""
    found = {}
    for path, value in settings.items():
        room, _, rest = path.partition(".")
        makes = room in ("model", "data") and path not in ELSEWHERE
        if makes or (room == "trainer" and rest in TRAINER):
            whole = isinstance(value, float) and value.is_integer()  # 1.0 is 1 to some trackers
            found[path] = json.dumps(int(value) if whole else value, default=str)
    return found


def _model_names(runs: Sequence[Mapping[str, str]]) -> list[str]:
    """A name for each run: its model, and the settings by which it departs from most of that model."""
    kinds: dict[tuple[str, ...], list[int]] = {}
    for k, settings in enumerate(runs):
        classes = sorted(f"{p}={v}" for p, v in settings.items() if _is_class(p, v))
        kinds.setdefault((settings.get("model", ""), *classes), []).append(k)
    titles = _titles([runs[members[0]] for members in kinds.values()])
    names = [""] * len(runs)
    for title, members in zip(titles, kinds.values(), strict=True):
        paths = dict.fromkeys(path for k in members for path in runs[k])
        usual = {p: Counter(runs[k].get(p) for k in members).most_common(1)[0][0] for p in paths}
        for k in members:
            changed = {p: runs[k].get(p) for p in paths if runs[k].get(p) != usual[p]}
            names[k] = " ".join([title, *_departures(changed)])
    seen: dict[str, list[Mapping[str, str]]] = {}
    for k, name in enumerate(names):  # two that are shortened to the same
        same = seen.setdefault(name, [])
        if runs[k] not in same:
            same.append(runs[k])
        names[k] = name if same.index(runs[k]) == 0 else f"{name} #{same.index(runs[k]) + 1}"
    return names


def _titles(kinds: Sequence[Mapping[str, str]]) -> list[str]:
    """Names of kinds of model: the class, then the networks and the data where these differ."""
    named = []
    models = [words(json.loads(kind.get("model", '"model"'))) for kind in kinds]
    data = [words(json.loads(kind.get("data", '"data"'))) for kind in kinds]
    for k, kind in enumerate(kinds):
        same = [other for other, model in zip(kinds, models, strict=True) if model == models[k]]
        own = [p for p in kind if _is_class(p, kind[p]) and p.startswith("model.")]
        differ = [p for p in own if len({other.get(p) for other in same}) > 1]
        nets = dict.fromkeys(_ROLE.sub("", words(json.loads(kind[p]))) for p in differ)
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


def _departures(changed: Mapping[str, str | None]) -> list[str]:
    """`lr=1e-4`, where all of that name have changed alike; else with what it is of."""
    values: dict[str, set[str | None]] = {}
    for path, value in changed.items():
        values.setdefault(path.rpartition(".")[2], set()).add(value)
    said = {}
    for path, value in changed.items():
        leaf = path.rpartition(".")[2]
        name = leaf if len(values[leaf]) == 1 else path.partition(".")[2]
        said[name] = f"{name}={words(json.loads(value)) if value is not None else 'unset'}"
    more = [f"+{len(said) - MOST} more"] if len(said) > MOST else []
    return [*list(said.values())[:MOST], *more]


def _is_class(path: str, value: str) -> bool:
    """Whether a setting names a class of ours that a model or the data consist of."""
    return "." in value and re.fullmatch(r'"[A-Za-z_]\w*(\.\w+)+"', value) is not None


def _path_of(name: str, settings: Sequence[Mapping[str, Any]]) -> str:
    """The path that a name ends in, of all runs' settings."""
    paths = dict.fromkeys(path for each in settings for path in each)
    plain = re.sub(r"\.(init_args|class_path)\b", "", name)
    found = [path for path in paths if path == plain] or [
        path for path in paths if f".{path}".endswith(f".{plain}")
    ]
    if not found:
        near = difflib.get_close_matches(plain, [*paths, "model", "class", "run"], n=1)
        hint = f"did you mean {near[0]}?" if near else "name one such as data or model.latent_size"
        raise ValueError(f"no run has a setting {name} to group by; {hint}")
    return found[0]


def _setting(path: str, value: Any, named: bool) -> str:
    text = words(value)
    return text if path in ("model", "data") and not named else f"{path.rpartition('.')[2]}={text}"
