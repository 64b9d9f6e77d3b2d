"""Pure functions from logits and tensors to losses."""

from .adversarial import cross_entropy_discriminator as cross_entropy_discriminator
from .adversarial import least_squares_discriminator as least_squares_discriminator
from .adversarial import least_squares_generator as least_squares_generator
from .adversarial import minimax_generator as minimax_generator
from .adversarial import non_saturating_generator as non_saturating_generator
from .adversarial import wasserstein_discriminator as wasserstein_discriminator
from .adversarial import wasserstein_generator as wasserstein_generator
from .likelihood import bernoulli_nll as bernoulli_nll
from .likelihood import bits_per_dim as bits_per_dim
from .likelihood import categorical_nll as categorical_nll
from .likelihood import discretized_logistic_nll as discretized_logistic_nll
from .likelihood import gaussian_kl as gaussian_kl
from .likelihood import gaussian_nll as gaussian_nll
from .likelihood import standard_normal_nll as standard_normal_nll
from .penalties import gradient_penalty as gradient_penalty
