"""The mistakes that GANs are usually made with, each ruled out by a law."""

import copy
from types import SimpleNamespace

import pytest
import torch
from pytorch_lightning import Callback
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch import nn
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, TensorDataset

from callbacks import SampleGrid
from lightning_gen.models.adversarial import Batch
from lightning_gen.models.gans import GAN, LSGAN, WGANGP
from lightning_gen.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from lightning_gen.optimizers import FusedAdam, gan_adam
from lightning_gen.randomness import Noise
from tests.game import TinyCritic, TinyData, TinyGenerator, fit, trainer, two_processes

MODELS = (GAN, LSGAN, WGANGP)


def sgd(rate=0.1):
    return lambda params: SGD(params, lr=rate)


def make(cls=GAN, norm=False, **kwargs):
    torch.manual_seed(0)
    kwargs = {"generator_optimizer": sgd(), "discriminator_optimizer": sgd(), **kwargs}
    critic = TinyCritic(norm and cls is not WGANGP)
    return cls(generator=TinyGenerator(norm), discriminator=critic, **kwargs)


class DropoutCritic(TinyCritic):
    def __init__(self):
        super().__init__()
        self.layers.insert(1, nn.Dropout(0.3))


class WithValidation(TinyData):
    def val_dataloader(self):
        return DataLoader(
            TensorDataset(torch.zeros(8, 1, 4, 4).byte(), torch.zeros(8)), batch_size=4
        )


def weights(model, *networks):
    return torch.cat(
        [p.detach().flatten() for n in networks for p in getattr(model, n).parameters()]
    )


# What the networks are shown, and in which mode


@pytest.mark.parametrize("cls", MODELS)
@pytest.mark.parametrize("schedule", ["alternating", "simultaneous"])
@pytest.mark.parametrize("share", [True, False])
def test_both_networks_are_in_training_mode_in_all_moves_whatever_came_between(
    cls, schedule, share, tmp_path
):
    """A discriminator in evaluation has no dropout and fixed statistics: another game."""
    model = make(cls, norm=True, schedule=schedule, share_fakes=share, ema_half_life=50.0)
    modes = []
    for network in (model.generator, model.discriminator):
        for part in network.modules():
            part.register_forward_hook(lambda part, *_: modes.append(part.training))

    class Training(Callback):
        def on_train_batch_start(self, *_):
            modes.clear()

        def on_train_batch_end(self, *_):
            assert modes and all(modes)
            seen.append(len(modes))

    seen = []
    preview = SampleGrid(2, 2, every_n_steps=1)
    player = trainer(max_epochs=3, default_root_dir=tmp_path, callbacks=[Training(), preview])
    player.fit(model, WithValidation(16))
    assert len(seen) == 6


@pytest.mark.parametrize(
    ("n_critic", "share", "of_generator"), [(1, True, 1), (1, False, 2), (3, True, 4)]
)
def test_batch_norm_counts_reals_and_fakes_apart_and_the_generators_move_too(
    n_critic, share, of_generator
):
    torch.manual_seed(0)
    model = GAN(
        generator=DCGANGenerator(16, 1, 8, 4),
        discriminator=DCGANDiscriminator(16, 1, 4),
        n_critic=n_critic,
        share_fakes=share,
    )
    data = TensorDataset(torch.randint(256, (96, 1, 16, 16), dtype=torch.uint8), torch.zeros(96))
    trainer(max_steps=4, max_epochs=-1).fit(model, DataLoader(data, batch_size=8))
    for network, calls in (
        (model.discriminator, 2 * n_critic + 1),
        (model.generator, of_generator),
    ):
        norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
        assert norms and all(m.num_batches_tracked == 4 * calls for m in norms)


