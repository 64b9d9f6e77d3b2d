"""Autoencoders."""

from .autoencoder import Autoencoder as Autoencoder
from .draw import DRAW as DRAW
from .hierarchical_pixel_vae import HierarchicalPixelVAE as HierarchicalPixelVAE
from .iwae import IWAE as IWAE
from .layered import LayeredCVAE as LayeredCVAE
from .pixel_vae import PixelVAE as PixelVAE
from .resnet_vae import ResNetVAE as ResNetVAE
from .semi_supervised import SemiSupervisedVAE as SemiSupervisedVAE
from .stacked_semi_supervised import StackedSemiSupervisedVAE as StackedSemiSupervisedVAE
from .vae import VAE as VAE
