"""A lost game is noticed, ended or taken back; a healthy one is left alone."""

import json
import math

import pytest
import torch
import yaml
from pytorch_lightning import Callback, LightningDataModule
from torch.optim import Adam
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, TensorDataset

from callbacks import CollapseGuard, LastCheckpoint
from callbacks.collapse_guard import Collapse, restore, sweep_sound
from lightning_gen.checkpoints import write_checkpoint
from lightning_gen.cli import main
from lightning_gen.models.gans import GAN, LSGAN
from lightning_gen.networks.mlp import MLPDiscriminator, MLPGenerator
from lightning_gen.randomness import stream
from tests.fake import FakeImages
from tests.game import TinyCritic, TinyGenerator, trainer, two_processes

HEALTHY = {"generator/diversity": 0.9, "discriminator/auc": 0.7, "generator/gradient_norm": 1.0}


class Sabotage(Callback):
    """Makes the generator constant, which no gradient can change, at the given steps."""

    def __init__(self, *steps):
        self.steps = steps

    def on_train_batch_end(self, trainer, model, *_):
        if trainer.global_step in self.steps:
            with torch.no_grad():
                for parameter in model.generator.parameters():
                    parameter.zero_()
            trainer.optimizers[1].state.clear()  # its momentum would change it


def make(**kwargs):
    torch.manual_seed(0)

    def adam(parameters):
        return Adam(parameters, lr=0.01)

    kwargs = {"generator_optimizer": adam, "discriminator_optimizer": adam, **kwargs}
    return GAN(generator=TinyGenerator(), discriminator=TinyCritic(), ema_half_life=50.0, **kwargs)


def guard(mode, **kwargs):
    return CollapseGuard(mode, **{"patience": 3, "grace": 0, "keep_every": 4, **kwargs})


def play(folder, *callbacks, model=None, steps=24, ckpt_path=None, **kwargs):
    """Plays rounds of which each is a log line; a checkpoint each 8 rounds, which is an epoch."""
    player = trainer(
        max_steps=steps,
        max_epochs=-1,
        default_root_dir=folder,
        callbacks=[*callbacks, LastCheckpoint(folder / "checkpoints", 8)],
        enable_checkpointing=True,
        **kwargs,
    )
    model = model or make()
    data = FakeImages(shape=(1, 4, 4), count=64, batch_size=8)
    player.fit(model, data, ckpt_path=ckpt_path, weights_only=True)
    return player, model


def test_a_warning_is_said_once_and_the_run_goes_on(tmp_path, capsys):
    watch = guard("warn")
    player, _ = play(tmp_path, watch, Sabotage(6), steps=16)
    said = capsys.readouterr().err
    assert player.global_step == 16
    assert said.count("collapse: the samples are alike") == 1
    assert "at 3 log lines in a row, at step 9" in said
    assert watch.alarms == 1
    assert player.callback_metrics["guard/collapses"].item() == 1
    assert not list((tmp_path / "checkpoints").glob("sound*"))


def test_a_stop_names_the_sign_and_the_sound_state_and_is_in_the_results(tmp_path):
    with pytest.raises(Collapse, match=r"samples are alike.* at step 9; the last sound state is"):
        play(tmp_path, guard("stop"), Sabotage(6))
    stopped = json.loads((tmp_path / "result.json").read_text())["stopped"]
    assert stopped["step"] == 9
    assert "the samples are alike" in stopped["reason"]
    kept = torch.load(tmp_path / "checkpoints" / "sound-5.ckpt", weights_only=True)
    assert kept["global_step"] == 5
    assert kept["state_dict"]["generator.layers.0.weight"].abs().min() > 0


def test_without_a_sound_state_a_roll_back_is_a_stop(tmp_path):
    model = make()
    with torch.no_grad():
        for parameter in model.generator.parameters():
            parameter.zero_()
    with pytest.raises(Collapse, match="at step 3; there was no sound state"):
        play(tmp_path, guard("roll_back"), model=model)


