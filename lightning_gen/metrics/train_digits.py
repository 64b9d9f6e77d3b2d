"""Trains the digit classifier behind the `digits` features: about a minute on a CPU.

    python -m lightning_gen.metrics.train_digits --root DATA [--output FILE]

DATA holds MNIST's four files under MNIST/raw, gzipped or not. Prints the accuracy on MNIST's test
digits, on those of scikit-learn and, where DATA/USPS stands, on USPS. A new file has a new sha256,
to be set as `DIGITS_SHA256` in extractors.py: with it, all distances in these features change.
"""

import argparse
import bz2
import gzip
import math
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from .cache import digest_of_file
from .extractors import DIGITS, digit_network, grey28
from .features import resize


def read_idx(path: Path) -> Tensor:
    """The array in a file of MNIST's format, gzipped or not."""
    packed = path.with_name(f"{path.name}.gz")
    if not path.exists() and not packed.exists():
        raise FileNotFoundError(
            f"there is neither {path} nor {packed.name}; put MNIST's files there"
        )
    content = path.read_bytes() if path.exists() else gzip.decompress(packed.read_bytes())
    rank = content[3]
    shape = np.frombuffer(content, ">i4", rank, 4)
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * rank)
    return torch.from_numpy(values.reshape(shape).copy())


def mnist(root: Path, part: str) -> tuple[Tensor, Tensor]:
    """Digits (N, 1, 28, 28) and their labels (N,); `part` is train or t10k."""
    raw = root / "MNIST" / "raw"
    images = read_idx(raw / f"{part}-images-idx3-ubyte").unsqueeze(1)
    return images, read_idx(raw / f"{part}-labels-idx1-ubyte").long()


def scikit_digits() -> tuple[Tensor, Tensor]:
    """The 1797 digits of scikit-learn, (N, 1, 8, 8)."""
    from sklearn.datasets import load_digits

    data = load_digits()
    images = torch.from_numpy(np.round(data.images * (255 / 16)).astype(np.uint8)).unsqueeze(1)
    return images, torch.from_numpy(data.target).long()


def usps(root: Path) -> tuple[Tensor, Tensor]:
    """The 2007 test digits of USPS, (N, 1, 16, 16), from libsvm's file."""
    images, labels = [], []
    for line in bz2.decompress((root / "USPS" / "usps.t.bz2").read_bytes()).decode().splitlines():
        label, *values = line.split()
        labels.append(int(label) - 1)
        images.append([float(value.partition(":")[2]) for value in values])
    levels = ((torch.tensor(images) + 1) * 127.5).round().to(torch.uint8)
    return levels.view(-1, 1, 16, 16), torch.tensor(labels)


def distort(images: Tensor, generator: torch.Generator) -> Tensor:
    """Turns, scales, shears and shifts floats (B, 1, H, W) in [-1, 1], each image by its own draw.

    Digits of other collections fill their frame: hence the wide range of scales.
    """

    def draw(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(len(images), generator=generator)

    angle, shear = draw(-1, 1) * math.radians(15), draw(-0.2, 0.2)
    wide, high = torch.exp(draw(-0.4, 0.3)), torch.exp(draw(-0.4, 0.3))
    rows = [
        torch.stack([wide * angle.cos(), -high * (angle.sin() + shear), draw(-0.15, 0.15)], 1),
        torch.stack([wide * angle.sin(), high * angle.cos(), draw(-0.15, 0.15)], 1),
    ]
    where = functional.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    # grid_sample pads with 0, which is grey: so the background, -1, becomes 0 for the while.
    return functional.grid_sample(images + 1, where, align_corners=False) - 1


def blur(images: Tensor, generator: torch.Generator) -> Tensor:
    """Takes half of the images down to a size between 7 and 20 and up again, as small scans are."""
    sharp, soft = images.chunk(2)
    size = int(torch.randint(7, 21, (), generator=generator))
    return torch.cat([sharp, resize(resize(soft, size), images.shape[-1])])


def train(images: Tensor, labels: Tensor, epochs: int, seed: int = 0) -> nn.Sequential:
    """Trains the network on distorted digits with Adam and a rate that falls to zero."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network, batch = digit_network(), 128
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-2, fused=True)
    steps = epochs * (len(images) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for epoch in range(epochs):
        order = torch.randperm(len(images), generator=generator)
        for chosen in order[: len(order) // batch * batch].view(-1, batch):
            x = blur(distort(grey28(images[chosen]), generator), generator)
            loss = functional.cross_entropy(network(x), labels[chosen], label_smoothing=0.02)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1} of {epochs}: loss {loss.item():.3f}")
    return network.eval()


@torch.no_grad()
def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The share of digits that are recognised."""
    guesses = torch.cat([network(grey28(part)).argmax(1) for part in images.split(1000)])
    return (guesses == labels).double().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="folder that holds MNIST/raw")
    parser.add_argument("--output", type=Path, default=DIGITS, help="where to write the weights")
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    network = train(*mnist(arguments.root, "train"), arguments.epochs, arguments.seed)
    network.half().float()  # what is stored is what is measured
    tests = {"MNIST": mnist(arguments.root, "t10k"), "scikit-learn": scikit_digits()}
    if (arguments.root / "USPS" / "usps.t.bz2").exists():
        tests["USPS"] = usps(arguments.root)
    for name, test in tests.items():
        print(f"accuracy on {name}: {accuracy(network, *test):.4f}")
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.half() for k, v in network.state_dict().items()}, arguments.output)
    print(f"{arguments.output} has sha256 {digest_of_file(arguments.output)}")


if __name__ == "__main__":
    main()
