"""`check`: our own samplers pass it with their declared order, planted bugs do not, and its laws are closed forms."""

import math
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import planted
import pytest
import torch
from numpy.testing import assert_allclose
from short_runs import variance_of_euler
from torch import Tensor
from torch.testing import assert_close

from bench.published_samplers import flow_grpo
from diffusion_core.samplers import (
    ERSDE,
    SAMPLERS,
    Accelerated,
    Euler,
    EulerChurn,
    EulerTwoPart,
    Heun,
    Interval,
    KadkhodaieSimoncelli,
    Restart,
    Sampler,
)
from experiments.conformance import Oracle, assert_converges, check, wrappers
from experiments.conformance.impulses import by_impulses
from experiments.conformance.independence import takes_generator
from experiments.conformance.oracle import GAUSSIAN

FEW = (28, 50, 60, 100, 140, 200)
MANY = (28, 125, 250, 500)
COARSE = Oracle(stds=(2.0, 1.0, 0.5, 0.01), mean=0.5)  # few steps suffice for it
NOISY = [Euler(0.5), Euler(1.0), EulerTwoPart(1.0, 0.5), EulerChurn(10.0), Heun(20.0), ERSDE(1), Accelerated(1.0, 0.5)]
CONVERGES = [make() for name, make in SAMPLERS.items() if name not in ("restart", "kadkhodaie-simoncelli")] + NOISY
ORDERS = [*((sampler, sampler.order) for sampler in CONVERGES), (Accelerated(1.5), 2)]  # 3/2 is Adams and Bashforth's
ROWS = [pytest.param(*row, marks=[pytest.mark.slow] * (type(row[0]) not in (Euler, Heun))) for row in ORDERS]
DDIM = partial(planted.ancestral, eta=0.0)
DDPM = planted.ancestral
QUICK = {"data": COARSE, "budgets": FEW}


@pytest.mark.parametrize("sampler, order", ROWS, ids=lambda value: getattr(value, "name", value))
def test_our_samplers_converge_with_their_order(sampler: Sampler, order: int):
    budgets = (60, *MANY[1:], 100) if isinstance(sampler, ERSDE) else FEW  # its third term still shows at 200 steps
    verdict = check(wrappers.ours(sampler), order, data=COARSE, budgets=budgets)
    assert verdict.right and verdict.method == "impulses", verdict.sentence
    assert verdict.order == pytest.approx(order, abs=0.25)


def test_a_restart_does_not_converge_to_the_data():
    """Its three steps stay three steps."""
    verdict = check(wrappers.ours(Restart((Interval(0.12, 0.6, 3, 2),))), budgets=FEW)
    assert verdict.outcome == "wrong limit" and max(verdict.ratios[:4]) == pytest.approx(1.03, abs=0.01)


def test_a_schedule_that_ends_above_zero_leaves_its_noise():
    from diffusion_core.schedules import karras

    verdict = check(wrappers.ours(Euler(), lambda n: karras(n, 160.0, 0.03)), budgets=FEW)
    assert verdict.outcome == "noise left over" and verdict.left_over == pytest.approx(0.03, rel=0.05)


