r"""Autoencoder, and with a corruption the denoising and the stacked denoising autoencoder.

An encoder :math:`E` and a decoder :math:`D` with a bottleneck between them, or with a corruption
:math:`q(\tilde x|x)` that makes copying useless, are fitted by

.. math:: E_{q(\tilde x|x)} \|D(E(\tilde x)) - x\|_2^2

It gives images no likelihood and has no samples: nothing says which codes are those of images.

References:
    | Extracting and Composing Robust Features with Denoising Autoencoders (Vincent et al., 2008)
    | https://doi.org/10.1145/1390156.1390294
    | Stacked Denoising Autoencoders (Vincent et al., 2010)
    | https://www.jmlr.org/papers/v11/vincent10a.html
"""

from math import inf
from typing import Any, cast

import torch
from torch import Tensor

from ...losses.reconstruction import Error, reconstruction_error
from ...nn.bottleneck import Coder, LevelCoder, LevelDecoder, check_fit
from ...nn.roles import Decoder
from ..base import Batch, Terms, evaluating
from ..corruption import Corruption
from ..fitted import FittedModel


class Autoencoder(FittedModel):
    """Rebuilds images from their codes; what it is shown in training may be corrupted.

    The loss is summed over sub-pixels, of images in [-1, 1]. `train/mse` is the mean over them with
    black at 0 and white at 1.

    Arguments:
        encoder: Maps images to codes.
        decoder: Maps codes to one number per sub-pixel.
        corruption: Spoils what is shown in training, never what is to be rebuilt. Default: none.
        error: "squared", or "cross_entropy", with which the decoder gives logits of white.
        corrupted_weight: How much sub-pixels count that were spoilt.
        kept_weight: How much the others count.
        level_images: Images by which each level is fitted alone, to rebuild what it reads from the
            levels below, which do not change any more; then all are fitted as one. For encoders and
            decoders of levels; 0 fits all as one from the start.
        kwargs: See `FittedModel`.
    """

    prior = "none"  # of codes

    def __init__(
        self,
        encoder: Coder,
        decoder: Decoder,
        corruption: Corruption | None = None,
        error: Error = "squared",
        corrupted_weight: float = 1.0,
        kept_weight: float = 1.0,
        level_images: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        weights = corrupted_weight, kept_weight
        check_fit(encoder, decoder, level_images)
        _check_loss(corruption, error, weights)
        self.encoder, self.decoder, self.corruption = encoder, decoder, corruption
        self.error, self.weights, self.level_images = error, weights, level_images
        self.average("encoder", "decoder")

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.decoder.shape

    @property
    def level(self) -> int | None:
        """The level that is fitted now, alone; None when all are fitted as one."""
        if not self.level_images:
            return None
        level = self.images_seen // self.level_images
        return level if level < len(cast(LevelCoder, self.encoder).levels) else None

    def terms(self, batch: Batch) -> Terms:
        level, x, low, kind = self.level, batch.images, -1.0, self.error
        if level:  # hidden units, in [0, 1]
            low, kind = 0.0, "squared"
            with torch.no_grad():
                x = cast(LevelCoder, self.encoder).below(x, level)
        shown, weights = x, None
        if self.corruption is not None:
            shown, touched = self.corruption(x, batch.noise, low)
            if self.weights != (1.0, 1.0):
                weights = torch.where(touched, *self.weights).to(x)
        outputs = self._rebuilt(shown, level)
        made = self._images(outputs) if kind == "cross_entropy" else outputs
        loss = reconstruction_error(outputs, x, kind, weights).mean()
        return {"loss": loss, "mse": (made - x).square().mean() / (1 - low) ** 2}

    # Capabilities

    def encode(self, x: Tensor) -> Tensor:
        """The codes (B, D) of images as they are."""
        with evaluating(self.averaged("encoder")) as encoder:
            return encoder(x)

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The images of codes (B, D), clamped to [-1, 1]. Codes of one's own need not give any."""
        with evaluating(self.averaged("decoder")) as decoder:
            return self._images(decoder(z)[:, 0]).clamp(-1, 1)

    def reconstruct(self, x: Tensor) -> Tensor:
        """The images that are rebuilt from images as they are, with the switches of pooling if any."""
        with (
            evaluating(cast(Coder, self.averaged("encoder"))) as encoder,
            evaluating(cast(Decoder, self.averaged("decoder"))) as decoder,
        ):
            return self._images(_through(encoder, decoder, x)).clamp(-1, 1)

    def _rebuilt(self, shown: Tensor, level: int | None) -> Tensor:
        """What a level, or all as one, make of what they are shown, in its shape."""
        if level is None:
            return _through(self.encoder, self.decoder, shown)
        encoder, decoder = cast(LevelCoder, self.encoder), cast(LevelDecoder, self.decoder)
        return decoder.levels[-1 - level](encoder.levels[level](shown)).view_as(shown)

    def _images(self, outputs: Tensor) -> Tensor:
        return outputs.sigmoid() * 2 - 1 if self.error == "cross_entropy" else outputs


def _through(encoder: Coder, decoder: Decoder, x: Tensor) -> Tensor:
    """Down to codes and up again, (B, C, H, W); past the codes go switches, if both know of any."""
    code, switches = encoder.with_switches(x)
    unpools = switches and getattr(decoder, "unpools", False)
    return (decoder(code, switches=switches) if unpools else decoder(code))[:, 0]


def _check_loss(corruption: Corruption | None, error: Error, weights: tuple[float, float]) -> None:
    if error not in ("squared", "cross_entropy"):
        raise ValueError(f"error must be squared or cross_entropy, got {error}")
    if not all(0 <= weight < inf for weight in weights) or max(weights) == 0:
        raise ValueError(f"weights must be finite, not negative and not both 0, got {weights}")
    if weights != (1.0, 1.0) and (corruption is None or corruption.everywhere):
        raise ValueError(
            "corrupted_weight and kept_weight need a corruption that leaves some sub-pixels as "
            "they are: Masking or SaltAndPepper"
        )