@pytest.mark.parametrize("cls", MODELS)
@pytest.mark.parametrize("share", [True, False])
def test_the_discriminator_is_given_the_batch_and_then_as_many_fakes_without_a_graph(cls, share):
    class Spy(TinyCritic):
        def forward(self, x):
            seen.append(x)
            return super().forward(x)

    seen = []
    model = cls(generator=TinyGenerator(), discriminator=Spy(), n_critic=1, share_fakes=share)
    fit(model, max_steps=1)
    level = torch.arange(8) / 127.5 - 1
    torch.testing.assert_close(seen[0], level.view(8, 1, 1, 1).expand(8, 1, 4, 4))
    of_generator = seen[-1]
    assert seen[0].grad_fn is None and seen[1].grad_fn is None
    assert of_generator.requires_grad
    assert seen[1].shape == of_generator.shape == seen[0].shape
    assert torch.equal(seen[1], of_generator) == share


def test_the_players_of_a_round_share_nothing_where_the_critic_moves_more_often():
    class Spy(GAN):
        def generate(self, batch):
            images.append(super().generate(batch))
            return images[-1]

    for options in ({"n_critic": 2}, {"micro_batches": 2}):
        images = []
        model = Spy(
            generator=TinyGenerator(),
            discriminator=TinyCritic(),
            generator_optimizer=sgd(0.0),
            share_fakes=True,
            **options,
        )
        fit(model, max_steps=2)
        each = torch.cat([x.detach().flatten(1) for x in images])
        assert len(each.unique(dim=0)) == len(each)


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("cls", MODELS)
def test_no_latent_comes_twice(cls, share):
    """Neither from batch to batch, nor from image to image."""
    model, latents = make(cls, n_critic=1, share_fakes=share), []
    model.generator.register_forward_pre_hook(lambda _, inputs: latents.append(inputs[0]))
    fit(model, max_epochs=2)
    latents = torch.cat(latents)
    assert len(latents) == 2 * 64 * (1 if share else 2)
    assert len(latents.unique(dim=0)) == len(latents)


def test_latents_follow_the_prior():
    n = 20_000
    for dtype in (torch.float32, torch.float64):
        normal, uniform = (
            make(prior=prior).to(dtype).latent(n, Noise(("test",), n)).double()
            for prior in ("normal", "uniform")
        )
        assert make().to(dtype).latent(2).dtype == dtype
        assert normal.shape == uniform.shape == (n, 3)
        torch.testing.assert_close(normal.mean(0), torch.zeros(3).double(), atol=0.03, rtol=0)
        torch.testing.assert_close(normal.std(0), torch.ones(3).double(), atol=0.03, rtol=0)
        assert (normal.abs() > 1).any()
        assert -1 <= uniform.min() < -0.99 and 0.99 < uniform.max() < 1
        torch.testing.assert_close(uniform.mean(0), torch.zeros(3).double(), atol=0.03, rtol=0)
        torch.testing.assert_close(
            uniform.var(0), torch.full((3,), 1 / 3).double(), atol=0.03, rtol=0
        )


def on_rank(rank, world, seen=0, cls=GAN):
    """A model as if on one of several processes."""
    model = make(cls)
    model._trainer = SimpleNamespace(world_size=world, global_rank=rank)
    model.images_seen = seen
    return model


def test_dropout_and_latents_depend_on_seed_position_and_process_alone(monkeypatch):
    raw = torch.zeros(8, 1, 4, 4, dtype=torch.uint8), torch.zeros(8)

    def drawn(*place, seed="0"):
        monkeypatch.setenv("PL_GLOBAL_SEED", seed)
        torch.rand(torch.randint(9, ()))  # whatever happened before
        batch = on_rank(*place).to_batch(raw)
        return batch.noise.normal(3), torch.rand(8)

    places = [((0, 1), "0"), ((0, 1, 8), "0"), ((0, 1), "1"), ((1, 2), "0")]
    draws = [drawn(*place, seed=seed) for place, seed in places]
    again = [drawn(*place, seed=seed) for place, seed in places]
    for kind in (0, 1):
        rows = torch.stack([d[kind].flatten() for d in draws])
        assert torch.equal(rows, torch.stack([d[kind].flatten() for d in again]))
        assert len(rows.unique(dim=0)) == len(places)
    halves = torch.cat([drawn(rank, 2)[0] for rank in (0, 1)])
    assert torch.equal(halves, Noise((0, 0), 16).normal(3))


