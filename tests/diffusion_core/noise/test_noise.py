"""Noise distributions: samples against densities, stratified draws, closed forms, and errors."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from arrays import seeded
from numpy.testing import assert_allclose
from refusals import argument, refused
from scipy import integrate, stats
from scipy.special import expit
from tables import cells
from torch.testing import assert_close

from diffusion_core.noise import (
    DDPM,
    NOISE_DISTRIBUTIONS,
    VP,
    BetaTimes,
    Cosine,
    CosineInterpolated,
    Laplace,
    LogLogistic,
    LogNormal,
    LogUniform,
    NoiseDistribution,
    SplitLogNormal,
    Uniform,
    logit_normal,
)
from diffusion_core.noise.sigma import uniforms
from diffusion_core.schedules import ddpm_table

LAWS: list[NoiseDistribution] = [
    *dict.fromkeys(make() for make in NOISE_DISTRIBUTIONS.values()),  # a new one is tested too
    LogNormal(0.3, 0.5),
    LogUniform(0.1, 2.0),
    Uniform(0.5, 2.0),
    LogLogistic(-0.5, 0.7),
    SplitLogNormal(0.4, 2.0, 0.5),
    Laplace(-0.5, 0.8),
    BetaTimes(0.6, 3.0, 2.0, 0.55),
    Cosine(0.03, 30.0, 0.55),
    CosineInterpolated(64, 32, 256, 0.01, 80.0),
    VP(19.9, 0.0, 0.01, 0.55),
    DDPM(data_std=0.55),
]
FLOWS = ("sd3", "flow-uniform")
GRID = np.linspace(-20, 20, 80_001)


def cumulative(law: NoiseDistribution) -> np.ndarray:
    return integrate.cumulative_trapezoid(law.log_density(torch.from_numpy(GRID)).exp().numpy(), GRID, initial=0)


@pytest.mark.parametrize(
    "law, stratified",
    [*((law, False) for law in LAWS), *((law, True) for law in (LogNormal(), Cosine(), DDPM()))],
    ids=lambda value: getattr(value, "name", value),
)
def test_samples_follow_the_density(law: NoiseDistribution, stratified: bool):
    """One draw of each of 5,000 batches of four, so that stratified draws are independent of each other as well."""
    generator = seeded(3)
    draws = [law.sample(4, generator, stratified)[1] for _ in range(5_000)] if stratified else None
    sigma = torch.stack(draws) if draws else law.sample(20_000, generator)
    assert sigma.dtype == torch.float32 and (sigma > 0).all() and torch.isfinite(sigma).all()
    probability = cumulative(law)
    assert probability[-1] == pytest.approx(1, abs=2e-3)
    result = stats.kstest(sigma.log().numpy(), lambda value: np.interp(value, GRID, probability))
    assert result.pvalue > 0.01 or (isinstance(law, DDPM) and result.statistic < 1.63 / math.sqrt(len(sigma)) + 1e-3)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
def test_one_stratified_draw_falls_into_each_stratum_and_densities_keep_shape_and_dtype(law: NoiseDistribution):
    for dtype in (torch.float32, torch.float64):
        density = law.log_density(torch.zeros(2, 3, dtype=dtype))
        assert density.shape == (2, 3) and density.dtype == dtype
    if isinstance(law, DDPM):
        assert law.sample(1000, seeded(), True).unique().numel() == 1000
        return
    sigma = law.sample(100, seeded(), True)
    ranks = np.interp(sigma.log().numpy(), GRID, cumulative(law)) * 100
    assert_allclose(np.sort(ranks), np.arange(100) + 0.5, atol=0.7)
    assert not np.array_equal(np.sort(ranks), ranks), "in random order"


def test_uniforms_never_reach_0_or_1(monkeypatch: pytest.MonkeyPatch):
    for value in (0.0, 1.0):
        monkeypatch.setattr(torch, "rand", lambda n, value=value, **_: torch.full((n,), value, dtype=torch.float64))
        for stratified in (False, True):
            draws = uniforms(4, seeded(), stratified)
            assert (draws > 0).all() and (draws < 1).all()


def test_independent_draws_of_the_first_laws_have_not_moved():
    """Stored models are identified by their config; its law must go on giving the same bits."""
    normal = (-0.507 + 1.2 * torch.randn(9, generator=seeded(4))).exp()
    low, high = math.log(0.03), math.log(100.0)
    uniform = (low + (high - low) * torch.rand(9, generator=seeded(4))).exp()
    assert torch.equal(LogNormal().sample(9, seeded(4)), normal)
    assert torch.equal(LogUniform().sample(9, seeded(4)), uniform)


def test_names_tell_laws_apart():
    assert len({law.name for law in LAWS}) == len(LAWS)
    assert LogNormal().p_mean == pytest.approx(-1.2 + math.log(2), abs=5e-4)  # of Karras et al., in unit data
    assert LogNormal().name == "log-normal(-0.507, 1.2)"
    assert CosineInterpolated().name == "cosine-interpolated(32, 32, 256, 0.001, 1000)"
    assert DDPM().name == "ddpm(1000, 0.0001, 0.02, data_std=0.5)"


def shift(t: np.ndarray, by: float) -> np.ndarray:
    return by * t / (1 + (by - 1) * t)


def level(t: np.ndarray, std: float) -> np.ndarray:
    """Of x = (1 - t) x0 + t noise, in standard deviations of x0."""
    return t / (1 - t) / std


def laplace_level(t: np.ndarray) -> np.ndarray:
    """As diffusers' DDPMScheduler(beta_schedule="laplace") writes it, with mu = 0.4 and b = 0.5."""
    log_snr = 0.4 - 0.5 * np.copysign(1.0, 0.5 - t) * np.log(1 - 2 * np.abs(0.5 - t))
    return np.sqrt(1 / np.exp(log_snr))


