"""The game: who moves, when, on which images, with which gradient; on one process or two."""

import copy
from pathlib import Path

import pytest
import torch
from pytorch_lightning import Callback
from torch import nn
from torch.optim import SGD

from lightning_gen import losses
from lightning_gen.models.gans import (
    ACGAN,
    BEGAN,
    EBGAN,
    GAN,
    LSGAN,
    WGAN,
    WGANGP,
    ImprovedGAN,
    InfoGAN,
    LossSensitiveGAN,
    ObjectiveGAN,
    SemiSupervisedGAN,
)
from tests.game import (
    TinyAutoencoder,
    TinyCritic,
    TinyData,
    TinyGenerator,
    fit,
    trainer,
    two_processes,
)

MODELS = (
    *(GAN, LSGAN, WGAN, WGANGP, InfoGAN, ACGAN, EBGAN, BEGAN, ImprovedGAN),
    *(SemiSupervisedGAN, ObjectiveGAN, LossSensitiveGAN),
)
OPTIONS = {
    WGAN: {"clip": 0.5},
    InfoGAN: {"categorical": (2,), "continuous": 1, "hidden": 0},
    BEGAN: {"control_rate": 0.1},
    ImprovedGAN: {"historical_weight": 0.1},
    SemiSupervisedGAN: {"labelled": 20},
    ObjectiveGAN: {"objective": losses.hinge, "r1_weight": 1.0, "r1_every": 2},
}


def sgd(params):
    return SGD(params, lr=0.1)


def parts(cls, norm=False):
    """Networks and options with which a class can be built."""
    energies = cls in (EBGAN, BEGAN)
    critic = (
        TinyAutoencoder() if energies else TinyCritic(norm and cls not in (WGANGP, ObjectiveGAN))
    )
    generator = TinyGenerator(norm, 10 if cls is ACGAN else None)
    return {"generator": generator, "discriminator": critic, **OPTIONS.get(cls, {})}


def make(cls=GAN, norm=False, **kwargs):
    torch.manual_seed(0)
    kwargs = {"generator_optimizer": sgd, "discriminator_optimizer": sgd, **kwargs}
    return cls(**{**parts(cls, norm), **kwargs})


class Moves(Callback):
    """Records which networks changed in each batch."""

    def __init__(self):
        self.seen = []

    def on_train_batch_start(self, trainer, model, *_):
        self.before = copy.deepcopy(model.state_dict())

    def on_train_batch_end(self, trainer, model, *_):
        after = model.state_dict()
        changed = {k.split(".")[0] for k in after if not torch.equal(after[k], self.before[k])}
        self.seen.append(changed)


@pytest.mark.parametrize("cls", MODELS)
def test_global_step_counts_generator_updates(cls):
    model = make(cls, n_critic=3)
    player = fit(model, max_epochs=-1, max_steps=4)
    assert player.global_step == 4
    assert model.moves == {"discriminator": 12, "generator": 4}
    assert model.images_seen == 12 * 8


def test_generator_moves_on_every_n_critic_th_batch_across_epochs():
    moves, both, critic = Moves(), {"discriminator", "generator"}, {"discriminator"}
    fit(make(n_critic=5), count=24, max_epochs=4, callbacks=[moves])  # 3 batches an epoch
    assert moves.seen == ([critic] * 4 + [both]) * 2 + [critic] * 2


def test_each_critic_step_sees_fresh_images():
    class Spy(WGANGP):
        def discriminator_loss(self, batch):
            seen.append(batch.images[:, 0, 0, 0].clone())
            return super().discriminator_loss(batch)

    seen = []
    fit(Spy(generator=TinyGenerator(), discriminator=TinyCritic(), n_critic=4), max_steps=2)
    assert len(torch.cat(seen).unique()) == 64