def test_a_roll_back_puts_weights_averages_and_moments_back_and_time_goes_on(tmp_path):
    class Look(Callback):
        def on_train_batch_end(self, trainer, model, *_):
            if trainer.global_step == 9:
                kept = torch.load(tmp_path / "checkpoints" / "sound-5.ckpt", weights_only=True)
                state = model.state_dict()
                assert kept["global_step"] == 5
                assert all(torch.equal(state[name], x) for name, x in kept["state_dict"].items())
                for optimizer, old in zip(
                    trainer.optimizers, kept["optimizer_states"], strict=True
                ):
                    now = optimizer.state_dict()["state"]
                    assert all(
                        torch.equal(now[i][name], old["state"][i][name])
                        for i in now
                        for name in now[i]
                    )
                assert model.images_seen == 72
                seen.append(model.moves["generator"])

    seen: list = []
    watch = guard("roll_back")
    player, model = play(tmp_path, watch, Sabotage(6), Look())
    assert seen == [9]
    assert (player.global_step, model.images_seen) == (24, 192)
    assert (watch.alarms, watch.returns) == (1, 1)
    assert player.callback_metrics["guard/roll_backs"].item() == 1
    assert model.latest["generator/diversity"] > 0.1


def test_learning_rates_keep_to_their_schedule_through_a_roll_back(tmp_path):
    def schedule(optimizer):
        return StepLR(optimizer, 1, 0.9)  # recursive: from the rate that it finds

    rates = []
    for sabotage in ([], [Sabotage(6)]):
        model = make(generator_scheduler=schedule)
        player, _ = play(tmp_path / str(len(rates)), guard("roll_back"), *sabotage, model=model)
        rates.append(player.optimizers[1].param_groups[0]["lr"])
    assert rates[0] == rates[1] == pytest.approx(0.01 * 0.9**24)


def test_the_rounds_after_a_roll_back_have_other_noise_than_those_before(tmp_path):
    class Spy(GAN):
        def generator_loss(self, batch):
            noises.append(batch.noise.spawn().normal(2))
            return super().generator_loss(batch)

    noises: list = []
    torch.manual_seed(0)
    model = Spy(generator=TinyGenerator(), discriminator=TinyCritic())
    play(tmp_path, guard("roll_back"), Sabotage(6), model=model)
    assert len({tuple(each.flatten().tolist()) for each in noises}) == 24


def test_after_so_many_returns_the_run_is_stopped(tmp_path):
    watch = guard("roll_back", retries=2)
    with pytest.raises(Collapse):
        play(tmp_path, watch, Sabotage(*range(6, 99)), steps=60)
    assert (watch.alarms, watch.returns) == (3, 2)


