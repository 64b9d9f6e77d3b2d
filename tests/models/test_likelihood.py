"""Fitting by likelihood: what is counted, logged and published; the same on one process or two."""

import copy
import json
from math import log

import pytest
import torch
from pytorch_lightning import Callback
from torch.optim import SGD
from torch.optim.lr_scheduler import ExponentialLR
from torch.utils.data import DataLoader

from callbacks import BitsPerDim
from datamodules.batches import EvaluationBatches
from lightning_gen.capabilities import Likelihood, Sampler
from lightning_gen.levels import from_levels
from lightning_gen.metrics import PlacedNoise
from lightning_gen.models.autoencoders import IWAE, VAE
from lightning_gen.models.autoregressive import PixelModel
from lightning_gen.models.base import Batch
from lightning_gen.models.distributions import DiscretizedLogistic, Gaussian
from lightning_gen.models.likelihood import LikelihoodModel
from lightning_gen.networks.causal import GatedCausalStack
from lightning_gen.networks.encoders import MLPDecoder, MLPEncoder, MLPUpperCodes
from lightning_gen.nn.flows import IAF
from lightning_gen.randomness import Noise
from tests.game import Numbered, TinyData, trainer, two_processes

SHAPE = (1, 4, 4)
FREE = 0.0492  # nats
HELD_OUT = 11  # images: a batch of 8 and a shorter one, which two processes share unevenly


class ValidatedData(TinyData):
    """Training as `TinyData` has it; to evaluate, the first images, each of them once."""

    name = "numbered"

    def fingerprint(self, split: str) -> str:
        return split

    def loader(self, split: str) -> DataLoader:
        place = self.trainer.global_rank, self.trainer.world_size
        batches = EvaluationBatches(HELD_OUT, self.batch_size, *place)
        return DataLoader(Numbered(HELD_OUT), batch_sampler=batches)

    def val_dataloader(self) -> DataLoader:
        return self.loader("val")

    def test_dataloader(self) -> DataLoader:
        return self.loader("test")


def sgd(params):
    return SGD(params, lr=1e-3)


def vae(**kwargs):
    torch.manual_seed(0)
    networks = MLPEncoder(SHAPE, 3, (8,)), MLPDecoder(SHAPE, 3, (8,), outputs=2)
    return VAE(
        *networks, **{"likelihood": DiscretizedLogistic(), "optimizer": sgd, **kwargs}
    ).double()


def dequantised_vae(**kwargs):
    return vae(likelihood=Gaussian((-2.0, 2.0)), **kwargs)


def floored_vae(**kwargs):
    """Of three units one costs more and one less; of the third, each half of the images differs."""
    return vae(free_bits=FREE, **kwargs)


def iwae(**kwargs):
    torch.manual_seed(0)
    networks = MLPEncoder(SHAPE, 3, (8,), context_size=4), MLPDecoder(SHAPE, 3, (8,), outputs=2)
    flow, upper = IAF(3, 4, 2, (8,)), MLPUpperCodes(3, 2, (8,))
    more = {"flow": flow, "upper": upper, "k": 3, "optimizer": sgd, **kwargs}
    return IWAE(*networks, DiscretizedLogistic(), **more).double()


def pixelcnn(**kwargs):
    torch.manual_seed(0)
    network = GatedCausalStack(width=4, depth=1, first_kernel=3, head=4, num_classes=10)
    return PixelModel(network, SHAPE, **{"optimizer": sgd, **kwargs}).double()


MODELS = [vae, dequantised_vae, pixelcnn]


def fit(model, count=32, **kwargs):
    player = trainer(**{"max_epochs": 1, "limit_val_batches": 0, **kwargs})
    player.fit(model, ValidatedData(count))
    return player


def scores_in(folder):
    """What was recorded there."""
    return json.loads((folder / "result.json").read_text())["scores"]


def scored(model, folder):
    """The likelihoods of the test images."""
    player = trainer(callbacks=[BitsPerDim()], default_root_dir=folder)
    player.test(model, ValidatedData(), verbose=False)
    return scores_in(folder)


def reports_of(model, **kwargs):
    """What was reported, as (global step, values)."""
    seen = []
    model.report = lambda terms, step: seen.append((step, dict(terms)))
    fit(model, **kwargs)
    return seen


