"""Which of the noise levels that a sampler asks for a network does not know."""

from diffusion_core.samplers import Sampler

ROUNDING = 1e-4  # of a level, relative: names show six digits


def unknown(level: float, span: tuple[float, float]) -> str:
    """Why a network that knows the levels of `span` should not be asked for this one; empty if it knows it."""
    least, most = span
    if level < least * (1 - ROUNDING):
        return f"the network knows no level below {least:.3g}"
    if level > most * (1 + ROUNDING):
        return f"the network knows no level above {most:.3g}"
    return ""


def unknown_levels(sampler: Sampler, ladder: tuple[float, ...], span: tuple[float, float]) -> str:
    """Why a network that knows the levels of `span` cannot be sampled like this; empty if it can."""
    whys = [f"sigma {sigma:.3g}: {why}" for sigma in sampler.asked(ladder) if (why := unknown(sigma, span))]
    return "; ".join(whys)
