"""How long sampling takes."""

import time

import torch
from pytorch_lightning import LightningModule, Trainer

from lightning_gen.capabilities import Sampler
from lightning_gen.metrics import BLOCK
from lightning_gen.randomness import Noise
from lightning_gen.tracking import publish, record

from .periodic import Periodic
from .sampling import draw

ENOUGH = 20.0  # seconds, after which a slow sampler has been timed


class SamplingSpeed(Periodic):
    """Scores `sampling/seconds_per_1000`, by the clock, of the first process and its device.

    One batch goes before. A sampler that needs long is timed on fewer than 1,000 images.

    Arguments:
        batch_size: Samples made at once.
        kwargs: See `Periodic`.
    """

    needs = (Sampler,)

    def __init__(
        self,
        batch_size: int = BLOCK,
        every_n_epochs: int = 1,
        every_n_steps: int | None = None,
        at_start: bool = False,
    ) -> None:
        super().__init__(every_n_epochs, every_n_steps, at_start)
        if not 1 <= batch_size <= 1000:
            raise ValueError(f"batch_size must be between 1 and 1000, got {batch_size}")
        self.batch_size = batch_size

    def look(self, trainer: Trainer, model: LightningModule) -> None:
        key, per_thousand, made = "sampling/seconds_per_1000", 0.0, 0
        if trainer.is_global_zero:
            per_thousand, made = self.measure(model)
        per_thousand = trainer.strategy.broadcast(per_thousand)
        publish(trainer, {key: per_thousand})
        protocol = f"sampling:{device_name(model.device)}:batch-{self.batch_size}:{model.dtype}"
        rest = {"n": made, "images_seen": getattr(model, "images_seen", 0)}
        record(trainer, {key: {"value": per_thousand, "protocol": protocol, **rest}})

    def measure(self, model: LightningModule) -> tuple[float, int]:
        """Seconds for 1,000 images, and how many were made."""
        made, start = 0, 0.0
        for k in range(1 - (-1000 // self.batch_size)):
            draw(model, Noise(("speed", k), self.batch_size, device=model.device))
            if model.device.type == "cuda":
                torch.cuda.synchronize(model.device)
            now = time.perf_counter()
            if k == 0:  # the warm-up
                start = now
                continue
            made += self.batch_size
            if now - start > ENOUGH:
                break
        return (now - start) * 1000 / made, made


def device_name(device: torch.device) -> str:
    """What sampled: a GPU by its model, a CPU by its threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device).replace(" ", "-")
    return f"{device.type}-{torch.get_num_threads()}"
