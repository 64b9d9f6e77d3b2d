"""Tiny models with hidden codes, in float64, and noise that is told what to draw."""

from math import log

import torch

from lightning_gen import losses
from lightning_gen.models.autoencoders import VAE
from lightning_gen.models.distributions import Gaussian
from lightning_gen.networks.encoders import MLPDecoder, MLPEncoder
from lightning_gen.nn.flows import IAF, PlanarFlows, RadialFlows
from lightning_gen.randomness import Noise

SHAPE, D, C = (1, 4, 4), 3, 5
FLOWS = {
    "planar": lambda: PlanarFlows(D, C, 2),
    "radial": lambda: RadialFlows(D, C, 2),
    "affine": lambda: IAF(D, C, 2, (8,), gated=False),
    "gated": lambda: IAF(D, C, 2, (8,)),
}


def noise(count, *key):
    return Noise(("test", *key), count, dtype=torch.double)


def binary(count):
    torch.manual_seed(1)
    return torch.randn(count, *SHAPE, dtype=torch.double).sign()


def make(cls=VAE, context=0, **kwargs):
    """A model whose posteriors are far from the prior."""
    torch.manual_seed(0)
    networks = MLPEncoder(SHAPE, D, (8,), context_size=context), MLPDecoder(SHAPE, D, (8,))
    model = cls(*networks, **kwargs).double()
    model.encoder.out.weight.data *= 4
    return model


def shaken(model, scale=0.5):
    for part in (model.flow, model.upper):
        for parameter in () if part is None else part.parameters():
            parameter.data.uniform_(-scale, scale)
    return model


class Given(Noise):
    """Noise that is told its normal numbers, (B, D) each time, and gives the middle of each bin."""

    def __init__(self, eps):
        super().__init__(("given",), len(eps), dtype=torch.double)
        self.eps = eps

    def normal(self, *size):
        return self.eps

    def uniform(self, *size):
        return torch.full((len(self.eps), *size), 0.5, dtype=torch.double)

    def spawn(self, *purpose):
        return self


def sigma_points(size):
    """Points (2 D, D), whose even mean of any cubic polynomial is its mean under N(0, 1)."""
    return size**0.5 * torch.cat([torch.eye(size), -torch.eye(size)]).double()


class Density(Gaussian):
    """A density, of images as they come."""

    dequantisation = "none"

    def __init__(self, variance):
        super().__init__(log_var=log(variance))

    def targets(self, x, noise):
        return x

    def nll(self, parameters, targets):
        return losses.gaussian_nll(*self._split(parameters), targets)
