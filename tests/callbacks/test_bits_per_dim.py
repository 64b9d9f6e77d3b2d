import json
import math

import pytest
import torch

from callbacks import BitsPerDim
from tests.callbacks.parts import TinyData, TinyLikelihood, TinyModel, trainer


def scores(folder, model, processes=1, callback=None, data=None) -> dict:
    run = trainer(folder, callback or BitsPerDim(), processes=processes)
    run.test(model, data or TinyData(), verbose=False)
    return json.loads((folder / "result.json").read_text())["scores"]


class Bernoulli(TinyLikelihood):
    """Each pixel is bright with probability 1/8."""

    dequantisation = "threshold"

    def nll(self, x, labels=None, noise=None):
        bright = (x > 0).flatten(1).double().sum(1)
        return -(bright * math.log(1 / 8) + (x[0].numel() - bright) * math.log(7 / 8))


class Noisy(TinyLikelihood):
    """A bound that is nothing but noise, which tells which noise an image was given."""

    nll_kind = "bound"

    def nll(self, x, labels=None, noise=None):
        return noise.normal(5).double().square().sum(1) + x.flatten(1).double().sum(1)

    def importance_nll(self, x, k, labels=None, noise=None):
        return torch.full((len(x),), float(k))


def test_a_uniform_model_has_eight_bits(tmp_path):
    found = scores(tmp_path, TinyLikelihood())
    assert found["bpd/exact"]["value"] == pytest.approx(8.0, abs=1e-12)
    assert found["bpd/exact"]["standard_error"] == pytest.approx(0, abs=1e-6)
    assert found["nll/exact"]["value"] == pytest.approx(64 * math.log(256), rel=1e-12)


def test_a_discrete_model_has_the_mean_over_images_not_over_batches(tmp_path):
    found, data = scores(tmp_path, Bernoulli()), TinyData()
    bright = (data.images["test"] > 127).flatten(1).double().sum(1)
    bits = bright * 3 + (64 - bright) * math.log2(8 / 7)
    assert found["bpd/exact"]["value"] == pytest.approx(bits.mean().item() / 64, rel=1e-12)
    error = bits.std().item() / 41**0.5 / 64
    assert found["bpd/exact"]["standard_error"] == pytest.approx(error, rel=1e-9)


def test_the_protocol_names_data_kind_and_dequantisation(tmp_path):
    data = TinyData()
    made = f"exact:tiny-test-41:{data.fingerprint('test')}:dequantisation-threshold"
    found = scores(tmp_path, Bernoulli())
    assert found["nll/exact"]["protocol"] == f"nll:{made}"
    assert found["bpd/exact"]["protocol"] == f"bpd:{made}"


def test_a_likelihood_given_labels_says_so_and_meets_no_other_one(tmp_path):
    told, alone = Bernoulli(), Bernoulli()
    told.num_classes = alone.num_classes = 10
    alone.sums_over_classes = True
    found = [scores(tmp_path / name, m) for name, m in (("told", told), ("alone", alone))]
    protocols = [each["nll/exact"]["protocol"] for each in found]
    assert protocols[0] == f"{protocols[1]}:given-labels"


def test_processes_and_batches_do_not_change_a_noisy_bound(tmp_path):
    one = scores(tmp_path / "one", Noisy())["nll/bound"]
    two = scores(tmp_path / "two", Noisy(), processes=2)["nll/bound"]
    other = scores(tmp_path / "other", Noisy(), data=TinyData(batch_size=13))["nll/bound"]
    assert one["value"] == pytest.approx(two["value"], rel=1e-12)
    assert one["value"] == pytest.approx(other["value"], rel=1e-12)
    assert one["protocol"] == two["protocol"] == other["protocol"]


def test_validations_take_their_own_split(tmp_path):
    trainer(tmp_path, BitsPerDim()).fit(TinyLikelihood(), TinyData())
    found = json.loads((tmp_path / "result.json").read_text())["scores"]["bpd/exact"]
    assert (found["split"], found["n"], found["images_seen"]) == ("val", 10, 64)


def test_importance_samples_are_scored_besides(tmp_path):
    found = scores(tmp_path, Noisy(), callback=BitsPerDim(importance_samples=7))
    assert found["nll/iw7"]["value"] == 7
    with pytest.raises(ValueError, match="TinyLikelihood has no importance_nll"):
        scores(tmp_path, TinyLikelihood(), callback=BitsPerDim(importance_samples=7))


def test_a_model_without_likelihood_is_left_alone(tmp_path):
    trainer(tmp_path, BitsPerDim()).test(TinyModel(), TinyData(), verbose=False)
    assert not (tmp_path / "result.json").exists()


def test_an_empty_split_and_an_endless_bound_are_no_crash(tmp_path):
    class Endless(TinyLikelihood):
        def nll(self, x, labels=None, noise=None):
            return torch.full((len(x),), math.inf)

    trainer(tmp_path, BitsPerDim()).fit(TinyLikelihood(), TinyData(val=0))
    assert not (tmp_path / "result.json").exists()
    assert scores(tmp_path, Endless())["bpd/exact"]["value"] is None
