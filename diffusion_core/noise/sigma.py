"""Noise distributions given by a density of sigma or ln sigma: training draws its noise levels from them.

sigma is in data standard deviations. Values from papers with sigma_data = 0.5 are converted by sigma / 0.5: P_mean =
-1.2 of Karras et al. (2022, arXiv 2206.00364) becomes -1.2 + ln 2 = -0.507, and P_std = 1.2 is unchanged.
"""

import math
import re
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from diffusion_core.schedules.sigma import check_ends
from diffusion_core.spelling import spell_class, spell_value
from diffusion_core.validation import check_positive


@dataclass(frozen=True)
class NoiseDistribution:
    """A distribution over training noise levels. A subclass is a frozen dataclass: its fields are its parameters."""

    @property
    def name(self) -> str:
        """The class's name and the parameters, as tables print them and users type them: "log-normal(-0.507, 1.2)"."""
        label = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", type(self).__name__).lower()
        if not type(self).__module__.startswith("diffusion_core."):
            label = spell_class(type(self))
        values = ((field.name, spell_value(getattr(self, field.name))) for field in fields(self))
        return f"{label}({', '.join(f'data_std={text}' if name == 'data_std' else text for name, text in values)})"

    def sample(self, n: int, generator: torch.Generator, stratified: bool = False) -> Tensor:
        """n noise levels, float32 (n,), on the generator's device.

        They are independent. With `stratified`, one comes from each n-th of the distribution, in random order: the
        marginal distribution is the same, and averages over a batch vary less.
        """
        return self.quantile(uniforms(n, generator, stratified)).float()

    def quantile(self, u: Tensor) -> Tensor:
        """The noise level that a share u of the draws lies below: float64 (n,), for u (n,) in (0, 1)."""
        raise NotImplementedError  # a subclass has it

    def log_density(self, log_sigma: Tensor) -> Tensor:
        """Natural log of the density of ln sigma at `log_sigma` (any shape); -inf outside the support."""
        raise NotImplementedError  # a subclass has it


def uniforms(n: int, generator: torch.Generator, stratified: bool) -> Tensor:
    """n numbers uniform in (0, 1), float64 (n,): independent, or one in each n-th of the interval in random order.

    Source: Kingma et al. 2021, arXiv 2107.00630, Appendix I.1, who shift one draw over an even grid; here each stratum
        has its own draw, as in k-diffusion.
    """
    draws = torch.rand(n, generator=generator, device=generator.device, dtype=torch.float64)
    if stratified:
        draws = (torch.randperm(n, generator=generator, device=generator.device) + draws) / n
    return draws.clamp(2.0**-54, 1 - 2.0**-53)  # a quantile at 0 or 1 may be infinite


def is_between(log_sigma: Tensor, sigma_min: float, sigma_max: float) -> Tensor:
    """Where a level lies between two others, both included."""
    return (log_sigma >= math.log(sigma_min)) & (log_sigma <= math.log(sigma_max))


@dataclass(frozen=True)
class LogNormal(NoiseDistribution):
    """ln sigma is normal with mean `p_mean` and standard deviation `p_std`.

    Source: Karras et al. 2022, arXiv 2206.00364, Table 1 (P_mean and P_std), moved to unit data.
    Note: both parameters are usual; loc and scale of `rand_log_normal` (k-diffusion). Do not type the paper's -1.2,
        which is -0.507 here.
    """

    p_mean: float = -0.507
    p_std: float = 1.2

    def __post_init__(self) -> None:
        check_positive("p_std", self.p_std)

    def sample(self, n: int, generator: torch.Generator, stratified: bool = False) -> Tensor:
        if stratified:
            return super().sample(n, generator, stratified)
        return (self.p_mean + self.p_std * torch.randn(n, generator=generator, device=generator.device)).exp()

    def quantile(self, u: Tensor) -> Tensor:
        return (self.p_mean + self.p_std * torch.special.ndtri(u)).exp()

    def log_density(self, log_sigma: Tensor) -> Tensor:
        standardised = (log_sigma - self.p_mean) / self.p_std
        return -0.5 * standardised**2 - math.log(self.p_std * math.sqrt(2 * math.pi))


