"""What a network does that paints images in several steps, each as a code tells it."""

from abc import abstractmethod
from typing import NamedTuple

from torch import Tensor

from .labels import refuse_labels
from .roles import Decoder

Memory = tuple[Tensor, Tensor]  # of an LSTM, (B, hidden) each


class CanvasState(NamedTuple):
    """How far images have come."""

    canvas: Tensor  # the parameters of each sub-pixel so far, (B, outputs, C, H, W)
    encoder: Memory
    decoder: Memory


class CanvasNetwork(Decoder):
    """Paints images as codes tell it, and says which codes would make of a canvas a given image."""

    steps: int
    code_size: int  # of the code of one step; `latent_size` is that of all in a row

    @abstractmethod
    def begin(self, count: int) -> CanvasState:
        """As many empty canvases."""

    @abstractmethod
    def look(
        self, x: Tensor, error: Tensor, state: CanvasState
    ) -> tuple[Tensor, Tensor, CanvasState]:
        """Means and log-variances (B, code_size) of the next code, and what it remembers.

        It is shown the images and what the canvas lacks of them, both (B, C, H, W).
        """

    @abstractmethod
    def step(self, z: Tensor, state: CanvasState) -> CanvasState:
        """Goes one step on, as codes (B, code_size) tell it."""

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Maps codes of all steps (B, latent_size) to the last canvas, (B, outputs, C, H, W)."""
        refuse_labels(labels)
        return self.canvases(z)[-1]

    def canvases(self, z: Tensor) -> list[Tensor]:
        """The canvas after each step, of codes of all steps (B, latent_size)."""
        state, canvases = self.begin(len(z)), []
        for code in z.unflatten(1, (self.steps, self.code_size)).unbind(1):
            state = self.step(code, state)
            canvases.append(state.canvas)
        return canvases
