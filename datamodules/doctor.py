"""What is in a data set: counts, sizes, levels, duplicates, leaks, and a sheet to look at."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lightning_gen.randomness import stream

from .base import ImageData
from .images import Encoded, Images

SPLITS = ("train", "val", "test")
NAMED = 10  # of duplicates and leaks, how many are named


def examine(data: ImageData, folder: Path) -> dict[str, Any]:
    """Looks at all images of a data set; writes report.json, report.txt and train.png to a folder.

    The result is what report.json holds.
    """
    if data.shape[1:] == (1, 1):
        raise ValueError(f"{data.name} has points, not images; PointsPicture draws them")
    data.prepare_data()
    splits = data.splits  # read first: only then is it known from which source
    report: dict[str, Any] = {
        "name": data.name,
        "source": data.source,
        "root": str(data.root),
        "shape": list(data.shape),
        "num_classes": data.num_classes,
        "num_attributes": data.num_attributes,
        "splits": {},
    }
    hashes = {}
    for split in SPLITS:
        original: Images = getattr(splits, split)
        report["splits"][split], hashes[split] = _examine_split(data, split, original)
    report["duplicates_in_train"] = duplicates(hashes["train"])
    for split in ("val", "test"):
        report[f"leaks_from_train_to_{split}"] = leaks(hashes["train"], hashes[split])
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    contact_sheet(data.images("train")).save(folder / "train.png")
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    (folder / "report.txt").write_text(as_text(report))
    return report


def _examine_split(data: ImageData, split: str, original: Images) -> tuple[dict[str, Any], Tensor]:
    """The facts about a split, and a hash of each of its images, (N,)."""
    levels = torch.zeros(256, dtype=torch.int64)
    hashes = [torch.empty(0, dtype=torch.int64)]
    for images, _ in data.loader(split) if len(original) else ():
        levels += torch.bincount(images.flatten(), minlength=256)
        hashes.append(content_hash(images))
    facts: dict[str, Any] = {"count": len(original), "levels": _levels(levels)}
    facts["fingerprint"] = data.fingerprint(split)
    facts["labels"] = _labels(data, original.labels)
    if isinstance(original, Encoded):
        sizes, modes = original.headers()
        facts["file_sizes"], facts["file_modes"] = dict(sizes.most_common(20)), dict(modes)
        facts["distinct_file_sizes"] = len(sizes)
        facts["corrupt"] = original.corrupt
    return facts, torch.cat(hashes)


def _levels(counts: Tensor) -> dict[str, float]:
    """Range, mean and standard deviation from how often each level occurs."""
    total, level = int(counts.sum()), torch.arange(256, dtype=torch.float64)
    if not total:
        return {}
    present = counts.nonzero()
    mean = float((counts * level).sum()) / total
    variance = float((counts * (level - mean) ** 2).sum()) / total
    return {
        "min": int(present.min()),
        "max": int(present.max()),
        "distinct": len(present),
        "mean": round(mean, 4),
        "std": round(variance**0.5, 4),
    }


def _labels(data: ImageData, labels: Tensor) -> dict[str, int]:
    """How many images each class, or each attribute, has."""
    if labels.ndim == 2:
        names = data.label_names or [str(k) for k in range(labels.shape[1])]
        return dict(zip(names, (labels == 1).sum(0).tolist(), strict=True))
    if data.num_classes is None:
        return {}
    names = data.label_names or [str(k) for k in range(data.num_classes)]
    counts = torch.bincount(labels, minlength=data.num_classes)
    return dict(zip(names, counts.tolist(), strict=True))


def content_hash(images: Tensor) -> Tensor:
    """A 64-bit hash of the pixels of each image (B, C, H, W), (B,).

    A random linear map modulo 2^64: two given images that differ meet with probability below
    2^-56, so images with the same hash are the same.
    """
    rows = images.flatten(1).long()
    weights = torch.randint(
        -(2**63), 2**63 - 1, (rows.shape[1],), generator=stream("content hash"), dtype=torch.int64
    )
    return (rows * weights).sum(1)


def duplicates(hashes: Tensor) -> dict[str, Any]:
    """How many images repeat an earlier one exactly, and the positions of some, [first, later]."""
    _, group = torch.unique(hashes, return_inverse=True)
    first = torch.full((int(group.max()) + 1 if len(group) else 0,), len(hashes))
    first = first.scatter_reduce(0, group, torch.arange(len(hashes)), "amin")
    later = (first[group] != torch.arange(len(hashes))).nonzero().flatten()
    pairs = torch.stack([first[group[later]], later], 1)[:NAMED]
    return {"count": len(later), "examples": pairs.tolist()}


def leaks(train: Tensor, other: Tensor) -> dict[str, Any]:
    """How many images of another split are in train, and the positions of some there."""
    found = torch.isin(other, train).nonzero().flatten()
    return {"count": len(found), "examples": found[:NAMED].tolist()}


def contact_sheet(images: Images, side: int = 8, gap: int = 2) -> Image.Image:
    """A square of images, taken evenly from all."""
    count = min(side * side, len(images))
    pixels, _ = images[torch.linspace(0, len(images) - 1, count).round().long()]
    _, channels, height, width = pixels.shape
    sheet = np.zeros((side * (height + gap) + gap, side * (width + gap) + gap, channels), np.uint8)
    sheet[..., -1 if channels in (2, 4) else slice(0)] = 255  # opaque between the images
    for k, image in enumerate(pixels.permute(0, 2, 3, 1).numpy()):
        top, left = gap + k // side * (height + gap), gap + k % side * (width + gap)
        sheet[top : top + height, left : left + width] = image
    scale = max(1, 64 // height)
    picture = Image.fromarray(sheet[..., 0] if channels == 1 else sheet)
    return picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)


def as_text(report: dict[str, Any]) -> str:
    """The report as lines to read."""
    kind = f"{report['num_classes']} classes" if report["num_classes"] else "no classes"
    lines = [f"{report['name']} {tuple(report['shape'])}, {kind}; {report['source'] or 'original'}"]
    for split, facts in report["splits"].items():
        levels = facts["levels"]
        lines.append(f"{split}: {facts['count']:,} images, fingerprint {facts['fingerprint']}")
        if levels:
            lines.append(
                f"  levels {levels['min']} to {levels['max']} ({levels['distinct']} distinct), "
                f"mean {levels['mean']:.2f}, standard deviation {levels['std']:.2f}"
            )
        if facts.get("corrupt"):
            lines.append(f"  corrupt, and replaced by others: {len(facts['corrupt']):,}")
        for title in ("labels", "file_sizes", "file_modes"):
            if facts.get(title):
                counts = Counter(facts[title])
                lines.append(f"  {title.replace('_', ' ')}: " + _listed(counts))
    lines.append(f"exact duplicates in train: {report['duplicates_in_train']['count']:,}")
    for split in ("val", "test"):
        leak = report[f"leaks_from_train_to_{split}"]["count"]
        lines.append(f"images of {split} that are in train: {leak:,}")
    return "\n".join(lines) + "\n"


def _listed(counts: Counter[str], most: int = 12) -> str:
    shown = ", ".join(f"{name} {count:,}" for name, count in list(counts.items())[:most])
    return shown + (f", and {len(counts) - most} more" if len(counts) > most else "")