def test_parts_of_a_batch_keep_their_labels_and_their_noise():
    batch = Batch(torch.arange(7.0).view(7, 1, 1, 1), torch.arange(7), Noise((1,), 7, 20, 3))
    parts = batch.split(3)
    assert [len(part) for part in parts] == [3, 3, 1]
    assert torch.equal(torch.cat([part.images for part in parts]), batch.images)
    assert torch.equal(torch.cat([part.labels for part in parts]), batch.labels)
    for draw in ("normal", "uniform"):
        own = torch.cat([getattr(part.noise.spawn("z"), draw)(2) for part in parts])
        assert torch.equal(own, getattr(batch.noise.spawn("z"), draw)(2))


# Samples


@pytest.mark.parametrize("cls", MODELS)
@pytest.mark.parametrize("half_life", [None, 20.0])
def test_a_preview_changes_only_as_the_weights_do(cls, half_life):
    def preview(model):
        return model.sample(6, noise=Noise(("grid",), 6))

    still = make(cls, generator_optimizer=sgd(0.0), ema_half_life=half_life)
    before = preview(still)
    fit(still, max_steps=3)
    torch.testing.assert_close(preview(still), before, rtol=0, atol=1e-6)
    moving = make(cls, ema_half_life=half_life)
    fit(moving, max_steps=3)
    assert not torch.allclose(preview(moving), before)


@pytest.mark.parametrize("norm", [False, True])
def test_samples_are_of_the_averaged_weights_one_by_one(norm):
    model = make(norm=norm, ema_half_life=100.0)
    fit(model, max_steps=4)
    noise = [Noise(("test",), 5) for _ in range(3)]
    z = model.latent(5, noise[0])
    average = model.averages["generator"].network
    expected = average(z)
    assert torch.equal(model.sample(5, noise=noise[1]), expected)
    alone = torch.cat([model.decode(row) for row in z.split(1)])
    torch.testing.assert_close(alone, expected)
    with torch.no_grad():
        raw = copy.deepcopy(model.generator).eval()(z)
    assert not torch.allclose(raw, expected)
    model.averages.clear()
    torch.testing.assert_close(model.sample(5, noise=noise[2]), raw)


@pytest.mark.parametrize("half_life", [None, 20.0])
@pytest.mark.parametrize("training", [True, False])
def test_samples_have_no_graph_but_what_is_decoded_has_and_modes_stay(half_life, training):
    model = make(norm=True, ema_half_life=half_life).train(training)
    z = model.latent(4).requires_grad_()
    assert not model.sample(4).requires_grad
    (slope,) = torch.autograd.grad(model.decode(z)[0].sum(), z)
    assert slope[0].any() and not slope[1:].any()  # in evaluation, so each image by itself
    assert all(part.training == training for part in model.generator.modules())
    with pytest.raises(RuntimeError):
        model.decode(torch.zeros(4, 99))
    assert model.generator.training == training


def test_sampling_reads_no_images():
    """What a sample is may depend on weights and noise only, and labels are the caller's."""

    class Once(TinyData):
        def train_dataloader(self):
            reads.append(1)
            return super().train_dataloader()

    reads, model = [], make()
    free = make().sample(3, noise=Noise(("test",), 3))  # without data and trainer
    player = trainer(max_steps=1)
    player.fit(model, Once())
    model.load_state_dict(make().state_dict())
    reads.clear()
    for labels in (None, torch.tensor([0, 1, 2])):
        assert torch.equal(model.sample(3, labels, Noise(("test",), 3)), free)
    assert reads == []


def test_validation_and_test_leave_the_game_as_it_was():
    model = make(norm=True, ema_half_life=20.0)
    fit(model, max_steps=2)
    before = copy.deepcopy(model.state_dict()), model.moves, model.images_seen
    player = trainer()
    data = WithValidation()
    data.test_dataloader = data.val_dataloader
    player.validate(model, data, verbose=False)
    player.test(model, data, verbose=False)
    assert model.images_seen == before[2]
    assert all(torch.equal(v, before[0][k]) for k, v in model.state_dict().items())