class Kill(Callback):
    """Ends a run as a kill does, after a checkpoint of round 8 and before that of round 16."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            raise KeyError("killed")


@pytest.mark.parametrize("cut", [8, 16])
def test_a_run_that_is_killed_goes_on_to_the_same_weights_through_a_roll_back(tmp_path, cut):
    """Killed with a sign half counted, between the sound state and the way back to it; and after."""
    sabotage = Sabotage(6 if cut == 8 else 11, 18)
    _, whole = play(tmp_path / "whole", guard("roll_back"), sabotage, steps=32)
    play(tmp_path / "cut", guard("roll_back"), sabotage, steps=cut)
    goes_on(tmp_path / "cut", whole, sabotage)


@pytest.mark.parametrize("killed", [10, 13, 15])
def test_a_kill_after_a_newer_sound_state_leaves_that_of_the_checkpoint(tmp_path, killed):
    sabotage = Sabotage(6, 18)
    _, whole = play(tmp_path / "whole", guard("roll_back"), sabotage, steps=32)
    with pytest.raises(KeyError, match="killed"):
        play(tmp_path / "cut", guard("roll_back"), sabotage, Kill(killed), steps=32)
    goes_on(tmp_path / "cut", whole, sabotage)


def goes_on(folder, whole, sabotage):
    """Goes on from the last checkpoint, to the weights of a run that was not killed."""
    watch, last = guard("roll_back"), folder / "checkpoints" / "last.ckpt"
    _, model = play(folder, watch, sabotage, steps=32, ckpt_path=str(last))
    assert watch.returns == 2
    state, other = whole.state_dict(), model.state_dict()
    assert all(torch.equal(state[name], other[name]) for name in state)


def test_sound_states_are_removed_that_no_checkpoint_would_go_back_to(tmp_path):
    def checkpoint(name, kept):
        write_checkpoint({"callbacks": {"CollapseGuard": {"kept": kept}}}, tmp_path / name)

    def left():
        return sorted(int(path.stem.removeprefix("sound-")) for path in tmp_path.glob("sound-*"))

    for step in (1, 5, 9, 13):
        checkpoint(f"sound-{step}.ckpt", step)
    checkpoint("last.ckpt", 9)
    checkpoint("previous.ckpt", 5)
    sweep_sound(tmp_path / "sound-13.ckpt")
    assert left() == [5, 9, 13]
    (tmp_path / "last.ckpt").write_bytes(b"damaged")
    checkpoint("previous.ckpt", 9)
    sweep_sound(tmp_path / "sound-13.ckpt")
    assert left() == [5, 9, 13]
    (tmp_path / "last.ckpt").unlink()
    sweep_sound(tmp_path / "sound-13.ckpt")
    assert left() == [9, 13]


def test_a_sound_state_that_is_gone_or_of_another_step_is_no_way_back(tmp_path):
    path = tmp_path / "sound-5.ckpt"
    with pytest.raises(Collapse, match=r"sound-5.ckpt is not there, so there is no way back"):
        restore(None, None, path, 5)
    write_checkpoint({"global_step": 6}, path)
    with pytest.raises(Collapse, match=r"is not of step 5, so there is no way back"):
        restore(None, None, path, 5)


def test_a_run_keeps_few_sound_states(tmp_path):
    play(tmp_path, guard("roll_back"), steps=40)
    assert 1 <= len(list((tmp_path / "checkpoints").glob("sound-*"))) <= 3


@pytest.mark.slow
def test_two_processes_go_back_together_to_what_one_has(tmp_path):
    _, one = play(tmp_path / "one", guard("roll_back"), Sabotage(6), steps=16)
    _, two = play(tmp_path / "two", guard("roll_back"), Sabotage(6), steps=16, **two_processes())
    kept = [
        torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)
        for name in ("one", "two")
    ]
    states = [each["callbacks"]["CollapseGuard"] for each in kept]
    assert [state["returns"] for state in states] == [1, 1]
    assert [state["kept"] for state in states] == [14, 14]
    weights, others = (each["state_dict"] for each in kept)
    assert all(torch.allclose(weights[name], others[name], atol=1e-4) for name in weights)


def test_signs_are_samples_alike_a_sure_critic_without_gradient_and_losses_adrift():
    watch = CollapseGuard()
    watch._largest = 10.0
    assert not watch.signs(HEALTHY)
    assert watch.signs({**HEALTHY, "generator/diversity": 0.05}).keys() == {"diversity"}
    assert not watch.signs({**HEALTHY, "discriminator/auc": 1.0})  # a critic may well be sure
    assert not watch.signs({**HEALTHY, "generator/gradient_norm": 0.05})  # a game at its end
    lost = {**HEALTHY, "discriminator/auc": 1.0, "generator/gradient_norm": 0.05}
    assert watch.signs(lost).keys() == {"gradient"}
    assert watch.signs({**HEALTHY, "generator/loss": -1e6}).keys() == {"generator/loss"}
    assert not watch.signs({**HEALTHY, "generator/loss": math.nan})
    assert not watch.signs({})


@pytest.mark.parametrize("norm", [math.inf, math.nan])
def test_a_gradient_that_overflows_once_is_not_the_largest_for_ever(norm):
    watch = CollapseGuard(patience=1, grace=0)

    class Run:
        global_step = 1

    watch.observe(Run(), None, {**HEALTHY, "generator/gradient_norm": norm})
    watch.observe(Run(), None, HEALTHY)
    assert not watch.signs({**HEALTHY, "discriminator/auc": 1.0})
    lost = {**HEALTHY, "discriminator/auc": 1.0, "generator/gradient_norm": 0.001}
    assert watch.signs(lost).keys() == {"gradient"}


def test_one_look_between_two_bad_ones_forgives_them():
    watch = CollapseGuard(patience=2, grace=0)
    watch._act = lambda *_: pytest.fail("no collapse")

    class Run:
        global_step = 1

    for diversity in (0.0, 0.9, 0.0, 0.9, 0.0):
        watch.observe(Run(), None, {**HEALTHY, "generator/diversity": diversity})
    with pytest.raises(pytest.fail.Exception):
        watch.observe(Run(), None, {**HEALTHY, "generator/diversity": 0.0})


class FakeRing(LightningDataModule):
    """Eight Gaussians on a ring, as images of two pixels."""

    shape = (1, 1, 2)

    def train_dataloader(self):
        noise = stream("ring")
        angles = torch.randint(8, (2048,), generator=noise) * math.pi / 4
        points = 0.7 * torch.stack([angles.cos(), angles.sin()], 1)
        points += 0.02 * torch.randn(2048, 2, generator=noise)
        levels = ((points + 1) * 127.5).round().to(torch.uint8).view(-1, 1, 1, 2)
        return DataLoader(TensorDataset(levels, angles), batch_size=64)


def on_ring(cls, watch, steps, rates=(1e-3, 1e-3), seed=0, **kwargs):
    """Plays on the ring, with a log line every 10 rounds."""

    def adam(rate):
        return lambda parameters: Adam(parameters, lr=rate, betas=(0.5, 0.9))

    torch.manual_seed(seed)
    model = cls(
        generator=MLPGenerator((1, 1, 2), 8, (64, 64)),
        discriminator=MLPDiscriminator((1, 1, 2), (64, 64)),
        generator_optimizer=adam(rates[0]),
        discriminator_optimizer=adam(rates[1]),
        **kwargs,
    )
    player = trainer(max_steps=steps, max_epochs=-1, log_every_n_steps=10, callbacks=[watch])
    player.fit(model, FakeRing())
    return player


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_healthy_game_is_left_alone_for_500_rounds(seed):
    watch = CollapseGuard(grace=50)
    on_ring(LSGAN, watch, 500, seed=seed)
    assert watch.alarms == 0


@pytest.mark.slow
def test_a_minimax_generator_without_gradient_against_a_sure_discriminator_is_found(capsys):
    watch = CollapseGuard(grace=0, least_diversity=0)
    on_ring(GAN, watch, 300, rates=(1e-5, 2e-2), saturating=True)
    assert "the discriminator is sure and the generator's gradient" in capsys.readouterr().err
    assert watch.alarms >= 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"mode": "panic"}, "mode must be warn, stop or roll_back"),
        ({"least_diversity": 1.0}, "least_diversity must be a share"),
        ({"largest_loss": 0.0}, "largest_loss must be positive"),
        ({"patience": 0}, "patience must be at least 1"),
        ({"retries": -1}, "retries must be at least 0"),
    ],
)
def test_wrong_arguments_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        CollapseGuard(**wrong)


@pytest.mark.slow
def test_the_command_line_ends_with_one_sentence_and_exit_code_2(tmp_path, capfd):
    networks = {"shape": [1, 8, 8], "widths": [16]}
    asked = {"mode": "stop", "grace": 20, "least_diversity": 0.9}  # of an untrained generator
    content = {
        "model": {
            "class_path": "GAN",
            "init_args": {
                "generator": {"class_path": "MLPGenerator", "init_args": networks},
                "discriminator": {"class_path": "MLPDiscriminator", "init_args": networks},
            },
        },
        "data": {
            "class_path": "tests.fake.FakeImages",
            "init_args": {"shape": [1, 8, 8], "batch_size": 16, "count": 64},
        },
        "trainer": {
            "max_epochs": 20,
            "log_every_n_steps": 2,
            "limit_val_batches": 0,
            "accelerator": "cpu",
            "callbacks": [{"class_path": "CollapseGuard", "init_args": asked}],
        },
    }
    config, run = tmp_path / "config.yaml", tmp_path / "run"
    config.write_text(yaml.safe_dump(content))
    options = [f"--config={config}", f"--run_dir={run}", "--trackers=[csv]", "--allow-any-class"]
    assert main(["fit", *options]) == 2
    last = capfd.readouterr().err.splitlines()[-1]
    assert last.startswith("error: the samples are alike: 0.")
    assert "at step 30; there was no sound state; take a smaller learning rate" in last
    assert (run / "checkpoints" / "last.ckpt").exists()
    assert "alike" in json.loads((run / "result.json").read_text())["stopped"]["reason"]
