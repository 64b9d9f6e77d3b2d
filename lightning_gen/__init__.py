"""A PyTorch Lightning platform for deep generative models of images.

Nothing is imported here, so that `run.py --help` does not wait for torch.
"""

__version__ = "0.1.0"
