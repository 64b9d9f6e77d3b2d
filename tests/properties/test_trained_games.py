"""What short training on real digits has to bring: labels that are obeyed, codes that can be read."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from datamodules import Digits
from lightning_gen import losses
from lightning_gen.levels import from_levels, to_levels
from lightning_gen.metrics.extractors import DigitClassifier
from lightning_gen.models.gans import ACGAN, GAN, WGANGP, InfoGAN
from lightning_gen.models.gans.base import LatentGAN
from lightning_gen.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from lightning_gen.optimizers import FusedAdam
from tests.game import trainer

pytestmark = pytest.mark.slow

SIZE = 8  # pixels, as scikit-learn has its digits: seconds suffice
GAMES = {
    "cross-entropy": (GAN, 250, {}),
    "penalised critic": (WGANGP, 200, {"n_critic": 5}),
}


@pytest.fixture(params=[0, 1])
def seeds(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", str(request.param))
    torch.manual_seed(request.param)


def play(
    kind: type[LatentGAN],
    rounds: int,
    asked: int | None = None,
    known: int | None = None,
    rates: tuple[float, float] = (5e-4, 5e-4),
    **options: object,
) -> LatentGAN:
    """A game after so many rounds, ready to be judged.

    Arguments:
        kind: Which game.
        rounds: How many.
        asked: Classes that the generator is given.
        known: Classes that the discriminator is given.
        rates: The generator's learning rate and the discriminator's.
        options: Of the game.
    """
    # A penalty is of single images. The second moments' rates are those of the papers.
    norm, second = ("none", 0.9) if kind is WGANGP else ("batch", 0.999)
    adam = [partial(FusedAdam, lr=rate, betas=(0.5, second)) for rate in rates]
    model = kind(
        generator=DCGANGenerator(SIZE, 1, latent_size=32, width=32, num_classes=asked),
        discriminator=DCGANDiscriminator(SIZE, 1, width=32, norm=norm, num_classes=known),
        generator_optimizer=adam[0],
        discriminator_optimizer=adam[1],
        **options,
    )
    trainer(max_steps=rounds, max_epochs=-1).fit(model, Digits(size=SIZE))
    return model.eval()


def held_out() -> tuple[Tensor, Tensor]:
    """Real images (300, 1, 8, 8) that no game has seen, and their classes."""
    levels, labels = next(iter(Digits(size=SIZE).loader("test")))
    return from_levels(levels), labels


def obeyed(model: LatentGAN, n: int = 1000) -> float:
    """Which share of generated images the pinned classifier takes for what was asked."""
    labels = torch.arange(n) % 10
    _, logits = DigitClassifier().with_logits(to_levels(model.sample(n, labels)))
    return (logits.argmax(1) == labels).double().mean().item()


@pytest.mark.usefixtures("seeds")
@pytest.mark.parametrize("game", GAMES)
def test_labels_mean_the_same_to_both_sides_and_what_they_mean_in_the_data(game):
    kind, rounds, options = GAMES[game]
    model = play(kind, rounds, asked=10, known=10, **options)
    images, labels = held_out()
    with torch.no_grad():
        right = model.discriminator(images, labels)
        wrong = torch.stack([model.discriminator(images, (labels + k) % 10) for k in range(1, 10)])
    assert right.mean() > wrong.mean() + 0.05
    assert (right > wrong).double().mean() > 0.6
    assert obeyed(model) > 0.4


@pytest.mark.usefixtures("seeds")
def test_an_auxiliary_classifier_knows_the_data_and_teaches_the_generator():
    model = play(ACGAN, 250, asked=10)
    images, labels = held_out()
    with torch.no_grad():
        guesses = model.classifier(model.discriminator.features(images)).argmax(1)
    assert (guesses == labels).double().mean() > 0.7
    assert obeyed(model) > 0.6


def play_with_codes(**options: object) -> InfoGAN:
    model = play(InfoGAN, 500, rates=(1e-3, 4e-4), **options)
    assert isinstance(model, InfoGAN)
    return model


def told(model: InfoGAN) -> float:
    """How many nats of the categorical code another recogniser finds, which learns to read it."""
    reader = nn.Sequential(nn.Flatten(), nn.Linear(SIZE**2, 128), nn.ReLU(), nn.Linear(128, 10))
    adam = torch.optim.Adam(reader.parameters(), 1e-3)

    def information(n: int) -> Tensor:
        z = model.latent(n)
        with torch.no_grad():
            images = model.decode(z)
        return losses.categorical_information(reader(images), model.codes.split(z)[0][0])

    for _ in range(300):
        adam.zero_grad()
        (-information(256)).backward()
        adam.step()
    return information(4000).item()


@pytest.mark.parametrize("owner", ["discriminator", "generator"])
def test_codes_can_be_read_off_the_images_that_they_made(owner):
    model = play_with_codes(recogniser_owner=owner)
    z = model.latent(2000)
    with torch.no_grad():
        (guesses,), means = model.read_codes(model.decode(z))
    (values,), numbers, _ = model.codes.split(z)
    assert losses.categorical_information(guesses, values) > 2.0  # nats; there are log 10 = 2.303
    assert told(model) > 2.0
    assert F.mse_loss(means, numbers) < 0.2  # blind guesses have 1/3


def test_a_code_that_nobody_asks_for_says_little():
    assert told(play_with_codes(categorical_weight=0.0)) < 0.5
