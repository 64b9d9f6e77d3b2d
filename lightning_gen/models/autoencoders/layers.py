"""Images in two layers, a foreground in front of a background, and how far they are from true ones."""

from math import inf
from typing import Literal, NamedTuple

import torch.nn.functional as F
from torch import Tensor

from ...nn.precision import wide
from ...nn.roles import Decoder, Encoder

Composite = Literal["convex", "additive"]


class Layers(NamedTuple):
    """What an image is put together of, each (B, C, H, W)."""

    foreground: Tensor  # in [-1, 1], black where the background is
    gate: Tensor  # logits of how much of the background is seen
    background: Tensor  # in [-1, 1]

    def image(self, composite: Composite) -> Tensor:
        """The whole: a mixture of the layers, or their sum with black as 0."""
        seen = self.gate.sigmoid()
        behind = seen * (self.background + 1) - 1
        if composite == "additive":
            return self.foreground + behind + 1
        return (1 - seen) * (self.foreground + 1) + behind

    def mask(self) -> Tensor:
        """How much is seen of the foreground, (B, 1, H, W) in [0, 1]: the mean over colours."""
        return 1 - self.gate.sigmoid().mean(1, keepdim=True)

    def gate_cost(self, mask: Tensor) -> Tensor:
        """The cross-entropy of gates that are to be open where the mask (B, 1, H, W) is 0.

        It is in nats, summed over sub-pixels, mean over images.
        """
        hidden = (1 - wide(mask)).expand_as(self.gate)
        costs = F.binary_cross_entropy_with_logits(wide(self.gate), hidden, reduction="none")
        return costs.flatten(1).sum(1).mean()


def split(images: Tensor) -> tuple[Tensor, Tensor]:
    """Colours in [-1, 1] and masks in [0, 1], of images (B, C + 1, H, W)."""
    return images[:, :-1], (images[:, -1:] + 1) / 2


def masked(x: Tensor, mask: Tensor) -> Tensor:
    """Images that are black where the mask is 0."""
    return (x + 1) * mask - 1


def distance(made: Tensor, x: Tensor) -> Tensor:
    """The smooth L1 distance, summed over sub-pixels, mean over images."""
    return F.smooth_l1_loss(wide(made), wide(x), reduction="none").flatten(1).sum(1).mean()


def check_costs(composite: str, gate_weight: float, kl_weight: float) -> None:
    """Raises ValueError for a way of putting layers together that there is not, and for weights."""
    if composite not in ("convex", "additive"):
        raise ValueError(f"composite must be convex or additive, got {composite}")
    if not 0 <= gate_weight < inf or not 0 <= kl_weight < inf:
        raise ValueError(
            f"gate_weight and kl_weight must not be negative, got {gate_weight} and {kl_weight}"
        )


def check_fit(front: Encoder, back: Encoder, front_decoder: Decoder, back_decoder: Decoder) -> None:
    """Raises ValueError where encoders and decoders of the layers do not fit each other."""
    networks = (front, back, front_decoder, back_decoder)
    if len({tuple(network.shape) for network in networks}) > 1:
        shapes = [tuple(network.shape) for network in networks]
        raise ValueError(f"all networks must have the shape of the colours alone, got {shapes}")
    known = front_decoder.num_classes
    if known is None or front.num_classes != known or back_decoder.num_classes not in (None, known):
        raise ValueError(
            "the networks of the foreground must have the same num_classes, and the background's "
            f"decoder the same or none, got {front.num_classes}, {known} and "
            f"{back_decoder.num_classes}"
        )
    if back.num_classes != known + front.latent_size:
        raise ValueError(
            f"the background's encoder is given {known} attributes and {front.latent_size} "
            f"foreground codes, so its num_classes must be {known + front.latent_size}, got "
            f"{back.num_classes}"
        )
    sizes = (front.latent_size, back.latent_size)
    if sizes != (front_decoder.latent_size, back_decoder.latent_size):
        raise ValueError("an encoder and the decoder of its layer must have the same latent_size")
    if (front_decoder.outputs, back_decoder.outputs) != (2, 1):
        raise ValueError(
            "the foreground's decoder must have 2 outputs, colours and gate, and the background's "
            f"1, got {front_decoder.outputs} and {back_decoder.outputs}"
        )
