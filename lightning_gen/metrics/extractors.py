"""Networks whose features distances between sets of images are taken in.

An extractor maps uint8 images (B, C, H, W) to features (B, D). It is frozen and never leaves
evaluation mode. Its name and digest are part of every number that is computed from it, since a
distance in other features is another distance.
"""

import io
from importlib import import_module
from pathlib import Path
from urllib.error import URLError

import torch
from safetensors.torch import load
from torch import Tensor, nn
from torch.nn import functional

from ..files import cache_folder
from ..levels import from_levels
from ..randomness import stream
from .cache import digest_of, digest_of_file

INCEPTION_URL = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
    "weights-inception-2015-12-05-6726825d.pth"
)
INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
DIGITS = Path(__file__).parent / "weights" / "digits.safetensors"
DIGITS_SHA256 = "f0555cc933eec325685f289e3d2bb9989fc06061a0557156de4660a6055b5058"


class Extractor(nn.Module):
    """Base of the extractors: frozen, in evaluation mode, and known by name and weights.

    Arguments:
        name: Goes into metric keys, as in `fid/<name>@10000`.
        num_features: The number of features per image.
    """

    channels: tuple[int, ...] = (1, 3)  # how many its images may have

    def __init__(self, name: str, num_features: int) -> None:
        super().__init__()
        self.name, self.num_features = name, num_features
        self.digest = ""

    def freeze(self) -> None:
        """To be called at the end of a constructor, once the weights are in place."""
        self.requires_grad_(False)
        self.train(False)
        self.digest = digest_of(self.state_dict())[:8]

    def train(self, mode: bool = True) -> "Extractor":
        """Stays in evaluation mode, whatever is asked for."""
        return super().train(False)


def resize(images: Tensor, size: int) -> Tensor:
    """Images (B, C, H, W) at (size, size), with antialiasing; unchanged if they have that size."""
    if images.shape[-2:] == (size, size):
        return images
    return functional.interpolate(
        images, (size, size), mode="bilinear", align_corners=False, antialias=True
    )


def check_channels(images: Tensor) -> None:
    """Raises ValueError for images (B, C, H, W) that are neither grey nor colours."""
    if images.shape[1] not in (1, 3):
        raise ValueError(f"images must have 1 or 3 channels, got {images.shape[1]}")


def to_rgb(images: Tensor) -> Tensor:
    """Images with three channels: grey ones repeated, three-channel ones as they are."""
    check_channels(images)
    return images.expand(-1, 3, -1, -1)


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
            "inception-v3-compat", ["2048"], feature_extractor_weights_path=copy
        )
        self.freeze()

    def forward(self, images: Tensor) -> Tensor:
        return self.network(to_rgb(images))[0]


class DigitClassifier(Extractor):
    """A small classifier of handwritten digits, whose last hidden layer gives 64 features.

    For MNIST and its like, where Inception's features say little. Colours are averaged and images
    resized to 28 with antialiasing. `python -m lightning_gen.metrics.train_digits` made the weights.
    """

    def __init__(self) -> None:
        super().__init__("digits", 64)
        content = DIGITS.read_bytes()
        if digest_of_file(DIGITS) != DIGITS_SHA256:
            raise ValueError(f"{DIGITS} is not the file that belongs to this version; install anew")
        self.network = digit_network()
        self.network.load_state_dict(load(content))
        self.freeze()

    def forward(self, images: Tensor) -> Tensor:
        return self.network[:-2](grey28(images))

    def logits(self, images: Tensor) -> Tensor:
        """Logits of the ten digits, (B, 10)."""
        return self.network(grey28(images))


def digit_network() -> nn.Sequential:
    """Two strided convolutions and a hidden layer of 64: images (B, 1, 28, 28) to logits (B, 10)."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 4, stride=2, padding=1), nn.ReLU()),
        *(nn.Conv2d(16, 32, 4, stride=2, padding=1), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(32 * 7 * 7, 64), nn.ReLU()),
        *(nn.Dropout(0.2), nn.Linear(64, 10)),
    )


def grey28(images: Tensor) -> Tensor:
    """uint8 images (B, C, H, W) as floats (B, 1, 28, 28) in [-1, 1]."""
    check_channels(images)
    return resize(from_levels(images).mean(1, keepdim=True), 28)


class SeededFeatures(Extractor):
    """A small random network, the same for the same seed: for tests, and a first look at any data.

    The features are means over the quarters of the image, so at least 8 x 8 pixels are needed.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__("seeded" if seed == 0 else f"seeded{seed}", 64)
        generator = stream("seeded features", seed)
        sizes = {"first": (16, 3, 4, 4), "second": (16, 16, 4, 4)}
        for name, size in sizes.items():
            # He's scale. Integers, since normal draws differ in their last bit between processors.
            scale = (2 / (24 * size[1] * size[2] * size[3])) ** 0.5  # 24: variance of -8 ... 8
            weight = torch.randint(-8, 9, size, generator=generator)
            self.register_buffer(name, scale * weight)
        self.freeze()

    def forward(self, images: Tensor) -> Tensor:
        x = from_levels(to_rgb(images))
        for weight in (self.get_buffer("first"), self.get_buffer("second")):
            x = functional.leaky_relu(functional.conv2d(x, weight, stride=2, padding=1), 0.2)
        return functional.adaptive_avg_pool2d(x, 2).flatten(1)