@dataclass(frozen=True)
class LogUniform(NoiseDistribution):
    """ln sigma is uniform between ln `sigma_min` and ln `sigma_max`: the distribution of the original notebook.

    Both are usual. Also called `rand_log_uniform` (k-diffusion).
    """

    sigma_min: float = 0.03
    sigma_max: float = 100.0

    def __post_init__(self) -> None:
        check_ends(self.sigma_max, self.sigma_min)

    def sample(self, n: int, generator: torch.Generator, stratified: bool = False) -> Tensor:
        if stratified:
            return super().sample(n, generator, stratified)
        return self.quantile(torch.rand(n, generator=generator, device=generator.device))

    def quantile(self, u: Tensor) -> Tensor:
        low, high = math.log(self.sigma_min), math.log(self.sigma_max)
        return (low + (high - low) * u).exp()

    def log_density(self, log_sigma: Tensor) -> Tensor:
        inside = is_between(log_sigma, self.sigma_min, self.sigma_max)
        width = math.log(self.sigma_max) - math.log(self.sigma_min)
        return torch.where(inside, torch.full_like(log_sigma, -math.log(width)), -math.inf)


@dataclass(frozen=True)
class Uniform(NoiseDistribution):
    """sigma is uniform between `sigma_min` and `sigma_max`: nearly all draws are large.

    Do not confuse it with a uniform time: of flow matching that is `LogLogistic`, of DDPM `DDPM`.
    """

    sigma_min: float = 0.03
    sigma_max: float = 100.0

    def __post_init__(self) -> None:
        check_ends(self.sigma_max, self.sigma_min)

    def quantile(self, u: Tensor) -> Tensor:
        return self.sigma_min + (self.sigma_max - self.sigma_min) * u

    def log_density(self, log_sigma: Tensor) -> Tensor:
        inside = is_between(log_sigma, self.sigma_min, self.sigma_max)
        return torch.where(inside, log_sigma - math.log(self.sigma_max - self.sigma_min), -math.inf)


@dataclass(frozen=True)
class LogLogistic(NoiseDistribution):
    """ln sigma is logistic with mean `p_mean` and scale `p_scale` (its standard deviation is p_scale pi / sqrt(3)).

    p_mean = 0 and p_scale = 1 give the uniform time t of flow matching, sigma = t / (1 - t), for data of unit variance
    (Lipman et al. 2023, arXiv 2210.02747).

    Source: Crowson, k-diffusion (2022), `rand_log_logistic`, without its truncation.
    Note: the defaults are usual. Do not confuse it with `logit_normal`, where logit(t) is normal.
    """

    p_mean: float = 0.0
    p_scale: float = 1.0

    def __post_init__(self) -> None:
        check_positive("p_scale", self.p_scale)

    def quantile(self, u: Tensor) -> Tensor:
        return (self.p_mean + self.p_scale * u.logit()).exp()

    def log_density(self, log_sigma: Tensor) -> Tensor:
        standardised = (log_sigma - self.p_mean) / self.p_scale
        return -standardised.abs() - 2 * torch.log1p(torch.exp(-standardised.abs())) - math.log(self.p_scale)


@dataclass(frozen=True)
class Laplace(NoiseDistribution):
    """ln sigma has a Laplace distribution with mean `p_mean` and scale `p_scale`, a peak with exponential flanks.

    Source: Hang et al. 2024, arXiv 2407.03297 (Laplace); sd-scripts and diffusers (`beta_schedule="laplace"`) have it.
    Note: both parameters are usual. The paper's mu = 0 and b = 0.5 are those of the log SNR, which is -2 ln sigma: here
        p_mean = -mu / 2 and p_scale = b / 2.
    """

    p_mean: float = 0.0
    p_scale: float = 0.25

    def __post_init__(self) -> None:
        check_positive("p_scale", self.p_scale)

    def quantile(self, u: Tensor) -> Tensor:
        centred = 2 * u - 1
        return (self.p_mean - self.p_scale * centred.sign() * torch.log1p(-centred.abs())).exp()

    def log_density(self, log_sigma: Tensor) -> Tensor:
        return -(log_sigma - self.p_mean).abs() / self.p_scale - math.log(2 * self.p_scale)


