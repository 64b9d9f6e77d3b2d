r"""The Fréchet distance between two sets of images, in the features of a network.

With the means :math:`\mu` and the covariances :math:`\Sigma` of the features of both sets:

.. math:: |\mu_1 - \mu_2|^2 + \mathrm{tr}(\Sigma_1 + \Sigma_2 - 2 (\Sigma_1 \Sigma_2)^{1/2})

References:
    | GANs Trained by a Two Time-Scale Update Rule (Heusel et al., 2017)
    | https://arxiv.org/abs/1706.08500
"""

import lightning_gen._torchvision  # isort: skip  # noqa: F401  # before torchmetrics

from collections.abc import Mapping

import torch
from torch import Tensor
from torchmetrics.image.fid import FrechetInceptionDistance

from .features import Extractor, features_of

Moments = tuple[Tensor, Tensor]  # mean (D,), covariance (D, D)
CHUNK = 1000  # features that are made float64 at a time


class FrechetDistance(FrechetInceptionDistance):
    """Fréchet distance by sums over images, in float64 throughout.

    The sums stream, so memory does not grow with the images, and they add up over processes.
    `compute` is a collective: all processes must call it. What is known of the real images stays
    over `reset`. The distance of sets that hold anything but images is NaN, see `spoil`.

    Arguments:
        extractor: Maps uint8 images (B, C, H, W) to features (B, D).
    """

    def __init__(self, extractor: Extractor) -> None:
        super().__init__(feature=extractor, reset_real_features=False)

    @property
    def extractor(self) -> Extractor:
        """The network whose features are compared."""
        return self.inception  # type: ignore[return-value]

    @torch.no_grad()
    def update(self, images: Tensor, real: bool) -> None:
        """Adds uint8 images (B, C, H, W) to the real or to the generated ones."""
        self.add(features_of(self.extractor, images)[0], real)

    def add(self, features: Tensor, real: bool) -> None:
        """Adds the features (B, D) of images that were seen elsewhere."""
        kind, features = "real" if real else "fake", features.double()
        self._update_count += 1
        self._computed = None
        getattr(self, f"{kind}_features_sum").add_(features.sum(0))
        getattr(self, f"{kind}_features_cov_sum").add_(features.T @ features)
        getattr(self, f"{kind}_features_num_samples").add_(len(features))

    def spoil(self) -> None:
        """Makes the distance NaN, on all processes: for samples that were not finite."""
        self.fake_features_sum.fill_(torch.nan)

    @torch.no_grad()
    def compute(self) -> Tensor:
        """The distance, a float64 scalar, the same on every process."""
        counts = self.real_features_num_samples, self.fake_features_num_samples
        if min(counts) < 2:
            raise ValueError(f"a Fréchet distance needs two images of each kind, got {counts}")
        real = moments(*self.real_statistics().values())
        fake = moments(counts[1], self.fake_features_sum, self.fake_features_cov_sum)
        return frechet_distance(real, fake)

    def real_statistics(self) -> dict[str, Tensor]:
        """Count, sum and second moments of the real images of this process."""
        return {
            "count": self.real_features_num_samples,
            "sum": self.real_features_sum,
            "outer": self.real_features_cov_sum,
        }

    def load_real_statistics(self, statistics: Mapping[str, Tensor] | None) -> None:
        """Sets what `real_statistics` gave; None forgets the real images."""
        self._computed = None
        self.real_features_num_samples = torch.zeros_like(self.real_features_num_samples)
        self.real_features_sum = torch.zeros_like(self.real_features_sum)
        self.real_features_cov_sum = torch.zeros_like(self.real_features_cov_sum)
        for name, own in self.real_statistics().items():
            if statistics is not None:
                own.copy_(statistics[name])

    def set_dtype(self, dst_type: str | torch.dtype) -> "FrechetDistance":
        """Keeps the sums in float64, whatever is asked for."""
        return self


def moments(count: Tensor, total: Tensor, outer: Tensor) -> Moments:
    """Mean and covariance (with n - 1) from the count, the sum and the sum of outer products."""
    mean = total / count
    return mean, (outer - count * torch.outer(mean, mean)) / (count - 1)