RNG = np.random.default_rng(0)
U, N = RNG.uniform(size=20_000), RNG.normal(size=20_000)
AS_WRITTEN: dict[str, tuple[NoiseDistribution, np.ndarray]] = {  # the formulas of the sources
    "edm": (NOISE_DISTRIBUTIONS["edm"](), np.exp(-1.2 + 1.2 * N) / 0.5),
    "edm2": (NOISE_DISTRIBUTIONS["edm2"](), np.exp(-0.4 + N) / 0.5),
    "jit": (NOISE_DISTRIBUTIONS["jit"](), level(1 - expit(-0.8 + 0.8 * N), 0.5)),
    "sd3": (NOISE_DISTRIBUTIONS["sd3"](3, data_std=0.55), level(shift(expit(N), 3), 0.55)),
    "flow-uniform": (NOISE_DISTRIBUTIONS["flow-uniform"](3, data_std=0.55), level(shift(U, 3), 0.55)),
    "beta-times": (BetaTimes(2.0, 0.7, 3, 0.55), level(shift(RNG.beta(2.0, 0.7, size=20_000), 3), 0.55)),
    "beta-times(1, 1)": (BetaTimes(1, 1, data_std=1), level(U, 1.0)),
    "log-logistic": (LogLogistic(), level(U, 1.0)),
    "logit-normal": (logit_normal(0.3, 0.8, data_std=0.5), level(expit(0.3 + 0.8 * N), 0.5)),
    "laplace": (Laplace(-0.2, 0.25), laplace_level(U)),
}


@pytest.mark.parametrize("name", AS_WRITTEN)
def test_named_laws_are_those_of_their_sources(name: str):
    law, levels = AS_WRITTEN[name]
    assert stats.kstest(np.log(levels), law.sample(20_000, seeded(1)).log().numpy()).pvalue > 0.01
    u = torch.from_numpy(U)
    assert_close(BetaTimes(1, 1, data_std=1).quantile(u), u / (1 - u))  # in all parts of its table


