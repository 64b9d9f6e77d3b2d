"""The names of scores, and which way they are better."""

import re

LOWER = ("fid", "fid_inf", "kid", "nll", "bpd", "mse", "lpips", "sampling", "mode_kl")
HIGHER = (
    "is",
    "is_all",
    "precision",
    "recall",
    "density",
    "coverage",
    "psnr",
    "ssim",
    "accuracy",
    "modes",
    "quality",
)


def family(key: str) -> str:
    """The metric of a score's key: fid of fid/digits@2000."""
    return re.split(r"[/@]", key, maxsplit=1)[0].lower()


def direction(key: str) -> int:
    """-1 where lower is better, 1 where higher is, 0 where that is not known."""
    return -1 if family(key) in LOWER else int(family(key) in HIGHER)
