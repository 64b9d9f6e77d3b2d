import math

import numpy as np
import pytest
import torch

from lightning_gen.metrics import SPLITS, InceptionSums
from lightning_gen.randomness import stream
from tests.metrics import reference
from tests.metrics.processes import on_two_processes

LOGITS = 3 * torch.randn(257, 10, generator=stream("logits"))


def inception_score(logits):
    """The score of all logits at once."""
    sums = InceptionSums(*logits.shape, SPLITS)
    sums.add(logits, torch.arange(len(logits)))
    return sums.score()


def test_it_is_the_formula_over_ten_parts_and_over_all():
    found = inception_score(LOGITS)
    parts = reference.inception_score(LOGITS.double().numpy(), 10)
    assert found.value == pytest.approx(np.mean(parts), rel=1e-12)
    assert found.deviation == pytest.approx(np.std(parts), rel=1e-9)
    of_all = reference.inception_score(LOGITS.double().numpy(), 1)[0]
    assert found.of_all == pytest.approx(of_all, rel=1e-12)
    assert found.of_all > found.value


def test_it_equals_torch_fidelity():
    fidelity = pytest.importorskip("torch_fidelity.metric_isc")
    theirs = fidelity.isc_features_to_metric(LOGITS, splits=10, shuffle=False)
    found = inception_score(LOGITS)
    assert found.value == pytest.approx(theirs["inception_score_mean"], rel=1e-9)
    assert found.deviation == pytest.approx(theirs["inception_score_std"], rel=1e-9)


def test_it_equals_torchmetrics_of_all_in_any_order():
    pytest.importorskip("torch_fidelity")
    from torchmetrics.image.inception import InceptionScore

    metric = InceptionScore(feature=torch.nn.Identity(), splits=1)
    metric.update(LOGITS.double())
    assert inception_score(LOGITS).of_all == pytest.approx(metric.compute()[0].item(), rel=1e-6)


def test_it_lies_between_one_and_the_number_of_classes():
    sure = 1000 * torch.eye(10).repeat(20, 1)
    assert inception_score(sure).value == pytest.approx(10, rel=1e-12)
    assert inception_score(torch.zeros(50, 10)) == pytest.approx((1, 0, 1), abs=1e-12)


def test_batches_in_any_order_give_the_same():
    sums = InceptionSums(*LOGITS.shape)
    for places in torch.randperm(len(LOGITS)).split(40):
        sums.add(LOGITS[places], places)
    assert sums.score() == pytest.approx(inception_score(LOGITS), rel=1e-12)


def test_nan_spoils_the_score_of_all_and_too_few_are_refused():
    spoiled = LOGITS.clone()
    spoiled[100, 3] = torch.nan
    assert math.isnan(inception_score(spoiled).value) and math.isnan(
        inception_score(spoiled).of_all
    )
    with pytest.raises(ValueError, match="10 parts needs as many samples, got 9"):
        inception_score(LOGITS[:9])


def test_two_processes_agree_with_one(tmp_path):
    def work(share):
        sums, places = InceptionSums(*LOGITS.shape), torch.arange(len(LOGITS))[share.rank :: 2]
        sums.add(LOGITS[places], places)
        return sums.score(share.total(sums.sums))

    one, two = on_two_processes(tmp_path, work)
    assert one == two == pytest.approx(inception_score(LOGITS), rel=1e-12)
