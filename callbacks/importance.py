r"""The importance-weighted bound of a split, which goes on where it was left.

.. math:: -\log p(x) \le -E \log \frac{1}{K} \sum_{k=1}^K w_k, \quad w_k = p(x, z_k) / q(z_k | x)

The logarithm of the sum of the weights is had from those of chunks of them. Chunk c of an image has
noise of its own, by the image's place in the data, so K samples are the first K of one sequence.

References:
    | Importance Weighted Autoencoders (Burda et al., 2016), https://arxiv.org/abs/1509.00519
"""

from math import log
from pathlib import Path
from typing import cast

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.utilities import rank_zero_warn
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from lightning_gen.capabilities import ImportanceLikelihood
from lightning_gen.files import write_bytes
from lightning_gen.metrics import PlacedNoise, Share, digest_of
from lightning_gen.randomness import seed_of
from lightning_gen.tracking import run_folder

from .data import PlacedBatches, check_split, conditions, data_module, inputs, placed_batches
from .likelihoods import Mean, made_of, note
from .periodic import Periodic
from .sampling import share_of, watcher

CHUNK = 250  # samples whose weights are summed at once; papers' K are multiples of it


class ImportanceBound(Periodic):
    """Scores `nll/iw<k>` and `bpd/iw<k>` over all images of a split.

    Where the model is tested, the sums of the weights are kept in the run's folder, by the weights of
    the model and the data, after each CHUNK of samples: more samples later, or the same after a kill,
    cost only those that are new.

    Arguments:
        k: How many samples for each image.
        split: The images at validations.
        test_split: The images at tests.
        kwargs: See `Periodic`.
    """

    needs = (ImportanceLikelihood,)
    needs_data = True

    def __init__(
        self,
        k: int = 250,
        split: str = "val",
        test_split: str = "test",
        every_n_epochs: int = 1,
        every_n_steps: int | None = None,
        at_start: bool = False,
    ) -> None:
        super().__init__(every_n_epochs, every_n_steps, at_start)
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        self.k, self.split, self.test_split = k, check_split(split), check_split(test_split)
        self.told: set[str] = set()

    def look(self, trainer: Trainer, model: LightningModule) -> None:
        split = self.test_split if trainer.testing else self.split
        score_importance(trainer, model, self, split, self.k, self.told)


def score_importance(
    trainer: Trainer,
    model: LightningModule,
    caller: object,
    split: str,
    k: int,
    told: set[str],
) -> None:
    """Notes the bound with `k` samples over a split, by all processes together."""
    share = share_of(trainer, model, watcher(trainer, told))
    batches = placed_batches(data_module(trainer, caller).loader(split))
    if batches.images == 0:  # no images are held out
        return
    made = f"iw-chunks{CHUNK}:{made_of(trainer, model, caller, split, batches.images)}"
    kept = Kept(run_folder(trainer) / "importance", made, model) if trainer.testing else None
    found = kept.read() if kept is not None and trainer.is_global_zero else None
    parts = list(trainer.strategy.broadcast(found if found is not None else torch.empty(0)))
    whole, rest = divmod(k, CHUNK)
    for chunk in range(len(parts), whole):
        parts.append(log_sums(model, batches, split, chunk, CHUNK, share))
        if kept is not None and trainer.is_global_zero:
            kept.write(torch.stack(parts))
    parts = parts[:whole]
    if rest:
        parts.append(log_sums(model, batches, split, whole, rest, share))
    nats = log(k) - torch.stack(parts).logsumexp(0)
    dimensions = trainer.strategy.broadcast(batches.dimensions())
    sums = nats.sum().item(), nats.square().sum().item()
    note(trainer, model, caller, split, f"iw{k}", Mean.of(len(nats), *sums, dimensions))


def log_sums(
    model: LightningModule,
    batches: PlacedBatches,
    split: str,
    chunk: int,
    size: int,
    share: Share,
) -> Tensor:
    """Logarithms of the summed weights of some samples, (N,) in float64, on all processes.

    Arguments:
        model: Weighs the samples.
        batches: This process's images, of N.
        split: Their part of the data, which the noise depends on.
        chunk: Which samples: those from `chunk` times CHUNK.
        size: How many of them.
        share: Of this process.
    """
    found = torch.zeros(batches.images, dtype=torch.float64)
    first = chunk * CHUNK
    name = f"importance samples {first + 1} to {first + size}"
    for places, images, labels in share.watch(name, batches):
        most = getattr(model, "images_at_once", None) or len(images)
        for own, few, known in zip(
            places.split(most), images.split(most), labels.split(most), strict=True
        ):
            key = ("nll", split, "chunk", chunk) if chunk else ("nll", split)
            noise = PlacedNoise(key, own, model.device)
            given = conditions(model, known)
            x = inputs(model, few)
            nll = cast(ImportanceLikelihood, model).importance_nll(x, size, given, noise)
            found[own] = log(size) - nll.double().cpu()
    return share.total(found)


class Kept:
    """Log-sums of whole chunks in a file of their own for each protocol and each set of weights.

    Arguments:
        folder: Where the files are.
        made: How they were made, of which data.
        model: Whose weights they belong to.
    """

    def __init__(self, folder: Path, made: str, model: LightningModule) -> None:
        self.metadata = {"made": made, "weights": digest_of(model.state_dict())}
        self.path = folder / f"{seed_of(made, self.metadata['weights']):016x}.safetensors"

    def read(self) -> Tensor | None:
        """Log-sums (chunks, N), if there are any."""
        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, "pt") as file:
                found = file.get_tensor("log_sums")
                metadata = dict(file.metadata() or {})
        except SafetensorError as error:
            rank_zero_warn(f"{self.path} cannot be read ({error}); its samples are drawn anew")
            return None
        if metadata != {**self.metadata, "digest": digest_of({"log_sums": found})}:
            rank_zero_warn(f"{self.path} is not what was written there; its samples are drawn anew")
            return None
        return found

    def write(self, log_sums: Tensor) -> None:
        """Replaces what was kept."""
        content = {"log_sums": log_sums}
        write_bytes(self.path, save(content, {**self.metadata, "digest": digest_of(content)}))
