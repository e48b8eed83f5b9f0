"""The time that a network receives: a number that stands for the noise level.

Here `sigma` is in units of the network's own images: the noise's standard deviation over the factor of the clean image.
Each time has `time(sigma)`, on tensors float64 (B,), and `span`, the smallest and the largest sigma that the
network knows. Beyond the span `time` returns its end.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any, Protocol

import torch
from torch import Tensor

from diffusion_core.schedules.process_time import N_TABLE, check_vp, ddpm_table
from diffusion_core.validation import as_type, check_fields, check_range, check_share

ALL = (0.0, math.inf)


class Time(Protocol):
    """The time that a network receives, see the top of this file."""

    @property
    def span(self) -> tuple[float, float]: ...

    def time(self, sigma: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Sigma:
    """The noise level itself, in units of the network's images: not sigma of the data, which is the same over a."""

    span = ALL

    def time(self, sigma: Tensor) -> Tensor:
        return sigma


@dataclass(frozen=True)
class LogSigma:
    """ln sigma times a factor.

    Source: Karras et al. 2022, arXiv 2206.00364, Table 1: c_noise = ln(sigma) / 4.
    Note: c_noise is LogSigma(0.25). EDM's preconditioned network D computes it inside, and takes `Sigma()`.
    """

    factor: float = 1.0
    span = ALL

    def __post_init__(self) -> None:
        check_fields(self)
        if self.factor == 0 or math.isinf(self.factor):
            raise ValueError(f"factor={self.factor}: it must be finite and not 0")

    def time(self, sigma: Tensor) -> Tensor:
        return sigma.log() * self.factor


@dataclass(frozen=True)
class FlowTime:
    """The share of noise in z = (1 - t) x0 + t noise, so sigma = t / (1 - t); if `data_at` is 1, 1 - t instead of t.

    Source: Lipman et al. 2023, arXiv 2210.02747, Eq. 22-23 with sigma_min = 0 (data at 1); Liu et al. 2023, arXiv
        2209.03003, Eq. 1 (data at 1).
    Note: made by `flow`. Do not confuse it with a time in [0, 1] of a VP process, as `LinearVP` and `CosineVP`.
    """

    data_at: int = 0
    span = ALL

    def __post_init__(self) -> None:
        check_fields(self)
        if self.data_at not in (0, 1):
            raise ValueError(f"data_at={self.data_at}: it must be 0 or 1, the time at which there is no noise")

    def time(self, sigma: Tensor) -> Tensor:
        return 1 / (1 + sigma) if self.data_at else sigma / (1 + sigma)


@dataclass(frozen=True)
class LinearVP:
    """The continuous time in (0, 1] of a VP process with a linear rate: sigma^2 = exp(beta_d t^2 / 2 + beta_min t) - 1.

    Source: Song et al. 2021, arXiv 2011.13456, Eq. 32-33; in sigma: Karras et al. 2022, arXiv 2206.00364, Table 1.
    Note: usually both defaults hold. Do not confuse it with `linear_betas()`, the whole numbers of discrete DDPM;
        score_sde's networks take 999 t, so wrap them: lambda z, t: net(z, 999 * t).
    """

    vp_beta_d: float = 19.9
    vp_beta_min: float = 0.1

    def __post_init__(self) -> None:
        check_fields(self)
        check_vp(self.vp_beta_d, self.vp_beta_min, 1.0)

    @property
    def span(self) -> tuple[float, float]:
        return 0.0, math.sqrt(math.expm1(self.vp_beta_d / 2 + self.vp_beta_min))

    def time(self, sigma: Tensor) -> Tensor:
        rate = 2 * self.vp_beta_d * sigma.square().log1p()  # the form without cancellation at small sigma
        return (rate / ((self.vp_beta_min**2 + rate).sqrt() + self.vp_beta_min) / self.vp_beta_d).clamp(max=1)