def test_interpolation_between_equal_sides_is_the_cosine_law():
    """Where the image is as large as the reference nothing is shifted, so it is v-diffusion."""
    same, plain = CosineInterpolated(32, 32, 32, 0.01, 50.0), Cosine(0.01, 50.0)
    assert_close(same.sample(50, seeded()), plain.sample(50, seeded()))
    grid = torch.linspace(-4.5, 3.8, 50, dtype=torch.float64)
    assert_close(same.log_density(grid), plain.log_density(grid), rtol=1e-9, atol=1e-9)


def test_cosine_interpolated_is_the_papers_formula():
    """Hoogeboom et al. 2023: logSNR(t) = t logSNR_32(t) + (1 - t) logSNR_256(t) with logSNR_d = logSNR + 2 ln(d/64)."""
    law = CosineInterpolated(64, 32, 256, 1e-7, 1e7)  # ends so wide that the angle is pi/2 t
    time = uniforms(1000, seeded(), False).clamp(0.05, 0.95)
    log_snr = -2 * (math.pi / 2 * time).tan().log()
    by_hand = time * (log_snr + 2 * math.log(32 / 64)) + (1 - time) * (log_snr + 2 * math.log(256 / 64))
    assert_close(law._log_sigma(time)[0], -by_hand / 2, rtol=1e-4, atol=1e-4)


def test_vp_and_ddpm_agree():
    """Discrete DDPM is the VP SDE in 1,000 steps: its rates 1e-4..0.02 are beta(t) / 1000."""
    vp, ddpm = (np.sort(law.sample(50_000, seeded(), True).log().numpy()) for law in (VP(), DDPM()))
    assert_allclose(np.quantile(vp, [0.1, 0.5, 0.9]), np.quantile(ddpm, [0.1, 0.5, 0.9]), atol=0.04)


def test_ddpm_draws_each_level_of_the_table_equally_often_and_its_density_is_within_one_level():
    levels, counts = DDPM().sample(200_000, seeded(5)).unique(return_counts=True)
    assert_close(levels, torch.tensor(ddpm_table()))
    assert stats.chisquare(counts.numpy()).pvalue > 0.01
    steps = np.searchsorted(np.log(ddpm_table()), GRID, side="right") / 1000
    assert np.abs(cumulative(DDPM()) - steps).max() < 1.01e-3


REFUSED: dict[Callable[..., object], list[str]] = {  # what is made -> what the error says of an argument
    Uniform: ["sigma_min=200.0: .*below sigma_max=100.0"],
    LogLogistic: ["p_scale=0.0: it must be above 0"],
    Laplace: ["p_scale=-1.0: it must be above 0"],
    BetaTimes: ["a=0.4: it must be between 0.5 and 100", "shift=0.0: it must be above 0"],
    **{NOISE_DISTRIBUTIONS[name]: ["shift=0.0: it must be above 0"] for name in FLOWS},
    SplitLogNormal: ["p_std_above=-1.0: it must be above 0"],
    LogUniform: ["sigma_min=100.0: .*below sigma_max=100.0"],
    LogNormal: [f"p_std={std}: it must be above 0" for std in (0.0, math.nan, math.inf)],
    Cosine: ["sigma_min=0.0: it must be above 0"],
    CosineInterpolated: ["side=0: it must be above 0", "side_low=300: .* at most side_high=256"],
    VP: ["vp_beta_d=-1.0", "vp_time_min=1.0: it must be at least 0 and below 1"],
    DDPM: ["n_table=1: it must be between 2", "vp_beta_start=0.5: .* at most vp_beta_end=0.02"],
    logit_normal: ["data_std=0.0"],
}


@cells(REFUSED)
def test_bad_parameters_are_named(row: Callable[..., object], cell: str):
    with refused(cell):
        row(**argument(cell))
