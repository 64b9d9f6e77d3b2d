r"""Parallel multiscale PixelCNN: an image grows from a small one, many pixels at a time.

.. math:: p(x) = p(x^0) \prod_l \prod_{g=1}^{3} \prod_{i \in g} p(x^l_i \mid x^{l-1}, \text{groups before } g)

The small image is every 2^L-th pixel, by a network of pixels. With each doubling, of each two by
two pixels the upper right ones follow, all at once, then the lower left, then the lower right. This
is one of the paper's ways to group them. Pixels of a group do not see each other, which costs nats
and saves all but H W / 4^L + 3 L steps.

References:
    | Parallel Multiscale Autoregressive Density Estimation (Reed et al., 2017)
    | https://arxiv.org/abs/1703.03664
"""

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor

from ... import losses
from ...levels import from_levels, to_levels
from ...nn.roles import PixelNetwork, UpsamplingNetwork
from ...randomness import Noise
from ..base import evaluating
from ..heads import Softmax
from ..quantised import check_images
from .drawing import CompletingModel, Progress, check_network, draw_pixels, inverse_cdf


class MultiscalePixelCNN(CompletingModel):
    """Parallel multiscale PixelCNN.

    Arguments:
        base: The network of the small images, with logits for each level.
        upsampling: The network of what follows, of as many channels and levels.
        shape: (C, H, W) of the images; H and W must be multiples of 2 ** `upsampling.doublings`.
        kwargs: See `LikelihoodModel`.
    """

    def __init__(
        self,
        base: PixelNetwork,
        upsampling: UpsamplingNetwork,
        shape: tuple[int, int, int],
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name in ("channels", "levels"):
            a, b = getattr(base, name), getattr(upsampling, name)
            if a != b:
                raise ValueError(f"base has {a} {name} but upsampling {b}; they must be equal")
        Softmax().check(base)
        if base.num_classes is not None:
            raise ValueError(
                f"base has {base.num_classes} classes but would be given none; leave its "
                "num_classes out"
            )
        self.step = 2**upsampling.doublings
        if shape[1] % self.step or shape[2] % self.step:
            raise ValueError(
                f"images of {shape[1]} x {shape[2]} are not a small one doubled "
                f"{upsampling.doublings} times; set doublings to fewer, or the data's size"
            )
        check_network(base, (shape[0], shape[1] // self.step, shape[2] // self.step))
        self.base, self.upsampling, self._shape = base, upsampling, shape
        self.average("base", "upsampling")

    @property
    def shape(self) -> tuple[int, int, int]:
        return self._shape

    def nll(self, x: Tensor, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        """Exact, in nats, (B,)."""
        return torch.stack([costs.flatten(1).sum(1) for _, costs in self._costs(x)]).sum(0)

    def pixel_nll(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Nats per sub-pixel (B, C, H, W), each given the groups before its own."""
        parts = list(self._costs(x))
        nats = parts[0][1].new_empty(x.shape)
        for (row, column, step), costs in parts:
            nats[:, :, row::step, column::step] = costs
        return nats

    def _costs(self, x: Tensor) -> Iterator[tuple[tuple[int, int, int], Tensor]]:
        """Where the small image and each group begin, how far apart they are, and their nats."""
        base, upsampling = (
            getattr(self, name) if self.training else self.averaged(name)
            for name in ("base", "upsampling")
        )
        small, levels = x[:, :, :: self.step, :: self.step], self.base.levels
        yield (0, 0, self.step), losses.categorical_costs(base(small), to_levels(small, levels))
        for group in self.upsampling.groups():
            doubled = x[:, :, :: group.step, :: group.step]
            logits = upsampling(doubled, group.doubling, group.number)
            found = doubled[:, :, group.row :: 2, group.column :: 2]
            places = group.row * group.step, group.column * group.step, 2 * group.step
            yield places, losses.categorical_costs(logits, to_levels(found, levels))

    def check(self, images: Tensor) -> None:
        check_images(images, self.base.levels)

    # Capabilities

    @torch.no_grad()
    def complete(
        self,
        x: Tensor,
        known: Tensor,
        labels: Tensor | None = None,
        noise: Noise | None = None,
        temperature: float = 1.0,
        progress: Progress = iter,
    ) -> Tensor:
        """Draws anew what is not known, of which pixels of earlier groups have no say.

        See `CompletingModel`.
        """
        u = self.noise_for(len(x), noise).uniform(*x.shape[1:])
        x, step = x.clone(), self.step
        small, of_small = x[:, :, ::step, ::step], u[:, :, ::step, ::step]
        with evaluating(cast(PixelNetwork, self.averaged("base"))) as base:
            seen = known[::step, ::step]
            draw_pixels(base, Softmax(), small, seen, of_small, None, temperature, progress)
        with evaluating(cast(UpsamplingNetwork, self.averaged("upsampling"))) as upsampling:
            for group in self.upsampling.groups():
                doubled, *_ = images = [a[..., :: group.step, :: group.step] for a in (x, u, known)]
                found, v, kept = (a[..., group.row :: 2, group.column :: 2] for a in images)
                for color in range(x.shape[1]):
                    logits = upsampling(doubled, group.doubling, group.number)[:, :, color]
                    level = inverse_cdf(logits / temperature, v[:, color])
                    drawn = from_levels(level, base.levels, x.dtype)
                    found[:, color] = torch.where(kept.to(x.device), found[:, color], drawn)
        return x
