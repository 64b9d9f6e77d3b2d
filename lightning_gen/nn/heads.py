"""Small networks on the features of another."""

from torch import Tensor, nn

from .sizes import check_sizes


class Head(nn.Module):
    """Reads numbers off features: linear where nothing is hidden, else with one hidden layer.

    Arguments:
        inputs: Size of the features.
        hidden: Units of the hidden layer, which has batch normalisation; 0 for none.
        outputs: How many numbers are read.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        check_sizes(inputs=inputs, hidden=hidden or None, outputs=outputs)
        self.layers = (
            nn.Sequential(
                nn.Linear(inputs, hidden, bias=False),
                nn.BatchNorm1d(hidden),
                nn.LeakyReLU(0.1),
                nn.Linear(hidden, outputs),
            )
            if hidden
            else nn.Linear(inputs, outputs)
        )
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, 0.0, 0.02)

    def forward(self, features: Tensor) -> Tensor:
        """Maps features (B, inputs) to numbers (B, outputs)."""
        return self.layers(features)
