"""A step of a flow model under exact velocities, and what it really draws.

x = (1 - t) x0 + t z, and time falls from t to t_next. Normal draws are answered by 0 and by 1 in one draw at a time:
x_next = m + sum_k c_k z_k has the mean m and the standard deviation s = sqrt(sum_k c_k^2), exactly, per element.
"""

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from experiments.conformance.impulses import NotAffineError, PatchedNormal
from experiments.conformance.oracle import GAUSSIAN

Levels = Callable[[int], Tensor]  # levels(n_steps): (n_steps + 1,) times, falling
Point = tuple[Tensor, ...]  # x, t, t_next, velocity
STORED = ("x_next", "prev_sample")  # names of the argument for a stored sample
CLOSE = 1e-3  # relative: two numbers that are the same but for rounding
EPS = 2.0**-23  # of float32
NOISE = 1e-6  # smallest standard deviation that counts as noise
ROWS = 5  # images of a batch
SMALL = 1e-3  # t - t_next at which mean and std are those of their limit
UNLIKE = 0.05  # relative: a factor that is not 1


def uniform(n_steps: int, shift: float = 1.0) -> Tensor:
    """(n_steps + 1,) levels from 1 (noise) to 0, shifted as in Esser et al. 2024, arXiv 2403.03206, Eq. 23."""
    t = torch.linspace(1, 0, n_steps + 1, dtype=torch.float64)
    return shift * t / (1 + (shift - 1) * t)


class StepOutput(NamedTuple):
    """The values that a step returned."""

    x: Tensor
    log_prob: Any
    mean: Tensor | None = None
    std: Tensor | None = None


class PolicyStep:
    """A step, called by the names of its arguments. ValueError unless it returns x_next, log_prob[, mean, std]."""

    def __init__(self, function: Callable[..., Any]) -> None:
        names = inspect.signature(function).parameters
        self.function = function
        self.takes_generator = "generator" in names
        self.names = tuple(names)
        self.takes_any = any(name.kind is name.VAR_KEYWORD for name in names.values())
        self.stored = next((name for name in STORED if name in names), None)

    def __call__(self, *at: Tensor, x_next: Tensor | None = None, **options: Any) -> StepOutput:
        if x_next is not None and self.stored:
            options[self.stored] = x_next
        out = self.function(*at, **options)
        if not isinstance(out, (tuple, list)) or not 2 <= len(out) <= 4 or not isinstance(out[0], Tensor):
            raise ValueError(f"it returned {type(out).__name__}; it must return (x_next, log_prob[, mean, std])")
        if out[0].shape != at[0].shape:
            raise ValueError(f"its x_next has shape {tuple(out[0].shape)}; that of x is {tuple(at[0].shape)}")
        return StepOutput(*out)

    def call_with(self, z: Tensor | None, *at: Tensor) -> StepOutput:
        """With the rows of z (K, B, ...) as its normal draws, one after another; None answers all by zeros."""
        with PatchedNormal(ReplayNoise(z, at[0].shape)):
            return self(*at)


class ReplayNoise:
    """Answers torch's normal draws from rows of noise, and counts the rows that were taken."""

    def __init__(self, z: Tensor | None, batch: torch.Size) -> None:
        self.rows = None if z is None else z.flatten(0, 1)
        self.taken = 0
        self.batch = batch

    def __call__(self, shape: torch.Size) -> Tensor:
        image = self.batch[1:]
        at = self.taken
        self.taken += math.ceil(shape.numel() / image.numel())
        if self.rows is None:
            return torch.zeros(shape, dtype=torch.float64)
        rows = self.rows[at : self.taken]
        too_many = len(rows) > self.batch[0] and shape[-len(image) :] != image
        too_few = len(rows) < self.batch[0] and at > 0
        if rows.numel() != shape.numel() or too_many or too_few:
            must = f"it must be one number per element of x, {tuple(self.batch)}, for all images at once"
            raise NotAffineError(f"it draws noise of shape {tuple(shape)}; {must}")
        return rows.reshape(shape)


@dataclass(frozen=True)
class Transition:
    """x_next = mean + std z at `at` = (x, t, t_next, velocity), per element (B, ...) in float64, as it is really drawn.

    `shares` (n_draws, B, ...): each draw's coefficient over std. `anomaly`: name and sentence if the step is not a
    Gaussian transition, else None.
    """

    at: Point
    mean: Tensor
    std: Tensor
    shares: Tensor
    anomaly: tuple[str, str] | None = None

    @property
    def noisy(self) -> bool:
        """Whether every element gets noise."""
        return bool(torch.isfinite(self.std).all()) and float(self.std.min()) > NOISE

    @property
    def quiet(self) -> bool:
        """Whether no element gets noise."""
        return float(self.std.max()) <= NOISE

    @property
    def dt(self) -> float:
        """t - t_next."""
        return float(self.at[1] - self.at[2])


