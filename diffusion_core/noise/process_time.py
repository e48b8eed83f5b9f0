"""Noise distributions given by the time of a process: cosine, cosine-interpolated, VP, discrete DDPM and flows.

sigma is in data standard deviations. `data_std` is the standard deviation of the data that the process was defined on.
For data in [-1, 1] it is about 0.5 (CIFAR-10) or 0.55 (padded MNIST). The process's noise levels are divided by it.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special
from torch import Tensor
from torch.nn import functional

from diffusion_core.noise.sigma import LogLogistic, LogNormal, NoiseDistribution, is_between
from diffusion_core.schedules.process_time import DATA_STD, N_TABLE, check_vp, ddpm_table
from diffusion_core.schedules.sigma import check_ends
from diffusion_core.validation import check_positive, check_range, check_share

LARGEST_LOGIT = 38.0  # of a number that `uniforms` draws; also of a table of quantiles
PER_LOGIT = 100  # entries of that table


@dataclass(frozen=True)
class Cosine(NoiseDistribution):
    """v-diffusion: sigma data_std = tan(angle), with the angle uniform and sigma between sigma_min and sigma_max.

    `data_std` = 1 is k-diffusion's convention, with the process defined on unit data.

    Source: Salimans & Ho 2022, arXiv 2202.00512 (alpha = cos, sigma = sin of one angle); Crowson, k-diffusion (2022),
        `rand_v_diffusion`.
    Note: usually the defaults do. Do not confuse it with the cosine table of improved DDPM, whose offset is 0.008.
    """

    sigma_min: float = 1e-3
    sigma_max: float = 1e3
    data_std: float = 1.0

    def __post_init__(self) -> None:
        check_ends(self.sigma_max, self.sigma_min)
        check_positive("data_std", self.data_std)

    def quantile(self, u: Tensor) -> Tensor:
        low, high = self._angles()
        return (low + (high - low) * u).tan() / self.data_std

    def log_density(self, log_sigma: Tensor) -> Tensor:
        low, high = self._angles()
        inside = is_between(log_sigma, self.sigma_min, self.sigma_max)
        height = (log_sigma + math.log(self.data_std)).abs()
        density = -height - torch.log1p(torch.exp(-2 * height)) - math.log(high - low)  # d angle / d ln sigma
        return torch.where(inside, density, -math.inf)

    def _angles(self) -> tuple[float, float]:
        return math.atan(self.sigma_min * self.data_std), math.atan(self.sigma_max * self.data_std)


@dataclass(frozen=True)
class CosineInterpolated(NoiseDistribution):
    """The cosine distribution shifted for the image size, by one amount at high noise and another at low noise.

    ln sigma(t) = t L(t, side_low) + (1 - t) L(t, side_high), with L(t, d) = ln tan(angle) + ln(side / d) and the angle
    linear in t, such that every L runs from ln sigma_min at t = 0 to ln sigma_max at t = 1. With
    side_low = side_high = side it equals `Cosine`.

    Args:
        side: pixels along the image's edge.
        side_low, side_high: the paper's shifts at high and low noise, side_low <= side_high.
        sigma_min, sigma_max: niche.

    Source: Hoogeboom et al. 2023, arXiv 2301.11093, Section 3.1 (shifted and interpolated schedules); the ends as in
        Crowson, k-diffusion (2022), `rand_cosine_interpolated`. Both define it on unit data, as here. It is also called
        simple diffusion's, and trains HDiT (Crowson et al. 2024, arXiv 2401.11605).
    """

    side: int = 32
    side_low: int = 32
    side_high: int = 256
    sigma_min: float = 1e-3
    sigma_max: float = 1e3

    def __post_init__(self) -> None:
        check_ends(self.sigma_max, self.sigma_min)
        check_positive("side", self.side)
        if not 0 < self.side_low <= self.side_high:
            raise ValueError(f"side_low={self.side_low}: it must be above 0 and at most side_high={self.side_high}")

    def quantile(self, u: Tensor) -> Tensor:
        return self._log_sigma(u)[0].exp()

    def log_density(self, log_sigma: Tensor) -> Tensor:
        low, high = torch.zeros_like(log_sigma, dtype=torch.float64), torch.ones_like(log_sigma, dtype=torch.float64)
        for _ in range(60):  # bisection for the time at which the level is reached
            middle = (low + high) / 2
            above = self._log_sigma(middle)[0] > log_sigma
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        inside = is_between(log_sigma, self.sigma_min, self.sigma_max)
        return torch.where(inside, -self._log_sigma((low + high) / 2)[1].log(), -math.inf).to(log_sigma.dtype)

    def _log_sigma(self, time: Tensor) -> tuple[Tensor, Tensor]:
        """ln sigma at a time in (0, 1), and its derivative."""
        (noisy, noisy_slope), (clean, clean_slope) = (self._shifted(time, d) for d in (self.side_low, self.side_high))
        slope = time * noisy_slope + (1 - time) * clean_slope + noisy - clean
        return time * noisy + (1 - time) * clean, slope

    def _shifted(self, time: Tensor, d: int) -> tuple[Tensor, Tensor]:
        shift = self.side / d
        low, high = math.atan(self.sigma_min / shift), math.atan(self.sigma_max / shift)
        angle = low + (high - low) * time
        return angle.tan().log() + math.log(shift), (high - low) * 2 / (2 * angle).sin()


@dataclass(frozen=True)
class VP(NoiseDistribution):
    """The VP SDE with its time t uniform: (sigma data_std)^2 = exp(vp_beta_d t^2 / 2 + vp_beta_min t) - 1.

    Args:
        vp_beta_d, vp_beta_min: slope (above 0) and start (at least 0) of the linear rate, per unit of t.
        vp_time_min: the smallest t, at least 0 and below 1; the largest is 1.
        data_std: usual, see the top of this file; the others are niche.

    Source: Song et al. 2021, arXiv 2011.13456, Eq. 32-33; in sigma: Karras et al. 2022, arXiv 2206.00364, Table 1.
    Note: the continuous DDPM of score_sde. `DDPM` draws whole times.
    """

    vp_beta_d: float = 19.9
    vp_beta_min: float = 0.1
    vp_time_min: float = 1e-5
    data_std: float = DATA_STD

    def __post_init__(self) -> None:
        check_vp(self.vp_beta_d, self.vp_beta_min, self.data_std)
        check_share("vp_time_min", self.vp_time_min)

    def quantile(self, u: Tensor) -> Tensor:
        time = self.vp_time_min + (1 - self.vp_time_min) * u
        return (self.vp_beta_d * time**2 / 2 + self.vp_beta_min * time).expm1().sqrt() / self.data_std

    def log_density(self, log_sigma: Tensor) -> Tensor:
        log_level = log_sigma + math.log(self.data_std)
        exponent = functional.softplus(2 * log_level)  # ln(1 + level^2)
        rate = (self.vp_beta_min**2 + 2 * self.vp_beta_d * exponent).sqrt()  # vp_beta_d t + vp_beta_min
        time = (rate - self.vp_beta_min) / self.vp_beta_d
        slope = math.log(2) + 2 * log_level - exponent - rate.log()  # ln(dt / d ln sigma)
        inside = (time >= self.vp_time_min) & (time <= 1)
        return torch.where(inside, slope - math.log(1 - self.vp_time_min), -math.inf)


@dataclass(frozen=True)
class DDPM(NoiseDistribution):
    """Discrete DDPM with linear variances: `n_table` noise levels, all equally likely, of `schedules.ddpm_table`.

    A discrete distribution has no density. So `log_density` spreads the probability 1 / n_table of each level evenly,
    in ln sigma, over the level's cell, which reaches halfway to the levels below and above; the outer cells are
    symmetric. Its cumulative distribution differs from the true one by at most 1 / n_table.

    Source: Ho et al. 2020, arXiv 2006.11239, Section 4 and Algorithm 1.
    Note: the usual parameter is data_std. In diffusers' training scripts: timesteps = torch.randint(0, 1000, (n,)).
    """

    n_table: int = N_TABLE
    vp_beta_start: float = 1e-4
    vp_beta_end: float = 0.02
    data_std: float = DATA_STD

    def __post_init__(self) -> None:
        _ddpm_levels(self, torch.device("cpu"))

    def quantile(self, u: Tensor) -> Tensor:
        index = (u * self.n_table).long().clamp(max=self.n_table - 1)
        return _ddpm_levels(self, u.device)[index]

    def log_density(self, log_sigma: Tensor) -> Tensor:
        levels = _ddpm_levels(self, torch.device("cpu")).log()
        middles = (levels[1:] + levels[:-1]) / 2
        edges = torch.cat([2 * levels[:1] - middles[:1], middles, 2 * levels[-1:] - middles[-1:]]).to(log_sigma)
        cell = torch.searchsorted(edges, log_sigma.contiguous(), right=True) - 1
        inside = (cell >= 0) & (cell < self.n_table)
        density = -(edges.diff() * self.n_table).log()
        return torch.where(inside, density[cell.clamp(0, self.n_table - 1)], -math.inf)


@dataclass(frozen=True)
class BetaTimes(NoiseDistribution):
    """Flow matching with a time from a beta distribution: sigma data_std = shift t / (1 - t), where t ~ Beta(a, b).

    Args:
        a, b: from 0.5 to 100. t = 1 is noise, so a > b trains more at high noise. a = b = 1 is `flow_uniform`.
        shift: as in the schedule `flow`; it moves ln sigma by ln(shift).
        data_std: see the top of this file.

    Source: Black et al. 2024, arXiv 2410.24164 (pi0: a = 1.5, b = 1, without its cut at t = 0.001; its t = 1 is data).
    Note: usual are a, b and shift. Do not confuse it with the schedule `beta`, quantiles of sigma itself.
    """

    a: float = 1.5
    b: float = 1.0
    shift: float = 1.0
    data_std: float = DATA_STD

    def __post_init__(self) -> None:
        check_range("a", self.a, 0.5, 100)
        check_range("b", self.b, 0.5, 100)
        _flow_mean(self.shift, self.data_std)

    def quantile(self, u: Tensor) -> Tensor:
        place = (u.logit() + LARGEST_LOGIT) * PER_LOGIT
        table = _beta_logits(self.a, self.b, place.device)
        below = place.long()
        logits = torch.lerp(table[below], table[below + 1], place - below)
        return (logits + _flow_mean(self.shift, self.data_std)).exp()

    def log_density(self, log_sigma: Tensor) -> Tensor:
        logit = log_sigma - _flow_mean(self.shift, self.data_std)
        log_powers = self.a * functional.logsigmoid(logit) + self.b * functional.logsigmoid(-logit)
        return log_powers - float(special.betaln(self.a, self.b))


@lru_cache(maxsize=8)
def _beta_logits(a: float, b: float, device: torch.device) -> Tensor:
    """logit(t) at the quantiles u of Beta(a, b), evenly in logit(u): nearly linear, so that it can be interpolated."""
    u = special.expit(np.linspace(-LARGEST_LOGIT, 0, round(LARGEST_LOGIT * PER_LOGIT) + 1))

    def lower(a: float, b: float) -> NDArray[np.float64]:
        return np.log(special.betaincinv(a, b, u)) - np.log(special.betainccinv(b, a, u))  # t and 1 - t, both exact

    return torch.from_numpy(np.concatenate([lower(a, b), -lower(b, a)[-2::-1]])).to(device)


def sd3(shift: float = 1.0, *, data_std: float = DATA_STD) -> LogNormal:
    """Stable Diffusion 3's distribution: sigma data_std = shift t / (1 - t) with logit(t) ~ N(0, 1), a log-normal.

    Source: Esser et al. 2024, arXiv 2403.03206, Eq. 19 (rf/lognorm(0, 1)) and Eq. 23 (shift, 3 for 1024x1024 pixels).
    """
    return LogNormal(_flow_mean(shift, data_std), 1.0)


def flow_uniform(shift: float = 1.0, *, data_std: float = DATA_STD) -> LogLogistic:
    """Flow matching with a uniform time t: sigma data_std = shift t / (1 - t), log-logistic of scale 1.

    Source: Lipman et al. 2023, arXiv 2210.02747; shift: Esser et al. 2024, arXiv 2403.03206, Eq. 23.
    """
    return LogLogistic(_flow_mean(shift, data_std), 1.0)


def _flow_mean(shift: float, data_std: float) -> float:
    """ln sigma at t = 1/2, to four digits, so that the printed name of the distribution can be read back."""
    check_positive("shift", shift)
    check_positive("data_std", data_std)
    return round(math.log(shift / data_std), 4)


@lru_cache(maxsize=8)
def _ddpm_levels(noise: DDPM, device: torch.device) -> Tensor:
    """The table on a device, to which it goes once, not in each step of training."""
    table = ddpm_table(noise.n_table, noise.vp_beta_start, noise.vp_beta_end, noise.data_std)
    return torch.tensor(table, dtype=torch.float64, device=device)
