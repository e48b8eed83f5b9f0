"""The samplers: counted cost, noise only where it is asked for, own rules, errors, one noise in many notations."""

import math
from collections.abc import Callable

import pytest
import torch
from short_runs import EXACT, SCHEDULE, Noise, forbidden, start
from torch import Tensor
from torch.testing import assert_close

from diffusion_core.exact import GaussianDenoiser
from diffusion_core.samplers import (
    ERSDE,
    RES2M,
    RES2S,
    SAMPLERS,
    Accelerated,
    AlphaBeta,
    DPMpp2M,
    DPMpp2MSDE,
    Euler,
    EulerChurn,
    EulerInInterval,
    EulerTwoPart,
    Heun,
    Interval,
    KadkhodaieSimoncelli,
    Restart,
    Sampler,
    checked_steps,
    dialects,
)
from diffusion_core.samplers.checked import CheckedModel
from diffusion_core.samplers.dialects import eta_from_beta
from diffusion_core.schedules import karras

RATIO = SCHEDULE[1] / SCHEDULE[0]
RESTARTS = Restart((Interval(0.2, 2.0, 3, 2), Interval(1.0, 4.0, 1, 1)))
WITHIN = EulerInInterval(0.8, s_min=0.5, s_max=5.0)  # four of the schedule's levels: 3.16, 1.78, 1 and 0.56
DETERMINISTIC = [
    Euler(),
    EulerInInterval(1.0, s_min=11.0),
    EulerTwoPart(1.0, 0.0, split=SCHEDULE[0]),
    EulerChurn(),
    EulerChurn(s_churn=9.0, s_max=0.05),
    Heun(),
    Heun(s_churn=9.0, s_min=11.0),
    DPMpp2M(),
    DPMpp2MSDE(eta=0.0),
    RES2M(),
    RES2S(),
    Accelerated(),
    Restart(()),
    KadkhodaieSimoncelli(beta_ks=1.0),
]
NOISY = [
    Euler(0.8),
    WITHIN,
    EulerTwoPart(0.3, 0.8, split=1.0, s_noise=0.9),
    EulerChurn(s_churn=2.0),
    Heun(s_churn=2.0, s_min=SCHEDULE[-2], s_max=SCHEDULE[0], s_noise=1.003),
    DPMpp2MSDE(),
    ERSDE(1),
    ERSDE(),
    Accelerated(mu=0.4),
    RESTARTS,
    KadkhodaieSimoncelli(),
]
ALL = list(dict.fromkeys([*DETERMINISTIC, *NOISY, *(make() for make in SAMPLERS.values())]))  # a new one is tested too