def state(shape: tuple[int, ...], times: Tensor, dtype: torch.dtype, seed: int) -> Point:
    """`ROWS` copies of a noisy image at t."""
    generator = torch.Generator().manual_seed(seed)
    t, after = times
    x0 = GAUSSIAN.mean + torch.tensor(GAUSSIAN.stds) * torch.randn(1, *shape, generator=generator)
    x = ((1 - t) * x0 + t * torch.randn(x0.shape, generator=generator)).to(dtype).expand(ROWS, *shape).contiguous()
    return x, t, after, GAUSSIAN.velocity(x, t)


def measure(step: PolicyStep, *at: Tensor) -> Transition:
    """Mean and standard deviation by impulses: no noise, 1 in one draw at a time, and twice a random draw as a test."""
    copies = [value.clone() for value in at]  # a step may change them
    replayed = ReplayNoise(None, at[0].shape)
    with PatchedNormal(replayed):
        mean = step(*copies).x.double()
    n_draws = math.ceil(replayed.taken / len(mean))
    nothing = torch.zeros_like(mean)
    impulses = torch.eye(n_draws, dtype=torch.float64).view(n_draws, n_draws, *[1] * mean.ndim)
    z = torch.randn(n_draws, *mean.shape, generator=torch.Generator().manual_seed(0))
    z = z.bfloat16().double()  # the step may draw in any dtype
    try:
        draws = (impulse.expand(n_draws, *mean.shape) for impulse in impulses)
        units = [step.call_with(row, *copies).x.double() - mean for row in draws]
        test, again = (step.call_with(z, *copies).x.double() for _ in range(2))
    except NotAffineError as error:
        return Transition(at, mean, nothing, nothing[:0], ("shape of the noise", f"{error}."))
    coefficients = torch.stack([nothing, *units])[1:]
    std = coefficients.square().sum(0).sqrt()
    guess = mean + (coefficients * z).sum(0)
    gap = (test - guess).abs() - CLOSE * std - 1e-5 * (1 + guess.abs())
    anomaly = None
    if not all(map(torch.equal, copies, at)):
        anomaly = "changes its input", "it changes x, t or the velocity in place."
    elif not torch.isfinite(test).all():
        pass  # the check of the ends says so
    elif not torch.equal(test, again):
        anomaly = "other randomness", "with the same normal draws of torch it returns another x_next."
    elif float(std.max()) > NOISE and torch.equal(test[0], test[1]):
        anomaly = "one noise for all", "all images of a batch get the same noise."
    elif (gap > 2.0**-8 * (coefficients * z).abs().sum(0)).any():
        anomaly = "not a Gaussian step", "x_next is not, element by element, a mean plus multiples of its normal draws."
    elif (gap > 0).any():
        anomaly = "rounded noise", "the noise is rounded, as in bfloat16: draw and scale it in float32."
    return Transition(at, mean, std, coefficients / std, anomaly)


def explain_limit(step: PolicyStep, transitions: Sequence[Transition]) -> str:
    """A sentence on the std or the drift of a step with a wrong limit, in the middle of its noisy steps; "" if unknown.

    For small dt = t - t_next, std is proportional to sqrt(dt), and x - mean = dt v + std^2 / 2 E[z] / t with
    E[z] = x + (1 - t) v, the reverse SDE of Song et al. 2021, arXiv 2011.13456, Eq. 6. Least squares fit a factor on
    each of both terms.
    """
    noisy = [transition for transition in transitions if transition.noisy]
    if not noisy:
        return ""
    transition = noisy[len(noisy) // 2]
    x, t, after, v = (value.double() for value in transition.at)
    quarter = measure(step, x, t, t - (t - after) / 4, v)
    if abs(float(quarter.std.mean() / transition.std.mean()) - 1) < UNLIKE:
        return " The drawn std lacks sqrt(t - t_next)."
    small = measure(step, x, t, t - SMALL, v)
    terms = torch.stack([SMALL * v, small.std.square() / 2 * (x + (1 - t) * v) / t]).flatten(1).T
    drift = (x - small.mean).flatten()
    factors = torch.linalg.lstsq(terms, drift[:, None]).solution.flatten()
    along, against_noise = (round(factor, 2) + 0.0 for factor in factors.tolist())
    if not (drift - terms @ factors).norm() < UNLIKE * drift.norm() or float((factors - 1).abs().max()) < UNLIKE:
        return ""
    return f" Its drift has its velocity {along:.2g} times, and makes up for its noise {against_noise:.2g} times."