@pytest.mark.parametrize("make", [*MODELS, floored_vae, iwae])
def test_two_processes_compute_what_one_computes(make, tmp_path):
    one, two = make(ema_half_life=20), make(ema_half_life=20)
    names = {f"nll/{one.nll_kind}", f"bpd/{one.nll_kind}"}
    scores, published = [], []
    for model, more in ((one, {}), (two, two_processes())):
        folder = tmp_path / str(len(scores))
        more |= {"callbacks": [BitsPerDim()], "default_root_dir": folder}
        player = fit(model, count=24, limit_val_batches=1, **more)
        scores.append(scores_in(folder))
        published.append({k: player.callback_metrics[k].item() for k in names})
    assert set(scores[0]) == set(scores[1]) == names
    for name in names:
        for key in ("value", "standard_error"):
            assert scores[0][name][key] == pytest.approx(scores[1][name][key], rel=1e-10)
        assert scores[0][name]["n"] == scores[1][name]["n"] == HELD_OUT
        assert published[0][name] == pytest.approx(scores[0][name]["value"], rel=1e-6)
    assert published[0] == pytest.approx(published[1], rel=1e-6)
    start = make().state_dict()
    for name, value in one.state_dict().items():
        torch.testing.assert_close(two.state_dict()[name], value, rtol=0, atol=1e-12)
    assert any(not torch.equal(one.state_dict()[name], start[name]) for name in start)


@pytest.mark.parametrize("make", MODELS)
def test_a_training_step_is_a_function_of_seed_and_position(make):
    first, second = make(), make()
    fit(first)
    torch.manual_seed(5)
    fit(second)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("make", MODELS)
def test_the_reported_mean_is_over_images_and_the_same_each_time(make, monkeypatch, tmp_path):
    """Also of batches of unequal size, whose means must not be averaged."""
    model, scores = make(), []
    for seed in ("0", "1"):
        monkeypatch.setenv("PL_GLOBAL_SEED", seed)
        torch.manual_seed(int(seed))
        scores.append(scored(model, tmp_path / seed))
    assert scores[0] == scores[1]
    kind = model.nll_kind
    assert set(scores[0]) == {f"nll/{kind}", f"bpd/{kind}"}
    places = torch.arange(HELD_OUT)
    x = from_levels(Numbered(HELD_OUT).images, dtype=torch.double)
    nll = model.eval().nll(x, places % 10, PlacedNoise(("nll", "test"), places)).detach()
    assert nll.shape == (HELD_OUT,)
    mean = nll.mean().item()
    assert scores[0][f"nll/{kind}"]["value"] == pytest.approx(mean, rel=1e-10)
    assert scores[0][f"bpd/{kind}"]["value"] == pytest.approx(mean / 16 / log(2), rel=1e-10)


@pytest.mark.parametrize("make", MODELS)
def test_the_loss_is_a_sum_over_pixels_and_a_mean_over_images(make):
    model, losses = make(), []

    class Spy(Callback):
        def on_train_batch_end(self, trainer, model, *_):
            losses.append(model.last_terms["loss"].item())
            assert not any(term.requires_grad for term in model.last_terms.values())

    before = copy.deepcopy(model)
    fit(model, count=8, callbacks=[Spy()])
    x = from_levels(torch.stack([Numbered(8)[i][0] for i in range(8)]), dtype=torch.double)
    nll = before.nll(x, torch.arange(8), Noise((0, 0), 8, dtype=torch.double))
    assert nll.shape == (8,)
    assert losses == pytest.approx([nll.mean().item()])


def test_a_loss_that_is_not_overridden_uses_the_noise_of_the_batch():
    model, x = vae(), torch.ones(4, *SHAPE).double()
    batch = Batch(x, None, Noise(("test",), 4, dtype=torch.double))
    expected = model.nll(x, None, Noise(("test",), 4, dtype=torch.double)).mean()
    assert torch.equal(LikelihoodModel.terms(model, batch)["loss"], expected)


def test_it_reports_on_every_so_many_th_step_only():
    seen = reports_of(vae(), log_every_n_steps=2, max_epochs=2)
    assert [step for step, _ in seen] == [2, 4, 6, 8]
    names = {"train/loss", "train/nll", "train/reconstruction", "train/kl"}
    assert all(set(values) == names for _, values in seen)


def test_it_reports_once_a_step_when_gradients_accumulate():
    seen = reports_of(pixelcnn(), accumulate_grad_batches=2)
    assert [step for step, _ in seen] == [1, 2]


def test_accumulated_gradients_are_those_of_the_whole_batch():
    """Of an exact likelihood; what is drawn for images depends on where their batch begins."""
    whole, parts = pixelcnn(), pixelcnn()
    data = ValidatedData(16, 16)
    trainer(max_epochs=1, limit_val_batches=0).fit(whole, data)
    fit(parts, count=16, accumulate_grad_batches=2)
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_averages_are_up_to_date_when_a_callback_saves():
    class Spy(Callback):
        def on_train_batch_end(self, trainer, model, *_):
            assert model._averaged_at == model.images_seen
            assert not torch.equal(model.averages["decoder"].network.out.bias, self.last)
            self.last = model.averages["decoder"].network.out.bias.clone()

        def on_train_start(self, trainer, model):
            self.last = model.averages["decoder"].network.out.bias.clone()

    model = vae(ema_half_life=20)
    fit(model, callbacks=[Spy()])
    assert model.images_seen == 32


