import json
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from callbacks import FID, SampleQuality, reference, sampling
from lightning_gen.levels import to_levels
from lightning_gen.metrics import BLOCK, DigitClassifier, SeededFeatures
from lightning_gen.metrics.kernel import subset
from lightning_gen.randomness import Noise
from tests.callbacks.parts import TinyData, TinyModel, trainer
from tests.metrics import reference as plain

N = BLOCK + 70  # more than four times the features


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_GEN_CACHE", str(tmp_path / "cache"))


class Watched(DigitClassifier):
    """Counts the images that it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def with_logits(self, images):
        self.seen += len(images)
        return super().with_logits(images)


def data() -> TinyData:
    return TinyData(test=90)


def scores(folder, quality=None, processes=1, model=None, images=None) -> dict:
    quality = quality or SampleQuality(N, subsets=5, subset_size=40)
    run = trainer(folder, quality, processes=processes)
    run.test(model or TinyModel(), images or data(), verbose=False)
    return json.loads((folder / "result.json").read_text())["scores"]


@torch.no_grad()
def features(network=None) -> tuple[Tensor, Tensor, Tensor]:
    """Of the real images and of the sequence of samples, and the samples' logits."""
    blocks = [Noise(("metrics", k), BLOCK).normal(1, 8, 8) for k in (0, 1)]
    fakes = to_levels(torch.tanh(torch.cat(blocks)[:N]))
    network = network or DigitClassifier()
    return network(data().images["test"]), *network.with_logits(fakes)


def test_all_scores_come_from_one_sequence_of_samples(tmp_path):
    found = scores(tmp_path)
    real, fake, logits = features()
    values = {key.partition("/")[0]: score["value"] for key, score in found.items()}
    kid = [
        plain.kernel_distance(*(x.double().numpy() for x in subset(real, fake, 40, i)))
        for i in range(5)
    ]
    assert values["kid"] == pytest.approx(np.mean(kid), rel=1e-4)  # of float32 features in batches
    expected = plain.manifolds(real.double().numpy(), fake.double().numpy(), 3, 5)
    names = ("precision", "recall", "density", "coverage")
    assert [values[name] for name in names] == pytest.approx(expected, abs=0.01)
    parts, whole = (plain.inception_score(logits.double().numpy(), k) for k in (10, 1))
    assert values["is"] == pytest.approx(np.mean(parts), rel=1e-5)
    assert values["is_all"] == pytest.approx(whole[0], rel=1e-5)
    assert values["fid"] == pytest.approx(
        scores(tmp_path / "x", FID(N))[f"fid/digits@{N}"]["value"]
    )
    assert values["fid_inf"] < values["fid"]


def test_each_protocol_says_how_it_was_made(tmp_path):
    found, digest = scores(tmp_path), DigitClassifier().digest
    made = f"digits-{digest}:tiny-test-90:{data().fingerprint('test')}"
    heads = {
        "fid": f"fid@{N}",
        "fid_inf": f"fid_inf@{N}-parts1,2,3,4",
        "kid": f"kid@{N}-subsets5x40",
        "is": f"is@{N}-parts10",
        "is_all": f"is_all@{N}",
        "precision": f"precision@{N}-k3",
        "recall": f"recall@{N}-k3",
        "density": f"density@{N}-k5",
        "coverage": f"coverage@{N}-k5",
    }
    assert {key: score["protocol"] for key, score in found.items()} == {
        f"{name}/digits@{N}": f"{head}:{made}" for name, head in heads.items()
    }
    assert all(score["n"] == N and score["images_seen"] == 0 for score in found.values())


def test_two_processes_give_the_numbers_of_one(tmp_path, monkeypatch):
    def make():
        return SampleQuality(N, subsets=5, subset_size=40, resamples=4)

    one = scores(tmp_path / "one", make())
    monkeypatch.setenv("LIGHTNING_GEN_CACHE", str(tmp_path / "other cache"))
    two = scores(tmp_path / "two", make(), processes=2)
    cached = scores(tmp_path / "cached", make(), processes=2)
    assert len(one) == 9
    for other in (two, cached):
        for key, score in one.items():
            assert other[key]["protocol"] == score["protocol"]
            assert other[key]["value"] == pytest.approx(score["value"], rel=1e-7), key
    # Counts, whatever the features of other batches are rounded to.
    exact = [f"{name}/digits@{N}" for name in ("precision", "recall", "density", "coverage")]
    assert [two[key]["value"] for key in exact] == [one[key]["value"] for key in exact]


def test_real_images_are_seen_once_and_never_again_from_the_cache(tmp_path):
    first, again = Watched(), Watched()
    one = scores(tmp_path / "one", SampleQuality(N, first))
    two = scores(tmp_path / "two", SampleQuality(N, again))
    assert (first.seen, again.seen) == (N + 90, N)
    assert one == two


def test_statistics_without_features_are_completed_and_not_doubled(tmp_path):
    fid = scores(tmp_path / "fid", FID(N, Watched()))
    network = Watched()
    found = scores(tmp_path / "all", SampleQuality(N, network))
    assert network.seen == N + 90
    assert found[f"fid/digits@{N}"] == fid[f"fid/digits@{N}"]