def frechet_distance(one: Moments, other: Moments) -> Tensor:
    """The Fréchet distance between two Gaussians given by mean and covariance, in float64."""
    (mean1, cov1), (mean2, cov2) = one, other
    if not all(part.isfinite().all() for part in (*one, *other)):
        return torch.full_like(mean1[0], torch.nan)
    root = cov1.trace() + cov2.trace() - 2 * trace_of_root(cov1, cov2)
    return ((mean1 - mean2).square().sum() + root).clamp_min(0)


def distance_to(real: Moments, fake: Tensor, device: torch.device | None = None) -> Tensor:
    """The Fréchet distance of features (n, D) to a Gaussian, by n x n matrices where n < D."""
    if len(fake) >= fake.shape[1]:
        return frechet_distance(real, moments_of(fake, device=device))
    mean, y = _deviations(fake if device is None else fake.to(device))
    if not (y.isfinite().all() and all(each.isfinite().all() for each in real)):
        return torch.full_like(mean[0], torch.nan)
    values = _significant(torch.linalg.eigvalsh(y @ real[1] @ y.T))
    root = real[1].trace() + y.square().sum() - 2 * values.sqrt().sum()
    return ((real[0] - mean).square().sum() + root).clamp_min(0)


def _deviations(features: Tensor) -> tuple[Tensor, Tensor]:
    """The mean and the root of the covariance, (n, D), of few features in float64."""
    wide = features.double()
    mean = wide.mean(0)
    return mean, (wide - mean) / (len(wide) - 1) ** 0.5


def moments_of(
    features: Tensor,
    device: torch.device | None = None,
    chunk: int = CHUNK,
) -> Moments:
    """Mean and covariance (with n - 1) of features (N, D), in float64, centred before they are squared.

    Arguments:
        features: (N, D).
        device: Where to compute, a chunk at a time; by default where the features are.
        chunk: Rows at a time.
    """
    device, dimensions = device or features.device, features.shape[1]
    mean = torch.zeros(dimensions, dtype=torch.float64, device=device)
    covariance = torch.zeros(dimensions, dimensions, dtype=torch.float64, device=device)
    for part in features.split(chunk):
        mean += part.to(device, torch.float64).sum(0) / len(features)
    for part in features.split(chunk):
        deviations = part.to(device, torch.float64) - mean
        covariance.addmm_(deviations.T, deviations)
    return mean, covariance / (len(features) - 1)


def trace_of_root(cov1: Tensor, cov2: Tensor) -> Tensor:
    r"""The trace of :math:`(\Sigma_1 \Sigma_2)^{1/2}` for positive semidefinite matrices.

    With :math:`\Sigma_1 = L L^T` the product has the eigenvalues of the symmetric
    :math:`L^T \Sigma_2 L`, several times faster to find than those of the product. Eigenvalues
    below their rounding error count as zero, else their roots would add up to what is seen.
    """
    factor, failed = torch.linalg.cholesky_ex(cov1)
    if failed:  # fewer images than features, or a feature that never moves
        values, vectors = torch.linalg.eigh(cov1)
        factor = vectors * _significant(values).sqrt()
        values = torch.linalg.eigvalsh(factor.T @ cov2 @ factor)
    else:
        values = torch.linalg.eigvalsh(_congruent(factor, cov2))
    return _significant(values).sqrt().sum()


def _congruent(factor: Tensor, matrix: Tensor) -> Tensor:
    """The lower triangle of L' A L for a lower triangular L and a symmetric A."""
    if factor.device.type != "cpu":
        return factor.T @ matrix @ factor
    from scipy.linalg.lapack import dsygst

    # A quarter of the work of two products. The transposes are views as LAPACK has its columns.
    result, _ = dsygst(matrix.numpy().T, factor.T.contiguous().numpy().T, itype=2, lower=1)
    return torch.from_numpy(result)


def _significant(values: Tensor) -> Tensor:
    """Eigenvalues in ascending order, zero where they are no larger than their rounding error."""
    threshold = len(values) * torch.finfo(values.dtype).eps * values[-1].clamp_min(0)
    return values.where(values > threshold, 0)