# Averages


def test_the_average_moves_once_a_round_by_all_images_of_the_round():
    class Trail(Callback):
        def on_train_batch_end(self, trainer, model, *_):
            trail.append(
                (weights(model, "generator"), weights(model.averages["generator"], "network"))
            )

    trail, model = [], make(WGANGP, n_critic=3, ema_half_life=32.0, ema_ramp=1e9)
    mean = weights(model, "generator")
    fit(model, max_steps=2, callbacks=[Trail()])
    for turn, (now, average) in enumerate(trail):
        if turn % 3 == 2:
            mean = mean + (now - mean) * (1 - 0.5 ** (24 / 32))
        torch.testing.assert_close(average, mean)


def test_early_averages_forget_the_first_weights_soon():
    model = make(ema_half_life=40.0, ema_ramp=0.5)
    mean, seen = weights(model, "generator"), 0

    class Check(Callback):
        def on_train_batch_end(self, trainer, model, *_):
            nonlocal mean, seen
            seen += 8
            mean = mean + (weights(model, "generator") - mean) * (
                1 - 0.5 ** (8 / min(40.0, 0.5 * seen))
            )
            torch.testing.assert_close(weights(model.averages["generator"], "network"), mean)

    fit(model, max_epochs=2, callbacks=[Check()])
    assert seen == 128


def test_the_average_is_of_the_generator_alone_in_evaluation_with_its_latest_statistics():
    model = make(norm=True, ema_half_life=30.0)
    assert set(model.averages) == {"generator"}
    model.train()
    average = model.averages["generator"].network
    assert not any(part.training for part in average.modules())
    fit(model, max_steps=3)
    mine, its = dict(model.generator.named_buffers()), dict(average.named_buffers())
    assert mine and all(torch.equal(its[name], mine[name]) for name in mine)
    assert not torch.equal(its["layers.1.running_mean"], torch.zeros(16))
    owned = {id(p) for optimizer in model.trainer.optimizers for p in parameters_of(optimizer)}
    assert not owned & {id(p) for p in average.parameters()}


def parameters_of(optimizer):
    return [p for group in optimizer.param_groups for p in group["params"]]


def test_without_a_half_life_nothing_is_averaged_and_samples_are_of_the_weights():
    model = make()
    fit(model, max_steps=2)
    assert len(model.averages) == 0
    z = model.latent(4)
    torch.testing.assert_close(model.decode(z), model.generator.eval()(z))


# Who moves


@pytest.mark.parametrize("cls", MODELS)
def test_each_optimizer_owns_one_network_and_each_network_one_optimizer(cls):
    rates = {"generator_optimizer": sgd(0.25), "discriminator_optimizer": sgd(0.5)}
    model = make(cls, n_critic=1, **rates)
    model.generator_scheduler = lambda o: StepLR(o, 1, 0.5)
    fit(model, max_steps=2)
    critic, generator = model.trainer.optimizers
    for optimizer, network in ((critic, model.discriminator), (generator, model.generator)):
        assert {*map(id, parameters_of(optimizer))} == {*map(id, network.parameters())}
    assert critic.param_groups[0]["lr"] == 0.5
    assert generator.param_groups[0]["lr"] == 0.0625


@pytest.mark.parametrize("share", [True, False])
def test_gradients_of_one_step_are_not_added_to_the_next(share):
    """Plain descent by the gradient at hand: what a loop of a few lines does."""
    model = make(share_fakes=share).double()
    twin = copy.deepcopy(model)
    fit(model, max_steps=3, precision="64-true")
    seen = 0
    for start in range(0, 24, 8):
        levels = torch.arange(start, start + 8).double() / 127.5 - 1
        images = levels.view(8, 1, 1, 1).expand(8, 1, 4, 4)
        for name in ("discriminator", "generator"):
            key = (0, seen, "shared") if share else (0, seen, name)
            batch = Batch(images, None, Noise(key, 8, dtype=torch.double))
            loss = getattr(twin, f"{name}_loss")(batch)["loss"]
            parameters = list(getattr(twin, name).parameters())
            for p, g in zip(parameters, torch.autograd.grad(loss, parameters)):
                p.data -= 0.1 * g
        seen += 8
    for name in ("generator", "discriminator"):
        torch.testing.assert_close(weights(model, name), weights(twin, name))