@dataclass(frozen=True)
class SplitLogNormal(NoiseDistribution):
    """ln sigma has its mode at `p_mode` and normal flanks of standard deviation `p_std_below` and `p_std_above`.

    The density has no jump at the mode, so each flank's share of the draws is proportional to its standard deviation.

    Source: Crowson, k-diffusion (2022), `rand_split_log_normal`.
    Note: all three parameters are usual. Equal flanks are `LogNormal`; p_mode is the mean only then.
    """

    p_mode: float = -0.507
    p_std_below: float = 1.2
    p_std_above: float = 2.4

    def __post_init__(self) -> None:
        check_positive("p_std_below", self.p_std_below)
        check_positive("p_std_above", self.p_std_above)

    def quantile(self, u: Tensor) -> Tensor:
        share = self.p_std_below / (self.p_std_below + self.p_std_above)
        below = self.p_std_below * torch.special.ndtri((u / (2 * share)).clamp(max=0.5))
        above = -self.p_std_above * torch.special.ndtri(((1 - u) / (2 * (1 - share))).clamp(max=0.5))
        return (self.p_mode + below + above).exp()  # one of the two is 0

    def log_density(self, log_sigma: Tensor) -> Tensor:
        distance = log_sigma - self.p_mode
        standardised = distance / torch.where(distance < 0, self.p_std_below, self.p_std_above)
        return -0.5 * standardised**2 - math.log((self.p_std_below + self.p_std_above) * math.sqrt(math.pi / 2))


def logit_normal(mean: float = 0.0, std: float = 1.0, *, data_std: float = 1.0) -> LogNormal:
    """The noise distribution of flow matching with logit-normal time, which is log-normal.

    With x = (1 - t) x0 + t noise and logit(t) ~ N(mean, std^2), the noise level t / (1 - t) has the logarithm logit(t).
    sigma is this level divided by data_std, the standard deviation of the data that the flow was defined on.

    Source: Esser et al. 2024, arXiv 2403.03206, Eq. 19 (rf/lognorm), diffusers' weighting_scheme="logit_normal".
    Note: usual are mean and std; the paper's m and s. Here t = 1 is noise, so a larger mean trains more at high noise.
    """
    check_positive("data_std", data_std)
    return LogNormal(mean - math.log(data_std), std)


def edm() -> LogNormal:
    """EDM's distribution: log-normal(-0.507, 1.2).

    Source: Karras et al. 2022, arXiv 2206.00364, Table 1: P_mean = -1.2 and P_std = 1.2 for sigma_data = 0.5.
    """
    return LogNormal(-0.507, 1.2)


def edm2() -> LogNormal:
    """EDM2's distribution: log-normal(0.293, 1).

    Source: Karras et al. 2024, arXiv 2312.02696 (P_mean = -0.4 and P_std = 1 for sigma_data = 0.5), for latents of
        512x512 images; their code has P_mean = -0.8 and P_std = 1.6 for 64x64 pixels: log-normal(-0.107, 1.6) here.
    """
    return LogNormal(0.293, 1.0)


def jit() -> LogNormal:
    """JiT's distribution: log-normal(1.493, 0.8), nearly all of it at high noise.

    Source: Li & He 2025, arXiv 2511.13720 (logit(t) ~ N(-0.8, 0.8^2), for data in [-1, 1] of standard deviation 0.5).
    Note: its t = 1 is data, so sigma = (1 - t) / t / 0.5, and the sign of the mean changes.
    """
    return LogNormal(1.493, 0.8)
