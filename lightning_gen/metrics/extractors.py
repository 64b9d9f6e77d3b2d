"""Networks whose features distances between sets of images are taken in, by name."""

from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

import torch
from safetensors.torch import load
from torch import Tensor, nn
from torch.nn import functional

from ..levels import from_levels
from ..randomness import stream
from .cache import digest_of_file
from .code import code_of
from .features import Extractor, check_channels, plain_tensors, resize, to_rgb
from .inception import Inception

DIGITS = Path(__file__).parent / "weights" / "digits.safetensors"
DIGITS_SHA256 = "f0555cc933eec325685f289e3d2bb9989fc06061a0557156de4660a6055b5058"


class DigitClassifier(Extractor):
    """A small classifier of handwritten digits, whose last hidden layer gives 64 features.

    For MNIST and its like, where Inception's features say little. Colours are averaged and images
    resized to 28 with antialiasing. `python -m lightning_gen.metrics.train_digits` made the weights.
    """

    num_classes = 10

    def __init__(self) -> None:
        super().__init__("digits", 64)
        content = DIGITS.read_bytes()
        if digest_of_file(DIGITS) != DIGITS_SHA256:
            raise ValueError(f"{DIGITS} is not the file that belongs to this version; install anew")
        self.network = digit_network()
        self.network.load_state_dict(load(content))
        self.freeze()

    def forward(self, images: Tensor) -> Tensor:
        return self.with_logits(images)[0]

    def with_logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.network[:-2](grey28(images))
        return features, self.network[-2:](features)


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
        code: What tells the module from others with its weights; by default how it prints and the
            source of its classes.
    """

    channels: tuple[int, ...] = (1, 2, 3, 4)  # the module's own matter

    def __init__(
        self,
        module: nn.Module,
        name: str,
        num_features: int | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(name, int(num_features or getattr(module, "num_features", 0)))  # type: ignore[arg-type]
        self.module = module
        self.freeze(f"{module}\n{code_of(module)}" if code is None else code)
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

        known = models.list_models(models)
        if name not in known:
            close = get_close_matches(name, known, 1)
            hint = f"; did you mean {close[0]}?" if close else ", such as resnet50"
            raise ValueError(f"torchvision has no classifier called {name}{hint}")
        tensors = plain_tensors(Path(weights))
        self.network = models.get_model(name, weights=None)
        try:
            self.network.load_state_dict(tensors)
        except RuntimeError as error:
            raise ValueError(
                f"the weights in {weights} are not of {name}; give those of torchvision's {name}"
            ) from error
        parts = list(self.network.named_modules())
        heads = [
            [name for name, part in parts if isinstance(part, k)] for k in (nn.Linear, nn.Conv2d)
        ]
        self.network.set_submodule((heads[0] or heads[1])[-1], nn.Identity())
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
        backbone = ModuleFeatures(Backbone(plain, weights), plain, code="")
        backbone.channels = Extractor.channels
        return backbone
    if Path(name).is_file():
        try:
            script = torch.jit.load(name, "cpu")
        except RuntimeError as error:
            raise ValueError(
                f"{name} is no TorchScript file: write one by torch.jit.save"
            ) from error
        return ModuleFeatures(script, Path(name).stem, code=digest_of_file(Path(name)))
    module, _, attribute = name.partition(":")
    try:
        found = getattr(import_module(module), attribute)
        made = found if isinstance(found, nn.Module) else found()
    except (ImportError, AttributeError, TypeError) as error:
        raise ValueError(
            f"the features {name} cannot be made ({error}); name a module, or what makes one "
            "without arguments"
        ) from error
    if not isinstance(made, nn.Module):
        raise ValueError(
            f"the features {name} must be a torch.nn.Module, got {type(made).__name__}"
        )
    return made if isinstance(made, Extractor) else ModuleFeatures(made, attribute.lower())
