"""Networks bound to an objective."""

import lightning_gen._torchvision  # noqa: F401
