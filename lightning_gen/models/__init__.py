"""Networks bound to an objective."""

import lightning_gen._torchvision  # isort: skip  # noqa: F401  # before pytorch_lightning
