"""Drawing the two sides of a Boltzmann machine in turns, and chains of it that outlive a step."""

import torch
from torch import Tensor, nn

from ...nn.boltzmann import EVEN, ODD, BoltzmannMachine
from ...nn.statistics import Counts
from ...randomness import Noise


def draw(logits: Tensor, noise: Noise) -> Tensor:
    """Units (B, size) in {0, 1} that are on with the probabilities of their logits."""
    return (noise.uniform(logits.shape[1]) < logits.sigmoid()).to(logits.dtype)


@torch.no_grad()
def gibbs(
    machine: BoltzmannMachine,
    even: Tensor,
    steps: int,
    noise: Noise,
    known: Tensor | None = None,
) -> Tensor:
    """The even side (B, size) after so many steps, in each of which both sides are drawn once.

    Arguments:
        machine: The machine.
        even: Where the chains are.
        steps: How many steps they go.
        noise: Of the chains.
        known: Units of the even side that stay as they are, (size,) bool.
    """
    for _ in range(steps):
        odd = draw(machine.logits(ODD, even), noise)
        drawn = draw(machine.logits(EVEN, odd), noise)
        even = drawn if known is None else torch.where(known, even, drawn)
    return even


class Chains(nn.Module):
    """States of a machine's even side, which each step continues, and what its images were like.

    Of several processes each continues its share of the chains. To have them all again, and equal
    everywhere, it multiplies its share by the number of processes and empties the rest, as the
    buffers of all processes are averaged after the step, together with the gradients.

    Arguments:
        machine: The machine that they are of.
        count: How many chains, over all processes; 0 if each step begins new ones at the data.
    """

    states: Tensor

    def __init__(self, machine: BoltzmannMachine, count: int) -> None:
        super().__init__()
        off = (-machine.bias(EVEN).detach()).sigmoid()  # as if there were no weights
        self.register_buffer("states", (torch.rand(count, len(off)).to(off) > off).to(off))
        self.seen = Counts(machine.sizes[0], 2)

    def __len__(self) -> int:
        return len(self.states)

    def advance(self, machine: BoltzmannMachine, steps: int, noise: Noise) -> Tensor:
        """Moves the chains on; this process's share of them, (b, size).

        Arguments:
            machine: The machine.
            steps: How many steps they go.
            noise: Of the batch, of which it is known how the processes share it.
        """
        world, rank = noise.total // len(noise), noise.start // len(noise)
        start, stop = (len(self) * place // world for place in (rank, rank + 1))
        own = Noise(
            (*noise.key, "chains"), stop - start, len(self), start, noise.device, noise.dtype
        )
        # Between averages, where gradients accumulate, states that are on have the value `world`.
        even = gibbs(machine, (self.states[start:stop] > 0).to(self.states), steps, own)
        self.states.zero_()
        self.states[start:stop] = world * even
        return even

    def see(self, images: Tensor, noise: Noise) -> None:
        """Counts how often each unit of layer 0 is on in images (B, sizes[0])."""
        self.seen.add(images.long(), noise.total / len(noise))

    def begin(self, n: int, machine: BoltzmannMachine, noise: Noise) -> Tensor:
        """Where `n` samples begin: at any of the chains, or at even odds where none are kept."""
        if len(self) == 0:
            return (noise.uniform(machine.size(EVEN)) < 0.5).to(self.states)
        return self.states[noise.integers(len(self))].gt(0).to(self.states)

    def brightness(self) -> Tensor:
        """Logits (sizes[0],) of how often each unit was on, of which one image more was half on."""
        off, on = self.seen.counts + 0.5
        return (on / off).log()
