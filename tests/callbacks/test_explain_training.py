"""What is said of a game is true of its networks, the same on two processes, and changes nothing."""

import pytest
import torch
from pytorch_lightning import Callback
from pytorch_lightning.loggers import CSVLogger
from torch import nn
from torch.optim import SGD

from callbacks import CollapseGuard, ExplainTraining
from callbacks.curves import panels, read_curves
from callbacks.explain_training import measure, ranking, shares
from lightning_gen.levels import from_levels
from lightning_gen.models.gans import GAN, WGANGP
from lightning_gen.randomness import Noise
from tests.callbacks.parts import TinyModel
from tests.game import TinyCritic, TinyGenerator, fit, two_processes
from tests.models.test_game import MODELS
from tests.models.test_game import make as game

MEASURES = (
    "discriminator/auc",
    "discriminator/accuracy_real",
    "discriminator/accuracy_fake",
    "generator/diversity",
)


class Thresholded(GAN):
    threshold = 0.0


class Keeper(Callback):
    """Keeps what the model shows after each step, on disk, as processes share no memory."""

    def __init__(self, folder=None):
        self.folder, self.lines = folder, []

    def on_train_batch_end(self, trainer, model, outputs, batch, batch_idx):
        if "discriminator/auc" in model.latest:
            self.lines.append((trainer.global_step, dict(model.latest)))

    def on_train_end(self, trainer, model):
        if self.folder is not None:
            torch.save(self.lines, self.folder / f"{trainer.global_rank}.pt")


def make(cls=Thresholded, norm=False, **kwargs):
    torch.manual_seed(0)
    optimizers = dict.fromkeys(
        ("generator_optimizer", "discriminator_optimizer"), lambda p: SGD(p, lr=0.1)
    )
    critic = TinyCritic(norm and cls is not WGANGP)
    return cls(generator=TinyGenerator(norm), discriminator=critic, **{**optimizers, **kwargs})


def explained(model, folder=None, **kwargs):
    keeper = Keeper(folder)
    player = fit(model, callbacks=[ExplainTraining(), keeper], **kwargs)
    return player, keeper.lines


def test_ranking_is_the_share_of_pairs_in_order_and_half_of_those_that_are_equal():
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        real = torch.randint(5, (7,), generator=generator).double()
        fake = torch.randint(4, (5,), generator=generator).double()
        pairs = (real[:, None] > fake).double() + (real[:, None] == fake).double() / 2
        assert ranking(real, fake).item() == pytest.approx(pairs.mean().item(), abs=1e-15)


def test_ranking_knows_no_scale_but_accuracy_has_one():
    real, fake = torch.tensor([3.0, 1.0, -1.0, 2.0]), torch.tensor([-2.0, 0.0, 1.5, -1.0])
    terms = shares(real, fake, threshold=0.0)
    assert [terms[f"discriminator/accuracy_{x}"].item() for x in ("real", "fake")] == [0.75, 0.5]
    moved = shares(3 * real + 10, 3 * fake + 10, threshold=None)
    assert moved == {"discriminator/auc": terms["discriminator/auc"]}


def test_measures_are_those_of_the_batch_and_of_samples_on_fixed_noise():
    class Check(Callback):
        def on_train_batch_end(self, trainer, model, outputs, batch, batch_idx):
            seen = model.images_seen
            found = measure(trainer, model, batch)
            x = from_levels(batch[0])
            y = model.generator(model.latent(8, Noise(("explain",), 8))).detach()
            real, fake = model.discriminator(x), model.discriminator(y)
            assert found[MEASURES[0]] == (real[:, None] > fake).double().mean().item()
            assert found[MEASURES[1]] == (real > 0).double().mean().item()
            assert found[MEASURES[2]] == (fake < 0).double().mean().item()
            spread = [torch.pdist(z.flatten(1).double()).square().mean().sqrt() for z in (y, x)]
            assert found[MEASURES[3]] == pytest.approx((spread[0] / spread[1]).item(), rel=1e-6)
            assert model.images_seen == seen

    fit(make(), max_steps=4, callbacks=[Check()])


