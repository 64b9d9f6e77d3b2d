"""The nearest images by attributes."""

import pytest
import torch

from lightning_gen.analysis import attributes
from lightning_gen.analysis.attributes import nearest_by_attributes


@pytest.mark.parametrize("piece", [1, 100, 1 << 24])
def test_the_nearest_is_the_first_that_differs_least(piece, monkeypatch):
    monkeypatch.setattr(attributes, "PIECE", piece)
    torch.manual_seed(0)
    wanted, known = torch.randint(2, (30, 6)), torch.randint(2, (50, 6))
    differing = (wanted[:, None] != known).sum(2)
    found = nearest_by_attributes(wanted, known)
    assert torch.equal(found, differing.argmin(1))
    assert torch.equal(nearest_by_attributes(known, known)[0], torch.tensor(0))
    ties = (differing == differing.min(1, keepdim=True).values).sum(1)
    assert ties.max() > 1  # or it says nothing of which one it is
    scores = torch.randn(30, 4).double(), torch.randn(50, 4).double()
    assert torch.equal(nearest_by_attributes(*scores), torch.cdist(*scores).argmin(1))


def test_images_of_unknown_attributes_are_nearest_to_none():
    known = torch.tensor([[-1, -1, -1], [0, 0, 1]])
    assert nearest_by_attributes(torch.tensor([[0, 0, 0], [1, 1, 0]]), known).tolist() == [1, 1]


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="as many of them in both"):
        nearest_by_attributes(torch.zeros(2, 3), torch.zeros(4, 2))
    with pytest.raises(ValueError, match="no images among which"):
        nearest_by_attributes(torch.zeros(2, 3), torch.zeros(0, 3))
