"""Generative adversarial networks."""

from .gan import GAN as GAN
from .lsgan import LSGAN as LSGAN
from .wgan_gp import WGANGP as WGANGP
