"""Is a user's network, sampler, feature function, weighting or noise distribution repeatable?

It must give the same rows when it is called twice, in another order, and for a few of them alone.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from diffusion_core.exact import GaussianDenoiser
from diffusion_core.noise import NoiseDistribution
from diffusion_core.samplers import Sampler, checked_steps
from diffusion_core.samplers.seeded_noise import BlockNoise
from diffusion_core.schedules.sigma import Sigmas
from diffusion_core.weightings import WEIGHTINGS
from experiments.user.imports import format_error, user_code_errors

N_LEVELS = 10_000  # that are drawn from a noise distribution
LARGEST_GAP = 2.7  # times sqrt(N_LEVELS), of two cumulative distributions (Kolmogorov-Smirnov): p = 1e-6
N_INPUTS = 16
SEED = 20_262
NEEDS = "it must depend on its own input only, not on chance, earlier calls, its place or the rest of the batch"


def check_repeatable(  # noqa: PLR0913  # what is asked, and how exactly
    what: str,
    function: Callable[[Tensor], Tensor],
    n: int = N_INPUTS,
    tolerance: float = 1e-3,
    few: int = N_INPUTS,
    most: int = 0,
    hint: str = "",
    of_means: bool = False,
) -> Tensor:
    """function(0, ..., n - 1), the rows (n, ...) of n inputs. ValueError if they change with what is asked beside them.

    Args:
        function: the rows of the inputs with these indices, in their order.
        tolerance: largest relative difference of a row, or of the mean row if `of_means`, between batches, by rounding.
        few: at most that many inputs alone; fewer than n, at least one.
        most: if above n, a batch of that many too, in which inputs are repeated.
    """
    every = torch.arange(n)
    order = (every ^ 1).clamp(max=n - 1)  # neighbours change places, which in batches for networks have equal levels
    rows, again = function(every), function(every)
    if rows.shape != again.shape or not torch.equal(rows.nan_to_num(), again.nan_to_num()):
        raise ValueError(f"{what}: called twice with the same input, the output changed; {NEEDS}{hint}")
    batches = {"the batch was reordered": order, "the batch was smaller": order[: min(few, max(n // 2, 1))]}
    if most > n:
        batches["the batch was larger"] = torch.arange(most) % n
    for change, indices in batches.items():
        some = function(indices).nan_to_num().double()
        expected = rows[indices.to(rows.device)].nan_to_num().double()
        if some.shape != expected.shape:
            raise ValueError(f"{what}: {len(indices)} inputs gave {tuple(some.shape)}, not {tuple(expected.shape)}")
        if of_means:
            some, expected = some.mean(dim=0, keepdim=True), expected.mean(dim=0, keepdim=True)
        size = expected.reshape(len(expected), -1).norm(dim=1) + torch.finfo(torch.float32).tiny
        gap = ((some - expected).reshape(len(expected), -1).norm(dim=1) / size).max()
        if gap > tolerance:
            raise ValueError(f"{what}: the output for an input changed by {gap:.2g} when {change}; {NEEDS}{hint}")
    return rows


def check_user_sampler(sampler: Sampler, sigmas: Sigmas, shape: tuple[int, ...]) -> None:
    """Raises ValueError unless samples of an exact denoiser are the same again, in another order and alone.

    A sampler that fails is let through: its runs say why.
    """
    what = f"sampler {sampler.name}"

    @torch.no_grad()
    def samples(which: Tensor) -> Tensor:
        noise = BlockNoise(SEED, which.tolist(), shape, torch.device("cpu"))
        *_, last = checked_steps(GaussianDenoiser(), sampler, sigmas, noise() * sigmas[0], noise)
        return last.clone()

    with user_code_errors(what):
        try:
            samples(torch.arange(N_INPUTS))
        except Exception:
            return
        check_repeatable(what, samples, tolerance=1e-4, few=3, hint="; all random numbers must come from noise()")


def check_noise(noise: NoiseDistribution, stratified: bool, batch: int) -> None:
    """Raises ValueError unless a noise distribution draws levels from its generator only, and its density is theirs."""
    what = f"noise {noise.name}"
    try:
        _check_noise(what, noise, stratified, batch)
    except Exception as error:
        if str(error).startswith(what):
            raise
        raise ValueError(f"{what}: {format_error(error)}") from error


def _check_noise(what: str, noise: NoiseDistribution, stratified: bool, batch: int) -> None:
    for n in (batch, N_LEVELS):
        first, again = (noise.sample(n, torch.Generator().manual_seed(SEED), stratified) for _ in range(2))
        _check_form(f"{what}: sample", first, n, torch.float32)
        if not torch.equal(first, again):
            raise ValueError(f"{what}: it must draw all random numbers from the generator that it is given")
        if not (first.square().isfinite() & (first.square() > 0)).all():
            raise ValueError(f"{what}: its levels must be finite and above 0, and so must their squares in float32")
    levels = first.sort().values
    other = noise.sample(N_LEVELS, torch.Generator().manual_seed(SEED + 1), stratified).sort().values
    if stratified and not ((levels[:-1] <= other[1:]) & (other[:-1] <= levels[1:])).all():  # neighbours overlap
        raise ValueError(f"{what}: stratified=True must give one level from each of n equally probable parts")
    _by_element(f"{what}: log_density", noise.log_density, torch.linspace(-3, 2, batch).double())
    low, high = levels[[0, -1]].double().log().tolist()
    width = float((levels[-1] / levels[0]).log())
    x = torch.cat([torch.linspace(-20, 20, N_LEVELS), torch.linspace(low - width, high + width, N_LEVELS)])
    x = x.double().sort().values
    mass = torch.cumulative_trapezoid(noise.log_density(x).exp(), x)
    total = float(mass[-1])
    if not abs(total - 1) < 0.02:  # steps of a density add up to less; NaN is refused, too
        raise ValueError(f"{what}: its density of ln sigma integrates to {total:.3g}; it must be 1")
    drawn, counts = levels.double().log().unique(return_counts=True)  # a table's distribution has few
    edges = (drawn + torch.cat([drawn[1:], drawn[-1:] + 1])) / 2
    shares = counts.cumsum(0) / N_LEVELS
    expected = torch.from_numpy(np.interp(edges, x[1:], mass / total))
    at = (shares - expected).abs().argmax()
    if (shares[at] - expected[at]).abs() > LARGEST_GAP / N_LEVELS**0.5:
        gap = f"{shares[at]:.0%} of its levels lie below {edges[at].exp():.3g}, but {expected[at]:.0%} by log_density"
        raise ValueError(f"{what}: {gap}; it must be the density of their ln sigma")


def check_weighting(name: str, batch: int) -> None:
    """Raises ValueError unless the weights of the loss at levels from 0.01 to 100 are weights, each of its level."""
    what = f"weighting {name}"
    weights = _by_element(what, WEIGHTINGS[name], torch.logspace(-2, 2, batch))
    if not (weights.isfinite() & (weights >= 0)).all() or not weights.any():
        raise ValueError(f"{what}: its weights must be finite, at least 0, and not all 0")


def _by_element(what: str, function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    def values(which: Tensor) -> Tensor:
        out = function(x[which])
        _check_form(what, out, len(which), x.dtype)
        return out

    return check_repeatable(what, values, len(x), tolerance=1e-5)


def _check_form(what: str, value: object, n: int, dtype: torch.dtype) -> None:
    if not isinstance(value, Tensor) or (value.shape, value.dtype) != ((n,), dtype):
        form = f"{tuple(value.shape)} {value.dtype}" if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"{what} gave {form}; it must give a tensor ({n},) {dtype}")
