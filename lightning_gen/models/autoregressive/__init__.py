"""Autoregressive models, and the baselines that they are held against."""

from .baselines import IndependentModel as IndependentModel
from .baselines import UniformModel as UniformModel
from .deep_nade import DeepNADE as DeepNADE
from .gaussian import GaussianModel as GaussianModel
from .made import MADE as MADE
from .multiscale import MultiscalePixelCNN as MultiscalePixelCNN
from .pixel_model import PixelModel as PixelModel
