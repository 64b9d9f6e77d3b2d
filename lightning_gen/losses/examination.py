"""What an objective looks at, found by playing it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .objectives import Losses


def examine(objective: Callable[[Tensor, Tensor], Any]) -> tuple[bool, bool]:
    """Plays an objective once, on a few logits.

    Returns:
        Whether the generator's loss depends on the logits of real images, and whether a loss
        compares the images of a batch, so that it is not the mean of those of the batch's parts.

    Raises:
        ValueError: If it is no objective of logits (B,).
    """
    name = getattr(objective, "__name__", type(objective).__name__)
    real, fake = torch.tensor([[-1.5, 0.3, 0.6, 2.0], [-2.0, -0.4, 0.1, 1.0]], dtype=torch.double)
    real.requires_grad_(), fake.requires_grad_()
    others = torch.tensor([1.2, -0.8, 0.4, -2.0], dtype=torch.double)  # in the place of `real`
    with torch.enable_grad():
        try:
            whole, first, second = (
                Losses(*objective(real[part], fake[part]))
                for part in (slice(None), slice(2), slice(2, None))
            )
            elsewhere = Losses(*objective(others, fake))
            of_critic = gradients(whole.discriminator, real, fake)
            of_generator = gradients(whole.generator, real, fake)
        except (TypeError, ValueError, RuntimeError, IndexError) as error:
            raise ValueError(
                f"objective must map logits (B,) of real and of generated images to the losses of "
                f"the discriminator and of the generator, and {name} does not: {error}"
            ) from error
    if any(slope is None for slope in (*of_critic, of_generator[1])):
        raise ValueError(
            f"the discriminator's loss must depend on both kinds of logits and the generator's on "
            f"those of its images; those of {name} do not"
        )
    parts = [(a + b) / 2 for a, b in zip(first, second, strict=True)]
    compares = not all(torch.allclose(a, b) for a, b in zip(whole, parts, strict=True))
    # By value: where real logits are detached, the loss looks at them and has no gradient.
    return bool(elsewhere.generator != whole.generator), compares


def gradients(loss: Tensor, *logits: Tensor) -> tuple[Tensor | None, ...]:
    """The gradients of a scalar; None where it does not depend on the logits."""
    return torch.autograd.grad(loss, logits, retain_graph=True, allow_unused=True)
