"""The game that every adversarial model plays, written once: players that take turns."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import torch
from pytorch_lightning.strategies import DDPStrategy, SingleDeviceStrategy
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from .base import Batch, GenerativeModel, OptimizerCallable, SchedulerCallable
from .processes import average

# Scalars to log; "loss" is the one to minimise. A callable is evaluated when it is logged only.
Terms = dict[str, Tensor | Callable[[], Tensor]]


class Player(NamedTuple):
    """One side of the game: what it owns, what it minimises and how often it moves.

    Arguments:
        name: Prefix of its terms in the logs.
        networks: The networks whose parameters it moves.
        loss: What it minimises, of a batch. While it moves, all other players are frozen.
        optimizer: Makes its optimizer from its parameters.
        every: It moves on every so many-th batch, each of them fresh; a number, or a function of
            how many rounds were played.
        scheduler: Makes its learning rate's schedule, stepped once a round.
        after: Called after each of its steps, such as to bring weights back into bounds.
    """

    name: str
    networks: list[nn.Module]
    loss: Callable[[Batch], Terms]
    optimizer: OptimizerCallable
    every: int | Callable[[int], int] = 1
    scheduler: SchedulerCallable | None = None
    after: Callable[[], None] | None = None


@dataclass
class _Side:
    """A player at the table: its parameters and what moves them."""

    player: Player
    parameters: list[nn.Parameter]
    optimizer: Optimizer
    scheduler: LRScheduler | None
    waited: int = 0  # turns since it last moved


class AdversarialModel(GenerativeModel):
    """Players that take turns. A subclass states who they are.

    The move of the last player closes a round, and `trainer.global_step` counts rounds: for a GAN
    the updates of its generator, not the steps of all optimizers as Lightning does by itself. So
    `max_steps`, checkpoints and the axes of the loggers mean what papers mean.

    The optimizers are stepped without Lightning's wrappers, which saves a third of what a small
    step costs; callbacks get no `on_before_optimizer_step`.

    Arguments:
        schedule: "alternating" steps each player before the next one looks; "simultaneous" takes
            all gradients at the old parameters, then steps all.
        micro_batches: Into how many parts a batch is split to fit in memory. A loss that is a mean
            over images has the same gradient for any number of parts.
        gradient_clip: Largest norm of a player's gradient, if any.
        kwargs: See `GenerativeModel`.
    """

    def __init__(
        self,
        schedule: Literal["alternating", "simultaneous"] = "alternating",
        micro_batches: int = 1,
        gradient_clip: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if micro_batches < 1:
            raise ValueError(f"micro_batches must be at least 1, got {micro_batches}")
        if gradient_clip is not None and not gradient_clip > 0:
            raise ValueError(f"gradient_clip must be positive, got {gradient_clip}")
        if schedule not in ("alternating", "simultaneous"):
            raise ValueError(f"schedule must be alternating or simultaneous, got {schedule}")
        self.automatic_optimization = False
        self.schedule, self.micro_batches = schedule, micro_batches
        self.gradient_clip = gradient_clip
        self.moves: dict[str, int] = {}  # how often each player has moved
        self._waited: dict[str, int] = {}  # turns since each player moved, as a checkpoint has them
        self.last_terms: dict[str, Tensor] = {}
        self._sides: list[_Side] = []
        self._scaler: torch.amp.GradScaler | None = None

    @abstractmethod
    def players(self) -> list[Player]:
        """The players, in the order of their moves; the last one closes the round."""

    def prepare(self, batch: Batch) -> Batch:
        """What the players of a turn share, made while none is frozen; by default nothing."""
        return batch

    # Lightning's hooks

    on_train_batch_end = None  # type: ignore[assignment]

    def setup(self, stage: str) -> None:
        super().setup(stage)
        strategy = self.trainer.strategy
        self._scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        if not isinstance(strategy, DDPStrategy | SingleDeviceStrategy):
            raise ValueError(
                f"adversarial models run on one device or with strategy ddp, not with "
                f"{type(strategy).__name__}"
            )

    def configure_optimizers(self) -> tuple[list[Optimizer], list[LRScheduler]]:
        self._sides = []
        for player in self.players():
            if isinstance(player.every, int) and player.every < 1:
                raise ValueError(
                    f"{player.name} must move every 1 or more batches, got {player.every}"
                )
            parameters = [p for net in player.networks for p in net.parameters() if p.requires_grad]
            optimizer = player.optimizer(parameters)
            scheduler = player.scheduler(optimizer) if player.scheduler else None
            waited = self._waited.get(player.name, 0)
            self._sides.append(_Side(player, parameters, optimizer, scheduler, waited))
            self.moves.setdefault(player.name, 0)
        return (
            [side.optimizer for side in self._sides],
            [side.scheduler for side in self._sides if side.scheduler],
        )

    def training_step(self, raw: tuple[Tensor, Tensor], batch_idx: int) -> None:
        batch = self.to_batch(raw)
        rounds = self.trainer.global_step
        movers = [
            side
            for side in self._sides
            if side.waited + 1
            >= (every if type(every := side.player.every) is int else every(rounds))  # type: ignore[operator]
        ]
        if len(movers) > 1 and self.micro_batches == 1:  # parts could not all be held at once
            batch = self.prepare(batch)
        closes = bool(movers) and movers[-1] is self._sides[-1]
        observed = closes and (rounds + 1) % self.trainer.log_every_n_steps == 0  # type: ignore[attr-defined]
        try:
            for side in movers:
                self._differentiate(side, batch, observed)
                if self._averages_gradients:
                    self._average(side, last=side is movers[-1])
                if observed:
                    self._observe_gradient(side)
                if self.schedule == "alternating":
                    self._step([side])
            if self.schedule == "simultaneous":
                self._step(movers)
        finally:
            self._thaw()  # a later fit would leave out what is frozen
        for side in self._sides:
            side.waited = 0 if side in movers else side.waited + 1
        self.count_images(batch)
        if closes:
            self._close_round(observed)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Computes nothing, but keeps the loop in which callbacks judge the samples."""

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """As `validation_step`."""

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        waited = {side.player.name: side.waited for side in self._sides}
        checkpoint["game"] = {"moves": dict(self.moves), "waited": waited}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        game, states = checkpoint.get("game"), checkpoint.get("optimizer_states") or self.players()
        if (
            not isinstance(game, dict)
            or not {"moves", "waited"} <= game.keys()
            or len(states) != len(self.players())
        ):
            raise ValueError(
                f"the checkpoint does not say how far the game of {type(self).__name__} is, or "
                "not all of its optimizers: it was changed, or is of another version; take another"
            )
        self.moves, self._waited = dict(game["moves"]), dict(game["waited"])
        for side in self._sides:  # where optimizers are there before the checkpoint
            side.waited = self._waited.get(side.player.name, 0)

    # The moves

    def _differentiate(self, side: _Side, batch: Batch, observed: bool) -> None:
        """Leaves the gradient of a player's loss in its parameters, and in no others."""
        self._freeze_all_but(side)
        for parameter in side.parameters:  # `zero_grad` opens a profiler's range besides
            parameter.grad = None
        scaler = self._scaler
        batch = replace(batch, noise=batch.noise.spawn(side.player.name))
        sums: dict[str, Tensor] = {}
        for part in batch.split(self.micro_batches):
            terms, share = side.player.loss(part), len(part) / len(batch)
            loss = terms["loss"] if share == 1 else terms["loss"] * share  # type: ignore[operator]
            (scaler.scale(loss) if scaler else loss).backward()  # type: ignore[arg-type, union-attr]
            if observed:
                for name, value in terms.items():
                    value = (value() if callable(value) else value).detach() * share
                    sums[name] = sums[name] + value if name in sums else value
        self.last_terms.update({f"{side.player.name}/{name}": v for name, v in sums.items()})

    def _observe_gradient(self, side: _Side) -> None:
        """Keeps the norm of a player's gradient, before clipping, to be logged."""
        norm = nn.utils.get_total_norm(p.grad for p in side.parameters if p.grad is not None)
        if self._scaler:
            norm = norm / self._scaler.get_scale()
        self.last_terms[f"{side.player.name}/gradient_norm"] = norm

    def _step(self, sides: list[_Side]) -> None:
        """Moves players by their gradients; the scale of half precision is updated once, after."""
        scaler = self._scaler
        for side in sides:
            if scaler:
                scaler.unscale_(side.optimizer)
            if self.gradient_clip is not None:
                nn.utils.clip_grad_norm_(side.parameters, self.gradient_clip)
            if scaler:
                scaler.step(side.optimizer)
            else:
                side.optimizer.step()
            if side.player.after:
                side.player.after()
            self.moves[side.player.name] += 1
        if scaler and sides:
            scaler.update()

    def _close_round(self, observed: bool) -> None:
        progress = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        progress.increment_ready()
        progress.increment_completed()  # what `trainer.global_step` reads
        for side in self._sides:
            if side.scheduler:
                side.scheduler.step()
        self.update_averages()
        if observed:
            self.report(self.last_terms)

    def _freeze_all_but(self, mover: _Side) -> None:
        for side in self._sides:
            for parameter in side.parameters:
                parameter.requires_grad = False
        for parameter in mover.parameters:  # second, as players may share networks
            parameter.requires_grad = True

    def _thaw(self) -> None:
        for side in self._sides:
            for parameter in side.parameters:
                parameter.requires_grad = True

    def _average(self, side: _Side, last: bool) -> None:
        """Averages a player's gradient over processes; with the last one's, all running statistics.

        So a turn has one collective for each move, and every process samples, and saves, the same.
        """
        gradients = [p.grad for p in side.parameters if p.grad is not None]
        average([*gradients, *self._statistics] if last else gradients)
