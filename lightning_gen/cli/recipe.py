"""What makes the numbers of a run, which a run that goes on must not change unless it is told to."""

from collections.abc import Iterator, Mapping
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from lightning_gen.settings import EACH_STEP, FETCHING


def recipe_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a resolved configuration that the weights are a function of."""
    data = dict(config["data"])
    data["init_args"] = {k: v for k, v in data.get("init_args", {}).items() if k not in FETCHING}
    trainer = {key: config["trainer"].get(key) for key in EACH_STEP}
    parts = {"model": config["model"], "data": data, "trainer": trainer}
    return {"seed_everything": config["seed_everything"], **parts}


class Recipe(Callback):
    """Has a checkpoint say what it was made by.

    Arguments:
        recipe: See `recipe_of`.
    """

    def __init__(self, recipe: dict[str, Any]) -> None:
        self.recipe = recipe

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint["recipe"] = self.recipe


def refuse_changes(old: Mapping[str, Any], new: Mapping[str, Any], path: object) -> None:
    """Raises ValueError if a recipe differs from a checkpoint's, in one sentence that says where."""
    found = list(changes(old, new))
    if found:
        shown = "; ".join(found[:3]) + (f"; and {len(found) - 3} more" if len(found) > 3 else "")
        raise ValueError(
            f"going on from {path} would not be the same run, as {shown}: set it back, or add "
            "--allow_changes true"
        )


def changes(old: Any, new: Any, where: str = "") -> Iterator[str]:
    """What differs, as sentences. What only one of them has is a newer version's, with its default."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        classes = [value.get("class_path") for value in (old, new)]
        if classes[0] != classes[1]:
            yield f"{where.replace('.init_args', '')} was {classes[0]} and is {classes[1]}"
            return
        for key in old:
            if key in new:
                yield from changes(old[key], new[key], f"{where}.{key}" if where else key)
    elif plain(old) != plain(new):
        yield f"{where.replace('.init_args', '')} was {old} and is {new}"


def plain(value: Any) -> Any:
    """A value as it is after a trip through a file: tuples are lists."""
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value
