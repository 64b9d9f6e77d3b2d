"""Spectral normalisation of whole networks."""

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from .init import WEIGHTED


def spectral_(network: nn.Module) -> None:
    """Divides every weight matrix of a network by its largest singular value.

    Each forward pass in training improves the estimate of that value by one power iteration, whose
    vectors are buffers. To be called after initial weights are set, which become the originals.

    References:
        | Spectral Normalization for Generative Adversarial Networks (Miyato et al., 2018)
        | https://arxiv.org/abs/1802.05957
    """
    for layer in [m for m in network.modules() if isinstance(m, WEIGHTED)]:
        spectral_norm(layer)
