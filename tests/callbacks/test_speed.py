import json
import time

import pytest

from callbacks import SamplingSpeed, speed
from tests.callbacks.parts import TinyData, TinyModel, trainer


class Slow(TinyModel):
    """Takes a millisecond for ten images, and longer for the first ones."""

    made = 0

    def sample(self, n, labels=None, noise=None):
        time.sleep(n / 10_000 + 0.3 * (self.made == 0))
        self.made += n
        return super().sample(n, labels, noise)


def test_it_is_seconds_for_a_thousand_images_without_the_first_batch(tmp_path):
    model = Slow()
    trainer(tmp_path, SamplingSpeed(100)).test(model, TinyData(), verbose=False)
    found = json.loads((tmp_path / "result.json").read_text())["scores"][
        "sampling/seconds_per_1000"
    ]
    assert 0.1 <= found["value"] < 0.3
    assert (found["n"], model.made) == (1000, 1100)
    assert found["protocol"].startswith("sampling:cpu-")


def test_a_slow_sampler_is_timed_on_fewer(tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "ENOUGH", 0.0)
    model = Slow()
    trainer(tmp_path, SamplingSpeed(100)).test(model, TinyData(), verbose=False)
    found = json.loads((tmp_path / "result.json").read_text())["scores"][
        "sampling/seconds_per_1000"
    ]
    assert 0.1 <= found["value"] < 0.3
    assert (found["n"], model.made) == (100, 200)


def test_a_batch_of_none_is_refused():
    with pytest.raises(ValueError, match="between 1 and 1000"):
        SamplingSpeed(0)
