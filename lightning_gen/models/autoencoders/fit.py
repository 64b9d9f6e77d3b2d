"""Whether networks of codes fit each other: what does not is refused in one sentence."""

from math import inf

from ...nn.code_prior import CodePrior
from ...nn.roles import Decoder, Encoder, PosteriorFlow, UpperCodes
from ..distributions import Distribution


def check_networks(encoder: Encoder, decoder: Decoder, likelihood: Distribution) -> None:
    """Raises ValueError where an encoder, a decoder and a distribution do not fit each other."""
    _same("latent_size", encoder.latent_size, "the decoder's", decoder.latent_size)
    _same("shape", tuple(encoder.shape), "the decoder's", tuple(decoder.shape))
    if encoder.num_classes is not None:
        _same("num_classes", encoder.num_classes, "the decoder's", decoder.num_classes)
    check_outputs(decoder, likelihood, "decoder")


def check_outputs(decoder: Decoder, likelihood: Distribution, name: str) -> None:
    """Raises ValueError where a network gives a distribution more numbers than it has, or fewer."""
    if decoder.outputs != likelihood.parameters:
        raise ValueError(
            f"{type(likelihood).__name__} has {likelihood.parameters} parameters per sub-pixel, so "
            f"the {name}'s outputs must be {likelihood.parameters}, got {decoder.outputs}"
        )


def check_weights(kl_weight: float, kl_warmup: int, free_bits: float) -> None:
    """Raises ValueError where a divergence is to be weighed by what is no weight."""
    if not 0 <= kl_weight < inf or kl_warmup < 0:
        raise ValueError(
            f"kl_weight and kl_warmup must not be negative, got {kl_weight} and {kl_warmup}"
        )
    if not 0 <= free_bits < inf:
        raise ValueError(f"free_bits must be nats, 0 or more, got {free_bits}")


def check_codes(
    encoder: Encoder, flow: PosteriorFlow | None, upper: UpperCodes | None, free_bits: float
) -> None:
    """Raises ValueError where a flow of codes, or a layer above them, does not fit the encoder."""
    if upper is not None:
        _same("latent_size", encoder.latent_size, "the upper codes' below_size", upper.below_size)
    if flow is not None and free_bits:
        raise ValueError(
            "free_bits are for units, but a flow has one divergence for all of them; leave one of the "
            "two out"
        )
    if flow is not None:
        _same("latent_size", encoder.latent_size, "the flow's", flow.latent_size)
        _same("context_size", encoder.context_size, "the flow's", flow.context_size)
    elif encoder.context_size:
        raise ValueError(
            f"the encoder's context_size is {encoder.context_size} but there is no flow to read it; "
            "leave it at 0, or give the model a flow"
        )


def check_stack(
    lower_encoder: Encoder,
    lower_decoder: Decoder,
    decoder: Decoder,
    lower_images: int,
    upper: UpperCodes | None,
) -> None:
    """Raises ValueError where a decoder is not of the codes of another, which is to be fitted first."""
    if tuple(decoder.shape) != (lower_decoder.latent_size, 1, 1):
        raise ValueError(
            f"the upper networks are of codes of {lower_decoder.latent_size} numbers, so their "
            f"shape must be {(lower_decoder.latent_size, 1, 1)}, got {tuple(decoder.shape)}"
        )
    check_codes(lower_encoder, None, None, 0)
    if upper is not None:
        raise ValueError("the codes of M2 are its last; leave out upper")
    if (lower_encoder.num_classes, lower_decoder.num_classes) != (None, None):
        raise ValueError("the lower networks are told no classes; leave out their num_classes")
    if lower_images < 1:
        raise ValueError(f"lower_images must be at least 1, got {lower_images}")


def check_upper(upper_encoder: Encoder, code_prior: CodePrior, encoder: Encoder) -> None:
    """Raises ValueError where an upper layer of codes does not fit the one below."""
    sizes = {
        "upper_encoder's latent_size": (upper_encoder.latent_size, code_prior.latent_size),
        "code_prior's below_size": (code_prior.below_size, encoder.latent_size),
        "upper_encoder's shape": (tuple(upper_encoder.shape), tuple(encoder.shape)),
        "upper_encoder's num_classes": (upper_encoder.num_classes, None),
        "encoder's num_classes": (encoder.num_classes, None),
        "upper_encoder's context_size": (upper_encoder.context_size, 0),
        "encoder's context_size": (encoder.context_size, 0),
    }
    for name, (size, needed) in sizes.items():
        if size != needed:
            raise ValueError(f"the {name} is {size} but the other networks need {needed}")


def _same(what: str, size: object, whose: str, other: object) -> None:
    if size != other:
        raise ValueError(
            f"the encoder's {what} is {size} but {whose} is {other}; they must be equal"
        )
