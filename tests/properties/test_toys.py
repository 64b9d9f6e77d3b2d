"""What the toys are for: games between densities that are known, and modes that can be counted."""

import re
from math import log
from pathlib import Path

import pytest
import torch

from benchmarks.figures import lines
from datamodules import ParallelLines
from lightning_gen import losses
from lightning_gen.analysis.densities import lines_penalised, optimal_logits
from lightning_gen.cli import main
from lightning_gen.cli.checkpoints import load_model
from lightning_gen.models.gans import GAN, WGANGP
from lightning_gen.networks.mlp import MLPDiscriminator
from lightning_gen.networks.points import LineGenerator
from lightning_gen.optimizers import FusedAdam
from lightning_gen.tracking import read_results
from tests.game import trainer

ROOT = Path(__file__).parents[2]


def normal(mean: float, count: int = 20_001) -> torch.Tensor:
    """Evenly spread quantiles of N(mean, 1), whose means are expectations to three digits."""
    places = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    return torch.distributions.Normal(mean, 1.0).icdf(places)


def test_a_linear_discriminator_of_two_normals_finds_the_best_one():
    p, q = normal(0.0), normal(1.5)
    line = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([line], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        found = losses.cross_entropy_discriminator(line[0] * p + line[1], line[0] * q + line[1])
        found.backward()
        return found

    optimizer.step(loss)
    assert line.tolist() == pytest.approx([-1.5, 1.125], abs=5e-3)
    assert -loss().item() == pytest.approx(-0.9440, abs=1e-3)  # -ln 4 + 2 JSD


def test_only_the_saturating_generator_loses_its_gradient_to_the_best_discriminator():
    shift = torch.tensor(6.0, dtype=torch.float64, requires_grad=True)
    best = lambda x: optimal_logits(-(x**2) / 2, -((x - 6.0) ** 2) / 2)  # noqa: E731
    slopes = {}
    for loss in (losses.minimax_generator, losses.non_saturating_generator):
        (slope,) = torch.autograd.grad(loss(best(normal(0.0) + shift)), shift)
        slopes[loss] = slope.abs().item()
    assert slopes[losses.minimax_generator] < 0.01 * slopes[losses.non_saturating_generator]
    assert slopes[losses.non_saturating_generator] == pytest.approx(6, rel=0.01)


def test_a_line_is_made_where_it_stands():
    z = torch.tensor([[-1.0], [0.0], [1.0]])
    line = LineGenerator(shift=0.3)(z).flatten(1)
    assert line.tolist() == [[pytest.approx(0.3), u] for u in (0, 0.5, 1)]


def play(kind: type, **kwargs: object) -> float:
    """Where the generator's line stands after 200 rounds of plain descent; the data stand at 2."""
    torch.manual_seed(0)
    model = kind(
        generator=LineGenerator(),
        discriminator=MLPDiscriminator((2, 1, 1), (64, 64)),
        generator_optimizer=lambda p: torch.optim.SGD(p, lr=1e-2),
        discriminator_optimizer=lambda p: FusedAdam(p, lr=1e-3, betas=(0.5, 0.9)),
        n_critic=20,
        prior="uniform",
        **kwargs,
    )
    trainer(max_steps=200, max_epochs=-1).fit(model, ParallelLines(2.0, batch_size=256))
    return model.generator.shift.item()


@pytest.mark.slow
def test_a_penalised_critic_leads_a_line_home_and_a_sure_discriminator_does_not():
    assert play(WGANGP) == pytest.approx(2, abs=0.2)
    assert abs(play(GAN, saturating=True)) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("theta", [0.25, 0.5, 1.0, 2.0])
def test_a_penalised_critic_measures_the_distance_and_its_known_bias(theta):
    wanted = lines_penalised(torch.tensor(theta), lines.PENALTY).item()
    assert lines.penalised(theta, seed=1) == pytest.approx(wanted, rel=0.03)


@pytest.mark.slow
def test_clipping_and_the_divergence_measure_no_distance():
    clipped = [lines.clipped(theta, seed=1) / theta for theta in (0.25, 2.0)]
    assert max(clipped) < 0.6  # a multiple that nobody knows
    assert clipped[1] < 0.95 * clipped[0]  # nor is it the same everywhere
    for theta in (0.25, 2.0):
        assert lines.divergence(theta, seed=1) == pytest.approx(log(2), abs=1e-3)


def points(name: str, run: Path, seed: int) -> dict[str, float]:
    """The scores, by their metrics' names, of a run of WGAN-GP's config for these points."""
    config = ROOT / "configs" / name / "wgan_gp.yaml"
    options = [f"--run_dir={run}", f"--seed_everything={seed}", "--trackers=[csv]"]
    assert main(["fit", f"--config={config}", *options]) == 0
    scores = read_results(run / "result.json")["scores"]
    return {key.removesuffix("/3sigma@10000"): score["value"] for key, score in scores.items()}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_wgan_gp_covers_the_ring(seed, tmp_path, capsys):
    scores = points("ring", tmp_path / "run", seed)
    assert scores["modes"] == 8
    assert scores["mode_kl"] < 0.05  # nats; without one mode of eight there are 0.13
    assert scores["quality"] > 0.4
    assert re.search("samples +.*latest.png", capsys.readouterr().out)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_wgan_gp_covers_the_grid(tmp_path):
    scores = points("grid", tmp_path / "run", seed=0)
    assert scores["modes"] == 25
    assert scores["quality"] > 0.7


@pytest.mark.slow
def test_a_run_on_points_that_was_stopped_goes_on_exactly(tmp_path):
    short = ["--trainer.max_steps=12", "--trainer.callbacks=[]", "--trackers=[csv]"]
    base = ["fit", f"--config={ROOT / 'configs/ring/wgan_gp.yaml'}", *short, "--data.batch_size=32"]
    assert main([*base, f"--run_dir={tmp_path / 'whole'}"]) == 0
    halves = [*base, f"--run_dir={tmp_path / 'halves'}"]
    assert main([*halves, "--trainer.max_steps=5"]) == 0
    assert main([*halves, "--ckpt_path=last"]) == 0
    whole, again = (
        load_model(tmp_path / name / "checkpoints" / "last.ckpt") for name in ("whole", "halves")
    )
    for a, b in zip(whole.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b)