def test_what_is_frozen_by_hand_stays_frozen_and_the_rest_is_thawed_after_each_step():
    model = make()
    frozen = [model.discriminator.layers[1].weight, model.generator.layers[3].bias]
    for p in frozen:
        p.requires_grad_(False)
    before = [p.clone() for p in frozen]
    fit(model, max_steps=3)
    assert all(torch.equal(a, b) and not a.requires_grad for a, b in zip(frozen, before))
    kept = {id(p) for p in frozen}
    assert all(p.requires_grad for p in model.parameters() if id(p) not in kept)


@pytest.mark.parametrize("precision", ["32-true", "scaled"])
def test_each_players_gradient_is_clipped_by_itself_and_in_its_own_units(precision):
    """Neither the scale of half precision nor the other player's gradient counts."""

    def steps(clip):
        model = make(WGANGP, n_critic=1, schedule="simultaneous", gradient_clip=clip)
        before = {n: weights(model, n) for n in ("generator", "discriminator")}
        player = trainer(max_steps=1)
        if precision == "scaled":
            player.precision_plugin.scaler = torch.amp.GradScaler("cpu", init_scale=1024)
        player.fit(model, TinyData())
        return {n: (weights(model, n) - before[n]) / 0.1 for n in before}

    free = steps(None)
    clip = free["generator"].norm().item() / 2
    assert free["discriminator"].norm() > 4 * clip
    clipped = steps(clip)
    torch.testing.assert_close(
        clipped["discriminator"],
        free["discriminator"] * clip / free["discriminator"].norm(),
        rtol=1e-4,
        atol=1e-5,
    )
    assert clipped["generator"].norm().item() == pytest.approx(clip, rel=1e-4)


@pytest.mark.parametrize("schedule", ["alternating", "simultaneous"])
def test_a_gradient_that_overflows_skips_the_step_of_its_player_alone(schedule):
    class Overflow(GAN):
        def discriminator_loss(self, batch):
            terms = super().discriminator_loss(batch)
            return {**terms, "loss": terms["loss"] * float("inf")}

    torch.manual_seed(0)
    model = Overflow(
        generator=TinyGenerator(),
        discriminator=TinyCritic(),
        schedule=schedule,
        discriminator_optimizer=Adam,
    )
    before = {n: weights(model, n) for n in ("generator", "discriminator")}
    player = trainer(max_steps=1)
    scaler = player.precision_plugin.scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    player.fit(model, TinyData())
    assert torch.equal(weights(model, "discriminator"), before["discriminator"])
    assert not torch.equal(weights(model, "generator"), before["generator"])
    assert weights(model, "generator").isfinite().all()
    assert scaler.get_scale() == 32


def test_the_scale_grows_once_per_update_of_weights():
    def scale(schedule):
        player = trainer(max_steps=3)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0, growth_interval=1)
        player.precision_plugin.scaler = scaler
        player.fit(make(schedule=schedule), TinyData())
        return scaler.get_scale()

    assert scale("simultaneous") == 2.0 * 2**3
    assert scale("alternating") == 2.0 * 2**6


