"""The systems of the adversarial family beyond two losses: who moves what, and what it is to learn."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD

from lightning_gen.levels import from_levels
from lightning_gen.models.adversarial import Batch
from lightning_gen.models.gans import (
    ACGAN,
    BEGAN,
    EBGAN,
    GAN,
    WGAN,
    WGANGP,
    ImprovedGAN,
    InfoGAN,
    SemiSupervisedGAN,
)
from lightning_gen.models.gans.began import Equilibrium
from lightning_gen.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from lightning_gen.networks.spatial import PatchDiscriminator
from lightning_gen.nn.history import History
from lightning_gen.nn.roles import Discriminator
from lightning_gen.randomness import Noise
from tests.game import TinyAutoencoder, TinyCritic, TinyData, TinyGenerator, fit, trainer


def sgd(params):
    return SGD(params, lr=0.1)


def batch_of(n=8, seed=0):
    draw = torch.Generator().manual_seed(seed)
    images = torch.rand(n, 1, 4, 4, generator=draw, dtype=torch.double) * 2 - 1
    return Batch(images, torch.arange(n) % 10, Noise(("test", seed), n, dtype=torch.double))


def build(cls, generator=None, discriminator=None, **kwargs):
    torch.manual_seed(0)
    return cls(
        generator=generator or TinyGenerator(),
        discriminator=discriminator or TinyCritic(),
        generator_optimizer=sgd,
        discriminator_optimizer=sgd,
        **kwargs,
    ).double()


# Classes


class Judge(Discriminator):
    """Knows classes, and remembers with which labels it was asked."""

    num_classes = 10

    def __init__(self):
        super().__init__()
        self.layer, self.asked = nn.Linear(26, 1), []

    def forward(self, x, labels=None):
        self.asked.append(labels.clone())
        return self.layer(torch.cat([x.flatten(1), F.one_hot(labels, 10).to(x)], 1)).flatten()


class ReadableJudge(Judge):
    feature_size = 26

    def features(self, x, labels=None):
        return torch.cat([x.flatten(1), F.one_hot(labels, 10).to(x)], 1)

    def head(self, features, labels=None):
        return self.layer(features).flatten()


@pytest.mark.parametrize("cls", [GAN, WGAN, WGANGP])
@pytest.mark.parametrize("share", [True, False])
def test_fakes_are_judged_with_the_labels_that_they_were_made_from(cls, share):
    made, judge = [], Judge()
    model = build(cls, TinyGenerator(classes=10), judge, share_fakes=share, n_critic=1)
    model.generator.register_forward_pre_hook(lambda _, args: made.append(args[1].clone()))
    fit(model, max_steps=3, precision="64-true")
    labels = torch.arange(24).view(3, 8) % 10
    assert all(any(torch.equal(each, row) for row in labels) for each in judge.asked)
    assert all(any(torch.equal(each, row) for row in labels) for each in made)
    per_round = len(judge.asked) // 3
    for i, row in enumerate(labels):
        assert all(torch.equal(each, row) for each in judge.asked[i * per_round :][:per_round])


def test_a_sample_is_of_the_class_that_was_asked_for_and_classes_are_drawn_uniformly():
    model = build(GAN, TinyGenerator(classes=10), Judge())
    noise = lambda: Noise(("n",), 6, dtype=torch.double)  # noqa: E731
    zeros, ones = (torch.full((6,), k) for k in (0, 1))
    assert torch.equal(model.sample(6, zeros, noise()), model.sample(6, zeros, noise()))
    assert not torch.equal(model.sample(6, zeros, noise()), model.sample(6, ones, noise()))
    drawn = model.labels_for(20_000, None, Noise(("labels",), 20_000))
    assert (drawn.bincount(minlength=10) / 20_000 - 0.1).abs().max() < 0.01
    with pytest.raises(ValueError, match="conditioned on classes, so it needs labels"):
        model.decode(torch.zeros(2, 3, dtype=torch.double))


def test_a_discriminator_that_knows_classes_needs_a_generator_that_does():
    with pytest.raises(ValueError, match="knows 10 classes but the generator none"):
        build(GAN, TinyGenerator(), Judge())


@pytest.mark.parametrize(("cls", "critic"), [(GAN, TinyCritic), (BEGAN, TinyAutoencoder)])
def test_a_generator_whose_classes_nobody_judges_is_refused(cls, critic):
    with pytest.raises(ValueError, match="knows no classes but the generator 10"):
        build(cls, TinyGenerator(classes=10), critic())


@pytest.mark.parametrize("cls", [InfoGAN, ACGAN, ImprovedGAN, SemiSupervisedGAN])
def test_a_discriminator_that_cannot_be_read_is_refused(cls):
    generator = TinyGenerator(classes=10 if cls is ACGAN else None)
    generator.latent_size = 20
    critic = PatchDiscriminator(channels=1, width=4, depth=2)
    with pytest.raises(ValueError, match="asks its discriminator for features, which Patch"):
        build(cls, generator, critic)


def test_infogan_has_no_classes():
    with pytest.raises(ValueError, match="InfoGAN uses no labels"):
        build(InfoGAN, TinyGenerator(classes=10), ReadableJudge(), categorical=(2,), continuous=0)


def test_data_without_labels_is_refused():
    data = TinyData()
    data.num_classes = None
    with pytest.raises(ValueError, match="conditioned on 10 classes but the data has none"):
        trainer(max_steps=1).fit(build(GAN, TinyGenerator(classes=10), Judge()), data)


# WGAN


def test_every_weight_is_within_the_clip_after_every_critic_step():
    class Spy(WGAN):
        def _step(self, sides):
            super()._step(sides)
            found.append(max(p.abs().max().item() for p in self.discriminator.parameters()))
            free.append(max(p.abs().max().item() for p in self.generator.parameters()))

    found, free = [], []
    fit(build(Spy, clip=0.05, n_critic=2), max_steps=3, precision="64-true")
    assert found == pytest.approx([0.05] * len(found))
    assert len(found) == 9
    assert min(free) > 0.05  # the generator is left alone


def test_gains_of_norms_are_clipped_only_if_asked():
    for clip_norms in (True, False):
        model = build(
            WGAN,
            DCGANGenerator(size=8, channels=1, latent_size=3, width=4),
            DCGANDiscriminator(size=8, channels=1, width=4),
            clip_norms=clip_norms,
        )
        model.clip_weights()
        norms = [m for m in model.discriminator.modules() if isinstance(m, nn.BatchNorm2d)]
        for norm in norms:
            assert (norm.weight.abs().max() <= 0.01) == clip_norms


def test_the_best_linear_critic_of_a_clipped_game_measures_c_times_the_distance_of_means():
    class Line(Discriminator):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.zeros(16))

        def forward(self, x, labels=None):
            return x.flatten(1) @ self.w

    for clip in (0.01, 0.02):
        model = build(WGAN, discriminator=Line(), clip=clip)
        with torch.no_grad():
            gap = (batch_of(64).images - model.generate(batch_of(64))).flatten(1).mean(0)
        optimizer = SGD(model.discriminator.parameters(), lr=1.0)
        for _ in range(100):
            optimizer.zero_grad()
            model.discriminator_loss(batch_of(64))["loss"].backward()
            optimizer.step()
            model.clip_weights()
        torch.testing.assert_close(model.discriminator.w.detach(), clip * gap.sign())
        estimate = model.discriminator_loss(batch_of(64))["distance"]()
        assert estimate.item() == pytest.approx(clip * gap.abs().sum().item(), rel=1e-9)


def test_the_critic_of_the_authors_code_moves_a_hundred_times_in_long_rounds():
    model = build(WGAN, warm_up=True)
    assert [model.turns_of(r) for r in (0, 24, 25, 499, 500, 501, 1000)] == [
        *(100, 100, 5, 5, 100, 5, 100)
    ]


def test_rounds_of_changing_length_are_counted_and_gone_on_with(tmp_path):
    class Changing(WGAN):
        def turns_of(self, rounds):
            return 3 if rounds < 2 else 1

    def make():
        return build(Changing, warm_up=True)

    whole = make()
    player = fit(
        whole, count=72, max_epochs=1, precision="64-true"
    )  # nine turns: 3 + 3 + 1 + 1 + 1
    assert player.global_step == 5
    assert whole.moves == {"discriminator": 9, "generator": 5}
    half, rest = make(), make()
    fit(half, count=32, max_epochs=1, precision="64-true").save_checkpoint(tmp_path / "c.ckpt")
    assert half.moves == {"discriminator": 4, "generator": 1}  # in the middle of the second round
    loader = TinyData(72)
    going_on = trainer(max_epochs=2, precision="64-true")
    going_on.fit(rest, loader, ckpt_path=tmp_path / "c.ckpt", weights_only=True)
    assert rest.moves["generator"] == 1 + 1 + 7


# InfoGAN


def info(generator_size=8, **kwargs):
    torch.manual_seed(0)
    generator = TinyGenerator()
    generator.latent_size = generator_size
    generator.layers[0] = nn.Linear(generator_size, 16)
    options = {"categorical": (4, 2), "continuous": 1, "hidden": 0, **kwargs}
    return build(InfoGAN, generator, **options)


def test_codes_are_one_hot_and_uniform():
    z = info().latent(20_000, Noise(("codes",), 20_000, dtype=torch.double))
    first, second, continuous, noise = z.split([4, 2, 1, 1], 1)
    for code in (first, second):
        assert torch.equal(code.sum(1), torch.ones(len(z), dtype=torch.double))
        assert set(code.unique().tolist()) == {0.0, 1.0}
        assert (code.mean(0) - 1 / code.shape[1]).abs().max() < 0.015
    assert continuous.abs().max() <= 1
    assert continuous.var().item() == pytest.approx(1 / 3, rel=0.03)
    assert noise.std().item() == pytest.approx(1, rel=0.03)
    joint = (first.argmax(1) * 2 + second.argmax(1)).bincount(minlength=8) / len(z)
    assert (joint - 1 / 8).abs().max() < 0.015  # independent of each other
    assert abs(torch.corrcoef(torch.cat([continuous, noise], 1).T)[0, 1].item()) < 0.03


def test_information_is_about_the_codes_of_the_very_images():
    """A generator that shows its code and a recogniser that reads it give log K nats."""
    model, batch = info(categorical=(4,), continuous=0), batch_of()

    class Shows(nn.Module):
        shape, latent_size, num_classes = (1, 4, 4), 8, None

        def forward(self, z):
            return F.pad(z, (0, 8)).view(-1, 1, 4, 4)

    class Reads(TinyCritic):
        def features(self, x, labels=None):
            return x.flatten(1)

    model.generator, model.discriminator = Shows(), Reads().double()
    with torch.no_grad():
        model.recogniser.layers.weight.copy_(50 * torch.eye(4, 16))
        model.recogniser.layers.bias.zero_()
    nats = model.generator_loss(batch)["categorical"].item()
    assert nats == pytest.approx(math.log(4), abs=1e-9)


@pytest.mark.parametrize("owner", ["discriminator", "generator"])
def test_information_moves_the_generator_and_the_recogniser_but_not_the_heads_of_others(owner):
    model, batch = info(recogniser_owner=owner), batch_of()
    for player in model.players():
        names = {id(p) for net in player.networks for p in net.parameters()}
        owns = all(id(p) in names for p in model.recogniser.parameters())
        assert owns == (player.name == owner)
    head = model.discriminator.layers[-2]
    _, information = model._recognise(batch)
    model._weighed(information).backward()
    assert all(p.grad.any() for p in model.generator.parameters())
    assert all(p.grad.any() for p in model.recogniser.parameters())
    assert model.discriminator.layers[1].weight.grad.any()  # their trunk
    assert head.weight.grad is None


def test_without_weights_the_generator_learns_as_in_the_plain_game():
    generators = []
    for cls, options in (
        (InfoGAN, {"categorical_weight": 0.0, "continuous_weight": 0.0}),
        (GAN, {}),
    ):
        model = info(**options)
        if cls is GAN:
            latent = model.latent
            model = build(GAN, model.generator, model.discriminator, share_fakes=False)
            model.latent = latent
        fit(model, max_steps=3, precision="64-true")
        generators.append(model.generator.state_dict())
    first, second = generators
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_codes_that_do_not_fit_are_refused():
    for wrong in (
        {"categorical": (9,)},
        {"categorical": (1,)},
        {"categorical": (), "continuous": 0},
    ):
        with pytest.raises(ValueError, match="code"):
            info(**wrong)


def test_what_is_read_off_images_are_probabilities_of_each_code():
    categorical, continuous = info().read_codes(batch_of().images)
    assert [each.shape for each in categorical] == [(8, 4), (8, 2)]
    assert continuous.shape == (8, 1)
    for each in categorical:
        torch.testing.assert_close(each.exp().sum(1), torch.ones(8, dtype=torch.double))


def test_a_traversal_changes_one_code_and_nothing_else():
    ways = info().traversals(3, 5, Noise(("way",), 3, dtype=torch.double))
    shapes = {"categorical0": (3, 4, 8), "categorical1": (3, 2, 8), "continuous0": (3, 5, 8)}
    assert {name: tuple(way.shape) for name, way in ways.items()} == shapes
    own = {"categorical0": [0, 1, 2, 3], "categorical1": [4, 5], "continuous0": [6]}
    for name, way in ways.items():
        moved = (way != way[:, :1]).any(1).any(0).nonzero().flatten().tolist()
        assert moved == own[name]
        assert torch.equal(way[:, :, :4].sum(2), torch.ones(way.shape[:2], dtype=torch.double))
    assert ways["continuous0"][0, :, 6].tolist() == [-2, -1, 0, 1, 2]


# AC-GAN


class Plain(GAN):
    guesses_classes = True  # so that it may be compared


def test_the_auxiliary_classifier_adds_its_cross_entropies():
    model, batch = build(ACGAN, TinyGenerator(classes=10), generator_weight=0.1), batch_of()
    d, g = model.discriminator_loss(batch_of()), model.generator_loss(batch_of())
    read = model.classifier(model.discriminator.features(batch.images))
    assert d["real_classes"].item() == pytest.approx(F.cross_entropy(read, batch.labels).item())
    plain = build(Plain, TinyGenerator(classes=10))
    plain.load_state_dict(model.state_dict(), strict=False)
    classes = d["real_classes"] + d["fake_classes"]
    expected = plain.discriminator_loss(batch_of())["loss"] + classes
    assert d["loss"].item() == pytest.approx(expected.item())
    expected = plain.generator_loss(batch_of())["loss"] + 0.1 * g["classes"]
    assert g["loss"].item() == pytest.approx(expected.item())


def test_an_auxiliary_classifier_must_guess_the_class():
    with pytest.raises(ValueError, match="needs num_classes in the generator"):
        build(ACGAN)
    with pytest.raises(ValueError, match="none in the discriminator"):
        build(ACGAN, TinyGenerator(classes=10), ReadableJudge())


# Energies


def test_energy_is_the_summed_squared_error_and_stops_at_the_margin():
    model, batch = build(EBGAN, discriminator=TinyAutoencoder(), margin=3.0), batch_of()
    rebuilt = model.discriminator.decode(model.discriminator.encode(batch.images))
    real = (rebuilt - batch.images).square().sum((1, 2, 3))
    fakes = model.generate(batch_of())
    codes = model.discriminator.encode(fakes)
    fake = (model.discriminator.decode(codes) - fakes).square().sum((1, 2, 3))
    loss = model.discriminator_loss(batch_of())["loss"]
    assert loss.item() == pytest.approx((real.mean() + (3 - fake).clamp(min=0).mean()).item())
    unit = codes / codes.norm(dim=1, keepdim=True)
    pairs = [(unit[i] @ unit[j]) ** 2 for i in range(8) for j in range(8) if i != j]
    expected = fake.mean() + 0.1 * sum(pairs) / len(pairs)
    assert model.generator_loss(batch_of())["loss"].item() == pytest.approx(expected.item())


def test_the_balance_moves_by_the_errors_of_a_round():
    balance = Equilibrium(diversity=0.5, rate=0.1)
    for real, fake, k in ((4.0, 1.0, 0.1), (4.0, 5.0, 0.0), (40.0, 1.0, 1.0), (1.0, 0.5, 1.0)):
        balance.see(real=torch.full((3,), real - 0.5))
        balance.see(real=torch.full((3,), real + 0.5))
        balance.see(fake=torch.full((6,), fake))
        balance.update()
        assert balance.k.item() == pytest.approx(k, abs=1e-6)
        gap = abs(0.5 * real - fake)
        assert balance.convergence.item() == pytest.approx(real + gap, rel=1e-6)


def test_began_refuses_a_power_that_the_paper_has_not():
    with pytest.raises(ValueError, match="exponent must be 1 or 2, got 3"):
        build(BEGAN, discriminator=TinyAutoencoder(), exponent=3)


def test_the_balance_is_part_of_a_checkpoint_and_moves_once_a_round(tmp_path):
    model = build(BEGAN, discriminator=TinyAutoencoder(), diversity=1.0, control_rate=1.0)
    seen = []
    update = model.equilibrium.update
    model.equilibrium.update = lambda: (update(), seen.append(model.equilibrium.k.item()))
    player = fit(model, max_steps=3, precision="64-true")
    assert len(seen) == 3
    player.save_checkpoint(tmp_path / "c.ckpt")
    saved = torch.load(tmp_path / "c.ckpt", weights_only=False)["state_dict"]
    assert saved["equilibrium.k"].item() == seen[-1]


# Improved GAN


def test_the_generator_matches_mean_features():
    model = build(ImprovedGAN)
    real = model.discriminator.features(batch_of().images).mean(0)
    fake = model.discriminator.features(model.generate(batch_of())).mean(0)
    loss = model.generator_loss(batch_of())["loss"]
    assert loss.item() == pytest.approx((real - fake).square().sum().item())
    loss.backward()
    assert all(p.grad is not None for p in model.generator.parameters())


def test_history_is_the_mean_of_all_past_weights():
    layer = nn.Linear(2, 1).double()
    history = History(layer)
    values = [layer.weight.detach().clone()]
    for _ in range(4):
        with torch.no_grad():
            layer.weight.add_(torch.randn_like(layer.weight))
        values.append(layer.weight.detach().clone())
        history.update()
    mean = torch.stack(values).mean(0)
    torch.testing.assert_close(history.mean0, mean)
    gap = (layer.weight - mean).square().sum()  # the bias did not move
    assert history.distance().item() == pytest.approx(gap.item())


def test_the_first_step_of_historical_averaging_is_the_plain_one():
    plain, held = build(ImprovedGAN), build(ImprovedGAN, historical_weight=100.0)
    for model in (plain, held):
        fit(model, max_steps=1, precision="64-true")
    for a, b in zip(plain.generator.parameters(), held.generator.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    for model in (plain, held):
        fit(model, max_steps=3, precision="64-true")
    pairs = zip(plain.generator.parameters(), held.generator.parameters(), strict=True)
    assert not all(torch.allclose(a, b) for a, b in pairs)


def test_only_the_labels_of_labelled_images_are_looked_at():
    class Unlabelled(TinyData):
        def train_dataloader(self):
            loader = super().train_dataloader()
            loader.collate_fn = lambda pairs: (
                torch.stack([image for image, _ in pairs]),
                torch.full((len(pairs),), -1),
            )
            return loader

    weights = []
    for data in (TinyData, Unlabelled):
        model = build(SemiSupervisedGAN, labelled=20)
        trainer(max_steps=3, precision="64-true").fit(model, data())
        weights.append(torch.cat([p.flatten() for p in model.parameters()]))
    assert torch.equal(*weights)


def test_as_many_classes_as_the_data_has():
    with pytest.raises(ValueError, match="the model has 7 classes"):
        fit(build(SemiSupervisedGAN, classes=7, labelled=20))


# By value: what each player minimises


def logits_of(model, images):
    return model.discriminator(images)


@pytest.mark.parametrize("exponent", [1, 2])
def test_what_began_minimises(exponent):
    model = build(BEGAN, discriminator=TinyAutoencoder(), exponent=exponent)
    model.equilibrium.k.fill_(0.3)
    batch, fakes = batch_of(), model.generate(batch_of())
    rebuilt = (model.discriminator.decode(model.discriminator.encode(x)) - x
               for x in (batch.images, fakes))  # fmt: skip
    real, fake = (errors.abs().pow(exponent).mean().item() for errors in rebuilt)
    assert model.discriminator_loss(batch_of())["loss"].item() == pytest.approx(real - 0.3 * fake)
    assert model.generator_loss(batch_of())["loss"].item() == pytest.approx(fake)


@pytest.mark.parametrize("owner", ["discriminator", "generator"])
def test_what_infogan_minimises(owner):
    model = info(recogniser_owner=owner, categorical_weight=0.7, continuous_weight=0.2)
    z = model.latent(8, batch_of().noise)
    fakes = model.generator(z)
    read = model.recogniser(model.discriminator.features(fakes))
    ce = [F.cross_entropy(read[:, a:b], z[:, a:b].argmax(1)) for a, b in ((0, 4), (4, 6))]
    nats = math.log(4) - ce[0] + math.log(2) - ce[1]
    squares = (z[:, 6] - read[:, 6]).square().mean()
    continuous = math.log(2) - 0.5 * math.log(2 * math.pi) - 0.5 * squares
    gain = (0.7 * nats + 0.2 * continuous).item()
    real, fake = logits_of(model, batch_of().images), logits_of(model, fakes)
    of_critic = (F.softplus(-real).mean() + F.softplus(fake).mean()).item()
    expected = of_critic - (gain if owner == "discriminator" else 0)
    assert model.discriminator_loss(batch_of())["loss"].item() == pytest.approx(expected)
    expected = F.softplus(-fake).mean().item() - gain
    assert model.generator_loss(batch_of())["loss"].item() == pytest.approx(expected)


def test_what_improved_gan_minimises_without_its_features():
    model = build(ImprovedGAN, feature_matching=False, historical_weight=0.5, real_target=0.9)
    for network in (model.discriminator, model.generator):
        with torch.no_grad():
            next(network.parameters()).add_(1.0)
    held = {
        name: 0.5 * next(network.parameters()).numel()
        for name, network in (("D", model.discriminator), ("G", model.generator))
    }
    real = logits_of(model, batch_of().images)
    fake = logits_of(model, model.generate(batch_of()))
    of_critic = 0.9 * F.softplus(-real) + 0.1 * F.softplus(real) + F.softplus(fake)
    loss = model.discriminator_loss(batch_of())["loss"].item()
    assert loss == pytest.approx(of_critic.mean().item() + held["D"])
    loss = model.generator_loss(batch_of())["loss"].item()
    assert loss == pytest.approx(F.softplus(-fake).mean().item() + held["G"])


@pytest.mark.parametrize("matching", [True, False])
def test_what_the_semi_supervised_game_minimises(matching):
    model = build(SemiSupervisedGAN, labelled=20, feature_matching=matching)
    model._examples = TinyData().labelled(20)
    model.to_floats = lambda images: from_levels(images, dtype=torch.double)
    images, labels = model.examples(batch_of())
    read = lambda x: model.classifier(model.discriminator.features(x))  # noqa: E731
    real, fakes = batch_of().images, model.generate(batch_of())
    evidence = [read(x).logsumexp(1) for x in (real, fakes)]
    expected = F.cross_entropy(read(images), labels)
    expected = expected + F.softplus(-evidence[0]).mean() + F.softplus(evidence[1]).mean()
    loss = model.discriminator_loss(batch_of())["loss"].item()
    assert loss == pytest.approx(expected.item())
    means = [model.discriminator.features(x).mean(0) for x in (real, fakes)]
    matched = (means[0] - means[1]).square().sum()
    expected = matched if matching else F.softplus(-evidence[1]).mean()
    assert model.generator_loss(batch_of())["loss"].item() == pytest.approx(expected.item())


def test_the_first_weights_are_clipped_before_the_first_step():
    class Spy(WGAN):
        def discriminator_loss(self, batch):
            found.append(max(p.abs().max().item() for p in self.discriminator.parameters()))
            return super().discriminator_loss(batch)

    found = []
    fit(build(Spy, clip=0.05, n_critic=1), max_steps=1, precision="64-true")
    assert found[0] <= 0.05


def test_a_history_is_kept_in_checkpoints_and_a_balance_survives_an_overflow():
    names = {name for name, _ in build(ImprovedGAN, historical_weight=1.0).named_buffers()}
    saved = set(build(ImprovedGAN, historical_weight=1.0).state_dict())
    assert names <= saved
    balance = Equilibrium(diversity=0.5, rate=0.1)
    balance.k.fill_(0.4)
    balance.see(real=torch.tensor([float("inf")]), fake=torch.tensor([1.0]))
    balance.see(fake=torch.tensor([float("nan")]))
    balance.update()
    assert balance.k.item() == pytest.approx(0.4)


def test_the_observed_gradient_has_no_loss_scale():
    norms = []
    for scale in (None, 512.0):
        model = build(GAN).float()
        player = trainer(max_steps=1)
        if scale:
            player.precision_plugin.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        player.fit(model, TinyData())
        norms.append(model.last_terms["generator/gradient_norm"].item())
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)