class ModuleFeatures(Extractor):
    """Any module as an extractor.

    Arguments:
        module: Maps uint8 images (B, C, H, W) to features; scaling and resizing are its own.
        name: Goes into metric keys.
        num_features: By default the module's attribute of that name, else tried out on an image
            of 3 x 64 x 64.
    """

    channels: tuple[int, ...] = (1, 2, 3, 4)  # the module's own matter

    def __init__(self, module: nn.Module, name: str, num_features: int | None = None) -> None:
        super().__init__(name, int(num_features or getattr(module, "num_features", 0)))  # type: ignore[arg-type]
        self.module = module
        self.freeze()
        if not self.num_features:
            with torch.no_grad():
                image = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
                self.num_features = self(image).shape[1]

    def forward(self, images: Tensor) -> Tensor:
        return self.module(images).flatten(1)


class Backbone(nn.Module):
    """A classifier of torchvision without its last layer, on images of 224 with ImageNet's moments.

    Arguments:
        name: As in `torchvision.models`, for example `resnet50`.
        weights: A file with its weights (a state_dict).
    """

    def __init__(self, name: str, weights: str | Path) -> None:
        super().__init__()
        import lightning_gen._torchvision  # isort: skip  # noqa: F401
        from torchvision import models

        if name not in models.list_models(models):
            raise ValueError(f"torchvision has no classifier called {name}")
        self.network = models.get_model(name, weights=None)
        self.network.load_state_dict(_plain_tensors(Path(weights)))
        head = [name for name, part in self.network.named_modules() if isinstance(part, nn.Linear)]
        self.network.set_submodule(head[-1], nn.Identity())
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        x = resize((from_levels(to_rgb(images)) + 1) / 2, 224)
        return self.network((x - self.get_buffer("mean")) / self.get_buffer("std"))


def check_name(name: str) -> None:
    """Raises ValueError if `extractor` would not know what is meant."""
    known = name in ("inception-tf1", "digits", "seeded") or name.startswith("torchvision/")
    if not known and ":" not in name and not Path(name).is_file():
        raise ValueError(
            f"no features are called {name}: give inception-tf1, digits, seeded, torchvision/NAME "
            "with weights, PACKAGE.MODULE:ATTRIBUTE, or the path of a TorchScript file"
        )


def extractor(name: str, weights: str | Path | None = None) -> Extractor:
    """An extractor by name.

    Arguments:
        name: `inception-tf1`, `digits`, `seeded`, `torchvision/NAME`, `PACKAGE.MODULE:ATTRIBUTE` (a
            module or what makes one), or the path of a TorchScript file, which is code: load only
            what you trust.
        weights: A file with weights, for `torchvision/NAME`, where it is needed, and for
            `inception-tf1`, which otherwise fetches them.
    """
    check_name(name)
    if name == "inception-tf1":
        return Inception(weights)
    if name in ("digits", "seeded"):
        return DigitClassifier() if name == "digits" else SeededFeatures()
    if name.startswith("torchvision/"):
        if weights is None:
            raise ValueError(f"the features of {name} need a file with weights: set `weights`")
        plain = name.removeprefix("torchvision/")
        backbone = ModuleFeatures(Backbone(plain, weights), plain)
        backbone.channels = Extractor.channels
        return backbone
    if Path(name).is_file():
        return ModuleFeatures(torch.jit.load(name, "cpu"), Path(name).stem)
    module, _, attribute = name.partition(":")
    found = getattr(import_module(module), attribute)
    made = found if isinstance(found, nn.Module) else found()
    return made if isinstance(made, Extractor) else ModuleFeatures(made, attribute.lower())


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
    return _plain_tensors(path)


def _plain_tensors(path: Path) -> dict[str, Tensor]:
    return torch.load(path, map_location="cpu", weights_only=True)
