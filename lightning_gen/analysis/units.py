r"""Which units of a code a model uses: component collapse is that the posterior of some says nothing.

.. math:: A_u = Var_x(E_{q(z_u|x)}[z_u])

References:
    | Importance Weighted Autoencoders (Burda et al., 2016), Section 5.2
    | https://arxiv.org/abs/1509.00519
"""

from torch import Tensor

THRESHOLD = 0.01  # the paper's, which notes that activities lie far from it on either side


def activity(codes: Tensor) -> Tensor:
    """The variance over images of the posterior mean of each unit, (D,).

    Arguments:
        codes: Posterior means of images, (N, D), as `Encoder.encode` gives them.
    """
    if len(codes) < 2:
        raise ValueError(f"a variance over images needs at least 2 of them, got {len(codes)}")
    return codes.double().var(0)


def active_units(codes: Tensor, threshold: float = THRESHOLD) -> Tensor:
    """Whether each unit is active, (D,): its activity is above the threshold.

    Arguments:
        codes: As in `activity`.
        threshold: The paper's is 0.01.
    """
    return activity(codes) > threshold