@pytest.mark.parametrize("cls", MODELS)
@pytest.mark.parametrize("mover", ["generator", "discriminator"])
@pytest.mark.parametrize("share", [True, False])
def test_a_move_touches_only_the_mover(cls, mover, share):
    class Spy(cls):
        def _differentiate(self, side, batch, observed):
            others = [s for s in self._sides if s is not side]
            before = [
                [None if p.grad is None else p.grad.clone() for p in s.parameters] for s in others
            ]
            buffers = copy.deepcopy(dict(self.named_buffers()))
            super()._differentiate(side, batch, observed)
            if side.player.name == mover:
                for other, grads in zip(others, before):
                    for p, g in zip(other.parameters, grads):
                        same = p.grad is None if g is None else torch.equal(p.grad, g)
                        assert same and not p.requires_grad
                used = [p for p in side.parameters if p.grad is not None]
                unused = 2 if cls is SemiSupervisedGAN and mover == "discriminator" else 0
                assert len(used) == len(side.parameters) - unused  # a linear layer of its own
                assert all(p.grad.any() for p in used)
                checked.append(buffers)

        def _step(self, sides):
            before = copy.deepcopy(dict(self.named_parameters()))
            states = {s.player.name: copy.deepcopy(s.optimizer.state_dict()) for s in self._sides}
            super()._step(sides)
            names = {s.player.name for s in sides}
            movers = {id(p) for s in sides for p in s.parameters if p.grad is not None}
            for name, p in self.named_parameters():
                assert torch.equal(p, before[name]) != (id(p) in movers)
            for s in self._sides:
                if s.player.name not in names:
                    assert str(s.optimizer.state_dict()) == str(states[s.player.name])

    checked = []
    options = parts(cls)
    if cls in (WGAN, WGANGP, ObjectiveGAN):  # its last bias has no gradient in these games
        options["discriminator"].layers[-2] = nn.Linear(16, 1, bias=False)
    spy = Spy(**{**options, "n_critic": 1, "share_fakes": share})
    fit(spy, count=16)
    assert checked


def test_the_critic_builds_no_graph_through_the_generator():
    class Spy(GAN):
        def discriminator_loss(self, batch):
            graphs.append(self.generate(batch).grad_fn)
            return super().discriminator_loss(batch)

    for share in (True, False):
        graphs = []
        fit(Spy(generator=TinyGenerator(), discriminator=TinyCritic(), share_fakes=share), count=16)
        assert graphs == [None, None]


@pytest.mark.parametrize(
    ("n_critic", "share", "calls"), [(1, True, 1), (1, False, 2), (3, True, 4)]
)
def test_generator_runs_no_more_often_than_needed(n_critic, share, calls):
    model, counted = make(n_critic=n_critic, share_fakes=share), []
    model.generator.register_forward_hook(lambda *_: counted.append(1))
    fit(model, max_steps=1)
    assert len(counted) == calls


def test_players_of_a_round_draw_different_latents_unless_they_share():
    class Spy(GAN):
        def generate(self, batch):
            fakes = super().generate(batch)
            images.append(fakes.detach().clone())
            return fakes

    for share in (True, False):
        images = []
        model = Spy(
            generator=TinyGenerator(),
            discriminator=TinyCritic(),
            share_fakes=share,
            generator_optimizer=lambda p: SGD(p, lr=0.0),
        )
        fit(model, count=16)
        assert torch.equal(images[0], images[1]) == share
        assert not torch.equal(images[0], images[2])


@pytest.mark.parametrize("share", [True, False])
def test_simultaneous_players_look_at_the_old_parameters(share):
    def generator_after(schedule, critic_rate):
        model = make(schedule=schedule, share_fakes=share)
        model.discriminator_optimizer = lambda p: SGD(p, lr=critic_rate)
        fit(model, max_steps=1)
        return model.generator.state_dict()

    frozen = generator_after("alternating", 0.0)
    together = generator_after("simultaneous", 0.5)
    in_turn = generator_after("alternating", 0.5)
    assert all(torch.equal(frozen[k], together[k]) for k in frozen)
    assert any(not torch.equal(in_turn[k], together[k]) for k in frozen)


WHOLE = (EBGAN, ImprovedGAN, SemiSupervisedGAN)  # compare the images of whole batches