def each(samplers: list[Sampler]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("sampler", samplers, ids=lambda sampler: sampler.name)


def run(sampler: Sampler, schedule=SCHEDULE, noise=None, model=EXACT, x=None) -> list[Tensor]:
    """x after each step, which is updated in place."""
    return list(checked_steps(model, sampler, schedule, start() if x is None else x, noise or Noise()))


@each(ALL)
def test_counted_evaluations_are_planned(sampler: Sampler):
    """On data that is one point, where the estimate of Kadkhodaie & Simoncelli is exact as well."""
    calls = []

    def model(x, sigma):
        assert sigma.shape == (len(x),) and sigma.dtype == x.dtype
        calls.append(sigma)
        return GaussianDenoiser(std=0.0)(x, sigma)

    x = torch.full((2, 1, 4, 4), SCHEDULE[0], dtype=torch.float64)
    n_steps = len(run(sampler, model=model, x=x))
    measured = sampler == KadkhodaieSimoncelli()  # 16 pixels of fresh noise have a size of their own
    assert len(calls) == pytest.approx(sampler.planned_nfe(SCHEDULE), abs=3 * measured)
    assert n_steps == len(SCHEDULE) - 1 or isinstance(sampler, KadkhodaieSimoncelli)


@each([*DETERMINISTIC, AlphaBeta(1 - RATIO, 0.0)])
def test_no_noise_is_drawn_without_need(sampler: Sampler):
    assert torch.isfinite(run(sampler, noise=forbidden)[-1]).all()


@each([*NOISY, AlphaBeta(0.5, math.sqrt(RATIO**2 - 0.25))])
def test_noise_changes_the_result_and_is_drawn_once_where_added(sampler: Sampler):
    noise = Noise()
    end = run(sampler, noise=noise)[-1]
    assert not torch.allclose(end, run(sampler, noise=Noise(seed=1))[-1])
    expected = {RESTARTS: 3, WITHIN: 4}.get(sampler, len(SCHEDULE) - 1)
    assert noise.calls == expected or isinstance(sampler, KadkhodaieSimoncelli)


@each(ALL)
def test_x_is_updated_in_place(sampler: Sampler):
    x = start()
    *states, last = run(sampler, x=x)
    assert last is not x and torch.equal(last, x)  # later changes of x do not count
    assert all(y is x for y in states) or not sampler.follows_schedule


@each(ALL)
def test_models_that_reuse_their_memory_change_nothing(sampler: Sampler):
    out = torch.empty(2, 1, 4, 4, dtype=torch.float64)
    models = (EXACT, lambda x, sigma: out.copy_(EXACT(x, sigma)))
    fresh, reused = (run(sampler, model=model)[-1] for model in models)
    assert torch.equal(fresh, reused)
    assert CheckedModel(models[1])(start(), 1.0) is not out  # a sampler of one's own may keep it


@each([sampler for sampler in ALL if sampler.follows_schedule])
def test_schedules_may_end_at_zero(sampler: Sampler):
    """A step to 0 lands on the denoised image and draws no noise; Heun takes it as an Euler step."""
    sigmas = []

    def model(x, sigma):
        sigmas.append(sigma[0].item())
        return EXACT(x, sigma)

    to_zero = (*SCHEDULE, 0.0)
    assert torch.isfinite(run(sampler, to_zero, model=model)[-1]).all() and min(sigmas) > 0
    assert len(sigmas) == sampler.planned_nfe(to_zero)


def test_names_tell_samplers_apart_and_values_are_hashable():
    assert len({sampler.name for sampler in ALL}) == len(set(ALL)) == len(ALL)
    assert [ERSDE(terms).order for terms in (1, 2, 3)] == [1, 2, 2]


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Euler(-0.1), "eta=-0.1: it must be at least 0"),
        (lambda: run(Euler(3.0)), "eta=3.0: at sigma'/sigma"),
        (lambda: Heun(s_churn=-1.0), "s_churn=-1.0: it must be at least 0"),
        (lambda: Heun(s_min=2.0, s_max=1.0), "s_min=2.0: it must be between 0 and 1.0"),
        (lambda: DPMpp2MSDE(-1.0), "eta=-1.0"),
        (lambda: ERSDE(4), "solver_order=4: it must be between 1 and 3"),
        (lambda: ERSDE(data_std=0.0), "data_std=0.0: it must be above 0"),
        (lambda: Accelerated(gam=0.0), "gam=0.0: it must be above 0"),
        (lambda: Accelerated(mu=1.0), "mu=1.0: it must be at least 0 and below 1"),
        (lambda: Interval(2.0, 1.0), "sigma_min=2.0: .*below sigma_max=1.0"),
        (lambda: Interval(n_restarts=0), "n_restarts=0: it must be at least 1"),
        (lambda: Restart().planned_nfe((100.0, 50.0)), "sigma_max=0.6: .* above the level nearest .* 50,"),
        (lambda: Restart((Interval(0.1, 20.0),)).planned_nfe(SCHEDULE), "sigma_max=20.0: .* at most the schedule's 10"),
        (lambda: Restart().planned_nfe((1.0, 0.0)), "restarts need a level above 0"),
        (lambda: KadkhodaieSimoncelli(beta_ks=0.0), "beta_ks=0.0: it must be above 0 and at most 1"),
    ],
)
def test_bad_parameters_are_named(make: Callable[[], object], message: str):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "sampler, n_steps",
    [
        (EulerInInterval(1.15, s_min=5.0), 8),  # its eta is too large for the last, long steps, where none is added
        (EulerInInterval(1.15, s_max=0.2), None),
        (EulerInInterval(1.15), None),
        (EulerTwoPart(1.15, 0.0, split=5.0), 8),
        (EulerTwoPart(1.15, 1.15), None),
        (Euler(1.15), None),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_plan_refuses_an_eta_only_where_the_run_would(sampler: Sampler, n_steps: int | None):
    schedule, x, nothing = karras(8), start(), lambda x, sigma: torch.zeros_like(x)
    if n_steps is not None:
        assert sampler.planned_nfe(schedule) == n_steps == len(run(sampler, schedule))
        return
    for refused in (lambda: sampler.planned_nfe(schedule), lambda: list(sampler.run(nothing, x, schedule, Noise()))):
        with pytest.raises(ValueError, match=r"eta=1\.15: at sigma'/sigma = .* it must be between 0 and"):
            refused()


def test_noise_within_bounds_is_eulers_there_and_none_elsewhere():
    inside = run(EulerInInterval(0.8, s_min=SCHEDULE[5], s_max=SCHEDULE[2]))[-1]
    x, noise = start(), Noise()
    for eta, part in ((0.0, SCHEDULE[:3]), (0.8, SCHEDULE[2:7]), (0.0, SCHEDULE[6:])):
        x = run(Euler(eta), part, noise, x=x)[-1]
    assert torch.equal(inside, x)


def test_kadkhodaie_simoncelli_treats_each_sample_by_itself():
    point = GaussianDenoiser(std=0.0)
    together = start(3) * torch.tensor([0.1, 1.0, 10.0], dtype=torch.float64).view(-1, 1, 1, 1)
    alone = together[:1].clone()
    sampler = KadkhodaieSimoncelli(beta_ks=1.0)
    n_together, n_alone = (len(run(sampler, noise=forbidden, model=point, x=x)) for x in (together, alone))
    assert n_alone < n_together, "the batch goes on for its noisiest sample"
    assert_close(together[:1], alone, rtol=1e-12, atol=0)


def test_kadkhodaie_simoncelli_tells_the_model_the_level_it_aimed_at():
    """The next level is (1 - beta_ks alpha_t) of what was measured, each sample's own, until that sample stops."""
    levels, sizes = [], []

    def model(x, sigma):
        eps = GaussianDenoiser(std=0.05)(x, sigma)
        levels.append(sigma.clone())
        sizes.append(eps.square().mean(dim=(1, 2, 3)).sqrt())
        return eps

    sampler, x = KadkhodaieSimoncelli(alpha_0=0.05), start(2)
    x *= torch.tensor([1e-3, 2.0]).view(2, 1, 1, 1)  # the second is noisier than it is said to be
    run(sampler, model=model, x=x)
    for step, (before, size, after) in enumerate(zip(levels, sizes, levels[1:], strict=False)):
        alpha = 0.05 * (step + 1) / (1 + 0.05 * step)
        aimed_at = torch.where(before * size > SCHEDULE[-1], (1 - 0.5 * alpha) * before * size, before)
        assert_close(after, aimed_at, rtol=1e-12, atol=0)
    assert levels[0].tolist() == [SCHEDULE[0]] * 2 and levels[1][1] > 1.5 * levels[1][0] and len(levels) > 10
    assert (sizes[-1] == sizes[-2]).any(), "a sample that has stopped gets no noise"


def test_largest_eta_leaves_nothing_but_noise():
    ratio = 0.9
    alpha, beta = dialects.alpha_beta(1.0, ratio, dialects.largest_eta(ratio))
    assert beta == pytest.approx(ratio) and alpha == pytest.approx(1, abs=1e-7)


@pytest.mark.parametrize("eta", [-0.1, 2.30, math.nan])
def test_impossible_eta_is_named(eta: float):
    for ratio in (0.9, 0.0) if eta != 2.30 else (0.9,):  # a step to 0 has no largest eta
        with pytest.raises(ValueError, match=rf"eta=.*between 0 and 1/sqrt\(1 - r\^2\) = {2.29 if ratio else 'inf'}"):
            dialects.beta_from_eta(eta, ratio)


def test_a_step_to_zero_adds_no_noise_whatever_eta_is():
    assert dialects.largest_eta(0.0) == math.inf
    assert {dialects.alpha_beta(8.0, 0.0, eta) for eta in (0.0, 1.0, 50.0)} == {(1.0, 0.0)}


def test_the_other_dialects_are_the_papers_splits_of_the_step():
    """gam = 1: sigma' = sigma^mu ((1 - alpha) sigma)^(1 - mu); Kadkhodaie & Simoncelli: r = 1 - beta_ks alpha.

    Churn is the same chain shifted by half a step: noise up to sigma (1 + gamma), then Euler down by 1 - alpha.
    """
    alpha, ratio = 0.2, 0.9
    assert (1 - alpha) ** (1 - dialects.mu_from_alpha(alpha, ratio)) == pytest.approx(ratio, rel=1e-12)
    assert 1 - dialects.beta_ks_from_alpha(alpha, ratio) * alpha == pytest.approx(ratio, rel=1e-12)
    gamma = dialects.s_churn_from_beta(0.1, 0.3, 5) / 5
    assert 0.9 * (1 + gamma) == pytest.approx(math.hypot(0.9, 0.3), rel=1e-12)
    no_noise = dialects.mu_from_alpha(0.1, 0.9), dialects.beta_ks_from_alpha(0.1, 0.9)
    assert no_noise == (0, pytest.approx(1)) and dialects.s_churn_from_beta(1.0, 0.5, 10) == math.inf


def test_steps_of_unequal_ratios_share_no_beta():
    assert Euler(1.0).row((9.0, 3.0, 2.0)) == {"eta": 1.0, "beta": None}
    assert AlphaBeta(0.1, 0.3).row((9.0, 8.0))["eta"] == pytest.approx(1)


def euler(down: float) -> Euler:
    """Steps from sigma down to down * sigma, from where fresh noise leads up to the next level, RATIO * sigma."""
    return Euler(eta_from_beta(math.sqrt(RATIO**2 - down**2), RATIO))


def test_churn_is_euler_with_reinjection_half_a_step_later():
    """From raised level to raised level (Karras et al. 2022, arXiv 2206.00364, Algorithm 2); the last adds none."""
    churn, noise = EulerChurn(s_churn=2.0), Noise()
    ours = run(churn)[-1]
    gain = churn.raised(1.0, len(SCHEDULE) - 1)
    raised = tuple(gain * sigma for sigma in SCHEDULE[:-1])
    x = start() + math.sqrt(raised[0] ** 2 - SCHEDULE[0] ** 2) * noise()
    for sampler, levels in ((euler(RATIO / gain), raised), (Euler(), (raised[-1], SCHEDULE[-1]))):
        x = run(sampler, levels, noise, x=x)[-1]
    assert_close(ours, x, rtol=1e-10, atol=1e-12)
    assert noise.calls == len(SCHEDULE) - 1


def test_kadkhodaie_simoncelli_stops_at_its_cap():
    """A model that reports ever more noise would never stop by itself."""
    sampler = KadkhodaieSimoncelli(max_steps=7)
    assert len(run(sampler, model=lambda x, sigma: 1.5 * torch.ones_like(x))) == 7
    assert sampler.planned_nfe(SCHEDULE) == 7
