"""`check` finds samplers that are no function of their noise. Each of these has the right law, or had before."""

import math
import re
from functools import partial
from itertools import count
from typing import Any

import numpy as np
import planted
import pytest
import torch

from diffusion_core.samplers import Euler
from experiments.conformance import check, wrappers
from experiments.conformance.convergence import RANDOM, _outlier, find_verdict
from experiments.conformance.impulses import SampleMoments
from experiments.conformance.independence import MANY, NOTES, find_dependence, takes_generator
from experiments.conformance.oracle import GAUSSIAN

FEW = (25, 50, 100)
ddim = partial(planted.ancestral, eta=0.0)


def ddpm(d, n, z, generator=None, make_noise=None):
    return planted.ancestral(
        d, n, z, make_noise=make_noise or partial(torch.randn, z.shape, generator=generator, dtype=z.dtype)
    )


def own(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def antithetic(d, n, z):
    half = z[: (len(z) + 1) // 2]
    return ddim(d, n, torch.cat([half, -half])[: len(z)])


def scaled(d, n, z):
    x = 1.5 * ddim(d, n, z)  # too wide, which the next line hides
    return (x - x.mean(0)) / x.std(0) * d.true_stds + 0.5


def each_of_list(d, n, z, generator=None):
    if not isinstance(generator, list):
        return ddpm(d, n, z, generator)
    return ddpm(d, n, z, make_noise=lambda: torch.cat([torch.randn(z[:1].shape, generator=one) for one in generator]))


def wrong_from(call: int) -> Any:
    calls = count(1)
    return lambda d, n, z: ddim(d, n, z) * (1 if next(calls) < call else 1.2)


NUMPY = np.random.default_rng(1)
FAULTS = {
    "standardised over the batch": (lambda d, n, z: ddim(d, n, (z - z.mean(0)) / z.std(0)), "depends on its batch",
                                    "batch of 3 and in one of 500"),
    "antithetic pairs": (antithetic, "depends on its batch", "batch of 3 and in one of 500"),
    "scaled to the data": (scaled, "depends on its batch", "batch of 3 and in one of 500"),
    "one noise for all": (lambda d, n, z: ddpm(d, n, z, make_noise=lambda: torch.randn(1, 1, 1, 5)),
                          "depends on its batch", "one noise for all samples"),
    "generator not handed on": (lambda d, n, z, generator=None: ddpm(d, n, z), "ignores its generator", "calls differ"),
    "the same noise in every call": (lambda d, n, z: ddpm(d, n, z, own(5)), "ignores its generator", "every call"),
    "the first generator of a list": (
        lambda d, n, z, generator=None: ddpm(d, n, z, generator[0] if isinstance(generator, list) else generator),
        "ignores its generator", "of a list of generators"),
    "seeds the global generator": (lambda d, n, z: (ddpm(d, n, z), torch.manual_seed(5))[0],
                                   "touches the global generator", "it seeds"),
    "draws from the global one too": (lambda d, n, z, generator=None: ddpm(d, n, z + 0 * torch.randn(1), generator),
                                      "touches the global generator", "it is given a generator, but"),
    "noise that is not used": (lambda d, n, z: ddpm(d, n, torch.randn_like(z)), "ignores its noise", "nothing"),
    "noise of numpy": (lambda d, n, z: ddim(d, n, z) + torch.from_numpy(NUMPY.normal(size=z.shape)),
                       "not reproducible", "call 2"),
    "wrong from call 16 on": (wrong_from(16), "not reproducible", "call 16 "),
    "wrong from call 45 on": (wrong_from(45), "not reproducible", "after all other calls"),
    "one number for all pixels": (lambda d, n, z: ddpm(d, n, z, make_noise=lambda: torch.randn(len(z), 1, 1, 1)),
                                  "correlated pixels", "correlation of 0.9"),
    "a pixel copied from another": (lambda d, n, z: ddim(d, n, z[..., [0, 0, 2, 3, 4]]), "correlated pixels",
                                    "correlation of 0.9"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_samplers_that_are_no_function_of_their_noise_are_found(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("experiments.conformance.impulses.N_DRAWN", 10_000)
    sampler, outcome, words = FAULTS[name]
    verdict = check(sampler, budgets=FEW)
    assert verdict.outcome == outcome and verdict.sentence.startswith(f"{outcome}: ") and words in verdict.sentence


def uniform(d, n, z, generator=None):
    """Noise of mean 0 and variance 1 that is not normal."""
    between_0_and_1 = partial(torch.rand, z.shape, generator=generator, dtype=z.dtype)
    return ddpm(d, n, z, make_noise=lambda: math.sqrt(12) * (between_0_and_1() - 0.5))


RIGHT = {
    "DDPM": ddpm, "a list of generators": each_of_list, "no generator": lambda d, n, z: ddpm(d, n, z),
    "uniform noise": uniform, "noise drawn again": lambda d, n, z: ddim(d, n, z) + sum(
        sign * torch.randn(z.shape, generator=own(3)) for sign in (1, -1)),
    "ours": wrappers.ours(Euler(1.0)), "ours without noise": wrappers.ours(Euler()),
    "a step": wrappers.flow_step(lambda x, t, dt, v, generator=None: x + dt * v + (-dt).sqrt() * torch.randn(
        x.shape, dtype=x.dtype, generator=generator)),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_samplers_that_are_a_function_of_their_noise_pass(name: str):
    noise = torch.randn(MANY, 1, 1, 5, dtype=torch.float64, generator=own(0))
    sampler = RIGHT[name]
    assert takes_generator(sampler) == (name not in ("no generator", "noise drawn again"))
    with torch.random.fork_rng(devices=[]):
        faults = find_dependence(partial(sampler, GAUSSIAN, 8), noise, takes_generator(sampler))
        assert {outcome for outcome, _ in faults} <= {*NOTES}
    if name in ("DDPM", "noise drawn again"):
        verdict = check(sampler, budgets=None if name == "DDPM" else FEW)
        assert verdict.right and verdict.method == "impulses", "noise that is drawn again is one impulse"


@pytest.mark.slow
@pytest.mark.parametrize("wrong", [4, 20, RANDOM[-1]])
def test_one_wrong_number_of_steps_is_found(wrong: int):
    verdict = check(lambda d, n, z: ddim(d, n, z) * (1.2 if n == wrong else 1))
    assert verdict.outcome == "irregular in the number of steps" and f"with {wrong} steps" in verdict.sentence
    assert wrong in [law.n_steps for law in verdict.moments]


@pytest.mark.slow
def test_a_change_of_method_is_no_outlier_and_too_few_steps_are_left_out():
    errors = {n: np.array([1 / n + 0.3 * (n < 15)]) for n in range(3, 42)}
    assert _outlier(errors) is None
    assert _outlier(errors | {15: errors[15] + 0.7}) == (15, pytest.approx(0.56))

    def no_three(d, n, z):
        return ddim(d, n, z) * (math.nan if n == 3 else 1 // (n > 4) if n < 5 else 1)  # 4 raises

    assert check(no_three).right
    assert "with 9 steps its samples are not finite" in check(lambda d, n, z: ddim(d, n, z) / (n != 9)).sentence


@pytest.mark.slow
def test_monte_carlo_alone_makes_nothing_right_whose_samples_may_depend_on_each_other(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("experiments.conformance.impulses.N_DRAWN", 10_000)
    monkeypatch.setattr("experiments.conformance.convergence.DRAWN_TOLERANCE", 0.2)
    verdict = check(lambda d, n, z: ddim(d, n, z) + 1e-9 * torch.randn(5, len(z)).T.reshape(z.shape), budgets=FEW)
    assert verdict.sentence.startswith("not decided: Monte Carlo finds it right, but it draws noise of shape")
    assert "not one draw per sample" in verdict.sentence


@pytest.mark.parametrize(
    "ratios, exact, words",
    [
        ((1.0171, 1.0102, 1.0037, 1.0011), True, "right: "),  # three shrinking differences bound the limit
        ((1.0171, 1.0142, 1.0080, 1.0018), True, "not decided: "),
        ((1.003, 1.007, 1.013), True, "(?!.*shows no limit)"),  # a small last difference
        ((1.003, 1.007, 1.018), True, ".*shows no limit"),
        ((1.0, 1.0, 1.0), False, "right: it converges; with 125 steps it is right to within 0.1 %"),
    ],
)
def test_the_verdict_on_ratios_by_number_of_steps(ratios: tuple[float, ...], exact: bool, words: str):
    none = np.zeros(5)
    true = GAUSSIAN.true_stds.numpy()
    stds = [true * np.array([1, 1, 1, ratio, 1]) for ratio in ratios]  # in the direction 0.2
    steps = (125, 250, 500, 1000)
    laws = [SampleMoments(n, none + 0.5, std, none, none) for n, std in zip(steps, stds, strict=False)]
    assert re.match(words, find_verdict(laws, GAUSSIAN, None if exact else 2, "how", exact).sentence)


@pytest.mark.slow
def test_noise_that_falls_with_the_steps_is_asked_for_1000_steps():
    """As DDPM's larger variance on trailing steps of diffusers, which leaves none with 1,000."""

    def fixed_large(d, n, z, least=0.0):
        left = {250: 0.0213, 500: 0.015, 1000: 0.0}.get(n, 0.0357 * (125 / n) ** 0.73)
        return ddim(d, n, z) + max(left, least) * torch.randn_like(z)

    verdict = check(fixed_large)
    assert verdict.moments[-1].n_steps == 1000 and verdict.outcome != "noise left over", verdict.sentence
    assert check(partial(fixed_large, least=0.02)).outcome == "noise left over"