def test_changed_features_are_made_anew(tmp_path):
    one = scores(tmp_path / "one")
    for path in (tmp_path / "cache" / "statistics").iterdir():
        path.write_bytes(path.read_bytes()[:-8] + b"12345678")
    with pytest.warns(UserWarning, match="not what was written there; they are computed anew"):
        two = scores(tmp_path / "two")
    assert two == {key: pytest.approx(score) for key, score in one.items()}


def test_of_many_real_images_a_part_is_kept_and_said(tmp_path, monkeypatch):
    monkeypatch.setattr(reference, "MOST", 40)
    monkeypatch.setattr(reference, "CACHED", 40 * 64 * 4 - 1)
    quality = SampleQuality(N, scores=["pr", "fid"])
    found = scores(tmp_path, quality)
    assert ":tiny-test-40of90:" in found[f"precision/digits@{N}"]["protocol"]
    assert ":tiny-test-90:" in found[f"fid/digits@{N}"]["protocol"]
    network = DigitClassifier()
    chosen = data().images["test"][torch.arange(40) * 90 // 40]
    torch.testing.assert_close(quality.reference.features, network(chosen), rtol=1e-4, atol=1e-4)
    assert len(list((tmp_path / "cache" / "statistics").iterdir())) == 1  # too large for a file


def test_only_what_is_asked_for_is_scored(tmp_path):
    found = scores(tmp_path, SampleQuality(N, scores=["dc", "kid"]))
    assert {key.partition("/")[0] for key in found} == {"kid", "density", "coverage"}


def test_intervals_stand_beside_the_distances(tmp_path):
    found = scores(tmp_path, SampleQuality(N, scores=["fid"], resamples=10))
    for key in (f"fid/digits@{N}", f"fid_inf/digits@{N}"):
        low, high = found[key]["interval_95"]
        assert low < found[key]["value"] < high


def test_features_without_classes_and_too_few_samples_are_left_out_and_said(tmp_path, capsys):
    found = scores(tmp_path, SampleQuality(200, SeededFeatures()))
    names = {"fid", "kid", "precision", "recall", "density", "coverage"}
    assert {key.partition("/")[0] for key in found} == names
    printed = capsys.readouterr().out
    assert "is/seeded@200 is left out: seeded features come without classes" in printed
    assert "fid_inf/seeded@200 is left out: more than 259 samples are needed for 64" in printed
    found = scores(tmp_path / "few", SampleQuality(3))
    assert {key.partition("/")[0] for key in found} == {"fid", "kid"}
    assert "there are no 5 neighbours among 3 images" in capsys.readouterr().out


def test_fewer_samples_than_features_have_the_distance_that_they_have(tmp_path):
    few = scores(tmp_path / "few", SampleQuality(50, scores=["fid"]))["fid/digits@50"]
    assert few["value"] == pytest.approx(
        scores(tmp_path / "fid", FID(50))["fid/digits@50"]["value"]
    )


@pytest.mark.parametrize("processes", [1, 2])
def test_one_sample_that_is_no_number_spoils_all(tmp_path, processes):
    class Failing(TinyModel):
        def sample(self, n, labels=None, noise=None):
            x = super().sample(n, labels, noise)
            if noise.key == ("metrics", 1):  # of the second process, if there are two
                x[3, 0, 2, 2] = math.nan
            return x

    found = scores(tmp_path, model=Failing(), processes=processes)
    assert len(found) == 9
    assert all(score["value"] is None for score in found.values())


def test_the_batch_size_does_not_matter(tmp_path):
    one, two = (
        scores(tmp_path / "a"),
        scores(tmp_path / "b", SampleQuality(N, subsets=5, subset_size=40, batch_size=33)),
    )
    for key, score in one.items():
        assert two[key]["value"] == pytest.approx(score["value"], rel=1e-4), key


def test_a_fit_scores_at_validations(tmp_path):
    quality = SampleQuality(N, scores=["pr"], every_n_steps=4)
    run = trainer(tmp_path, quality)
    run.fit(TinyModel(), data())
    assert f"precision/digits@{N}" in run.callback_metrics
    found = json.loads((tmp_path / "result.json").read_text())["scores"]
    assert found[f"recall/digits@{N}"]["images_seen"] == 64


def test_a_long_pass_says_once_how_long_it_will_take(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sampling, "WORTH_SAYING", 0.0)
    quality = SampleQuality(N, scores=["fid"], every_n_steps=2)
    trainer(tmp_path, quality).fit(TinyModel(), data())
    (said,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith("samples for")]
    assert said == f"samples for fid/digits@{N}: this will take about 0 seconds"
    times = [sampling.duration(x) for x in (45, 150, 3 * 3600)]
    assert times == ["about 45 seconds", "about 2 minutes", "about 3 hours"]


def test_wrong_arguments_are_refused():
    for arguments, words in (
        ({"scores": ["fod"]}, "scores must be some of fid, kid, is, pr, dc"),
        ({"scores": []}, "scores must be some"),
        ({"resamples": 1}, "resamples must be 0 or at least 2"),
        ({"neighbours": 0}, "neighbours must be at least 1"),
        ({"n": 1}, "n must be at least 2"),
    ):
        with pytest.raises(ValueError, match=words):
            SampleQuality(**arguments)
