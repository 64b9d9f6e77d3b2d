r"""The likelihood of a split under a model that knows it up to a constant, which is estimated.

.. math:: -\log p(x) = F(x) + \log Z, \quad Z \approx \frac{1}{N} \sum_{n=1}^N w_n

Each weight has the mean Z, so the logarithm of their mean is too small on average: the estimate is no
bound, it makes models look too good, and neither it nor its bits meet exact ones in a column.

References:
    | On the Quantitative Analysis of Deep Belief Networks (Salakhutdinov and Murray, 2008)
    | https://dl.acm.org/doi/10.1145/1390156.1390266
"""

import math
from typing import NamedTuple, cast

import torch
from pytorch_lightning import LightningModule, Trainer

from lightning_gen.capabilities import Unnormalised
from lightning_gen.metrics import slices
from lightning_gen.randomness import Noise
from lightning_gen.tracking import publish, record

from .data import check_split
from .likelihoods import mean_over, note
from .periodic import Periodic
from .sampling import share_of, watcher

AT_ONCE = 100  # chains


class LogPartition(NamedTuple):
    """ln Z, and the standard error that its estimate has; both in nats."""

    value: float
    error: float
    how: str  # the estimate was made, for protocols; empty if it is none


class AnnealedLikelihood(Periodic):
    """Scores `nll/ais`, in nats, and `bpd/ais` over all images of a split, and `log_partition/ais`.

    Where the model has a bound up to the constant, they are `nll/ais_bound` and `bpd/ais_bound`, as
    an estimate of a bound is none. Where it can compute the constant, they are what `BitsPerDim` has:
    `nll/exact` or `nll/bound`. Standard errors are over images and over chains.

    Arguments:
        chains: How many weights are drawn. Published numbers have 100.
        temperatures: How many steps each chain takes. Published numbers have from 14,500.
        split: The images at validations.
        test_split: The images at tests.
        kwargs: See `Periodic`.
    """

    needs = (Unnormalised,)
    needs_data = True

    def __init__(
        self,
        chains: int = 100,
        temperatures: int = 1000,
        split: str = "val",
        test_split: str = "test",
        every_n_epochs: int = 1,
        every_n_steps: int | None = None,
        at_start: bool = False,
    ) -> None:
        super().__init__(every_n_epochs, every_n_steps, at_start)
        if chains < 2 or temperatures < 1:
            raise ValueError(
                "chains must be at least 2, for a standard error, and temperatures at least 1, got "
                f"{chains} and {temperatures}"
            )
        self.chains, self.temperatures = chains, temperatures
        self.split, self.test_split = check_split(split), check_split(test_split)
        self.told: set[str] = set()

    def look(self, trainer: Trainer, model: LightningModule) -> None:
        capable, split = (
            cast(Unnormalised, model),
            self.test_split if trainer.testing else self.split,
        )
        mean = mean_over(trainer, model, self, split, capable.unnormalised_nll, self.told)
        if mean is None:  # no images are held out
            return
        z = self.log_partition(trainer, model)
        kind = str(capable.unnormalised_kind)
        if z.how:
            kind = {"exact": "ais", "bound": "ais_bound"}[kind]
        whole = mean._replace(nats=mean.nats + z.value, error=math.hypot(mean.error, z.error))
        note(trainer, model, self, split, kind, whole, z.how)
        self.note_constant(trainer, model, z)

    def log_partition(self, trainer: Trainer, model: LightningModule) -> LogPartition:
        """ln Z, with the chains of all processes together."""
        capable = cast(Unnormalised, model)
        exact = capable.log_partition()
        if exact is not None:
            return LogPartition(exact.item(), 0.0, "")
        share = share_of(trainer, model, watcher(trainer, self.told))
        found = torch.zeros(self.chains, dtype=torch.float64)
        for rows in share.of("annealed chains", slices(self.chains, AT_ONCE)):
            count = rows.stop - rows.start
            noise = Noise(("annealing",), count, self.chains, rows.start, model.device)
            found[rows] = capable.log_weights(self.temperatures, noise).cpu()
        found = share.total(found)
        mean = found.logsumexp(0) - math.log(len(found))
        # Of a logarithm: the relative error of the mean weight.
        error = (found - mean).exp().std() / math.sqrt(len(found))
        how = f"chains-{self.chains}:temperatures-{self.temperatures}"
        return LogPartition(mean.item(), error.item(), how)

    def note_constant(self, trainer: Trainer, model: LightningModule, z: LogPartition) -> None:
        """Publishes and records ln Z."""
        kind = "ais" if z.how else "exact"
        score = {
            "value": z.value if math.isfinite(z.value) else None,
            "standard_error": z.error if math.isfinite(z.error) else None,
            "protocol": f"log_partition:{kind}{z.how and f':{z.how}'}",
            "images_seen": getattr(model, "images_seen", 0),
        }
        publish(trainer, {f"log_partition/{kind}": z.value})
        record(trainer, {f"log_partition/{kind}": score})
