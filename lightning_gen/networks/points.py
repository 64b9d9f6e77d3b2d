"""A generator of points of the plane that has one parameter, so that all it learns can be seen."""

import torch
from torch import Tensor, nn

from ..nn.roles import Generator


class LineGenerator(Generator):
    """Maps latents in [-1, 1] to the points (shift, u) of an upright line, u in [0, 1].

    The shift is all that it learns: it has to find the line that is theta away.

    Arguments:
        shift: Where the line stands at first.
    """

    shape, latent_size = (2, 1, 1), 1

    def __init__(self, shift: float = 0.0) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.tensor(float(shift)))

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        points = torch.cat([self.shift.expand(len(z), 1), (z + 1) / 2], 1)
        return points.view(-1, 2, 1, 1)
