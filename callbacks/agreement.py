"""Notices when processes that should hold the same weights do not."""

from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

PIECE = 1 << 22  # elements
BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Agreement(Callback):
    """Raises RuntimeError before a checkpoint is written by processes whose weights are not equal.

    All do the same sums on the same averaged gradients, so their weights are equal bit for bit. Where
    they are not, a device or an operation is at fault, and the weights of the first process, which
    alone are saved, are not what was trained. It costs one collective of a few numbers.
    """

    on_train_batch_start = None  # type: ignore[assignment]  # left out of a step
    on_train_batch_end = None  # type: ignore[assignment]

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if trainer.world_size == 1 or not isinstance(trainer.strategy.model, LightningModule):
            return  # what a strategy wraps or spreads is its own affair
        state = {name: each for name, each in pl_module.state_dict().items() if each.numel()}
        own = torch.stack([fingerprint(each) for each in state.values()])
        every = trainer.strategy.all_gather(own)
        differs = (every != every[0]).any(0).tolist()
        name = next((name for name, differ in zip(state, differs, strict=True) if differ), None)
        if name is not None:
            raise RuntimeError(
                f"the processes disagree on {name} at step {trainer.global_step}, so nothing is saved: "
                "go on from the checkpoint before, and look for a faulty device or an operation that is "
                "not deterministic"
            )


def fingerprint(tensor: Tensor) -> Tensor:
    """A number, int64, that changes with the bits of a tensor, but for a rare coincidence."""
    plain = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    bits = plain.detach().contiguous().view(-1).view(BITS[plain.element_size()])
    total = torch.zeros((), dtype=torch.int64, device=bits.device)
    for number, piece in enumerate(bits.split(PIECE)):  # sums of a few pieces' size at a time
        places = torch.arange(1, len(piece) + 1, device=bits.device) + number
        total += (piece.long() * (places % 8191 + 1)).sum()
    return total
