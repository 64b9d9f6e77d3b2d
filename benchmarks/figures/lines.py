"""python -m benchmarks.figures.lines: what three critics say of two parallel lines as these move apart.

The critic of WGAN-GP measures the earth-mover distance, but for a bias that is known; one whose weights
are clipped measures a multiple that depends on its depth and on the clipping; the original
discriminator says ln 2 of any lines that do not touch, so no generator learns from it which way to go.
Each is trained to its best against the frozen line, which takes two minutes on one core.
"""

import lightning_gen._torchvision  # isort: skip  # noqa: F401

import argparse
from collections.abc import Callable
from math import log
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from callbacks.curves import Points, draw_panels
from callbacks.images import check_suffix, save_picture
from lightning_gen import losses
from lightning_gen.analysis.densities import (
    lines_earth_mover,
    lines_jensen_shannon,
    lines_penalised,
)
from lightning_gen.networks.mlp import MLPDiscriminator
from lightning_gen.optimizers import FusedAdam
from lightning_gen.randomness import stream

THETAS = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0)
STEPS, BATCH, LAST = 1500, 256, 200  # the estimate is the mean over the last steps
PENALTY, CLIP = 10.0, 0.05
Measure = Callable[[float, int], float]


def line(theta: float, count: int, generator: torch.Generator) -> Tensor:
    """Points (theta, u), u uniform in [0, 1], as (count, 2, 1, 1)."""
    heights = torch.rand(count, generator=generator)
    return torch.stack([torch.full_like(heights, theta), heights], 1).view(count, 2, 1, 1)


def trained(
    theta: float, seed: int, loss_of: Callable[[MLPDiscriminator, Tensor, Tensor, Tensor], Tensor],
    estimate_of: Callable[[Tensor, Tensor], Tensor], clip: float | None = None,
) -> float:  # fmt: skip
    """The estimate of a critic that was trained on the line through 0 against the one at theta.

    Arguments:
        theta: How far the lines are apart.
        seed: Of weights and points.
        loss_of: The critic's loss, of critic, real and fake points and their interpolation weights.
        estimate_of: What its logits of real and of fake points say.
        clip: The largest size of a weight, if any.
    """
    torch.manual_seed(seed)
    critic = MLPDiscriminator((2, 1, 1), (64, 64))
    optimizer = FusedAdam(critic.parameters(), lr=1e-3, betas=(0.5, 0.9))
    draws, total = stream("lines", seed, f"{theta:g}"), 0.0
    for step in range(STEPS):
        real, fake = line(0.0, BATCH, draws), line(theta, BATCH, draws)
        t = torch.rand(BATCH, generator=draws)
        if step >= STEPS - LAST:
            with torch.no_grad():
                total += estimate_of(critic(real), critic(fake)).item()
        optimizer.zero_grad()
        loss_of(critic, real, fake, t).backward()
        optimizer.step()
        if clip is not None:
            with torch.no_grad():
                for parameter in critic.parameters():
                    parameter.clamp_(-clip, clip)
    return total / LAST


def distance(real: Tensor, fake: Tensor) -> Tensor:
    """A critic's estimate of the earth-mover distance."""
    return -losses.wasserstein_discriminator(real, fake)


def penalised(theta: float, seed: int) -> float:
    """What the critic of WGAN-GP says."""

    def loss(critic: MLPDiscriminator, real: Tensor, fake: Tensor, t: Tensor) -> Tensor:
        penalty = losses.gradient_penalty(critic, real, fake, t)
        return PENALTY * penalty - distance(critic(real), critic(fake))

    return trained(theta, seed, loss, distance)


def clipped(theta: float, seed: int) -> float:
    """What a critic with clipped weights says."""
    return trained(theta, seed, lambda d, x, y, _: -distance(d(x), d(y)), distance, CLIP)


def divergence(theta: float, seed: int) -> float:
    """The Jensen-Shannon divergence as a discriminator sees it, (V + ln 4) / 2."""

    def estimate(real: Tensor, fake: Tensor) -> Tensor:
        return (log(4) - losses.cross_entropy_discriminator(real, fake)) / 2

    return trained(theta, seed, lambda d, x, y, _: -estimate(d(x), d(y)), estimate)


GAMES: dict[str, Measure] = {
    "WGAN-GP": penalised,
    "clipping": clipped,
    "Jensen-Shannon": divergence,
}


def exact() -> dict[str, Points]:
    """The curves that are known."""
    thetas = torch.linspace(0, max(THETAS), 201, dtype=torch.float64)
    known = {
        "WGAN-GP": lines_penalised(thetas, PENALTY),
        "earth mover": lines_earth_mover(thetas),
        "Jensen-Shannon": lines_jensen_shannon(thetas),
    }
    return {
        name: list(zip(thetas.tolist(), values.tolist(), strict=True))
        for name, values in known.items()
    }


def main() -> None:
    """Measures, prints the table and draws the figure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.figures.lines", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("docs/images/lines.png"))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    check_suffix(options.output)
    torch.set_num_threads(1)
    measured: dict[str, Points] = {name: [] for name in GAMES}
    work = [(name, theta) for name in GAMES for theta in THETAS]
    for name, theta in tqdm(work, desc="critics"):
        measured[name].append((theta, GAMES[name](theta, options.seed)))
    print(f"| theta | earth mover | WGAN-GP, exact | {' | '.join(GAMES)} |")
    print(f"|{' --- |' * (3 + len(GAMES))}")
    for k, theta in enumerate(THETAS):
        wanted = lines_penalised(torch.tensor(theta), PENALTY).item()
        found = " | ".join(f"{points[k][1]:.4f}" for points in measured.values())
        print(f"| {theta:g} | {abs(theta):g} | {wanted:.4f} | {found} |")
    known = exact()
    # In the same order, and so in the same colours.
    shown = {name: measured.get(name, known.get(name, [])) for name in (*known, "clipping")}
    save_picture(options.output, draw_panels({"exact": known, "measured": shown}))
    print(f"figure       {options.output}")


if __name__ == "__main__":
    main()
