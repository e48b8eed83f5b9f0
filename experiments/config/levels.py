"""The noise levels that a sampler asks a network for, which may lie above those of its ladder."""

from dataclasses import replace
from itertools import pairwise

from diffusion_core.samplers import Churn, EulerCorrected, Restart, Sampler
from diffusion_core.samplers.churn import MAX_GAMMA

ROUNDING = 1e-4  # of a level, relative: names show six digits


def visited(sampler: Sampler, ladder: tuple[float, ...]) -> tuple[float, ...]:
    """The levels in their order: up wherever noise is put back before a step, which churn and restarts do."""
    found = [ladder[0]]
    inner = sampler.inner_ladders(ladder) if isinstance(sampler, Restart) else {}
    for index, (sigma, after) in enumerate(pairwise(ladder), start=1):
        raised = sampler.raised(sigma, len(ladder) - 1) if isinstance(sampler, Churn) else sigma
        found += [raised, after] if raised > sigma else [after]
        found += [level for restart in inner.get(index, ()) for level in restart]
    return tuple(found)


def asked(sampler: Sampler, ladder: tuple[float, ...]) -> tuple[float, float]:
    """The smallest level above 0 and the largest level that a network is asked for, or that the ladder has."""
    found = list(visited(sampler, ladder))
    if isinstance(sampler, EulerCorrected):
        found += [sampler.shift * sigma for sigma in ladder if sigma <= sampler.s_max]
    return min(filter(None, found)), max(found)


def unknown(level: float, span: tuple[float, float]) -> str:
    """Why a network that knows the levels of `span` should not be asked for this one; empty if it knows it."""
    least, most = span
    if level < least * (1 - ROUNDING):
        return f"the network knows no level below {least:.3g}"
    if level > most * (1 + ROUNDING):
        return f"the network knows no level above {most:.3g}"
    return ""


def beyond(sampler: Sampler, ladder: tuple[float, ...], span: tuple[float, float]) -> str:
    """Why a network that knows the levels of `span` cannot be sampled like this; empty if it can."""
    whys = [f"sigma {sigma:.3g}: {why}" for sigma in asked(sampler, ladder) if (why := unknown(sigma, span))]
    return "; ".join(whys)


def capped(sampler: Sampler, ladder: tuple[float, ...], most: float) -> Sampler:
    """The sampler with an s_max such that churn raises no level above `most`; the same one if it raises none so far."""
    if not isinstance(sampler, Churn) or max(visited(sampler, ladder)) <= most:
        return sampler
    gain = 1 + min(sampler.s_churn / (len(ladder) - 1), MAX_GAMMA)
    s_max = float(f"{most / gain:.6g}")  # as names show it
    return replace(sampler, s_max=s_max) if s_max >= sampler.s_min else sampler
