"""A model that is told one class of an image refuses attributes, of which many hold, at set-up."""

import pytest
import torch
from torch.utils.data import DataLoader

from lightning_gen.models.autoencoders import VAE
from lightning_gen.models.autoregressive import PixelModel
from lightning_gen.models.gans import ACGAN
from lightning_gen.networks.causal import GatedCausalStack
from lightning_gen.networks.conditional import AttributeDecoder, AttributeEncoder
from lightning_gen.networks.encoders import MLPDecoder, MLPEncoder
from lightning_gen.networks.mlp import MLPDiscriminator, MLPGenerator
from tests.game import TinyData, trainer

SHAPE, A = (1, 4, 4), 5


class Attributes(TinyData):
    """As many attributes as the models have classes."""

    num_classes, num_attributes = None, A

    def train_dataloader(self):
        images = torch.zeros(8, *SHAPE, dtype=torch.uint8)
        rows = list(zip(images, torch.ones(8, A).long(), strict=True))
        return DataLoader(rows, batch_size=4)


def pixels():
    return PixelModel(GatedCausalStack(1, width=4, depth=1, head=4, num_classes=A), SHAPE)


def game():
    return ACGAN(generator=MLPGenerator(SHAPE, 3, (8,), A), discriminator=MLPDiscriminator(SHAPE))


@pytest.mark.parametrize("make", [pixels, game])
def test_a_model_of_classes_refuses_attributes_in_one_sentence(make):
    sentence = (
        f"{type(make()).__name__} is told one class of an image but the data has 5 attributes"
    )
    with pytest.raises(ValueError, match=sentence):
        trainer(max_steps=1).fit(make(), Attributes())


def test_networks_of_attributes_are_told_them_or_draw_nothing():
    sizes = {"widths": (4,), "hidden": 8}
    encoder = AttributeEncoder(SHAPE, 3, A, **sizes)
    model = VAE(encoder, AttributeDecoder(SHAPE, 3, A, outputs=1, **sizes))
    assert model.sample(2, torch.ones(2, A)).shape == (2, *SHAPE)
    with pytest.raises(ValueError, match=r"images of given attributes, so give it labels \(n, 5\)"):
        model.sample(2)
    alone = VAE(MLPEncoder(SHAPE, 3, (8,)), AttributeDecoder(SHAPE, 3, None, outputs=1, **sizes))
    assert not alone.of_attributes
    assert alone.sample(2).shape == (2, *SHAPE)
    plain = (cls(SHAPE, 3, (8,), num_classes=A) for cls in (MLPEncoder, MLPDecoder))
    assert VAE(*plain).sample(2).shape == (2, *SHAPE)


def test_a_model_of_attributes_takes_them():
    networks = (cls(SHAPE, 3, (8,), num_classes=A) for cls in (MLPEncoder, MLPDecoder))
    player = trainer(max_steps=1)
    player.fit(VAE(*networks), Attributes())
    assert player.global_step == 1
