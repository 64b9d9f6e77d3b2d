"""Codes that are maps: their encoder, their decoder, and a causal network that expects them.

References:
    | PixelVAE: A Latent Variable Model for Natural Images (Gulrajani et al., 2017)
    | https://arxiv.org/abs/1611.05013
"""

from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn

from ..nn.code_prior import CodePrior
from ..nn.roles import Decoder, Encoder, Posterior
from ..nn.sizes import check_sizes, inner_shape
from .causal import GatedCausalStack


class MapEncoder(Encoder):
    """Maps images to the mean and log-variance of maps; each convolution halves the size.

    Codes are the maps (maps, H / 2 ** n, W / 2 ** n) in a row.

    Arguments:
        shape: (C, H, W) of the images; H and W divisible by 2 for each convolution.
        maps: How many maps codes have.
        widths: Channels of the convolutions.
    """

    def __init__(
        self,
        shape: tuple[int, int, int] = (1, 28, 28),
        maps: int = 4,
        widths: tuple[int, ...] = (32, 64),
    ) -> None:
        super().__init__()
        check_sizes(shape=shape, maps=maps, widths=widths)
        self.shape, self.latent_size = shape, maps * prod(inner_shape(shape, widths)[1:])
        layers: list[nn.Module] = []
        for a, b in pairwise((shape[0], *widths)):
            layers += [nn.Conv2d(a, b, 4, stride=2, padding=1), nn.SiLU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 2 * maps, 3, padding=1))

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Posterior:
        mean, log_var = self.layers(x).flatten(1).chunk(2, dim=1)
        return Posterior(mean, log_var, mean[:, :0])


class MapDecoder(Decoder):
    """Maps codes that are maps to parameters (B, outputs, C, H, W), as `MapEncoder` has them.

    Arguments:
        shape: (C, H, W) of the images; H and W divisible by 2 for each convolution.
        maps: How many maps codes have.
        widths: Channels of the convolutions, from the image inwards.
        outputs: Numbers per sub-pixel: with PixelVAE, those that its network is shown.
    """

    def __init__(
        self,
        shape: tuple[int, int, int] = (1, 28, 28),
        maps: int = 4,
        widths: tuple[int, ...] = (32, 64),
        outputs: int = 16,
    ) -> None:
        super().__init__()
        check_sizes(shape=shape, maps=maps, widths=widths, outputs=outputs)
        code_shape = (maps, *inner_shape(shape, widths)[1:])
        self.shape, self.latent_size, self.outputs = shape, prod(code_shape), outputs
        layers: list[nn.Module] = [
            nn.Unflatten(1, code_shape),
            nn.Conv2d(maps, widths[-1], 3, padding=1),
        ]
        for a, b in pairwise((*reversed(widths), outputs * shape[0])):
            layers += [nn.SiLU(), nn.ConvTranspose2d(a, b, 4, stride=2, padding=1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.layers(z).unflatten(1, (self.outputs, self.shape[0]))


class CausalCodePrior(CodePrior):
    """Expects maps place by place, by rows from the top left, as a Gated PixelCNN does pixels.

    The numbers at one place do not see each other.

    Arguments:
        code_shape: (maps, H, W) of the codes that it expects.
        latent_size: Length of the codes above.
        hidden: Units of the layer through which these pass.
        context: Channels of the maps that are made of them.
        width: Channels of the causal network, between its layers and before its outputs.
        depth: Its layers after the first.
        kernel: Width of what one of its layers sees, odd.
    """

    def __init__(
        self,
        code_shape: tuple[int, int, int] = (4, 7, 7),
        latent_size: int = 16,
        hidden: int = 128,
        context: int = 16,
        width: int = 32,
        depth: int = 3,
        kernel: int = 3,
    ) -> None:
        super().__init__()
        check_sizes(code_shape=code_shape, latent_size=latent_size, hidden=hidden, context=context)
        maps, *size = code_shape
        self.code_shape, self.latent_size = code_shape, latent_size
        self.below_size = prod(code_shape)
        self.above = nn.Sequential(
            nn.Linear(latent_size, hidden),
            nn.SiLU(),
            nn.Linear(hidden, context * prod(size)),
            nn.Unflatten(1, (context, *size)),
        )
        self.network = GatedCausalStack(
            channels=maps,
            width=width,
            depth=depth,
            kernel=kernel,
            first_kernel=kernel,
            head=width,
            outputs=2 * maps,
            color_order=False,
            context=context,
        )

    def forward(self, z: Tensor, below: Tensor) -> tuple[Tensor, Tensor]:
        numbers = self.network(below.unflatten(1, self.code_shape), self.above(z))
        mean, log_var = numbers.flatten(1).chunk(2, dim=1)
        return mean, log_var

    def draw(self, z: Tensor, eps: Tensor) -> Tensor:
        eps = eps.unflatten(1, self.code_shape)
        below = torch.zeros_like(eps)
        walk = self.network.walk(below, self.above(z))
        for row in range(below.shape[2]):
            for column in range(below.shape[3]):
                mean, log_var = walk.outputs(row, column).chunk(2, dim=1)
                at = (..., row, column)
                below[at] = mean + (log_var / 2).exp() * eps[at]
        return below.flatten(1)
