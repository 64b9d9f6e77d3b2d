"""All scores of samples from one pass of samples and features, on any number of devices the same."""

import lightning_gen._torchvision  # isort: skip  # noqa: F401

import math
from collections.abc import Sequence
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor

from lightning_gen.metrics import (
    BLOCK,
    SPLITS,
    Extractor,
    InceptionSums,
    Interval,
    Share,
    distance_to,
    enough,
    features_of,
    intervals,
    kernel_distance,
    limit,
    manifolds,
    moments,
    radii,
)

from .reference import gather
from .sample_scores import SampleScores
from .sampling import samples, share_of, watcher

SCORES = ("fid", "kid", "is", "pr", "dc")
Found = dict[str, dict[str, Any]]  # scores by key


class SampleQuality(SampleScores):
    """Scores samples in all ways that need their features only, in one pass.

    | score | keys |
    | --- | --- |
    | `fid` | `fid/<features>@<n>` as `FID` has it, and `fid_inf/...` of infinitely many samples |
    | `kid` | `kid/...`, the kernel distance |
    | `is` | `is/...` over 10 parts and `is_all/...`, where the features come with logits |
    | `pr` | `precision/...` and `recall/...` |
    | `dc` | `density/...` and `coverage/...` |

    Each process keeps the features of all samples and of the real images as float32: 400 MB for
    50,000 of 2,048 features each.

    Arguments:
        n: How many samples.
        extractor: The features.
        scores: Which of the above; by default all.
        resamples: Of the bootstrap intervals of `fid` and `fid_inf`; 0 for none.
        neighbours: Of `pr`.
        dense_neighbours: Of `dc`.
        subsets: Of `kid`.
        subset_size: Images in each of them.
        kwargs: See `SampleScores`.
    """

    keeps_features = True

    def __init__(
        self,
        n: int = 10000,
        extractor: str | Extractor = "digits",
        scores: Sequence[str] = SCORES,
        resamples: int = 0,
        neighbours: int = 3,
        dense_neighbours: int = 5,
        subsets: int = 100,
        subset_size: int = 1000,
        weights: str | None = None,
        reference_split: str = "test",
        batch_size: int = BLOCK,
        skip_missing: bool = False,
        every_n_epochs: int = 1,
        every_n_steps: int | None = None,
        at_start: bool = False,
    ) -> None:
        rest = (weights, reference_split, batch_size, skip_missing)
        super().__init__(n, extractor, *rest, every_n_epochs, every_n_steps, at_start)
        unknown = [score for score in scores if score not in SCORES]
        if unknown or not scores:
            raise ValueError(f"scores must be some of {', '.join(SCORES)}, got {list(scores)}")
        if min(neighbours, dense_neighbours) < 1 or subsets < 2 or subset_size < 2:
            raise ValueError("neighbours must be at least 1, subsets and their size 2")
        if resamples < 0 or resamples == 1:
            raise ValueError(f"resamples must be 0 or at least 2, got {resamples}")
        self.scores, self.resamples = tuple(scores), resamples
        self.neighbours, self.dense_neighbours = neighbours, dense_neighbours
        self.subsets, self.subset_size = subsets, subset_size
        self._radii: Tensor | None = None  # of the real images

    def look(self, trainer: Trainer, model: LightningModule) -> None:
        assert self.distance is not None
        assert self.reference is not None
        share = share_of(trainer, model, watcher(trainer, self.told))
        self.distance.to(model.device)
        if self.reference.refer(trainer, model, share, self):
            self._radii = None
        fake, sums, finite = self.see(trainer, model, share)
        found: Found = {}
        if "fid" in self.scores:
            found |= self.frechet(fake, share)
        if "kid" in self.scores:
            found |= self.kernel(fake, share)
        if "is" in self.scores:
            found |= self.inception(sums, share)
        if "pr" in self.scores or "dc" in self.scores:
            found |= self.manifolds(fake, share)
        self.note(
            trainer, model, {k: each if finite else spoilt(each) for k, each in found.items()}
        )

    def see(
        self, trainer: Trainer, model: LightningModule, share: Share
    ) -> tuple[Tensor, InceptionSums | None, bool]:
        """The features of all samples, the sums of their logits, and whether all were numbers."""
        assert self.distance is not None
        network = self.distance.extractor
        self.distance.reset()
        fake, wrong = torch.zeros(self.n, network.num_features), torch.zeros(1)
        scored = "is" in self.scores and network.num_classes and self.n >= SPLITS
        sums = InceptionSums(self.n, network.num_classes or 0) if scored else None
        every = samples(trainer, model, self.n, self.batch_size, self.key, share.watch)
        for places, images, finite in every:
            features, logits = features_of(network, images)
            self.distance.add(features, real=False)
            fake[places] = features.float().cpu()
            if sums is not None and logits is not None:
                sums.add(logits, places)
            wrong += not finite
        gather(fake, share)
        return fake, sums, share.total(wrong).item() == 0

    def frechet(self, fake: Tensor, share: Share) -> Found:
        """The Fréchet distance at n and of infinitely many samples."""
        assert self.distance is not None
        assert self.reference is not None
        key, made = self.key_of("fid"), self.reference.name
        kept = [share.total(each.clone()) for each in self.distance.real_statistics().values()]
        real, dimensions = moments(*kept), fake.shape[1]
        few = self.n < dimensions
        value = distance_to(real, fake, share.device) if few else self.distance.compute()
        found: Found = {key: {"value": value.item(), "protocol": f"fid@{self.n}:{made}"}}
        if not enough(self.n, dimensions):
            wanted = f"more than {4 * dimensions + 3} samples are needed for {dimensions} features"
            return found | self.without("fid_inf", wanted, share)
        without_end: dict[str, Any] = {"protocol": f"fid_inf@{self.n}-parts1,2,3,4:{made}"}
        if self.resamples:
            at_n, inf = intervals(real, fake, self.resamples, share)
            found[key] |= ends(at_n)
            without_end |= {"value": inf.value, **ends(inf)}
        else:
            without_end["value"] = limit(real, fake, share)
        return found | {self.key_of("fid_inf"): without_end}

    def kernel(self, fake: Tensor, share: Share) -> Found:
        """The kernel distance."""
        real, made = self.real()
        found = kernel_distance(real, fake, self.subsets, self.subset_size, share)
        number = {"value": found.value, "standard_error": found.standard_error}
        protocol = f"kid@{self.n}-subsets{self.subsets}x{found.size}:{made}"
        return {self.key_of("kid"): {**number, "protocol": protocol}}

    def inception(self, sums: InceptionSums | None, share: Share) -> Found:
        """The inception score over parts and over all."""
        assert self.distance is not None
        assert self.reference is not None
        network, made = self.distance.extractor, self.reference.name
        if sums is None:
            classes = f"{network.name} features come without classes"
            few = f"{SPLITS} samples are needed"
            return self.without("is", few if network.num_classes else classes, share)
        score = sums.score(share.total(sums.sums))
        over_parts = {"value": score.value, "standard_deviation": score.deviation}
        return {
            self.key_of("is"): {**over_parts, "protocol": f"is@{self.n}-parts{SPLITS}:{made}"},
            self.key_of("is_all"): {"value": score.of_all, "protocol": f"is_all@{self.n}:{made}"},
        }

    def manifolds(self, fake: Tensor, share: Share) -> Found:
        """Precision and recall, density and coverage."""
        real, made = self.real()
        ks = self.neighbours, self.dense_neighbours
        if len(real) <= max(ks) or len(fake) <= self.neighbours:
            few = f"there are no {max(ks)} neighbours among {min(len(real), len(fake))} images"
            return self.without("precision", few, share)
        if self._radii is None:
            self._radii = radii(real, ks, share)
        found = manifolds(real, fake, *ks, share, self._radii)
        names = ["precision", "recall"] if "pr" in self.scores else []
        names += ["density", "coverage"] if "dc" in self.scores else []
        k = dict(zip(found._fields, (ks[0], ks[0], ks[1], ks[1]), strict=True))
        return {
            self.key_of(name): {
                "value": getattr(found, name),
                "protocol": f"{name}@{self.n}-k{k[name]}:{made}",
            }
            for name in names
        }

    def real(self) -> tuple[Tensor, str]:
        """Features of real images, and what protocols call them."""
        assert self.reference is not None
        assert self.reference.features is not None
        return self.reference.features, self.reference.name_of_features

    def without(self, metric: str, reason: str, share: Share) -> Found:
        """Says once that there is no score, and why."""
        key = self.key_of(metric)
        if share.rank == 0 and key not in self.told:
            print(f"{key} is left out: {reason}", flush=True)
        self.told.add(key)
        return {}


def ends(interval: Interval) -> dict[str, Any]:
    """An interval as JSON has it."""
    return {"value": interval.value, "interval_95": [interval.low, interval.high]}


def spoilt(score: dict[str, Any]) -> dict[str, Any]:
    """The score of samples that were no numbers: that there is none."""
    return {"value": math.nan, "protocol": score["protocol"]}