@pytest.mark.parametrize(("make", "name"), [(vae, "decoder"), (pixelcnn, "network")])
def test_evaluation_is_of_the_averaged_weights_and_training_is_not(make, name, tmp_path):
    model = make(ema_half_life=20)
    scores = scored(model, tmp_path)
    model.train()
    x, labels = torch.ones(2, *SHAPE).double(), torch.zeros(2, dtype=torch.long)

    def score():
        return model.nll(x, labels, Noise(("test",), 2, dtype=torch.double))

    before = score(), model.eval() and score()
    torch.testing.assert_close(*before)
    for parameter in getattr(model, name).parameters():
        parameter.data += 0.1
    assert torch.equal(score(), before[1])
    assert not torch.equal(model.train() and score(), before[0])
    assert scored(model, tmp_path) == scores


def test_the_schedule_is_stepped_with_the_optimizer():
    model = vae(scheduler=lambda optimizer: ExponentialLR(optimizer, 0.5))
    player = fit(model, accumulate_grad_batches=2)
    assert player.optimizers[0].param_groups[0]["lr"] == pytest.approx(1e-3 / 4)


def test_averages_are_not_optimised():
    model = vae(ema_half_life=20)
    given = []
    model.optimizer = lambda parameters: given.extend(parameters) or sgd(given)
    model.configure_optimizers()
    names = {name for name, p in model.named_parameters() if any(p is g for g in given)}
    assert names == {name for name, _ in vae().named_parameters()}


def test_nothing_is_published_by_the_sanity_check(tmp_path):
    class Spy(Callback):
        def on_sanity_check_end(self, trainer, model):
            assert not trainer.callback_metrics

    more = {"callbacks": [BitsPerDim(), Spy()], "default_root_dir": tmp_path}
    player = fit(vae(), limit_val_batches=1, num_sanity_val_steps=1, **more)
    assert set(player.callback_metrics) >= {"nll/bound", "bpd/bound"}


def test_validation_and_test_steps_check_the_images_once_and_score_nothing():
    checked = []

    class Unscored(PixelModel):
        def check(self, images):
            checked.append(images)

        def nll(self, x, labels=None, noise=None):
            raise AssertionError("only a callback scores")

    model = Unscored(GatedCausalStack(width=4, depth=1, head=4), SHAPE)
    for run in (trainer().validate, trainer().test):
        assert run(model, ValidatedData(), verbose=False) == [{}]
    assert len(checked) == 1
    assert torch.equal(checked[0], from_levels(Numbered(8).images))


def test_images_that_have_no_likelihood_are_refused_at_the_first_step():
    class Refusing(PixelModel):
        def check(self, images):
            raise ValueError("no such images")

    model = Refusing(GatedCausalStack(width=4, depth=1, head=4), SHAPE)
    with pytest.raises(ValueError, match="no such images"):
        fit(model)
    with pytest.raises(ValueError, match="no such images"):
        trainer().validate(model, ValidatedData(), verbose=False)
    with pytest.raises(ValueError, match="no such images"):
        trainer().test(model, ValidatedData(), verbose=False)


@pytest.mark.parametrize(("make", "name"), [(vae, "decoder"), (pixelcnn, "network")])
def test_samples_are_of_the_averaged_weights(make, name):
    model, plain = make(ema_half_life=20), make()
    before = model.sample(3, noise=Noise(("test",), 3))
    assert torch.equal(before, plain.sample(3, noise=Noise(("test",), 3)))
    for live in (model, plain):
        for parameter in getattr(live, name).parameters():
            parameter.data *= -3
    assert torch.equal(model.sample(3, noise=Noise(("test",), 3)), before)
    assert not torch.equal(plain.sample(3, noise=Noise(("test",), 3)), before)


@pytest.mark.parametrize("half_life", [None, 20])
@pytest.mark.parametrize("make", MODELS)
def test_sampling_leaves_modes_and_gradients_as_they_were(make, half_life):
    model = make(ema_half_life=half_life)
    assert isinstance(model, Sampler)
    assert isinstance(model, Likelihood)
    modes = [module.training for module in model.modules()]
    x = model.sample(3)
    assert x.shape == (3, *SHAPE)
    assert x.dtype == torch.double
    assert not x.requires_grad
    assert x.abs().max() <= 1
    assert [module.training for module in model.modules()] == modes
    given = [model.sample(3, noise=Noise(("test",), 3, dtype=torch.double)) for _ in range(2)]
    assert torch.equal(*given)
    with pytest.raises(ValueError, match="noise for 4 images does not fit 3"):
        model.sample(3, noise=Noise(("test",), 4))
