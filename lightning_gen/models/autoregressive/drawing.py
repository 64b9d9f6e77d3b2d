"""Drawing images pixel by pixel."""

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ...levels import from_levels
from ...nn.places import Places
from ...nn.roles import PixelNetwork
from ...randomness import Noise
from ..heads import PixelHead
from ..likelihood import LikelihoodModel

Progress = Callable[[list[list[int]]], Iterable[list[int]]]  # such as tqdm


class CompletingModel(LikelihoodModel):
    """An exact likelihood whose samples are completions of nothing."""

    nll_kind: Literal["exact", "bound"] = "exact"

    def sample(
        self,
        n: int,
        labels: Tensor | None = None,
        noise: Noise | None = None,
        temperature: float = 1.0,
        progress: Progress = iter,
    ) -> Tensor:
        """Draws `n` images; of classes that are drawn too, uniformly, if there are but not given.

        Temperature and progress are those of `complete`.
        """
        nothing = next(self.parameters()).new_zeros(n, *self.shape)
        known = torch.zeros(self.shape[1:], dtype=torch.bool)
        return self.complete(nothing, known, labels, noise, temperature, progress)

    @abstractmethod
    def complete(
        self,
        x: Tensor,
        known: Tensor,
        labels: Tensor | None = None,
        noise: Noise | None = None,
        temperature: float = 1.0,
        progress: Progress = iter,
    ) -> Tensor:
        """Draws anew the pixels of images (B, C, H, W) where the mask `known` (H, W) is false.

        Arguments:
            x: The images.
            known: Which pixels stay.
            labels: Classes of the images (B,).
            noise: What the draws are a function of.
            temperature: What log-probabilities are divided by: below 1 the likely gets likelier.
            progress: Wraps the list of pixels to draw one by one, as tqdm does.
        """


def draw_pixels(
    network: PixelNetwork,
    head: PixelHead,
    x: Tensor,
    known: Tensor,
    u: Tensor,
    labels: Tensor | None = None,
    temperature: float = 1.0,
    progress: Progress = iter,
) -> None:
    """Writes pixels into images x by uniforms u, both (B, C, H, W). See `CompletingModel`."""
    check_temperature(temperature)
    walk, channels, levels = network.walk(x, labels), x.shape[1], network.levels
    for row, column in progress((~known).nonzero().tolist()):
        pixel = x[:, :, row, column]
        for color in range(channels):
            if color < network.colors:
                numbers = walk.outputs(row, column, color)
            logits = head.logits(numbers, pixel[:, :color], channels, levels)
            level = inverse_cdf(logits / temperature, u[:, color, row, column])
            pixel[:, color] = from_levels(level, levels, x.dtype)


def draw_place(
    places: Places, place: int, at: int, x: Tensor, u: Tensor, levels: int, temperature: float
) -> None:
    """Writes number `at` of vectors x by uniforms u, both (B, D), which has the next place."""
    logits = F.pad(places.numbers(place), (1, 0))
    x[:, at] = from_levels(inverse_cdf(logits / temperature, u[:, at]), levels, x.dtype)
    places.see(place, (x[:, at] + 1) / 2)


def check_network(
    network: PixelNetwork, shape: tuple[int, int, int], has_maps: bool = False
) -> None:
    """Raises ValueError for a network that is not for images of a shape (C, H, W).

    Nor may it look at maps beside them, unless the model has some.
    """
    if network.channels != shape[0]:
        raise ValueError(
            f"the network has {network.channels} channels but shape says {shape[0]}; "
            "they must be equal"
        )
    if network.shape is not None and network.shape != tuple(shape):
        raise ValueError(
            f"the network is for images of shape {network.shape} but gets them of {tuple(shape)}; "
            "set its shape to that"
        )
    if network.context is not None and not has_maps:
        raise ValueError(
            f"the network looks at maps of {network.context} channels but would be given none; "
            "leave its context out"
        )


def check_temperature(temperature: float) -> None:
    """Raises ValueError for a number that log-probabilities cannot be divided by."""
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")


def inverse_cdf(logits: Tensor, u: Tensor) -> Tensor:
    """The level (B, ...) of each distribution (B, levels, ...) at which its CDF passes u (B, ...)."""
    cdf = logits.double().softmax(1).cumsum(1)
    # The last may be less than u by rounding, but there is no level after it.
    return (cdf[:, :-1] <= u[:, None]).sum(1)
