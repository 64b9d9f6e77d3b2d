"""Lets PyPI's torchvision import beside a CPU-only torch; where it imports anyway, changes nothing.

Its compiled operators want CUDA's libraries, and without them `import torchvision` stops at
`operator torchvision::nms does not exist`, and takes torchmetrics and pytorch_lightning with it:
https://github.com/pytorch/vision/issues/9085. Declaring the operators is enough for all but
`torchvision.io` and `torchvision.ops.nms`, which we do not use. Import this first.
"""

import sys

import torch

_library = torch.library.Library("torchvision", "FRAGMENT")  # lives as long as its operators


def mend() -> None:
    """Imports torchvision, declaring its missing operators if it fails for want of them."""
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        for operator in ("nms", "qnms"):
            _library.define(
                f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            )
        import torchvision  # noqa: F401


mend()
