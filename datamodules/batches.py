"""Which images make a batch, and which of them belong to which process.

Both samplers cut global batches, so the number of processes does not change what is seen when.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.utils.data import Sampler

from lightning_gen.randomness import stream


class GlobalBatches(Sampler[Tensor]):
    """The training order: a function of (seed, epoch) and a position counted in images.

    An epoch is a permutation of the images. Its global batch k is `permutation[k * B : (k + 1) * B]`,
    of which process r of W takes the r-th of W equal slices. What does not fill a batch is left out.
    Iterating starts at the position and gives `len(self)` batches, over the end of an epoch if it
    must: so training that stopped in the middle of an epoch, or that is limited to part of one,
    goes on where it was.

    Arguments:
        count: How many images there are.
        batch_size: Images per global batch, B.
        seed: Of the order.
        rank: This process.
        world: How many processes there are, W. It divides the batch size.
        position: Tells how many images were consumed, over all processes and epochs.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        position: Callable[[], int] = int,
    ) -> None:
        self.count, self.batch_size, self.seed, self.position = count, batch_size, seed, position
        share = batch_size // world
        self._own = slice(share * rank, share * (rank + 1))

    def __len__(self) -> int:
        return self.count // self.batch_size

    def __iter__(self) -> Iterator[Tensor]:
        first = self.position() // self.batch_size
        order, of_epoch = torch.empty(0), -1
        for batch in range(first, first + len(self)):
            epoch, k = divmod(batch, len(self))
            if epoch != of_epoch:
                order, of_epoch = self.order(epoch), epoch
            yield order[k * self.batch_size : (k + 1) * self.batch_size][self._own]

    def order(self, epoch: int) -> Tensor:
        """The permutation of an epoch."""
        return torch.randperm(self.count, generator=stream(self.seed, epoch, "order"))


class EvaluationBatches(Sampler[Tensor]):
    """All images in order, each exactly once over all processes.

    The last global batch is cut as evenly as it goes; a process that gets no image of it has one
    batch fewer.

    Arguments:
        count: How many images there are.
        batch_size: Images per global batch.
        rank: This process.
        world: How many processes there are.
    """

    def __init__(self, count: int, batch_size: int, rank: int = 0, world: int = 1) -> None:
        self.count, self.batch_size, self.rank, self.world = count, batch_size, rank, world

    def __len__(self) -> int:
        return sum(1 for _ in self._ranges())

    def __iter__(self) -> Iterator[Tensor]:
        return (torch.arange(start, stop) for start, stop in self._ranges())

    def _ranges(self) -> Iterator[tuple[int, int]]:
        for first in range(0, self.count, self.batch_size):
            size = min(self.batch_size, self.count - first)
            share, extra = divmod(size, self.world)  # the first processes get one more
            start = share * self.rank + min(self.rank, extra)
            stop = start + share + (self.rank < extra)
            if start < stop:
                yield first + start, first + stop


def stratified(labels: Tensor, *sizes: int) -> list[Tensor]:
    """Positions cut into parts of these sizes and the rest, each with its share of each class.

    The cut depends on the labels alone, never on the seed of a run.
    """
    order = torch.randperm(len(labels), generator=stream("held out", len(labels)))
    share = torch.empty(len(labels))  # how far into its class, shuffled, an image is
    for label in labels.unique():
        members = order[labels[order] == label]
        share[members] = (torch.arange(len(members)) + 0.5) / len(members)
    parts = share.argsort(stable=True).split([*sizes, len(labels) - sum(sizes)])
    return [part.sort().values for part in parts]