SECOND = {"order": 2, "budgets": MANY}
BUGS = [
    ("noise without compensation of the drift", DDPM, {}, "wrong limit"),
    ("up and down exchanged", DDPM, {}, "wrong limit"),
    ("variance for standard deviation", DDPM, {}, "wrong limit"),
    ("a missing last step", DDPM, {}, "noise left over"),
    ("levels 1 % low", DDIM, {}, "wrong limit"),
    ("noise after the last step", DDPM, {}, "noise left over"),
    # these have the right limit
    ("a level that is wrong by one", DDIM, {"reference": DDIM}, "unlike its reference"),
    ("a level that is wrong by one", planted.heun, SECOND, "order lost"),
    ("noise scaled by the wrong sigma", DDPM, {"reference": DDPM}, "unlike its reference"),
    # these have nearly the weights of a second-order method
    ("", partial(planted.heun, weight=0.53), SECOND, "order lost"),
    ("", partial(planted.heun, weight=0.47), SECOND, "not decided"),
    # and without its bug all of this code is right
    *(("", sampler, options, "right") for sampler, options in (
        (DDPM, {}), (DDIM, {}), (DDPM, {"reference": DDPM}), (DDIM, {"reference": DDIM}), (planted.heun, SECOND))),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("bug, sampler, options, outcome", BUGS)
def test_planted_bugs_are_found(bug: str, sampler: Callable[..., Tensor], options: Any, outcome: str):
    verdict = check(partial(sampler, bug=bug), **QUICK | options)
    assert verdict.outcome == outcome, verdict.sentence


SENTENCES = {
    "a stride that leaves out times": (planted.ddim_by_stride, {"budgets": (50, 100, 200, 250, 400, 500)},
                                       "irregular in the number of steps: .*with 400 steps"),
    "a reference that breaks down": (
        DDIM, {"reference": lambda d, n, z: DDIM(d, n, z) / (n != 28)} | QUICK,
        "unlike its reference: with 28 steps only one of them gives finite samples.$"),
    "orders that still change": (partial(DDPM, bug="twice the noise"), {}, "right: |not decided: "),
    "an order that is not declared": (DDIM, QUICK,
                                      r"right: it converges with order 1.0; .* 50 to 200 steps \(none was declared\)"),
    "errors below rounding": (lambda d, n, z: d.mean + d.true_stds * z, {"order": 2, "budgets": FEW}, "right: "),
    "samples that are not finite": (lambda d, n, z: z / 0 if n > 60 else z, {"budgets": FEW},
                                    "wrong limit: .*not finite"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", SENTENCES)
def test_the_sentence_says_what_is_wrong(name: str):
    sampler, options, words = SENTENCES[name]
    assert re.match(words, check(sampler, **options).sentence)


@pytest.mark.slow
def test_what_grows_with_the_steps_has_no_limit():
    verdict = check(partial(DDPM, bug="the same noise at each step"))
    assert verdict.sentence.startswith("wrong limit: it shows no limit. With 125, 250, 500 steps")
    assert math.isnan(verdict.ratios[0])


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_impulses_give_the_closed_form(eta: float):
    law, n_draws = by_impulses(wrappers.ours(Euler(eta)), GAUSSIAN, 20, 1)  # too few rows: it runs again
    expected = [variance_of_euler(wrappers.default_levels(20), eta, std) for std in GAUSSIAN.stds]
    assert_allclose(law.std**2, expected, rtol=1e-12)
    assert n_draws == (20 if eta else 1)


ONE = torch.Generator()
DRAWS = {
    "randn": lambda x: torch.randn(x.shape, dtype=x.dtype),
    "several at once": lambda x: torch.randn(2, *x.shape, dtype=x.dtype).sum(0) / 2**0.5,
    "randn_like": torch.randn_like,
    "a generator": lambda x: torch.randn(x.shape, generator=ONE),
    "normal": lambda x: torch.normal(torch.zeros_like(x), 1.0),
    "normal of a size": lambda x: torch.normal(0.0, 1.0, size=x.shape),
    "normal_": lambda x: torch.empty_like(x).normal_(1.0, std=2.0).sub_(1.0).div_(2.0),
    "a distribution": lambda x: torch.distributions.Normal(x * 0, x * 0 + 1).sample(),
    "flat": lambda x: torch.randn(len(x), x[0].numel(), dtype=x.dtype).view_as(x),
    "one number per sample": lambda x: torch.randn(len(x), 1, 1, 1, dtype=x.dtype),
}


@pytest.mark.parametrize("name", DRAWS)
def test_every_normal_draw_is_an_impulse(name: str):
    def walk(denoiser, n_steps, noise):
        return 0.5 + 2 * noise + sum(step * DRAWS[name](noise) for step in range(n_steps))

    law, n_draws = by_impulses(walk, GAUSSIAN, 4, 9)
    assert n_draws == (9 if name == "several at once" else 5)
    assert_allclose(law.mean, 0.5)
    assert_allclose(law.std, math.sqrt(4 + 1 + 4 + 9))


def clipped(denoiser, n_steps, noise):
    return DDIM(denoiser, n_steps, noise).clamp(-1, 1)


OUTSIDE = {
    "uniform noise": (lambda d, n, z: DDIM(d, n, z) + 0.2 * torch.rand_like(z), "other randomness"),
    "directions that mix": (lambda d, n, z: DDIM(d, n, z + 0.1 * z.flip(-1)), "not affine"),
    "clipping": (clipped, "not affine"),
    "transposed draws": (lambda d, n, z: DDIM(d, n, z) + torch.randn(5, len(z)).T.reshape(z.shape),
                         "not one draw per sample"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", OUTSIDE)
def test_what_impulses_cannot_measure_goes_to_monte_carlo(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("experiments.conformance.impulses.N_DRAWN", 10_000)
    sampler, reason = OUTSIDE[name]
    verdict = check(sampler, budgets=(25, 50, 100))
    assert verdict.method.startswith("Monte Carlo, because ") and reason in verdict.method
    assert verdict.outcome == "wrong limit"


@pytest.mark.slow
def test_a_sampler_that_impulses_cannot_measure_with_more_steps_keeps_its_verdict():
    def slow(denoiser, n_steps, noise):
        x = DDIM(denoiser, n_steps, noise) * (1 + n_steps**-0.6)
        return x.clamp(-1, 1) if n_steps > 500 else x

    verdict = check(slow, data=COARSE)
    assert verdict.outcome == "not decided" and verdict.method == "impulses" and verdict.moments[-1].n_steps == 500


@pytest.mark.parametrize("a", [1.0, 0.6, 0.0])
def test_the_score_is_the_gradient_of_the_density_and_all_outputs_agree(a: float):
    oracle = GAUSSIAN
    s = 0.8
    x = torch.linspace(-2, 3, 7, dtype=torch.float64).view(-1, 1).repeat(1, len(oracle.stds)).requires_grad_()
    density = torch.distributions.Normal(a * oracle.mean, (a**2 * oracle.true_stds**2 + s**2).sqrt())
    (expected,) = torch.autograd.grad(density.log_prob(x).sum(), x)
    x = x.detach()
    assert_close(oracle.score(x, s, a), expected)
    x0 = oracle.denoised(x, s, a)
    eps = oracle.eps(x, s, a)
    assert_close(a * x0 + s * eps, x)
    assert_close(oracle.v(x, torch.full((7,), s), a), a * eps - s * x0)
    assert_close(oracle.velocity(x, s), oracle.eps(x, s, 0.2) - oracle.denoised(x, s, 0.2))


SIGNATURES = {
    "flow": (wrappers.flow_step(lambda x, t, dt, v: x + dt * v), True),
    "wrong sign": (wrappers.flow_step(lambda x, t, dt, v: x - dt * v), False),
    "flow SDE": (wrappers.flow_step(flow_grpo), True),
    "flow SDE without its drift": (wrappers.flow_step(partial(flow_grpo, drift=0.0)), False),
    "one step": (wrappers.k_diffusion(lambda model, x, sigmas: x + (model(x, sigmas[:1].expand(len(x))) - x)), False),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SIGNATURES)
def test_other_signatures(name: str):
    sampler, right = SIGNATURES[name]
    assert check(sampler, budgets=FEW).right == right


STABLE_VIDEO = {"timestep_type": "continuous", "prediction_type": "v_prediction", "use_karras_sigmas": True,
                "sigma_min": 0.002, "sigma_max": 700.0}  # fmt: skip


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
@pytest.mark.parametrize(
    "name, options, outcome",
    [
        ("DDIMScheduler", {"clip_sample": False, "prediction_type": "v_prediction"}, "right"),
        (
            "DDIMScheduler",
            {"clip_sample": False, "eta": 1.0},
            "not decided",
        ),  # slow on linear betas
        ("FlowMatchEulerDiscreteScheduler", {"shift": 3.0}, "right"),
        ("EDMEulerScheduler", {}, "right"),
        ("EDMEulerScheduler", {"prediction_type": "v_prediction"}, "right"),
        ("EulerDiscreteScheduler", STABLE_VIDEO, "right"),
    ],
)
def test_schedulers_of_diffusers(name: str, options: Any, outcome: str):
    pytest.importorskip("diffusers", reason="diffusers is not installed (extra `peers`)")
    sampler = wrappers.diffusers(name, **options)
    verdict = check(sampler, budgets=(50, 100, 200))
    assert takes_generator(sampler)
    assert verdict.outcome == outcome, verdict.sentence


REFUSED = {
    r"sampler: it returned shape \(1, 1, 1, 5\) with n_steps=28": lambda: check(lambda d, n, z: z[:1], budgets=FEW),
    "sampler: it returned NoneType with n_steps=28": lambda: check(lambda d, n, z: None, budgets=FEW),
    r"^reference: it returned shape \(1, 1, 1, 5\) with n_steps=28":
        lambda: check(DDIM, reference=lambda d, n, z: z[:1], budgets=FEW),
    "reference: impulses compare exact distributions, but not the reference's: its result is not affine":
        lambda: check(DDIM, reference=clipped, **QUICK),
    "reference: impulses compare exact distributions, but not the sampler's: its result is not affine":
        lambda: check(clipped, reference=DDIM, **QUICK),
    r"budgets=\[10, 20\]: they need N, 2N and 4N steps": lambda: check(DDIM, budgets=(10, 20)),
    "it follows no schedule, so it has no number of steps to vary": lambda: wrappers.ours(KadkhodaieSimoncelli()),
    "diffusers:DDIM: there is no such scheduler": lambda: wrappers.diffusers("DDIM"),
    "diffusers:DDIMScheduler: et: it has no such option": lambda: wrappers.diffusers("DDIMScheduler", et=1),
    "receives or predicts is unknown here; to check it, write a function sampler":
        lambda: check(wrappers.diffusers("CMStochasticIterativeScheduler"), budgets=FEW),
}  # fmt: skip


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_checked_is_named(message: str):
    with pytest.raises(ValueError, match=message):
        REFUSED[message]()


def test_for_test_suites_a_wrong_sampler_is_an_assertion():
    assert_converges(planted.heun, order=2, budgets=FEW)
    with pytest.raises(AssertionError, match=r"^wrong limit: it shows no limit. With 50, 100, 200 steps"):
        assert_converges(partial(DDPM, bug="up and down exchanged"), budgets=FEW)
    state = torch.random.get_rng_state()
    check(DDIM, budgets=(25, 50, 100))
    assert torch.equal(state, torch.random.get_rng_state()), "the global generator is left alone"
