"""What conditional models learn: that classes matter, and which layer of an image is which."""

from itertools import count, islice

import pytest
import torch
from sklearn.datasets import load_digits

from datamodules.coloured_digits import Painted, paint_for
from datamodules.images import InMemory
from lightning_gen.levels import from_levels
from lightning_gen.models.autoencoders import VAE, LayeredCVAE
from lightning_gen.models.autoencoders.layered import split
from lightning_gen.models.base import Batch
from lightning_gen.networks.conditional import AttributeDecoder, AttributeEncoder
from lightning_gen.networks.encoders import MLPDecoder, MLPEncoder
from lightning_gen.randomness import Noise
from tests.latent import SHAPE


def bars(size, seed):
    """Class 0 has whole rows that are white, class 1 columns; never all or none of them."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(2, (size,), generator=generator)
    chosen = torch.randint(1, 15, (size, 1), generator=generator) >> torch.arange(4) & 1
    rows = chosen[:, :, None].expand(-1, -1, 4)
    images = torch.where(labels[:, None, None] == 0, rows, rows.mT)
    return images[:, None].float() * 2 - 1, labels


def trained(model, batches, steps, lr):
    """By Adam, whose rate falls to 0."""
    optimizer = torch.optim.Adam(model.parameters(), lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step, (images, labels) in enumerate(islice(batches, steps)):
        optimizer.zero_grad()
        model.terms(Batch(images, labels, Noise(("train", step), len(images))))["loss"].backward()
        optimizer.step()
        schedule.step()
    return model.eval()


@pytest.mark.slow
def test_a_conditional_vae_tells_classes_by_their_likelihoods():
    torch.manual_seed(0)
    networks = (cls(SHAPE, 4, (64,), num_classes=2) for cls in (MLPEncoder, MLPDecoder))
    model = trained(VAE(*networks), (bars(64, step) for step in count()), 1500, 5e-3)
    x, labels = bars(200, -1)
    each = torch.stack(
        [
            model.importance_nll(x, 50, torch.full((200,), y), Noise(("iw", y), 200))
            for y in range(2)
        ],
        1,
    )
    true, other = each.gather(1, labels[:, None]), each.gather(1, 1 - labels[:, None])
    assert true.mean() < other.mean() - 3
    assert (each.argmin(1) == labels).float().mean() > 0.97
    z = model.latent(200, Noise(("z",), 200))  # of the same codes, either class
    for y, along in ((0, 3), (1, 2)):
        made = model.decode(z, torch.full((200,), y))
        uneven = made.std(along).mean()
        assert uneven < made.std(5 - along).mean() / 2
        each = made.std(along).flatten(1).mean(1) < made.std(5 - along).flatten(1).mean(1)
        assert each.float().mean() > 0.85  # whatever the code is


class Blind(LayeredCVAE):
    """Is told nothing of masks but by the images as a whole."""

    def costs(self, layers, posteriors, x, mask):
        terms = super().costs(layers, posteriors, x, mask)
        told = terms["foreground"] + self.gate_weight * terms["gate"]
        return {**terms, "loss": terms["loss"] - told}


def coloured_digits():
    images, classes = load_digits(return_X_y=True)
    pixels = torch.from_numpy((images > 7) * 255).to(torch.uint8).view(-1, 1, 8, 8)
    pixels = pixels.repeat_interleave(2, 2).repeat_interleave(2, 3)
    return Painted(InMemory(pixels, torch.from_numpy(classes)), paint_for(len(pixels), "t"), True)


def layered(cls, data, steps):
    torch.manual_seed(0)
    shape, size = (3, 16, 16), {"widths": (8, 16), "hidden": 128}
    model = cls(
        AttributeEncoder(shape, 16, 22, **size),
        AttributeEncoder(shape, 8, 38, **size),
        AttributeDecoder(shape, 16, 22, outputs=2, **size),
        AttributeDecoder(shape, 8, 22, outputs=1, **size),
        gate_weight=1.0,
        kl_weight=0.05,
    )
    rows = (data[torch.randint(1500, (32,))] for _ in count())
    return trained(model, ((from_levels(x), y) for x, y in rows), steps, 4e-3)


def overlap(found, true):
    """Intersection over union of two masks."""
    return (found & true).sum() / (found | true).sum()


@pytest.mark.slow
def test_a_layered_model_finds_the_masks_of_images_that_it_has_not_seen():
    data = coloured_digits()
    model = layered(LayeredCVAE, data, 800)
    held, labels = data[torch.arange(1500, len(data))]
    x, mask = split(from_levels(held))
    layers = model.layers_of(from_levels(held), labels)
    assert overlap(layers.gate.mean(1, keepdim=True) < 0, mask > 0.5) > 0.8
    opposite = layers.gate_cost(1 - mask)
    assert layers.gate_cost(mask) < opposite / 2
    behind = (layers.background - x).abs().mean(1, keepdim=True)[mask == 0].mean()
    assert behind < 0.15  # and under the digits the ground goes on:
    assert layers.background.std((2, 3)).mean() < 0.2 < x.std((2, 3)).mean()


@pytest.mark.slow
def test_images_alone_do_not_part_their_layers():
    data = coloured_digits()
    model = layered(Blind, data, 300)
    held, labels = data[torch.arange(1500, len(data))]
    gate = model.layers_of(from_levels(held), labels).gate.mean(1, keepdim=True)
    assert overlap(gate < 0, split(from_levels(held))[1] > 0.5) < 0.6
