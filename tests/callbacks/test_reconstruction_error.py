"""Errors of reconstructions: of whole splits, on one scale, with the same corruption each time."""

import json
from math import prod

import pytest
import torch

from callbacks import ReconstructionError
from lightning_gen.levels import from_levels
from lightning_gen.metrics import PlacedNoise
from lightning_gen.models.autoencoders import Autoencoder
from lightning_gen.models.corruption import GaussianNoise, Masking
from lightning_gen.networks.bottleneck import MLPCoder
from lightning_gen.networks.encoders import MLPDecoder
from tests.callbacks.parts import TinyAutoencoder, TinyData, TinyModel, trainer

SHAPE = TinyData.shape


def make(corruption=None):
    torch.manual_seed(0)
    return Autoencoder(MLPCoder(SHAPE, 3, (8,)), MLPDecoder(SHAPE, 3, (8,)), corruption)


def scores(folder, model, processes=1, data=None):
    run = trainer(folder, ReconstructionError(), processes=processes)
    run.test(model, data or TinyData(), verbose=False)
    return json.loads((folder / "result.json").read_text())["scores"]


def test_errors_are_means_over_all_images_with_white_at_one(tmp_path):
    model, data = make(), TinyData()
    found = scores(tmp_path, model)
    images = {split: from_levels(levels) for split, levels in data.images.items()}
    x = images["test"]
    with torch.no_grad():
        made = (model.reconstruct(x) + 1) / 2
    expected = (made - data.images["test"] / 255).square().mean().item()
    assert found["mse/code"]["value"] == pytest.approx(expected, rel=1e-5)
    train = images["train"].flatten(1).double()
    _, _, rows = torch.linalg.svd(train - train.mean(0), full_matrices=False)
    centred = x.flatten(1).double() - train.mean(0)
    made = (centred @ rows[:3].T @ rows[:3] + train.mean(0)).clamp(-1, 1)
    expected = (made - x.flatten(1)).square().mean().item() / 4
    assert found["mse/pca"]["value"] == pytest.approx(expected, rel=1e-6)
    assert set(found) == {"mse/code", "mse/pca"}
    made = f"mse/code:tiny-test-41:{data.fingerprint('test')}:in-0-to-1:codes-3"
    assert found["mse/code"]["protocol"] == made
    assert (tmp_path / "samples" / "reconstructions-latest.png").exists()


def test_codes_as_long_as_images_have_no_components_to_be_compared_with(tmp_path):
    torch.manual_seed(0)
    pixels = prod(SHAPE)
    model = Autoencoder(MLPCoder(SHAPE, pixels, (8,)), MLPDecoder(SHAPE, pixels, (8,)))
    assert set(scores(tmp_path, model)) == {"mse/code"}


def test_denoising_is_scored_beside_the_identity_with_noise_of_the_images_own(tmp_path):
    model, data = make(GaussianNoise(0.4)), TinyData()
    found = scores(tmp_path / "one", model)
    x = from_levels(data.images["test"])
    noise = PlacedNoise(("corruption",), torch.arange(41))
    shown = model.corruption(x, noise).images
    with torch.no_grad():
        made = model.reconstruct(shown)
    for name, images in (("corrupted", shown.clamp(-1, 1)), ("denoised", made)):
        expected = (images - x).square().mean().item() / 4
        assert found[f"mse/{name}"]["value"] == pytest.approx(expected, rel=1e-5)
    ends = [
        found[f"mse/{name}"]["protocol"].split(":in-0-to-1")[1]
        for name in ("corrupted", "denoised")
    ]
    assert ends == [":gaussian-0.4", ":gaussian-0.4:codes-3"]
    plain = scores(tmp_path / "plain", make())
    assert found["mse/code"]["value"] == plain["mse/code"]["value"]  # of clean images
    other = scores(tmp_path / "other", model, data=TinyData(batch_size=13))
    for name, score in found.items():
        assert other[name]["value"] == pytest.approx(score["value"], rel=1e-6)


@pytest.mark.slow
def test_two_processes_find_the_same(tmp_path):
    one, two = (scores(tmp_path / str(n), make(Masking(0.3)), n) for n in (1, 2))
    assert one.keys() == two.keys()
    for name, score in one.items():
        assert two[name]["value"] == pytest.approx(score["value"], rel=1e-6)
        assert two[name]["protocol"] == score["protocol"]


def test_other_models_that_encode_and_decode_are_scored_too(tmp_path):
    found, levels = scores(tmp_path, TinyAutoencoder()), TinyData().images["test"]
    darker = (levels > 0).double().mean().item() / 255**2  # black gets no darker
    assert found["mse/code"]["value"] == pytest.approx(darker, rel=1e-4)


def test_models_that_encode_nothing_are_left_alone(tmp_path, capsys):
    trainer(tmp_path, ReconstructionError()).test(TinyModel(), TinyData(), verbose=False)
    assert "no ReconstructionError: the model is no Encoder" in capsys.readouterr().out
    assert not (tmp_path / "result.json").exists()
