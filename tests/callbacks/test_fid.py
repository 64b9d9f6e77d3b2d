import json
import math
import warnings
from urllib.error import URLError

import pytest
import scipy.linalg
import torch
from torch import Tensor

from callbacks import FID
from lightning_gen.levels import to_levels
from lightning_gen.metrics import BLOCK, ModuleFeatures, SeededFeatures
from lightning_gen.randomness import Noise
from tests.callbacks.parts import TinyData, TinyModel, trainer

N = BLOCK + 30


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_GEN_CACHE", str(tmp_path / "cache"))


def score(folder, fid=None, processes=1, data=None, model=None) -> dict:
    """The recorded score of an untrained model."""
    fid = fid or FID(N, "seeded")
    run = trainer(folder, fid, processes=processes)
    run.test(model or TinyModel(), data or TinyData(), verbose=False)
    return json.loads((folder / "result.json").read_text())["scores"][fid.key]


def by_hand(weight: float = 0.0, split: str = "test") -> float:
    """The distance from the sequence of samples, by the formula."""
    samples = [
        Noise(("metrics", 0), BLOCK).normal(1, 8, 8),
        Noise(("metrics", 1), BLOCK).normal(1, 8, 8),
    ]
    fakes = to_levels(torch.tanh(torch.cat(samples)[:N] + weight))

    def moments(images: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            features = SeededFeatures()(images).double()
        return features.mean(0), features.T.cov()

    (mean1, cov1), (mean2, cov2) = (
        moments(fakes),
        moments(TinyData(test=200, val=200).images[split]),
    )
    root = scipy.linalg.sqrtm((cov1 @ cov2).numpy()).real
    return float((mean1 - mean2).square().sum() + (cov1 + cov2).trace()) - 2 * root.trace()


def test_it_is_the_distance_of_one_fixed_sequence(tmp_path):
    assert score(tmp_path, data=TinyData(test=200))["value"] == pytest.approx(by_hand(), rel=1e-6)


@pytest.mark.parametrize("split", ["test", "val"])
def test_the_real_images_are_those_of_the_split_that_is_named(tmp_path, split):
    data = TinyData(test=200, val=200)
    found = score(tmp_path, FID(N, "seeded", reference_split=split), data=data)
    assert found["value"] == pytest.approx(by_hand(split=split), rel=1e-6)
    assert found["protocol"].endswith(f":tiny-{split}-200:{data.fingerprint(split)}")


class WithAlpha(TinyData):
    shape = (4, 8, 8)


def test_images_with_alpha_stop_the_run_or_leave_out_the_score(tmp_path, capsys):
    words = "digits features are of images with 1 or 3 channels, not 4"
    for run in (FID(N), FID(N, SeededFeatures())):
        with pytest.raises(ValueError, match="are of images with 1 or 3 channels, not 4$"):
            trainer(tmp_path, run).test(TinyModel(), WithAlpha(), verbose=False)
    trainer(tmp_path, FID(N, skip_missing=True)).test(TinyModel(), WithAlpha(), verbose=False)
    assert f"fid/digits@{N} is left out: {words}" in capsys.readouterr().out.splitlines()
    assert not (tmp_path / "result.json").exists()


def test_features_of_ones_own_may_take_alpha(tmp_path):
    own = ModuleFeatures(torch.nn.AvgPool2d(4), "own", 16)
    own.forward = lambda images: own.module(images.float()).flatten(1)
    alpha = WithAlpha()
    model = TinyModel()
    model.sample = lambda n, labels=None, noise=None: torch.tanh(noise.normal(4, 8, 8))
    assert math.isfinite(score(tmp_path, FID(N, own), data=alpha, model=model)["value"])


def test_two_processes_give_the_number_of_one(tmp_path, monkeypatch):
    one = score(tmp_path / "one")
    monkeypatch.setenv("LIGHTNING_GEN_CACHE", str(tmp_path / "other cache"))
    two = score(tmp_path / "two", processes=2)
    cached = score(tmp_path / "cached", processes=2)  # one process holds the real images of both
    assert two["value"] == pytest.approx(one["value"], rel=1e-9)
    assert cached["value"] == pytest.approx(one["value"], rel=1e-9)
    assert one["protocol"] == two["protocol"] == cached["protocol"]


@pytest.mark.parametrize("batch_size", [1000, 77])
def test_the_batch_size_does_not_matter(tmp_path, batch_size):
    found = score(tmp_path, FID(N, "seeded", batch_size=batch_size))["value"]
    assert found == pytest.approx(score(tmp_path / "default")["value"], rel=1e-7)


def test_the_protocol_says_how_it_was_made(tmp_path):
    data, features = TinyData(), SeededFeatures()
    found = score(tmp_path, FID(N, features), data=data)
    fingerprint = data.fingerprint("test")
    assert found["protocol"] == f"fid@{N}:seeded-{features.digest}:tiny-test-41:{fingerprint}"
    assert (found["n"], found["images_seen"]) == (N, 0)


def test_cached_statistics_give_the_same_number_and_are_not_read_twice(tmp_path):
    first, again = TinyData(), TinyData()
    one = score(tmp_path, data=first)
    assert score(tmp_path, data=again) == one
    assert (first.reads, again.reads) == (2, 1)  # the test loader itself, and the statistics once


def test_changed_statistics_are_computed_anew(tmp_path):
    one = score(tmp_path)
    (path,) = (tmp_path / "cache" / "statistics").iterdir()
    path.write_bytes(path.read_bytes()[:-8] + b"12345678")
    with pytest.warns(UserWarning, match="not what was written there; they are computed anew"):
        assert score(tmp_path)["value"] == pytest.approx(one["value"], rel=1e-9)


def test_other_data_has_other_statistics(tmp_path):
    one, two = score(tmp_path), score(tmp_path, data=TinyData(test=40))
    assert one["value"] != two["value"]
    assert one["protocol"] != two["protocol"]


def test_a_conditional_model_gets_labels_of_its_classes_uniformly(tmp_path):
    class Counting(TinyModel):
        def sample(self, n, labels=None, noise=None):
            seen.append(labels)
            return super().sample(n, labels, noise)

    seen: list[Tensor] = []
    score(tmp_path, model=Counting(num_classes=3))
    counts = torch.cat(seen).bincount()
    assert counts.sum() == N
    assert (counts - N / 3).abs().max() < 40  # five standard deviations


def test_a_fit_scores_before_training_and_at_validations_but_no_sanity_check(tmp_path):
    class Telling(FID):
        def score(self, trainer, model, value):
            values.append((trainer.global_step, value))
            assert trainer.sanity_checking is False
            super().score(trainer, model, value)

    values: list[tuple[int, float]] = []
    model, data = TinyModel(), TinyData(test=200)
    trainer(tmp_path, Telling(N, "seeded")).fit(model, data)
    assert [step for step, _ in values] == [0, 4, 8]
    assert values[0][1] == pytest.approx(by_hand(), rel=1e-6)
    assert values[2][1] == pytest.approx(by_hand(model.weight.item()), rel=1e-6)
    found = json.loads((tmp_path / "result.json").read_text())["scores"][f"fid/seeded@{N}"]
    assert (found["value"], found["images_seen"]) == (values[2][1], 64)


def test_steps_can_be_asked_for_instead_and_the_end_is_scored(tmp_path):
    class Telling(FID):
        def look(self, trainer, model):
            steps.append(trainer.global_step)

    steps: list[int] = []
    fid = Telling(N, "seeded", every_n_steps=3, at_start=False)
    trainer(tmp_path, fid, limit_train_batches=4).fit(TinyModel(), TinyData())
    assert steps == [3, 6, 8]


@pytest.mark.parametrize("processes", [1, 2])
def test_missing_weights_stop_the_run_or_leave_out_the_score(
    tmp_path, monkeypatch, capfd, processes
):
    def unreachable(*args, **kwargs):
        raise URLError("unreachable")

    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    strict = trainer(tmp_path, FID(N, "inception-tf1"), processes=processes)
    with pytest.raises(Exception, match="put the file behind"):
        strict.test(TinyModel(), TinyData(), verbose=False)
    lenient = FID(N, "inception-tf1", skip_missing=True)
    capfd.readouterr()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*is left out")
        trainer(tmp_path, lenient, processes=processes).test(TinyModel(), TinyData(), verbose=False)
    printed = capfd.readouterr().out.splitlines()
    (said,) = [line for line in printed if "left out" in line]
    assert said.startswith("fid/inception-tf1@280 is left out: cannot fetch the Inception weights")
    assert not (tmp_path / "result.json").exists()


def test_validations_can_be_passed_over(tmp_path):
    class Telling(FID):
        def look(self, trainer, model):
            steps.append(trainer.global_step)

    steps: list[int] = []
    trainer(tmp_path, Telling(N, "seeded", every_n_epochs=2), max_epochs=5).fit(
        TinyModel(), TinyData()
    )
    assert steps == [0, 8, 16, 20]  # and the end


def test_training_goes_on_as_if_nothing_had_happened(tmp_path):
    class Drawing(TinyModel):
        def sample(self, n, labels=None, noise=None):
            torch.rand(3)
            return super().sample(n, labels, noise)

        def training_step(self, batch, batch_idx):
            assert self.training
            drawn.append(torch.rand(()).item())
            return super().training_step(batch, batch_idx)

    def drawn_with(*callbacks):
        drawn.clear()
        torch.manual_seed(0)
        trainer(tmp_path, *callbacks, max_epochs=1).fit(Drawing(), TinyData())
        return list(drawn)

    drawn: list[float] = []
    fid = FID(N, "seeded", every_n_steps=2)
    assert drawn_with(fid) == drawn_with()


def test_samples_that_are_not_finite_are_no_zero_and_no_crash(tmp_path):
    model = TinyModel()
    model.weight.data.fill_(math.nan)
    found = score(tmp_path, model=model)
    assert found["value"] is None


def test_without_a_data_module_or_with_wrong_arguments_one_sentence_says_so(tmp_path):
    with pytest.raises(ValueError, match="FID needs a data module"):
        trainer(tmp_path, FID(N, "seeded")).test(TinyModel(), TinyData().test_dataloader())
    with pytest.raises(ValueError, match="no features are called vgg"):
        FID(extractor="vgg")
    with pytest.raises(ValueError, match="n must be at least 2"):
        FID(n=1)