@pytest.mark.parametrize("cls", [cls for cls in MODELS if cls not in WHOLE])
@pytest.mark.parametrize("parts", [2, 3, 8])
def test_micro_batches_do_not_change_the_result(cls, parts):
    def weights(parts):
        model = make(cls, micro_batches=parts, share_fakes=False, n_critic=2)
        fit(model, precision="64-true")
        return list(model.parameters())

    torch.testing.assert_close(weights(1), weights(parts), rtol=1e-10, atol=1e-12)


def test_clipping_bounds_each_players_gradient():
    def step(clip):
        model = make(gradient_clip=clip, share_fakes=True)
        before = copy.deepcopy(list(model.generator.parameters()))
        fit(model, max_steps=1)
        moved = [(a - b).flatten() for a, b in zip(model.generator.parameters(), before)]
        return torch.cat(moved).norm().item() / 0.1

    assert step(None) > 1e-3
    assert step(1e-3) == pytest.approx(1e-3, rel=1e-3)


def test_schedules_move_once_a_round():
    model = make(n_critic=2)
    model.generator_scheduler = lambda o: torch.optim.lr_scheduler.StepLR(o, 1, 0.5)
    model.discriminator_scheduler = lambda o: torch.optim.lr_scheduler.StepLR(o, 1, 0.1)
    fit(model, max_steps=3)
    assert [s.optimizer.param_groups[0]["lr"] for s in model._sides] == pytest.approx(
        [1e-4, 0.0125]
    )


def test_average_is_the_weighted_mean_and_does_not_disturb_training():
    plain, averaged = make(), make(ema_half_life=32.0, ema_ramp=1e9)
    first = copy.deepcopy(dict(averaged.generator.named_parameters()))
    fit(plain, max_steps=1)
    fit(averaged, max_steps=1)
    decay = 0.5 ** (8 / 32)
    for name, now in averaged.generator.named_parameters():
        assert torch.equal(now, dict(plain.generator.named_parameters())[name])
        mean = dict(averaged.averages["generator"].network.named_parameters())[name]
        torch.testing.assert_close(mean, decay * first[name] + (1 - decay) * now)
        assert not mean.requires_grad


def test_sampling_is_a_function_of_the_noise_and_leaves_the_model_as_it_was():
    from lightning_gen.randomness import Noise

    model = make(norm=True, ema_half_life=10.0).train()
    before = copy.deepcopy(model.state_dict())
    a, b = (model.sample(5, noise=Noise(("test",), 5)) for _ in range(2))
    assert torch.equal(a, b)
    assert a.shape == (5, 1, 4, 4)
    assert a.abs().max() <= 1
    assert not a.requires_grad
    assert model.generator.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert not torch.equal(a, model.sample(5, noise=Noise(("other",), 5)))
    with pytest.raises(ValueError, match="noise for 4 images"):
        model.sample(5, noise=Noise(("test",), 4))


@pytest.mark.parametrize("cls", MODELS)
def test_same_seed_same_run_and_another_seed_another(cls, monkeypatch):
    def weights(seed):
        monkeypatch.setenv("PL_GLOBAL_SEED", str(seed))
        model = make(cls)
        fit(model, max_steps=2)
        return torch.cat([p.flatten() for p in model.parameters()])

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


class SaveWeights(Callback):
    """Leaves what each process ends with in a folder."""

    def __init__(self, folder: Path):
        self.folder = folder

    def on_train_end(self, trainer, model):
        content = {"weights": model.state_dict(), "moves": model.moves, "step": trainer.global_step}
        torch.save(content, self.folder / f"{trainer.world_size}-{trainer.global_rank}.pt")


