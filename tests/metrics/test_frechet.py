import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from lightning_gen.metrics import FrechetDistance, SeededFeatures, frechet_distance
from lightning_gen.metrics.frechet import moments, trace_of_root
from lightning_gen.randomness import stream


def images(count: int, name: str = "fake", low: int = 0) -> Tensor:
    size = (count, 3, 16, 16)
    return torch.randint(low, 256, size, generator=stream(name), dtype=torch.uint8)


def by_scipy(real: Tensor, fake: Tensor) -> float:
    """The formula from features (N, D), independently of ours."""
    one, two = real.double().numpy(), fake.double().numpy()
    cov1, cov2 = np.cov(one, rowvar=False), np.cov(two, rowvar=False)
    root = scipy.linalg.sqrtm(cov1 @ cov2).real
    gap = one.mean(0) - two.mean(0)
    return gap @ gap + np.trace(cov1 + cov2 - 2 * root)


def distance(real: Tensor, fake: Tensor, batch: int = 50) -> Tensor:
    metric = FrechetDistance(SeededFeatures())
    for kind, every in ((True, real), (False, fake)):
        for part in every.split(batch):
            metric.update(part, real=kind)
    return metric.compute()


def features(x: Tensor) -> Tensor:
    with torch.no_grad():
        return SeededFeatures()(x)


def test_it_equals_scipy_and_is_float64():
    real, fake = images(300, "real"), images(257, low=40)
    found = distance(real, fake)
    assert found.dtype == torch.float64
    assert found.item() == pytest.approx(by_scipy(features(real), features(fake)), rel=1e-6)


def test_fewer_images_than_features_agree_with_the_nuclear_norm():
    real, fake = images(40, "real"), images(30, low=40)
    one, two = features(real).double(), features(fake).double()
    gap, (x, y) = one.mean(0) - two.mean(0), (one - one.mean(0), two - two.mean(0))
    x, y = x / (len(x) - 1) ** 0.5, y / (len(y) - 1) ** 0.5
    # tr((X'X Y'Y)^(1/2)) is the sum of the singular values of X Y', whatever the ranks are.
    root = torch.linalg.svdvals(x @ y.T).sum()
    expected = gap.square().sum() + x.square().sum() + y.square().sum() - 2 * root
    assert distance(real, fake).item() == pytest.approx(expected.item(), rel=1e-6)


def test_two_gaussians_have_the_distance_of_the_closed_form():
    mean, scale = torch.tensor([1.0, -2.0]).double(), torch.tensor([4.0, 9.0]).double()
    found = frechet_distance(
        (torch.zeros(2).double(), torch.eye(2).double()), (mean, torch.diag(scale))
    )
    assert found.item() == pytest.approx(5 + (2 - 1) ** 2 + (3 - 1) ** 2)


def test_a_set_is_at_no_distance_from_itself():
    one = images(200)
    scale = features(one).double().var(0).sum().item()
    assert 0 <= distance(one, one).item() < 1e-9 * scale


def test_order_and_batches_do_not_matter():
    real, fake = images(90, "real"), images(100)
    shuffled = fake[torch.randperm(100)]
    assert distance(real, shuffled, 7).item() == pytest.approx(
        distance(real, fake).item(), rel=1e-7
    )


def test_a_feature_that_never_moves_takes_the_other_route():
    one = torch.randn(50, 6, generator=stream(0)).double()
    one[:, 2] = 0.0
    cov1, cov2 = one.T.cov(), torch.randn(50, 6, generator=stream(1)).double().T.cov()
    assert torch.linalg.cholesky_ex(cov1).info > 0
    both = trace_of_root(cov1, cov2), trace_of_root(cov2, cov1)
    assert both[0].item() == pytest.approx(both[1].item(), rel=1e-7)


def test_moments_are_unbiased():
    x = torch.randn(20, 5, dtype=torch.float64) + 100
    mean, covariance = moments(torch.tensor(20), x.sum(0), x.T @ x)
    torch.testing.assert_close(mean, x.mean(0))
    torch.testing.assert_close(covariance, x.T.cov(), rtol=1e-9, atol=1e-9)


def test_statistics_of_real_images_survive_reset_and_travel():
    real, fake = images(60, "real"), images(60)
    metric = FrechetDistance(SeededFeatures())
    metric.update(real, real=True)
    metric.reset()
    kept = {name: value.clone() for name, value in metric.real_statistics().items()}
    other = FrechetDistance(SeededFeatures())
    other.load_real_statistics(kept)  # without ever seeing a real image
    for each in (metric, other):
        each.update(fake, real=False)
    assert metric.compute() == other.compute() == distance(real, fake, 60)


def test_samples_that_are_not_finite_make_the_distance_nan():
    metric = FrechetDistance(SeededFeatures())
    metric.update(images(10, "real"), real=True)
    metric.update(images(10), real=False)
    metric.spoil()
    assert metric.compute().isnan()
    metric.reset()
    metric.update(images(10), real=False)
    assert metric.compute().isfinite()


def test_floats_and_single_images_are_refused():
    metric = FrechetDistance(SeededFeatures())
    with pytest.raises(ValueError, match="uint8"):
        metric.update(images(2).float(), real=True)
    metric.update(images(1), real=True)
    metric.update(images(2), real=False)
    with pytest.raises(ValueError, match="two images"):
        metric.compute()


def test_sums_stay_in_float64():
    metric = FrechetDistance(SeededFeatures()).set_dtype(torch.float32).half()
    assert metric.fake_features_sum.dtype == torch.float64


def _two_processes(rank: int, folder: str) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2
    )
    metric = FrechetDistance(SeededFeatures())
    metric.update(images(101, "real")[rank::2], real=True)
    metric.update(images(77, low=40)[rank::2], real=False)
    value = metric.compute()
    assert metric.compute() == value
    torch.save(value, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_with_uneven_shares_agree_with_scipy(tmp_path):
    torch.multiprocessing.start_processes(
        _two_processes, (str(tmp_path),), nprocs=2, start_method="fork"
    )
    values = [torch.load(tmp_path / f"{rank}.pt").item() for rank in range(2)]
    real, fake = images(101, "real"), images(77, low=40)
    assert (
        values[0] == values[1] == pytest.approx(by_scipy(features(real), features(fake)), rel=1e-6)
    )
    assert values[0] == pytest.approx(distance(real, fake).item(), rel=1e-7)
