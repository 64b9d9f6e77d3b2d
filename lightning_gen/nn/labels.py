"""How labels get into networks: classes (B,), or attributes (B, num_classes) of which many hold."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def one_hot(labels: Tensor | None, num_classes: int, dtype: torch.dtype) -> Tensor:
    """Classes (B,) as rows with a single 1, (B, num_classes); attributes stay what they are."""
    if labels is None:
        raise ValueError(f"the network is conditioned on {num_classes} classes; give it labels")
    if labels.dim() == 1:
        return F.one_hot(labels, num_classes).to(dtype)
    if labels.shape[1:] != (num_classes,):
        raise ValueError(
            f"labels must be classes (B,) or attributes (B, {num_classes}), got "
            f"{tuple(labels.shape)}"
        )
    return labels.to(dtype)


def with_labels(x: Tensor, labels: Tensor | None, num_classes: int | None) -> Tensor:
    """Vectors (B, F) or maps (B, C, H, W) with each label as a further, constant channel.

    Where `num_classes` is None there must be no labels, and x is left alone.
    """
    if num_classes is None:
        refuse_labels(labels)
        return x
    y = one_hot(labels, num_classes, x.dtype)
    y = y.view(*y.shape, *[1] * (x.dim() - 2)).expand(-1, -1, *x.shape[2:])
    return torch.cat([x, y], dim=1)


def refuse_labels(labels: Tensor | None) -> None:
    """Raises ValueError if a network that has no use for labels is given any."""
    if labels is not None:
        raise ValueError("the network knows no classes; set its num_classes, or give no labels")


class Labelled(nn.Module):
    """A layer whose `forward` takes labels beside its input, or None."""


class LabelledSequential(nn.Sequential):
    """Layers in a row, of which those that are `Labelled` are given the labels."""

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        for layer in self:
            x = layer(x, labels) if isinstance(layer, Labelled | LabelledSequential) else layer(x)
        return x
