"""Notices that a game is lost: samples all alike, a generator that learns nothing, a loss adrift."""

import sys
from math import isfinite
from pathlib import Path
from typing import Any, Literal

from pytorch_lightning import LightningModule, Trainer

from lightning_gen.checkpoints import LAST, PREVIOUS, DamagedCheckpoint, read_checkpoint
from lightning_gen.tracking import publish, record_stop, run_folder

from .best import keep_state
from .explain_training import AUC, DIVERSITY, AtLogLines

GRADIENT = "generator/gradient_norm"
SURE = 0.999  # of the pairs ranked right: one in a thousand is left to learn from
SOUND = "sound-{}.ckpt"


class Collapse(ArithmeticError):
    """A game that was given up."""


class CollapseGuard(AtLogLines):
    """Warns, stops or goes back when a game has collapsed.

    It looks at the log lines, at what `ExplainTraining` measures, which need not be listed too.
    One of these signs at `patience` looks in a row is a collapse:

    - the samples are closer together than `least_diversity` of the distances in the data. It tells
      samples that are all alike; a lost class among ten hardly moves it, so look at coverage too;
    - the discriminator ranks all pairs right while the generator's gradient is less than
      `least_gradient` of its largest: a sure critic alone is no failure;
    - the magnitude of a player's loss is above `largest_loss`.

    `stop` ends the run with an error, and its result.json says why. `stop` and `roll_back` keep
    `checkpoints/sound-<step>.ckpt`, the last state without any sign, and those that `last.ckpt` and
    `previous.ckpt` may still have to go back to. `roll_back` puts its weights and its optimizers'
    moments back, and stops after `retries` times. Time goes on meanwhile: images,
    rounds and learning rates count as if nothing had happened. So the lost work is part of the
    budget, and the next rounds have other images and other noise, both of which are functions of
    the images seen, than those that led to the collapse. All of it is in the run's checkpoints.

    Arguments:
        mode: What to do.
        least_diversity: As a share of the data's. Games that played on were seen down to 0.15 for
            a while, those that ended well came to 0.6 to 1.
        least_gradient: As a share of the largest norm of the generator's gradient so far. That of
            a minimax game fell to a millionth where the discriminator was sure; games that played
            on kept a fiftieth, and their discriminators were not sure.
        largest_loss: No mean over images comes near it unless weights run away.
        patience: How many looks in a row, as a player may have a bad one and recover.
        grace: Rounds at the start that are not judged: an untrained generator's samples are alike.
        keep_every: Rounds between two sound states that are kept, at least.
        retries: How often to go back.
    """

    def __init__(
        self,
        mode: Literal["warn", "stop", "roll_back"] = "warn",
        least_diversity: float = 0.1,
        least_gradient: float = 0.01,
        largest_loss: float = 1e5,
        patience: int = 5,
        grace: int = 500,
        keep_every: int = 1000,
        retries: int = 3,
    ) -> None:
        super().__init__()
        if mode not in ("warn", "stop", "roll_back"):
            raise ValueError(f"mode must be warn, stop or roll_back, got {mode}")
        shares = {"least_diversity": least_diversity, "least_gradient": least_gradient}
        for name, share in shares.items():
            if not 0 <= share < 1:
                raise ValueError(f"{name} must be a share in [0, 1), got {share}")
        if not largest_loss > 0:
            raise ValueError(f"largest_loss must be positive, got {largest_loss}")
        counts = {"patience": (patience, 1), "keep_every": (keep_every, 1), "grace": (grace, 0)}
        for name, (count, least) in {**counts, "retries": (retries, 0)}.items():
            if count < least:
                raise ValueError(f"{name} must be at least {least}, got {count}")
        self.mode, self.patience, self.grace = mode, patience, grace
        self.least_diversity, self.least_gradient = least_diversity, least_gradient
        self.largest_loss, self.keep_every, self.retries = largest_loss, keep_every, retries
        self.looks: dict[str, int] = {}  # how often in a row each sign was there
        self.alarms = self.returns = 0  # collapses, and how often it went back
        self.kept = -1  # the step of the sound state
        self._largest = 0.0  # norm of the generator's gradient

    def observe(self, trainer: Trainer, model: LightningModule, values: dict[str, float]) -> None:
        norm = values.get(GRADIENT, 0.0)
        if isfinite(norm):  # loss scaling begins with norms that are not, and skips these steps
            self._largest = max(self._largest, norm)
        signs, step = self.signs(values), trainer.global_step
        judged = step > self.grace
        self.looks = {sign: self.looks.get(sign, 0) + 1 for sign in signs} if judged else {}
        found = [signs[sign] for sign, count in self.looks.items() if count == self.patience]
        if found:
            self._act(trainer, model, f"{found[0]}, at {self.patience} log lines in a row")
        elif not signs and self.mode != "warn" and self._is_due(step):
            self.kept = step  # first, as it is part of the state
            keep_state(trainer, self._sound(trainer))
            if trainer.is_global_zero:
                sweep_sound(self._sound(trainer))

    def signs(self, values: dict[str, float]) -> dict[str, str]:
        """What speaks for a collapse in the values of a log line: by sign, half a sentence."""
        found = {}
        diversity = values.get(DIVERSITY, 1.0)
        if diversity < self.least_diversity:
            found["diversity"] = f"the samples are alike: {diversity:.2g} of the data's distances"
        norm = values.get(GRADIENT, self._largest)
        if norm < self.least_gradient * self._largest and values.get(AUC, 0.0) >= SURE:
            found["gradient"] = (
                f"the discriminator is sure and the generator's gradient {norm:.2g} has vanished"
            )
        for name, value in values.items():
            if name.endswith("/loss") and isfinite(value) and abs(value) > self.largest_loss:
                found[name] = f"{name} is {value:.2g}"  # what is not finite is the NaN guard's
        return found

    def _act(self, trainer: Trainer, model: LightningModule, what: str) -> None:
        self.alarms += 1
        back = self.mode == "roll_back" and self.returns < self.retries and self.kept >= 0
        self.returns += back
        publish(trainer, {"guard/collapses": self.alarms, "guard/roll_backs": self.returns})
        sentence = f"{what}, at step {trainer.global_step}"
        if back:
            restore(trainer, model, self._sound(trainer), self.kept)
            self.looks = {}
            sentence += (
                f"; back to the weights of step {self.kept}, {self.returns} of {self.retries}"
            )
        elif self.mode != "warn":
            record_stop(trainer, what)
            raise Collapse(f"{sentence}; {self._way_out(trainer)}")
        if trainer.is_global_zero:
            print(f"collapse: {sentence}", file=sys.stderr, flush=True)

    def _is_due(self, step: int) -> bool:
        return self.kept < 0 or step - self.kept >= self.keep_every

    def _way_out(self, trainer: Trainer) -> str:
        kept = f"the last sound state is {self._sound(trainer)}"
        return (
            f"{kept if self.kept >= 0 else 'there was no sound state'}; "
            "take a smaller learning rate or another loss"
        )

    def _sound(self, trainer: Trainer) -> Path:
        return run_folder(trainer) / "checkpoints" / SOUND.format(self.kept)

    def state_dict(self) -> dict[str, Any]:
        return {
            "looks": dict(self.looks),
            "alarms": self.alarms,
            "returns": self.returns,
            "kept": self.kept,
            "largest": self._largest,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.looks, self.kept = dict(state_dict["looks"]), state_dict["kept"]
        self.alarms, self.returns = state_dict["alarms"], state_dict["returns"]
        self._largest = state_dict["largest"]


def sweep_sound(newest: Path) -> None:
    """Removes the sound states to which no run that goes on would go back.

    A run that is killed goes on from `last.ckpt`, or `previous.ckpt` if that is damaged, which know
    an older one. Where neither can be asked, none is removed.
    """
    needed = {newest}
    for name in (LAST, PREVIOUS):
        try:
            state = read_checkpoint(newest.with_name(name)).get("callbacks", {})
        except FileNotFoundError:
            continue
        except DamagedCheckpoint:
            return
        kept = state.get(CollapseGuard.__qualname__, {}).get("kept", -1)
        needed.add(newest.with_name(SOUND.format(kept)))
    for path in set(newest.parent.glob(SOUND.format("*"))) - needed:
        path.unlink(missing_ok=True)


def restore(trainer: Trainer, model: LightningModule, path: Path, step: int) -> None:
    """Puts the weights, their averages and the optimizers' moments of a checkpoint in place.

    Learning rates stay as they are, as they belong to the schedule, which goes on.

    Raises:
        Collapse: If there is no such checkpoint, or it is not of this step but another run's.
    """
    if not path.is_file():
        raise Collapse(f"{path} is not there, so there is no way back; begin anew")
    content = read_checkpoint(path)
    if content.get("global_step") != step:
        raise Collapse(f"{path} is not of step {step}, so there is no way back; begin anew")
    model.load_state_dict(content["state_dict"])
    for optimizer, state in zip(trainer.optimizers, content["optimizer_states"], strict=True):
        rates = [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
        optimizer.load_state_dict(state)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group.update(rate)
