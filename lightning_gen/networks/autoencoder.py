"""Autoencoders as discriminators, and the generator that mirrors one of their decoders.

References:
    | Energy-based Generative Adversarial Network (Zhao et al., 2016), https://arxiv.org/abs/1609.03126
    | BEGAN: Boundary Equilibrium Generative Adversarial Networks (Berthelot et al., 2017)
    | https://arxiv.org/abs/1703.10717
"""

from itertools import pairwise
from math import prod

from torch import Tensor, nn

from ..nn.init import normal_
from ..nn.labels import refuse_labels
from ..nn.norm import Norm, norm2d
from ..nn.roles import AutoencodingDiscriminator, Generator
from ..nn.sizes import check_sizes


class StridedAutoencoder(AutoencodingDiscriminator):
    """The autoencoder of EBGAN: strided convolutions down and up again, as DCGAN has them.

    Its code is the whole coarsest map. What it rebuilds is not bounded.

    Arguments:
        size: Height and width, divisible by 2 ** depth.
        channels: Colours.
        width: Channels of the finest hidden layer; each coarser one has twice as many.
        depth: How often the map is halved.
        norm: Normalisation of all layers but those at the images.
    """

    def __init__(
        self,
        size: int = 64,
        channels: int = 3,
        width: int = 64,
        depth: int = 3,
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        check_sizes(size=size, channels=channels, width=width, depth=depth)
        if size % 2**depth:
            raise ValueError(f"size must be divisible by 2 ** {depth}, got {size}")
        self.shape = (channels, size, size)
        widths = [width * 2**i for i in range(depth)]
        code_shape = (widths[-1], size // 2**depth, size // 2**depth)
        self.feature_size = prod(code_shape)
        bias = norm == "none"
        down: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1, bias=bias), nn.LeakyReLU(0.2)]
        for a, b in pairwise(widths):
            down += [nn.Conv2d(a, b, 4, 2, 1, bias=bias), norm2d(norm, b), nn.LeakyReLU(0.2)]
        up: list[nn.Module] = [nn.Unflatten(1, code_shape)]
        for a, b in pairwise(widths[::-1]):
            up += [nn.ConvTranspose2d(a, b, 4, 2, 1, bias=bias), norm2d(norm, b), nn.LeakyReLU(0.2)]
        self.encoder = nn.Sequential(*down, nn.Flatten())
        self.decoder = nn.Sequential(*up, nn.ConvTranspose2d(width, channels, 4, 2, 1))
        normal_(self)

    def encode(self, x: Tensor) -> Tensor:
        return self.encoder(x)

    def decode(self, code: Tensor) -> Tensor:
        return self.decoder(code)


class UpsamplingAutoencoder(AutoencodingDiscriminator):
    """The autoencoder of BEGAN: pairs of convolutions with ELU, and nothing normalised.

    Arguments:
        size: Height and width: 5 to 8 times a power of two, such as 28, 32 or 64.
        channels: Colours.
        width: Channels of the finest map; each coarser one of the encoder has as many more.
        code_size: Length of the codes.
    """

    def __init__(
        self, size: int = 64, channels: int = 3, width: int = 64, code_size: int = 64
    ) -> None:
        super().__init__()
        check_sizes(channels=channels, width=width, code_size=code_size)
        self.shape, self.feature_size = (channels, size, size), code_size
        base, doublings = _coarsest(size)
        layers = [nn.Conv2d(channels, width, 3, padding=1), nn.ELU()]
        for i in range(doublings + 1):
            wide = width * (i + 1)
            layers += [nn.Conv2d(width * max(i, 1), wide, 3, padding=1), nn.ELU()]
            layers += [nn.Conv2d(wide, wide, 3, padding=1), nn.ELU()]
            if i < doublings:
                layers += [nn.Conv2d(wide, wide, 3, stride=2, padding=1), nn.ELU()]
        self.encoder = nn.Sequential(
            *layers, nn.Flatten(), nn.Linear(width * (doublings + 1) * base * base, code_size)
        )
        self.decoder = _decoder(size, channels, width, code_size)
        _keep_variance_(self)

    def encode(self, x: Tensor) -> Tensor:
        return self.encoder(x)

    def decode(self, code: Tensor) -> Tensor:
        return self.decoder(code)


class UpsamplingGenerator(Generator):
    """The generator of BEGAN: its decoder. Images are not bounded in training, and cut to [-1, 1] else.

    A tanh would flatten the gradient where images are black or white, as most pixels of digits are.

    Arguments:
        size: Height and width: 5 to 8 times a power of two, such as 28, 32 or 64.
        channels: Colours.
        latent_size: Length of the latents, which the paper draws from U(-1, 1).
        width: Channels of all maps.
        background: The level in [-1, 1] about which all pixels start. Take that of the images'
            background: far from all images an autoencoder blurs whatever it is given, and the
            generator learns nothing from it.
    """

    def __init__(
        self,
        size: int = 64,
        channels: int = 3,
        latent_size: int = 64,
        width: int = 64,
        background: float = 0.0,
    ) -> None:
        super().__init__()
        check_sizes(channels=channels, latent_size=latent_size, width=width)
        if not -1 <= background <= 1:
            raise ValueError(f"background must be in [-1, 1], got {background}")
        self.shape, self.latent_size = (channels, size, size), latent_size
        self.layers = _decoder(size, channels, width, latent_size)
        _keep_variance_(self)
        last = self.layers[-1]
        assert isinstance(last, nn.Conv2d)
        nn.init.constant_(last.bias, background)  # type: ignore[arg-type]

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        refuse_labels(labels)
        images = self.layers(z)
        return images if self.training else images.clamp(-1, 1)


def _decoder(size: int, channels: int, width: int, code_size: int) -> nn.Sequential:
    base, doublings = _coarsest(size)
    layers = [nn.Linear(code_size, width * base * base), nn.Unflatten(1, (width, base, base))]
    for i in range(doublings + 1):
        for _ in range(2):
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.ELU()]
        if i < doublings:
            layers += [nn.Upsample(scale_factor=2, mode="nearest")]
    return nn.Sequential(*layers, nn.Conv2d(width, channels, 3, padding=1))


def _coarsest(size: int) -> tuple[int, int]:
    """The size of the coarsest map, at most 8, and how many doublings lead from it to `size`."""
    base, doublings = size, 0
    while base > 8 and base % 2 == 0:
        base, doublings = base // 2, doublings + 1
    if not 4 < base <= 8:
        raise ValueError(f"size must be 5 to 8 times a power of two, such as 28 or 64; got {size}")
    return base, doublings


def _keep_variance_(network: nn.Module) -> None:
    """Xavier's weights, after which maps of one width vary about as much as before; no biases.

    With PyTorch's own, which divide the variance by 3 in each layer, what is rebuilt does not
    depend on the image, and an autoencoder of digits stays black for thousands of steps.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
