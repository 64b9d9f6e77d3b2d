"""Whole networks: plain modules between latents, images and logits."""
