"""Which runs are one row: those whose settings differ in nothing but the seed."""

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..settings import EACH_STEP, EXECUTION, FETCHING, HOW_LONG
from .naming import model_names, words
from .runs import Run

TRAINER = {*EACH_STEP, *HOW_LONG}  # its settings that make another model of it
ELSEWHERE = {  # settings of data and model that do not
    "data.seed",
    *(f"data.{name}" for name in FETCHING),
    *(f"model.{name}" for name in EXECUTION),
}


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
    """Groups of runs with their names, in the order of the runs; see `model_names`.

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
        names = model_names([_relevant(each) for each in settings], [run.row for run in known])
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
