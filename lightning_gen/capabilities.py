"""What a model can do. Callbacks, metrics and tools ask for these, never for a class.

Images are floats (B, C, H, W) in [-1, 1] and labels int64 (B,), unless said otherwise. Where a
method takes `noise`, the result is a function of it; without, torch's own generator is used.
"""

from typing import Literal, Protocol, runtime_checkable

from torch import Tensor

from .randomness import Noise


@runtime_checkable
class Sampler(Protocol):
    """Draws images."""

    def sample(self, n: int, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        """Draws `n` images, with the averaged weights where the model keeps them."""


@runtime_checkable
class Likelihood(Protocol):
    """Gives each image a likelihood or a bound on it."""

    nll_kind: Literal["exact", "bound"]

    def nll(self, x: Tensor, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        """Negative log-likelihood, or an upper bound on it, in nats per image, (B,)."""


@runtime_checkable
class PixelLikelihood(Protocol):
    """Says what each sub-pixel costs."""

    def pixel_nll(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Nats per sub-pixel (B, C, H, W), each given those before it; they sum to `nll`."""


@runtime_checkable
class ImportanceLikelihood(Protocol):
    """Tightens its bound with more samples."""

    def importance_nll(
        self, x: Tensor, k: int, labels: Tensor | None = None, noise: Noise | None = None
    ) -> Tensor:
        """The bound with `k` importance samples, in nats per image, (B,)."""


@runtime_checkable
class Unnormalised(Protocol):
    """Gives each image a likelihood, or a bound on it, but for a constant that it can estimate."""

    unnormalised_kind: Literal["exact", "bound"]

    def unnormalised_nll(
        self, x: Tensor, labels: Tensor | None = None, noise: Noise | None = None
    ) -> Tensor:
        """Nats per image, (B,), which with ln Z added are -ln p(x), or an upper bound on it."""

    def log_partition(self) -> Tensor | None:
        """ln Z, a scalar in float64, where it can be computed."""

    def log_weights(self, temperatures: int, noise: Noise) -> Tensor:
        """Logarithms, (n,) in float64, of independent random numbers of which each has the mean Z."""


@runtime_checkable
class Encoder(Protocol):
    """Maps images to codes."""

    def encode(self, x: Tensor) -> Tensor:
        """The code of each image, the posterior mean where there is a posterior, (B, D)."""


@runtime_checkable
class Decoder(Protocol):
    """Maps codes to images."""

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The image of each code (B, D)."""

    def latent(self, n: int, noise: Noise | None = None) -> Tensor:
        """Draws `n` codes from the prior, (n, D)."""


@runtime_checkable
class Completer(Protocol):
    """Fills in images."""

    def complete(
        self, x: Tensor, known: Tensor, labels: Tensor | None = None, noise: Noise | None = None
    ) -> Tensor:
        """Draws anew what the mask `known` (H, W) does not keep."""


@runtime_checkable
class Translator(Protocol):
    """Maps images to images."""

    def translate(self, x: Tensor) -> Tensor:
        """The other side of each image."""


@runtime_checkable
class Classifier(Protocol):
    """Says of which class an image is."""

    def classify(self, x: Tensor) -> Tensor:
        """Log-probabilities of the classes of images, (B, K)."""


@runtime_checkable
class CodeReader(Protocol):
    """Has codes among its latents that can be read off images again, without labels."""

    def read_codes(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Log-probabilities of each categorical code, (B, K), and guesses at the others, (B, A)."""

    def traversals(self, rows: int, columns: int, noise: Noise) -> dict[str, Tensor]:
        """For each code latents (rows, columns, D) that differ along a row in that code alone."""


ALL: dict[str, type] = {
    protocol.__name__: protocol
    for protocol in (
        Sampler,
        Likelihood,
        PixelLikelihood,
        ImportanceLikelihood,
        Unnormalised,
        Encoder,
        Decoder,
        Completer,
        Translator,
        Classifier,
        CodeReader,
    )
}
