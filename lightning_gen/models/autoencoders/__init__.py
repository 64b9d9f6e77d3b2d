"""Autoencoders."""

from .vae import VAE as VAE