@dataclass(frozen=True)
class CosineVP:
    """The continuous time of a cosine process, in [0, 1): abar = f(t) / f(0), f(t) = cos(pi/2 (t + s) / (1 + s))^2.

    Source: Nichol & Dhariwal 2021, arXiv 2102.09672, Eq. 17, s is `offset`; s = 0: Salimans & Ho 2022, arXiv
        2202.00512, Section 2.
    Note: 0 is v-diffusion, 0.008 improved DDPM; of a network that was trained on an index of its betas,
        diffusers' squaredcos_cap_v2, give `from_betas(betas)`.
    """

    offset: float = 0.0
    span = ALL

    def __post_init__(self) -> None:
        check_fields(self)
        check_share("offset", self.offset)

    def time(self, sigma: Tensor) -> Tensor:
        first = math.pi / 2 * self.offset / (1 + self.offset)  # the cosine's angle at t = 0
        tangent = ((sigma / math.cos(first)).square() + math.tan(first) ** 2).sqrt()
        return tangent.atan() * (2 / math.pi * (1 + self.offset)) - self.offset


@dataclass(frozen=True)
class TableTime:
    """The index, from 0, in a table of increasing noise levels. Between entries it is linear in ln sigma.

    Usually `linear_betas`, `from_betas` or `from_abar` makes it; `whole` and `first` are niche.

    Args:
        sigmas: the table, at least two levels, positive, finite and increasing; else ValueError.
        whole: the index is rounded and passed as int64, for networks that look it up in an embedding table.
        first: the index of the first entry; 1 for networks that count from 1.

    Source: interpolation as in k-diffusion's `DiscreteSchedule` and in diffusers' EulerDiscreteScheduler.
    """

    sigmas: tuple[float, ...] = field(repr=False)
    whole: bool = False
    first: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        check_range("first", self.first, 0)
        increasing = all(low < high for low, high in pairwise(self.sigmas))
        if len(self.sigmas) < 2 or not (increasing and self.sigmas[0] > 0 and self.sigmas[-1] < math.inf):
            raise ValueError("sigmas: a table of noise levels must have at least 2, positive, finite and increasing")

    @property
    def span(self) -> tuple[float, float]:
        return self.sigmas[0], self.sigmas[-1]

    def time(self, sigma: Tensor) -> Tensor:
        logs = self._logs.to(sigma.device)
        log_sigma = sigma.log()
        upper = torch.searchsorted(logs, log_sigma).clamp(1, len(logs) - 1)
        below, above = logs[upper - 1], logs[upper]
        index = upper - 1 + ((log_sigma - below) / (above - below)).clamp(0, 1) + self.first
        return index.round().long() if self.whole else index

    @cached_property
    def _logs(self) -> Tensor:
        return torch.tensor(self.sigmas, dtype=torch.float64).log()


def linear_betas(n: int = N_TABLE, start: float = 1e-4, end: float = 0.02, **options: Any) -> TableTime:
    """The index in the table of discrete DDPM: n variances per step, linear from `start` to `end`.

    Source: Ho et al. 2020, arXiv 2006.11239, Section 4. Errors as in `schedules.ddpm_table`.
    """
    return TableTime(ddpm_table(as_type("n", int, n), start, end, 1.0), **options)


def from_betas(betas: Sequence[float] | Tensor, **options: Any) -> TableTime:
    """The index in the table of a discrete VP process, given its variances per step (T,) in (0, 1), else ValueError."""
    values = [float(beta) for beta in betas]
    if len(values) < 2 or not all(0 < beta < 1 for beta in values):
        raise ValueError("betas: there must be at least 2, each above 0 and below 1")
    if values[-1] < values[0]:
        raise ValueError("betas: they decrease, as levels of the signal do; those go into from_abar(abar)")
    logs = accumulate(math.log1p(-beta) for beta in values)
    return TableTime(tuple(math.sqrt(math.expm1(-log_abar)) for log_abar in logs), **options)


def from_abar(abar: Sequence[float] | Tensor, **options: Any) -> TableTime:
    """The index in the table of a discrete VP process, given abar (T,), diffusers' alphas_cumprod.

    Its levels decrease, else ValueError. Those at the end that hold no signal, abar = 0, are left out.

    Note: with rescale_betas_zero_snr some schedulers of diffusers put 2^-24 in place of the last level 0, which may be
        above the level before it.
    """
    values = [float(share) for share in abar]
    while values and values[-1] == 0:
        values.pop()
    if not all(before > share > 0 for before, share in pairwise([1.0, *values])):
        raise ValueError("abar: its levels must decrease from below 1 towards 0")
    return TableTime(tuple(math.sqrt((1 - share) / share) for share in values), **options)