def test_the_loss_is_scaled_before_it_is_differentiated():
    class Spy(GAN):
        def _step(self, sides):
            grads.append([p.grad.clone() for p in sides[0].parameters])
            super()._step(sides)

    def of_scale(scale):
        grads.clear()
        torch.manual_seed(0)
        model = Spy(generator=TinyGenerator(), discriminator=TinyCritic())
        player = trainer(max_steps=1)
        if scale:
            player.precision_plugin.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        player.fit(model, TinyData())
        return list(grads)

    grads = []
    for plain, scaled in zip(of_scale(None), of_scale(256.0)):
        torch.testing.assert_close(scaled, [256 * g for g in plain], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("cls", MODELS)
def test_a_batch_of_one_image_trains(cls):
    model = make(cls, norm=False, n_critic=1)
    before = weights(model, "generator", "discriminator")
    trainer(max_epochs=1).fit(model, TinyData(3, batch_size=1))
    after = weights(model, "generator", "discriminator")
    assert model.moves == {"discriminator": 3, "generator": 3}
    assert after.isfinite().all() and not torch.equal(after, before)


# What is logged


@pytest.mark.parametrize(
    ("cls", "terms"),
    [
        (GAN, {"loss", "real", "fake"}),
        (LSGAN, {"loss", "real", "fake"}),
        (WGANGP, {"loss", "distance", "penalty"}),
    ],
)
def test_every_so_many_rounds_the_terms_of_both_players_are_reported(cls, terms):
    class Spy(cls):
        def report(self, values):
            reported.append((self.trainer.global_step, {*values}))

    reported = []
    model = Spy(generator=TinyGenerator(), discriminator=TinyCritic(), n_critic=2)
    fit(model, max_epochs=-1, max_steps=6, log_every_n_steps=3)
    names = {f"discriminator/{name}" for name in terms | {"gradient_norm"}}
    names |= {"generator/loss", "generator/gradient_norm"}
    assert reported == [(3, names), (6, names)]


@pytest.mark.parametrize("cls", MODELS)
def test_what_is_logged_does_not_depend_on_micro_batches(cls):
    def terms(parts):
        model = make(cls, micro_batches=parts, share_fakes=False, n_critic=1)
        fit(model, max_steps=2, precision="64-true")
        return model.last_terms

    whole = terms(1)
    assert all(not value.requires_grad for value in whole.values())
    torch.testing.assert_close(terms(3), whole, rtol=1e-10, atol=1e-12)


# Going on


@pytest.mark.parametrize("cls", MODELS)
@pytest.mark.parametrize("schedule", ["alternating", "simultaneous"])
@pytest.mark.parametrize("n_critic", [1, 4])
def test_a_game_that_is_stopped_goes_on_as_if_it_had_not_been(cls, schedule, n_critic, tmp_path):
    """Six batches an epoch, so with four to a round it stops in the middle of one."""

    def new():
        torch.manual_seed(0)
        return cls(
            generator=TinyGenerator(norm=True),
            discriminator=DropoutCritic(),
            n_critic=n_critic,
            schedule=schedule,
            generator_scheduler=lambda o: StepLR(o, 2, 0.5),
            discriminator_scheduler=lambda o: StepLR(o, 1, 0.9),
            ema_half_life=50.0,
        )

    def state(model, player):
        return {
            "weights": model.state_dict(),
            "optimizers": [o.state_dict() for o in player.optimizers],
            "schedules": [s.state_dict() for s in (side.scheduler for side in model._sides)],
            "counts": (model.moves, model.images_seen, player.global_step),
        }

    whole, half, rest = new(), new(), new()
    expected = state(whole, fit(whole, count=48, max_epochs=2))
    fit(half, count=48, max_epochs=1).save_checkpoint(tmp_path / "half.ckpt")
    player = trainer(max_epochs=2)
    player.fit(rest, TinyData(48), ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    found = state(rest, player)
    assert found["counts"] == expected["counts"]
    assert expected["counts"][0] == {"discriminator": 12, "generator": 12 // n_critic}
    assert expected["counts"][2] == 12 // n_critic
    assert str(found["schedules"]) == str(expected["schedules"])
    for part in ("weights", "optimizers"):
        torch.testing.assert_close(found[part], expected[part], rtol=0, atol=0)
    average = rest.averages["generator"]
    assert not torch.equal(weights(average, "network"), weights(rest, "generator"))


# Several processes


class Ends(Callback):
    """Leaves what each process ends with in a folder."""

    def __init__(self, folder):
        self.folder = folder

    def on_train_end(self, trainer, model):
        path = self.folder / f"{trainer.world_size}-{trainer.global_rank}.pt"
        torch.save({"weights": model.state_dict(), "seen": model.images_seen}, path)


def ends(folder, world):
    return [torch.load(folder / f"{world}-{rank}.pt") for rank in range(world)]


def test_processes_begin_with_the_weights_of_the_first(tmp_path):
    class Astray(GAN):
        def setup(self, stage):
            super().setup(stage)
            with torch.no_grad():
                for p in self.parameters():
                    p += self.trainer.global_rank

    model = Astray(
        generator=TinyGenerator(),
        discriminator=TinyCritic(),
        generator_optimizer=sgd(0.0),
        discriminator_optimizer=sgd(0.0),
    )
    before = copy.deepcopy(model.state_dict())
    fit(model, max_steps=1, callbacks=[Ends(tmp_path)], **two_processes())
    for end in ends(tmp_path, 2):
        assert all(torch.equal(value, before[name]) for name, value in end["weights"].items())


@pytest.mark.parametrize("options", [{"micro_batches": 2}, {"gradient_clip": 0.05}])
@pytest.mark.parametrize("cls", MODELS)
def test_two_processes_split_and_clip_as_one_does(cls, options, tmp_path):
    """The gradient is averaged first, then clipped; each image keeps its latents in any split."""
    for processes in ({}, two_processes()):
        model = make(cls, n_critic=2, ema_half_life=30.0, **options)
        callbacks = [Ends(tmp_path)]
        fit(model, max_steps=2, precision="64-true", callbacks=callbacks, **processes)
    (one,), both = ends(tmp_path, 1), ends(tmp_path, 2)
    for end in both:
        assert end["seen"] == one["seen"] == 32
        torch.testing.assert_close(end["weights"], one["weights"], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("cls", MODELS)
def test_two_processes_report_the_terms_of_the_whole_batch(cls, tmp_path):
    class Keep(Callback):
        def on_train_end(self, trainer, model):
            content = model.latest, {k: v.item() for k, v in trainer.callback_metrics.items()}
            torch.save(content, tmp_path / f"{trainer.world_size}-{trainer.global_rank}.pt")

    for processes in ({}, two_processes()):
        model = make(cls, n_critic=2)
        fit(model, max_steps=2, precision="64-true", callbacks=[Keep()], **processes)
    (one,), (first, second) = ends(tmp_path, 1), ends(tmp_path, 2)
    assert first == second
    assert first[0] == pytest.approx(one[0], rel=1e-6)


def test_running_means_are_of_the_images_of_all_processes(tmp_path):
    """The first norm of the generator sees the same latents on one process as on two."""
    for processes in ({}, two_processes()):
        model = make(norm=True, generator_optimizer=sgd(0.0), ema_half_life=20.0)
        fit(model, max_steps=3, callbacks=[Ends(tmp_path)], **processes)
    (one,), both = ends(tmp_path, 1), ends(tmp_path, 2)
    for prefix in ("generator", "averages.generator.network"):
        for name in ("running_mean", "num_batches_tracked"):
            key = f"{prefix}.layers.1.{name}"
            assert one["weights"][key].any()
            for end in both:
                torch.testing.assert_close(end["weights"][key], one["weights"][key])


@pytest.mark.parametrize("wrong", [{"gradient_clip_val": 1.0}, {"accumulate_grad_batches": 2}])
def test_options_of_the_trainer_that_would_do_nothing_are_refused(wrong):
    with pytest.raises(MisconfigurationException):
        fit(make(), max_steps=1, **wrong)


def test_strategies_that_shard_a_model_are_refused():
    model = make()
    model._trainer = SimpleNamespace(
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
        precision="32-true",
        precision_plugin=SimpleNamespace(),
        world_size=2,
        datamodule=None,
    )
    with pytest.raises(ValueError, match="on one device or with strategy ddp"):
        model.setup("fit")


# Defaults and refusals


def test_defaults_are_those_of_the_papers():
    parts = {"generator": TinyGenerator(), "discriminator": TinyCritic()}
    gan, lsgan, wgan = GAN(**parts), LSGAN(**parts), WGANGP(**parts)
    assert not gan.saturating and gan.real_target == 1
    assert lsgan.targets == (0, 1, 1)
    assert gan.n_critic == lsgan.n_critic == 1
    assert (wgan.n_critic, wgan.penalty_weight, wgan.one_sided) == (5, 10, False)
    for model, rate, betas in ((gan, 2e-4, (0.5, 0.999)), (wgan, 1e-4, (0.0, 0.9))):
        for network in ("generator", "discriminator"):
            optimizer = getattr(model, f"{network}_optimizer")([nn.Parameter(torch.zeros(1))])
            assert isinstance(optimizer, Adam)
            assert optimizer.defaults["lr"] == rate
            assert tuple(optimizer.defaults["betas"]) == betas
            assert optimizer.defaults["weight_decay"] == 0


def test_wgan_gp_gives_each_player_its_own_optimizer():
    parts = {"generator": TinyGenerator(), "discriminator": TinyCritic()}
    model = WGANGP(**parts, generator_optimizer=sgd(), discriminator_optimizer=gan_adam)
    first, second = (player.optimizer([nn.Parameter(torch.zeros(1))]) for player in model.players())
    assert isinstance(first, Adam) and isinstance(second, SGD)


def test_betas_may_be_whole_numbers():
    optimizer = FusedAdam([nn.Parameter(torch.zeros(1))], betas=(0, 0.9))
    assert optimizer.defaults["betas"] == (0.0, 0.9)


@pytest.mark.parametrize("norm", [nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm])
def test_no_batch_norm_meets_a_gradient_penalty(norm):
    critic = TinyCritic()
    critic.layers.append(nn.Sequential(norm(1)))
    with pytest.raises(ValueError, match="must not have batch normalisation"):
        WGANGP(generator=TinyGenerator(norm=True), discriminator=critic)


@pytest.mark.parametrize("norm", ["layer", "none"])
def test_a_critic_that_a_penalty_takes_judges_each_image_by_itself(norm):
    critic = DCGANDiscriminator(16, 1, 4, norm=norm).double()
    WGANGP(generator=DCGANGenerator(16, 1, 8, 4), discriminator=critic)
    x = torch.randn(4, 1, 16, 16, dtype=torch.double, requires_grad=True)
    (slope,) = torch.autograd.grad(critic(x)[0], x)
    assert slope[0].any() and not slope[1:].any()


def test_moves_are_counted_over_all_fits(tmp_path):
    model = make(n_critic=2)
    player = fit(model, count=16)
    player.save_checkpoint(tmp_path / "half.ckpt")
    fit(model, count=32)
    assert model.moves == {"discriminator": 6, "generator": 3}
    rest = make(n_critic=2)
    trainer(max_epochs=2).fit(
        rest, TinyData(16), ckpt_path=tmp_path / "half.ckpt", weights_only=True
    )
    fit(rest, count=16)
    assert rest.moves == {"discriminator": 6, "generator": 3}


@pytest.mark.parametrize("share", [True, False])
def test_a_generator_whose_first_layer_is_frozen_trains(share):
    generator = TinyGenerator()
    generator.layers[0].requires_grad_(False)
    model = GAN(generator=generator, discriminator=TinyCritic(), share_fakes=share)
    before = copy.deepcopy(generator.state_dict())
    fit(model, max_steps=2)
    changed = [not torch.equal(v, before[k]) for k, v in generator.state_dict().items()]
    assert changed == [False, False, True, True]


def test_an_interrupted_step_leaves_nothing_frozen():
    class Stop(GAN):
        def generator_loss(self, batch):
            raise ArithmeticError

    model = Stop(generator=TinyGenerator(), discriminator=TinyCritic())
    with pytest.raises(ArithmeticError):
        fit(model, max_steps=1)
    assert all(p.requires_grad for p in model.parameters())
