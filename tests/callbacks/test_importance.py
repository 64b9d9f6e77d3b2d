import json
import math

import pytest
import torch

from callbacks import BitsPerDim, ImportanceBound, importance
from lightning_gen.metrics import PlacedNoise
from tests.callbacks.parts import TinyData, TinyLikelihood, TinyModel, trainer


class Weighted(TinyLikelihood):
    """The weights are noise and pixels, so it is known what they should add up to."""

    nll_kind = "bound"

    def __init__(self):
        super().__init__()
        self.drawn = 0

    def importance_nll(self, x, k, labels=None, noise=None):
        self.drawn += k
        log_w = torch.stack([3 * noise.normal() for _ in range(k)], 1).double()
        return math.log(k) - (log_w + x.double().mean((1, 2, 3))[:, None]).logsumexp(1)


@pytest.fixture(autouse=True)
def chunks(monkeypatch):
    monkeypatch.setattr(importance, "CHUNK", 4)


def bound(folder, k, model=None, data=None, processes=1, callback=None) -> dict:
    run = trainer(folder, callback or ImportanceBound(k), processes=processes)
    run.test(model or Weighted(), data or TinyData(), verbose=False)
    return json.loads((folder / "result.json").read_text())["scores"][f"nll/iw{k}"]


def by_hand(k: int) -> torch.Tensor:
    """The bound of each image, from its own noise and nobody else's."""
    images = TinyData().images["test"].double() / 127.5 - 1
    found = []
    for place, image in enumerate(images):
        log_w = []
        for chunk in range(-(-k // 4)):
            key = ("nll", "test", "chunk", chunk) if chunk else ("nll", "test")
            noise = PlacedNoise(key, torch.tensor([place]))
            log_w += [3 * noise.normal().item() for _ in range(min(4, k - 4 * chunk))]
        weights = torch.tensor(log_w).double().exp() * image.mean().exp()
        found.append(-weights.mean().log())
    return torch.stack(found)


@pytest.mark.parametrize("k", [1, 4, 6, 12])
def test_it_is_the_mean_over_images_of_the_log_of_the_mean_weight(tmp_path, k):
    found, expected = bound(tmp_path, k), by_hand(k)
    assert found["value"] == pytest.approx(expected.mean().item(), rel=1e-6)
    assert found["standard_error"] == pytest.approx(expected.std().item() / 41**0.5, rel=1e-6)
    assert found["protocol"].startswith(f"nll:iw{k}:tiny-test-41:")


def test_a_model_may_say_how_many_images_are_weighed_together(tmp_path):
    model, most = Weighted(), []
    weigh = model.importance_nll
    model.images_at_once = 3
    model.importance_nll = lambda x, *rest: most.append(len(x)) or weigh(x, *rest)
    assert bound(tmp_path, 4, model)["value"] == pytest.approx(by_hand(4).mean().item(), rel=1e-6)
    assert max(most) == 3


def test_more_samples_add_to_those_that_were_drawn_before(tmp_path):
    first, again, at_once = Weighted(), Weighted(), Weighted()
    bound(tmp_path / "twice", 8, first)
    later = bound(tmp_path / "twice", 16, again)
    assert later == bound(tmp_path / "once", 16, at_once)
    assert first.drawn == again.drawn == at_once.drawn / 2


def test_as_many_or_fewer_cost_nothing(tmp_path):
    bound(tmp_path, 12)
    batches = 6  # of 8 images
    for k, drawn in ((12, 0), (8, 0), (6, 2 * batches)):
        model = Weighted()
        expected = by_hand(k).mean().item()
        assert bound(tmp_path, k, model)["value"] == pytest.approx(expected, rel=1e-6)
        assert model.drawn == drawn


def test_a_kill_costs_one_chunk(tmp_path):
    class Dying(Weighted):
        def importance_nll(self, *args, **kwargs):
            if self.drawn >= 2 * 4 * 6:
                raise KeyboardInterrupt
            return super().importance_nll(*args, **kwargs)

    with pytest.raises(BaseException):  # noqa: B017  # Lightning exits
        bound(tmp_path, 16, Dying())
    model = Weighted()
    assert bound(tmp_path, 16, model) == bound(tmp_path / "other", 16)
    assert model.drawn == 2 * 4 * 6


def test_other_weights_and_other_images_have_their_own(tmp_path):
    bound(tmp_path, 4)
    other = Weighted()
    other.weight.data += 1
    bound(tmp_path, 4, other)
    assert other.drawn == 4 * 6
    more = Weighted()
    bound(tmp_path, 4, more, TinyData(test=40))
    assert more.drawn == 4 * 5
    assert len(list((tmp_path / "importance").iterdir())) == 3


def test_a_changed_file_is_not_believed(tmp_path):
    whole = bound(tmp_path, 8)
    (path,) = (tmp_path / "importance").iterdir()
    content = bytearray(path.read_bytes())
    for damage in (bytes(content[:-8]) + b"12345678", bytes(content[:50])):
        path.write_bytes(damage)
        model = Weighted()
        with pytest.warns(UserWarning, match="its samples are drawn anew"):
            assert bound(tmp_path, 8, model) == whole
        assert model.drawn == 8 * 6


def test_processes_and_batches_do_not_matter(tmp_path):
    one = bound(tmp_path / "one", 10)
    two = bound(tmp_path / "two", 10, processes=2)
    other = bound(tmp_path / "other", 10, data=TinyData(batch_size=13))
    assert one["value"] == pytest.approx(two["value"], rel=1e-7)
    assert one["value"] == pytest.approx(other["value"], rel=1e-7)
    model = Weighted()
    assert bound(tmp_path / "two", 10, model)["value"] == pytest.approx(one["value"], rel=1e-7)
    assert model.drawn == 2 * 6  # the other eight are those of two processes


def test_bits_per_dim_gives_the_same_number(tmp_path):
    callback = BitsPerDim(importance_samples=6)
    assert bound(tmp_path / "a", 6, callback=callback) == bound(tmp_path / "b", 6)


def test_validations_keep_nothing(tmp_path):
    model = Weighted()
    trainer(tmp_path, ImportanceBound(4)).fit(model, TinyData())
    found = json.loads((tmp_path / "result.json").read_text())["scores"]["bpd/iw4"]
    assert (found["split"], found["n"]) == ("val", 10)
    assert not (tmp_path / "importance").exists()


def test_a_model_without_samples_is_left_alone_and_wrong_arguments_refused(tmp_path):
    trainer(tmp_path, ImportanceBound(4)).test(TinyModel(), TinyData(), verbose=False)
    assert not (tmp_path / "result.json").exists()
    with pytest.raises(ValueError, match="k must be at least 1"):
        ImportanceBound(0)
