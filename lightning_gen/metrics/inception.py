"""The network of published FIDs, whose weights are fetched once."""

import io
from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor

from ..files import cache_folder
from .cache import digest_of_file
from .features import Extractor, plain_tensors, to_rgb

INCEPTION_URL = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
    "weights-inception-2015-12-05-6726825d.pth"
)
INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"


class Inception(Extractor):
    """The Inception network of 2015 of published FIDs: TensorFlow's weights, 2048 features.

    Images are resized to 299 as TensorFlow 1 did, without antialiasing. Grey images are repeated
    to three channels, and their FID compares only to that of grey images.

    Arguments:
        weights: The weights' file; by default it is fetched once into the cache. No other file
            than torch-fidelity's is accepted.

    References:
        | GANs Trained by a Two Time-Scale Update Rule (Heusel et al., 2017)
        | https://arxiv.org/abs/1706.08500
    """

    num_classes = 1008

    def __init__(self, weights: str | Path | None = None) -> None:
        super().__init__("inception-tf1", 2048)
        import lightning_gen._torchvision  # isort: skip  # noqa: F401  # before torch_fidelity

        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except ImportError as error:
            raise ImportError(
                "the inception-tf1 features need torch-fidelity: pip install 'lightning-gen[fid]'"
            ) from error
        path = _fetched(INCEPTION_URL, INCEPTION_SHA256) if weights is None else Path(weights)
        # torch-fidelity unpickles its file without restraint: it gets a copy of plain tensors.
        copy = io.BytesIO()
        torch.save(_verified(path, INCEPTION_SHA256), copy)
        copy.seek(0)
        self.network = FeatureExtractorInceptionV3(
            "inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=copy
        )
        self.freeze()

    def forward(self, images: Tensor) -> Tensor:
        return self.with_logits(images)[0]

    def with_logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features, logits = self.network(to_rgb(images))  # without biases, as in published scores
        return features, logits


def _fetched(url: str, sha256: str) -> Path:
    """The file behind an address, from the cache or fetched into it."""
    path = cache_folder() / url.rsplit("/", 1)[1]
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path), hash_prefix=sha256)
        except (URLError, OSError) as error:
            raise FileNotFoundError(
                f"cannot fetch the Inception weights ({error}); put the file behind {url} at {path}"
            ) from error
    return path


def _verified(path: Path, sha256: str) -> dict[str, Tensor]:
    if not path.is_file():
        raise FileNotFoundError(f"there are no weights at {path}")
    if (found := digest_of_file(path)) != sha256:
        raise ValueError(
            f"{path} has sha256 {found[:12]}..., expected {sha256[:12]}...; fetch it again"
        )
    return plain_tensors(path)
