import json
import math

import pytest
import torch

from callbacks import AnnealedLikelihood, BitsPerDim
from lightning_gen.compare.protocols import command, differing, impossible, parts
from tests.callbacks.parts import TinyData, TinyModel, trainer


class Estimated(TinyModel):
    """Bright pixels cost two nats; each weight of Z is 1 or 3 times exp(5)."""

    nll_kind = None  # of a tiny model, which has no likelihood here
    unnormalised_kind = "exact"
    constant = None

    def unnormalised_nll(self, x, labels=None, noise=None):
        return 2 * (x > 0).flatten(1).double().sum(1)

    def log_partition(self):
        return self.constant

    def log_weights(self, temperatures, noise):
        self.temperatures = temperatures
        return 5 + (1 + 2 * noise.integers(2)).double().log()


def scores(folder, model, processes=1, chains=300, data=None, **kwargs):
    callback = AnnealedLikelihood(chains, 7, **kwargs)
    run = trainer(folder, callback, processes=processes)
    run.test(model, data or TinyData(), verbose=False)
    return json.loads((folder / "result.json").read_text())["scores"]


def costs():
    return 2 * (TinyData().images["test"] > 127).flatten(1).double().sum(1)


def test_the_constant_is_the_logarithm_of_the_mean_weight(tmp_path):
    model = Estimated()
    found = scores(tmp_path, model)
    z = found["log_partition/ais"]
    assert z["value"] == pytest.approx(5 + math.log(2), abs=0.1)
    mean = math.exp(z["value"] - 5)  # of numbers that are 1 or 3
    spread = math.sqrt((mean - 1) * (3 - mean) / 299)
    assert z["standard_error"] == pytest.approx(spread / mean, rel=1e-6)
    assert z["protocol"] == "log_partition:ais:chains-300:temperatures-7"
    assert model.temperatures == 7


def test_likelihoods_have_keys_and_protocols_of_their_own(tmp_path):
    found, data = scores(tmp_path, Estimated()), TinyData()
    assert set(found) == {"nll/ais", "bpd/ais", "log_partition/ais"}
    z, nll, bits = found["log_partition/ais"], found["nll/ais"], found["bpd/ais"]
    assert nll["value"] == pytest.approx(costs().mean().item() + z["value"], rel=1e-12)
    assert bits["value"] == pytest.approx(nll["value"] / 64 / math.log(2), rel=1e-12)
    over_images = costs().std().item() / 41**0.5
    assert nll["standard_error"] == pytest.approx(math.hypot(over_images, z["standard_error"]))
    made = f"tiny-test-41:{data.fingerprint('test')}:dequantisation-none"
    assert nll["protocol"] == f"nll:ais:{made}:chains-300:temperatures-7"


def test_processes_and_batches_do_not_change_it(tmp_path):
    one = scores(tmp_path / "one", Estimated())
    two = scores(tmp_path / "two", Estimated(), processes=2)
    other = scores(tmp_path / "other", Estimated(), data=TinyData(batch_size=13))
    for name in one:
        assert one[name]["value"] == pytest.approx(two[name]["value"], rel=1e-12)
        assert one[name]["value"] == pytest.approx(other[name]["value"], rel=1e-12)
        assert one[name]["protocol"] == two[name]["protocol"] == other[name]["protocol"]


@pytest.mark.parametrize("kind", ["exact", "bound"])
def test_a_constant_that_is_known_makes_it_a_likelihood_or_a_bound(kind, tmp_path):
    model = Estimated()
    model.constant, model.unnormalised_kind = torch.tensor(11.0).double(), kind
    found = scores(tmp_path, model)
    assert set(found) == {f"nll/{kind}", f"bpd/{kind}", "log_partition/exact"}
    assert found[f"nll/{kind}"]["value"] == pytest.approx(costs().mean().item() + 11, rel=1e-12)
    assert found["log_partition/exact"]["standard_error"] == 0


def test_an_estimate_of_a_bound_is_none(tmp_path):
    model = Estimated()
    model.unnormalised_kind = "bound"
    assert set(scores(tmp_path, model)) == {"nll/ais_bound", "bpd/ais_bound", "log_partition/ais"}


def test_validations_take_their_own_split_and_models_without_a_constant_are_left_alone(tmp_path):
    trainer(tmp_path, AnnealedLikelihood(20, 2)).fit(Estimated(), TinyData())
    found = json.loads((tmp_path / "result.json").read_text())["scores"]["nll/ais"]
    assert (found["split"], found["n"], found["images_seen"]) == ("val", 10, 64)
    other = tmp_path / "other"
    trainer(other, AnnealedLikelihood(20, 2), BitsPerDim()).test(
        TinyModel(), TinyData(), verbose=False
    )
    assert not (other / "result.json").exists()


def test_too_few_chains_for_an_error_are_refused():
    with pytest.raises(ValueError, match="chains must be at least 2"):
        AnnealedLikelihood(chains=1)


def test_protocols_tell_estimates_from_likelihoods_and_how_long_chains_were():
    protocols = [
        f"nll:{kind}:mnist-test-10000:0123456789ab:dequantisation-none{how}"
        for kind, how in (
            ("exact", ""),
            ("ais", ":chains-100:temperatures-1000"),
            ("ais_bound", ":chains-100:temperatures-1000"),
        )
    ]
    assert [parts(p)["kind"] for p in protocols] == ["exact", "ais", "ais_bound"]
    assert parts(protocols[1])["temperatures"] == "1000"
    assert differing(protocols[1:]) == ["kind"]
    assert "--metrics ais" in command("c.ckpt", protocols[1])
    capabilities = {"VAE": ["Likelihood"], "RBM": ["Unnormalised"]}
    assert (
        impossible("nll/ais", "models.VAE", [], capabilities) == "VAE has no estimated likelihood"
    )
    assert impossible("nll/ais", "models.RBM", [], capabilities) == ""
    assert impossible("nll/exact", "models.RBM", [], capabilities) == "RBM has no likelihood"
