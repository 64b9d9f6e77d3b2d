"""Networks whose layers keep buffers, or compare images, in training on several processes."""

import pytest
import torch

from datamodules import Digits
from lightning_gen.models.gans.gan import GAN
from lightning_gen.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from tests.game import trainer, two_processes


def trained(**kwargs):
    torch.manual_seed(0)
    model = GAN(
        generator=DCGANGenerator(28, 1, 8, 4, norm="virtual"),
        discriminator=DCGANDiscriminator(
            28, 1, 4, norm="none", spectral=True, minibatch_discrimination=3
        ),
        ema_half_life=50.0,
    ).double()
    run = trainer(precision="64-true", max_epochs=1, limit_train_batches=4, **kwargs)
    run.fit(model, Digits(size=28, batch_size=16))
    return model


@pytest.mark.slow
def test_two_processes_with_special_layers_compute_what_one_computes():
    alone, together = trained(), trained(**two_processes())
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(together.state_dict()[name], value, msg=name)
