r"""The likelihood of a whole split, in nats per image and in bits per dimension.

.. math:: \mathrm{bits/dim} = \frac{-\log p(x)}{D \log 2}, \quad D = C H W
"""

from typing import cast

from pytorch_lightning import LightningModule, Trainer

from lightning_gen.capabilities import ImportanceLikelihood, Likelihood

from .data import check_split
from .importance import score_importance
from .likelihoods import mean_over, note
from .periodic import Periodic


class BitsPerDim(Periodic):
    """Scores `nll/exact` or `nll/bound`, and `bpd/...`, over all images of a split.

    Sums are in float64, and each image has noise of its own: the number does not depend on batches
    nor on processes.

    Arguments:
        split: The images at validations.
        test_split: The images at tests.
        importance_samples: Tighten the bound with so many samples, as `nll/iw<k>` besides; see
            `ImportanceBound`.
        kwargs: See `Periodic`.
    """

    needs = (Likelihood,)
    needs_data = True

    def __init__(
        self,
        split: str = "val",
        test_split: str = "test",
        importance_samples: int | None = None,
        every_n_epochs: int = 1,
        every_n_steps: int | None = None,
        at_start: bool = False,
    ) -> None:
        super().__init__(every_n_epochs, every_n_steps, at_start)
        if importance_samples is not None and importance_samples < 1:
            raise ValueError(f"importance_samples must be at least 1, got {importance_samples}")
        self.split, self.test_split = check_split(split), check_split(test_split)
        self.importance_samples = importance_samples
        self.told: set[str] = set()  # passes whose length was said

    def setup(self, trainer: Trainer, model: LightningModule, stage: str) -> None:
        super().setup(trainer, model, stage)
        if self._active and self.importance_samples and not isinstance(model, ImportanceLikelihood):
            raise ValueError(
                f"{type(model).__name__} has no importance_nll; set importance_samples off"
            )

    def look(self, trainer: Trainer, model: LightningModule) -> None:
        split = self.test_split if trainer.testing else self.split
        self.score(trainer, model, split)
        if self.importance_samples is not None:
            score_importance(trainer, model, self, split, self.importance_samples, self.told)

    def score(self, trainer: Trainer, model: LightningModule, split: str) -> None:
        """Publishes and records the mean over a split, by all processes together."""
        scored = cast(Likelihood, model)
        if mean := mean_over(trainer, model, self, split, scored.nll, self.told):
            note(trainer, model, self, split, str(scored.nll_kind), mean)
