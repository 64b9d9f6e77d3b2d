"""Autoregressive models."""

from .gated_pixelcnn import GatedPixelCNN as GatedPixelCNN