@pytest.mark.parametrize("cls", MODELS)
@pytest.mark.parametrize("schedule", ["alternating", "simultaneous"])
def test_two_processes_compute_what_one_does(cls, schedule, tmp_path):
    for kwargs in ({}, two_processes()):
        model = make(cls, schedule=schedule, ema_half_life=20.0, n_critic=2 if cls is WGANGP else 1)
        fit(model, max_steps=3, precision="64-true", callbacks=[SaveWeights(tmp_path)], **kwargs)
    one, first, second = (torch.load(tmp_path / name) for name in ("1-0.pt", "2-0.pt", "2-1.pt"))
    assert one["step"] == first["step"] == second["step"] == 3
    for name, value in one["weights"].items():
        assert torch.equal(first["weights"][name], second["weights"][name])
        torch.testing.assert_close(first["weights"][name], value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("cls", MODELS)
def test_processes_agree_on_running_statistics(cls, tmp_path):
    fit(make(cls, norm=True), max_steps=2, callbacks=[SaveWeights(tmp_path)], **two_processes())
    first, second = (torch.load(tmp_path / f"2-{rank}.pt")["weights"] for rank in (0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
@pytest.mark.parametrize("cls", MODELS)
def test_half_precision_trains(cls, precision, monkeypatch):
    monkeypatch.setattr("lightning_gen.models.base.check_precision", lambda *_: None)
    model = make(cls)
    fit(model, max_steps=3, precision=precision)
    assert all(torch.isfinite(p).all() and p.dtype == torch.float32 for p in model.parameters())


def test_half_precision_is_refused_where_it_is_slow(monkeypatch):
    monkeypatch.setattr("lightning_gen.models.hardware.cpu_has_bf16", lambda: False)
    with pytest.raises(ValueError, match="slower than 32 on this CPU"):
        fit(make(), precision="bf16-mixed")


@pytest.mark.parametrize("schedule", ["alternating", "simultaneous"])
def test_loss_scaling_gives_each_player_its_own_gradient(schedule):
    """A scale that changes at each update must not change who moves how far."""

    def weights(scaler):
        model = make(schedule=schedule)
        player = trainer(max_steps=3)
        if scaler:
            player.precision_plugin.scaler = torch.amp.GradScaler(
                "cpu", init_scale=8, growth_interval=1
            )
        player.fit(model, TinyData())
        return list(model.parameters())

    torch.testing.assert_close(weights(False), weights(True), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cls", MODELS)
@pytest.mark.parametrize("schedule", ["alternating", "simultaneous"])
def test_state_goes_on_from_a_checkpoint(cls, schedule, tmp_path):
    def make_averaged():
        return make(cls, n_critic=4, ema_half_life=50.0, schedule=schedule)

    whole = make_averaged()
    fit(whole, count=48, max_epochs=4)
    half = make_averaged()
    player = fit(half, count=48, max_epochs=2)
    player.save_checkpoint(tmp_path / "half.ckpt")
    rest = make_averaged()
    trainer(max_epochs=4).fit(
        rest, TinyData(48), ckpt_path=tmp_path / "half.ckpt", weights_only=True
    )
    assert rest.moves == whole.moves
    assert rest.images_seen == whole.images_seen
    for name, value in whole.state_dict().items():
        assert torch.equal(rest.state_dict()[name], value), name


def test_wrong_arguments_are_refused_at_construction():
    parts = {"generator": TinyGenerator(), "discriminator": TinyCritic()}
    for cls, wrong in (
        (GAN, {"micro_batches": 0}),
        (GAN, {"schedule": "random"}),
        (GAN, {"n_critic": 0}),
        (GAN, {"prior": "cauchy"}),
        (GAN, {"ema_half_life": 0}),
        (GAN, {"real_target": 1.5}),
        (LSGAN, {"targets": (1.0, 0.0, 0.0)}),
    ):
        with pytest.raises(ValueError):
            cls(**parts, **wrong)
    for cls, wrong in [(cls, {}) for cls in WHOLE]:
        with pytest.raises(ValueError, match="of whole batches, so micro_batches must be 1"):
            make(cls, micro_batches=2, **wrong)
    with pytest.raises(ValueError, match="second derivatives"):
        WGANGP(**parts, compile_networks=True)
    with pytest.raises(ValueError, match="must not have batch normalisation"):
        WGANGP(generator=TinyGenerator(), discriminator=TinyCritic(norm=True))


def test_data_of_another_shape_is_refused():
    data = TinyData()
    data.shape = (3, 32, 32)
    with pytest.raises(ValueError, match=r"\(1, 4, 4\) but the data has \(3, 32, 32\)"):
        trainer(max_steps=1).fit(make(), data)
