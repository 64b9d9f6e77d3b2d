"""Generative adversarial networks."""

from .acgan import ACGAN as ACGAN
from .began import BEGAN as BEGAN
from .ebgan import EBGAN as EBGAN
from .gan import GAN as GAN
from .improved import ImprovedGAN as ImprovedGAN
from .infogan import InfoGAN as InfoGAN
from .loss_sensitive import LossSensitiveGAN as LossSensitiveGAN
from .lsgan import LSGAN as LSGAN
from .objective import ObjectiveGAN as ObjectiveGAN
from .semi_supervised import SemiSupervisedGAN as SemiSupervisedGAN
from .wgan import WGAN as WGAN
from .wgan_gp import WGANGP as WGANGP
