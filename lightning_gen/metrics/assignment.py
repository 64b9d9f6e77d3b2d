"""How well groups that were found without labels are the classes."""

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric


class AssignmentAccuracy(Metric):
    """The share of images whose group is that of their class, at the best pairing of the two.

    Each group stands for one class and each class for one group, so a group of two classes counts
    for one of them only. By chance it is a little more than 1 / K.

    Arguments:
        groups: How many groups there are.
        classes: How many classes there are.
    """

    full_state_update = False
    counts: Tensor

    def __init__(self, groups: int, classes: int) -> None:
        super().__init__()
        self.add_state("counts", torch.zeros(groups, classes).long(), dist_reduce_fx="sum")

    def update(self, guesses: Tensor, labels: Tensor) -> None:
        """Takes note of the groups (B,) and the classes (B,) of images."""
        groups, classes = self.counts.shape
        cells = guesses * classes + labels.to(guesses.device)
        self.counts += cells.bincount(minlength=groups * classes).view(groups, classes)

    def pairing(self) -> dict[int, int]:
        """The class of each group."""
        from scipy.optimize import linear_sum_assignment

        groups, classes = linear_sum_assignment(self._plain(), maximize=True)
        return dict(zip(groups.tolist(), classes.tolist(), strict=True))

    def compute(self) -> Tensor:
        """The share, a scalar in float64; not a number where there were no images."""
        plain = self._plain()
        hits = sum(plain[group, label] for group, label in self.pairing().items())
        return torch.tensor(float(hits) / max(int(plain.sum()), 1), dtype=torch.float64)

    def _plain(self) -> np.ndarray:
        return self.counts.cpu().numpy()