@pytest.mark.parametrize("callbacks", [(), (CollapseGuard,)])
def test_a_look_is_taken_at_log_lines_only_and_once_for_all_who_ask(callbacks):
    looks = []

    class Counting(Thresholded):
        def judge(self, images, batch):
            if not torch.is_grad_enabled():
                looks.append(self.trainer.global_step)
            return super().judge(images, batch)

    asking = [ExplainTraining(), *(each() for each in callbacks)]
    model = make(Counting, n_critic=2)
    fit(model, max_epochs=2, log_every_n_steps=3, callbacks=asking)  # 8 rounds
    assert looks == [3, 3, 6, 6]


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("share", [False, True])
def test_training_goes_on_as_if_nobody_had_looked(norm, share):
    states = []
    for callbacks in ([], [ExplainTraining()]):
        model = make(norm=norm, share_fakes=share, ema_half_life=20.0)
        model.discriminator.layers.append(nn.Dropout(0.5))
        fit(model, max_epochs=2, callbacks=callbacks)
        states.append(model.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("cls", MODELS)
def test_every_game_is_explained_and_goes_on_as_if_nobody_had_looked(cls):
    states = []
    for callbacks in ([], [ExplainTraining()]):
        model = game(cls)
        fit(model, max_steps=3, callbacks=callbacks)
        states.append(model.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert 0 <= model.latest["discriminator/auc"] <= 1
    assert model.latest["generator/diversity"] > 0


@pytest.mark.slow
def test_two_processes_find_what_one_finds(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    explained(make(), tmp_path / "one", max_epochs=2)
    explained(make(), tmp_path / "two", max_epochs=2, **two_processes())
    one, *two = (torch.load(tmp_path / name) for name in ("one/0.pt", "two/0.pt", "two/1.pt"))
    assert two[0] == two[1]
    assert len(one) == len(two[0]) == 16
    for (step, alone), (other, shared) in zip(one, two[0], strict=True):
        assert step == other
        assert all(shared[key] == pytest.approx(alone[key], rel=1e-4) for key in MEASURES)


def test_values_stand_in_metrics_csv_beside_the_gradient_norms(tmp_path):
    logger = CSVLogger(tmp_path, name="", version="", flush_logs_every_n_steps=1)
    explained(make(), max_steps=4, log_every_n_steps=2, logger=logger)
    logger.save()
    curves = read_curves(tmp_path / "metrics.csv")
    wanted = (*MEASURES, "generator/gradient_norm", "discriminator/gradient_norm")
    assert all([seen for seen, _ in curves[key]] == [16, 32] for key in wanted)


def test_curves_show_both_accuracies_in_one_panel_and_both_gradients_in_another():
    keys = (*MEASURES, "generator/gradient_norm", "discriminator/gradient_norm")
    drawn = panels({key: [(0.0, 0.0)] for key in keys})
    assert {title: len(curves) for title, curves in drawn.items()} == {
        "auc": 1,
        "accuracy": 2,
        "diversity": 1,
        "gradient_norm": 2,
    }


def test_a_critic_without_a_threshold_has_a_rank_but_no_accuracy():
    _, lines = explained(make(WGANGP), max_steps=1)
    latest = lines[-1][1]
    assert "discriminator/distance" in latest
    assert "discriminator/auc" in latest
    assert not any("accuracy" in key for key in latest)


def test_a_conditional_game_is_judged_with_the_labels_of_the_batch():
    class Asking(TinyCritic):
        num_classes = 10

        def forward(self, x, labels=None):
            asked.append(labels)
            return super().forward(x)

    asked: list = []
    model = Thresholded(generator=TinyGenerator(classes=10), discriminator=Asking())
    _, lines = explained(model, max_steps=1)
    assert lines[-1][1]["generator/diversity"] > 0
    assert all(torch.equal(labels, torch.arange(8)) for labels in asked)


def test_a_generator_that_always_makes_the_same_image_has_no_diversity():
    model = make()
    with torch.no_grad():
        for parameter in model.generator.parameters():
            parameter.zero_()
    model.generator.requires_grad_(True)
    _, lines = explained(model, max_steps=1)
    assert lines[0][1]["generator/diversity"] < 1e-3


def test_a_model_without_a_discriminator_is_left_alone_and_it_is_said_once(tmp_path, capsys):
    from tests.callbacks.parts import TinyData, trainer

    trainer(tmp_path, ExplainTraining()).fit(TinyModel(), TinyData())
    said = capsys.readouterr().out
    assert said.count("ExplainTraining does nothing: TinyModel has no discriminator") == 1
