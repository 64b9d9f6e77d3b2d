"""What a network does that expects codes which are not independent."""

from abc import ABC, abstractmethod

from torch import Tensor, nn


class CodePrior(nn.Module, ABC):
    """A Gaussian over each number of codes, given those before it and the codes of a layer above."""

    below_size: int  # of the codes that it expects
    latent_size: int  # of the codes above

    @abstractmethod
    def forward(self, z: Tensor, below: Tensor) -> tuple[Tensor, Tensor]:
        """Maps codes z (B, latent_size), and those below, to means and log-variances of the latter.

        All but z are (B, below_size). Those of a number depend on the numbers of `below` that come
        before it, and on no others.
        """

    @abstractmethod
    def draw(self, z: Tensor, eps: Tensor) -> Tensor:
        """Codes (B, below_size), each its mean and `eps` times its standard deviation, in order."""
