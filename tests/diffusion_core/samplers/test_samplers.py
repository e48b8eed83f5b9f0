"""The samplers: measured order, counted cost, noise only where it is asked for, closed forms, and errors."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
import torch
from dialect_steps import Steps, beta_ks_steps, churn_steps, eta_steps, mu_steps
from torch import Tensor

from diffusion_core.errors import NotFiniteError
from diffusion_core.exact import GaussianDenoiser, gaussian_moments
from diffusion_core.samplers import (
    SAMPLERS,
    Accelerated,
    AlphaBeta,
    Churn,
    DPMpp2M,
    DPMpp2MSDE,
    Euler,
    EulerChurn,
    EulerCorrected,
    EulerWithin,
    Heun,
    Interval,
    KadkhodaieSimoncelli,
    Restart,
    Sampler,
    follow,
    sample,
)
from diffusion_core.samplers.base import Eps
from diffusion_core.samplers.dialects import beta_ks_from_alpha, mu_from_alpha
from diffusion_core.schedules import alpha_beta_ladder, geometric

EXACT = GaussianDenoiser()
LADDER = geometric(8, 10.0, 0.1)
RESTARTS = Restart((Interval(0.2, 2.0, 3, 2), Interval(1.0, 4.0, 1, 1)))
WITHIN = EulerWithin(0.8, s_min=0.5, s_max=5.0)  # four of the ladder's levels: 3.16, 1.78, 1 and 0.56
DETERMINISTIC: list[Sampler] = [
    Euler(),
    EulerWithin(1.0, s_min=11.0),
    EulerCorrected(scale=1.02, shift=1.1, s_max=1.0),
    EulerChurn(),
    EulerChurn(s_churn=9.0, s_max=0.05),
    Heun(),
    Heun(s_churn=9.0, s_min=11.0),
    DPMpp2M(),
    DPMpp2MSDE(eta=0.0),
    Accelerated(),
    Restart(()),
    KadkhodaieSimoncelli(beta_ks=1.0),
]
NOISY: list[Sampler] = [
    Euler(0.8),
    WITHIN,
    EulerCorrected(0.8, scale=0.98),
    EulerChurn(s_churn=2.0),
    Heun(s_churn=2.0, s_min=0.05, s_max=50.0, s_noise=1.003),
    DPMpp2MSDE(),
    Accelerated(mu=0.4),
    RESTARTS,
    KadkhodaieSimoncelli(),
]
ALL = list(dict.fromkeys([*DETERMINISTIC, *NOISY, *(make() for make in SAMPLERS.values())]))  # a new one is tested too
by_name = pytest.mark.parametrize("sampler", ALL, ids=lambda sampler: sampler.name)


class Noise:
    """Unit noise in one buffer, overwritten by the next call as the block noise is, and the number of calls."""

    def __init__(
        self, shape: tuple[int, ...] = (2, 1, 4, 4), seed: int = 0, dtype: torch.dtype = torch.float64
    ) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.buffer = torch.empty(shape, dtype=dtype)
        self.calls = 0

    def __call__(self) -> Tensor:
        self.calls += 1
        return self.buffer.normal_(generator=self.generator)


def start(n: int = 2, sigma: float = 10.0) -> Tensor:
    return sigma * torch.randn(n, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(9))


def forbidden() -> Tensor:
    raise AssertionError("noise was drawn")


def slope(sampler: Sampler, counts: tuple[int, ...] = (64, 128, 256)) -> float:
    """Of log error against log step on N(0, 1), whose probability flow scales x by sqrt(1 + sigma^2)."""
    errors = []
    for n_steps in counts:
        x = torch.full((1, 1, 1, 1), 10.0, dtype=torch.float64)
        *_, end = follow(EXACT, sampler, geometric(n_steps, 10.0, 0.1), x, forbidden)
        errors.append(abs(end.item() - 10 * math.sqrt(1.01 / 101)))
    return math.log(errors[-2] / errors[-1]) / math.log(counts[-1] / counts[-2])


def test_extrapolation_by_half_is_second_order_and_by_one_is_first() -> None:
    """gam = 3/2 is the two-step Adams-Bashforth method; the paper's gam = 2 trades the order for longer reach."""
    assert slope(Accelerated(gam=1.5)) == pytest.approx(2, abs=0.1)
    assert slope(Accelerated(gam=2.0)) == pytest.approx(1, abs=0.1)


def draws_none(sampler: Sampler) -> bool:
    noise = Noise()
    return len(list(follow(EXACT, sampler, LADDER, start(), noise))) > 0 == noise.calls


@pytest.mark.parametrize(
    "sampler",
    [make() for make in SAMPLERS.values() if make.follows_ladder and draws_none(make())],
    ids=lambda sampler: sampler.name,
)
def test_order_is_as_declared(sampler: Sampler) -> None:
    measured = slope(sampler)
    print(f"measured order: {sampler.name} {measured:.3f}")
    assert measured == pytest.approx(sampler.order, abs=0.1)


@by_name
def test_counted_evaluations_are_planned(sampler: Sampler) -> None:
    """On data that is one point, where the estimate of Kadkhodaie & Simoncelli is exact as well."""
    calls = []

    def model(x: Tensor, sigma: Tensor) -> Tensor:
        assert sigma.shape == (len(x),) and sigma.dtype == x.dtype
        calls.append(sigma)
        return GaussianDenoiser(std=0.0)(x, sigma)

    x = torch.full((2, 1, 4, 4), LADDER[0], dtype=torch.float64)
    n_steps = len(list(follow(model, sampler, LADDER, x, Noise())))
    measured = sampler == KadkhodaieSimoncelli()  # 16 pixels of fresh noise have a size of their own
    assert len(calls) == pytest.approx(sampler.planned_nfe(LADDER), abs=3 * measured)
    assert n_steps == len(LADDER) - 1 or isinstance(sampler, KadkhodaieSimoncelli)


@pytest.mark.parametrize("sampler", DETERMINISTIC, ids=lambda sampler: sampler.name)
def test_no_noise_is_drawn_without_need(sampler: Sampler) -> None:
    assert torch.isfinite(list(follow(EXACT, sampler, LADDER, start(), forbidden))[-1]).all()


@pytest.mark.parametrize("sampler", NOISY, ids=lambda sampler: sampler.name)
def test_noise_changes_the_result_and_is_drawn_once_where_added(sampler: Sampler) -> None:
    noise = Noise()
    end = list(follow(EXACT, sampler, LADDER, start(), noise))[-1].clone()
    other = list(follow(EXACT, sampler, LADDER, start(), Noise(seed=1)))[-1]
    assert not torch.allclose(end, other)
    expected = {RESTARTS: 3, WITHIN: 4}.get(sampler, len(LADDER) - 1)
    assert noise.calls == expected or isinstance(sampler, KadkhodaieSimoncelli)


@by_name
def test_x_is_updated_in_place(sampler: Sampler) -> None:
    x = start()
    assert all(y is x for y in follow(EXACT, sampler, LADDER, x, Noise()))


@by_name
@pytest.mark.parametrize("memory", ["fresh", "reused"])
def test_models_that_reuse_their_memory_change_nothing(sampler: Sampler, memory: str) -> None:
    out = torch.empty(2, 1, 4, 4, dtype=torch.float64)
    model = EXACT if memory == "fresh" else lambda x, sigma: out.copy_(EXACT(x, sigma))
    ends = [list(follow(each, sampler, LADDER, start(), Noise()))[-1].clone() for each in (EXACT, model)]
    assert torch.equal(*ends)


@by_name
@pytest.mark.parametrize("n_steps", [1, 2])
def test_short_ladders(sampler: Sampler, n_steps: int) -> None:
    ladder = geometric(n_steps, 10.0, 0.1)
    assert torch.isfinite(list(follow(EXACT, sampler, ladder, start(), Noise()))[-1]).all()


@pytest.mark.parametrize(
    "sampler", [each for each in ALL if not isinstance(each, KadkhodaieSimoncelli)], ids=lambda sampler: sampler.name
)
def test_ladders_may_end_at_zero(sampler: Sampler) -> None:
    """A step to 0 lands on the denoised image and draws no noise; Heun takes it as an Euler step."""
    sigmas = []

    def model(x: Tensor, sigma: Tensor) -> Tensor:
        sigmas.append(sigma[0].item())
        return EXACT(x, sigma)

    *_, end = follow(model, sampler, (*LADDER, 0.0), start(), Noise())
    assert torch.isfinite(end).all() and min(sigmas) > 0
    assert len(sigmas) == sampler.planned_nfe((*LADDER, 0.0))


@by_name
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_nan_names_step_and_sigma(sampler: Sampler, bad: float) -> None:
    seen: list[float] = []

    def broken(x: Tensor, sigma: Tensor) -> Tensor:
        seen.append(sigma[0].item())
        return torch.full_like(x, bad) if len(seen) == 5 else EXACT(x, sigma)

    with pytest.raises(ValueError, match=r"model: it returned NaN or infinity at step \d+, sigma=") as caught:
        list(follow(broken, sampler, LADDER, start(), Noise()))
    made, step = [0], 0  # evaluations after each step
    for _ in follow(lambda x, sigma: made.append(1) or EXACT(x, sigma), sampler, LADDER, start(), Noise()):
        step += sum(made) < 5
    assert f"at step {step}, sigma={seen[4]:.6g};" in str(caught.value)


@by_name
def test_wrong_shape_is_named_at_once(sampler: Sampler) -> None:
    with pytest.raises(ValueError, match=r"model: it returned shape \(2, 1, 4\) at step 0 for x of shape"):
        next(follow(lambda x, sigma: x[..., 0], sampler, LADDER, start(), Noise()))


@by_name
def test_what_is_not_a_ladder_is_refused(sampler: Sampler) -> None:
    with pytest.raises(ValueError, match="sigmas"):
        list(follow(EXACT, sampler, (1.0, 2.0), start(), Noise()))


def test_names_tell_samplers_apart_and_values_are_hashable() -> None:
    assert len({sampler.name for sampler in ALL}) == len(set(ALL)) == len(ALL)


@pytest.mark.parametrize(
    ("sampler", "steps"),
    [
        (Euler(0.7), eta_steps(LADDER, 0.7)),
        (Accelerated(gam=1.0, mu=0.4), mu_steps(LADDER, 0.4)),
        (Accelerated(gam=1.0, mu=0.0), eta_steps(LADDER, 0.0)),
        (EulerChurn(), eta_steps(LADDER, 0.0)),
    ],
    ids=["eta", "mu", "no-mu", "no-churn"],
)
def test_one_chain_in_two_dialects(sampler: Sampler, steps: Steps) -> None:
    pairs = zip(
        follow(EXACT, sampler, LADDER, start(), Noise()),
        follow(EXACT, steps, steps.sigmas, start(), Noise()),
        strict=True,
    )
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_churn_is_euler_with_reinjection_half_a_step_later() -> None:
    churn = Churn(s_churn=2.0, s_max=5.0)
    steps, noise, other = churn_steps(LADDER, churn), Noise(), Noise()
    x = start()
    first = churn.add(x, LADDER[0], len(LADDER) - 1, other)  # 10 is above s_max: nothing is drawn
    assert steps.sigmas[0] == first == LADDER[0] and other.calls == 0
    churned = follow(EXACT, EulerChurn(s_churn=2.0, s_max=5.0), LADDER, start(), noise)
    translated = follow(EXACT, steps, steps.sigmas, x, other)
    (*_, ours), (*_, theirs) = churned, translated
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    assert noise.calls == other.calls > 0


def test_translations_invert_the_dialects() -> None:
    for steps, knob, inverse in (
        (mu_steps(LADDER, 0.3), 0.3, mu_from_alpha),
        (beta_ks_steps(LADDER, 0.7), 0.7, beta_ks_from_alpha),
    ):
        for sigma, sigma_next, alpha, beta in zip(*(LADDER, LADDER[1:], steps.alphas, steps.betas), strict=False):
            assert inverse(alpha, sigma_next / sigma) == pytest.approx(knob, rel=1e-9)
            assert math.hypot(1 - alpha, beta) == pytest.approx(sigma_next / sigma, rel=1e-12)
    assert set(mu_steps(LADDER, 0.0).betas) == set(beta_ks_steps(LADDER, 1.0).betas) == {0.0}


def test_sde_at_eta_one_has_the_variance_of_its_affine_recursion() -> None:
    """Where denoised is constant (data of one point) the second-order term vanishes: it is Euler with eta = 1."""
    point = GaussianDenoiser(std=0.0)
    pairs = zip(
        follow(point, DPMpp2MSDE(1.0), LADDER, start(), Noise()),
        follow(point, Euler(1.0), LADDER, start(), Noise()),
        strict=True,
    )
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_dpmpp_2m_sde_without_noise_is_dpmpp_2m() -> None:
    for ours, theirs in zip(
        follow(EXACT, DPMpp2MSDE(0.0), LADDER, start(), forbidden),
        follow(EXACT, DPMpp2M(), LADDER, start(), forbidden),
        strict=True,
    ):
        assert torch.equal(ours, theirs)


def test_noisy_samplers_reach_the_variance_of_the_data() -> None:
    """On a fine ladder every sampler ends near N(0, 1 + sigma_min^2)."""
    ladder = geometric(200, 10.0, 0.1)
    fine_restarts = Restart((Interval(0.2, 2.0, 20, 2), Interval(1.0, 4.0, 20, 1)))
    for sampler in (Euler(1.0), EulerChurn(20.0), Heun(20.0), DPMpp2MSDE(), Accelerated(1.0, 0.5), fine_restarts):
        x = 10 * torch.randn(20_000, 1, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
        *_, end = follow(EXACT, sampler, ladder, x * math.sqrt(1.01), Noise(x.shape))
        assert end.std().item() == pytest.approx(math.sqrt(1.01), rel=0.03), sampler.name


def test_variance_of_dialect_steps_is_closed_form() -> None:
    steps = mu_steps(LADDER, 0.5)
    variance = gaussian_moments(list(steps.sigmas), list(steps.alphas), list(steps.betas))[-1]
    x = start(40_000)
    *_, end = follow(EXACT, Accelerated(1.0, 0.5), LADDER, x, Noise(x.shape))
    assert end.var().item() == pytest.approx(variance, rel=0.02)


def test_kadkhodaie_simoncelli_treats_each_sample_by_itself() -> None:
    point = GaussianDenoiser(std=0.0)
    together = start(3) * torch.tensor([0.1, 1.0, 10.0], dtype=torch.float64).view(-1, 1, 1, 1)
    alone = together[:1].clone()
    sampler = KadkhodaieSimoncelli(beta_ks=1.0)
    n_together, n_alone = (len(list(follow(point, sampler, LADDER, x, forbidden))) for x in (together, alone))
    assert n_alone < n_together, "the batch goes on for its noisiest sample"
    torch.testing.assert_close(together[:1], alone, rtol=1e-12, atol=0)


def test_kadkhodaie_simoncelli_tells_the_model_the_level_it_aimed_at() -> None:
    """The next level is (1 - beta_ks alpha_t) of what was measured, each sample's own, until that sample stops."""
    levels, sizes = [], []

    def model(x: Tensor, sigma: Tensor) -> Tensor:
        eps = GaussianDenoiser(std=0.05)(x, sigma)
        levels.append(sigma.clone())
        sizes.append(eps.square().mean(dim=(1, 2, 3)).sqrt())
        return eps

    sampler, x = KadkhodaieSimoncelli(alpha_0=0.05), start(2)
    x[1] *= 2  # noisier than it is said to be
    list(follow(model, sampler, LADDER, x, Noise()))
    for step, (before, size, after) in enumerate(zip(levels, sizes, levels[1:], strict=False)):
        alpha = 0.05 * (step + 1) / (1 + 0.05 * step)
        aimed_at = torch.where(before * size > LADDER[-1], (1 - 0.5 * alpha) * before * size, before)
        torch.testing.assert_close(after, aimed_at, rtol=1e-12, atol=0)
    assert levels[0].tolist() == [LADDER[0]] * 2 and levels[1][1] > 1.5 * levels[1][0] and len(levels) > 10


def test_kadkhodaie_simoncelli_stops_at_its_cap() -> None:
    """A model that reports ever more noise would never stop by itself."""
    sampler = KadkhodaieSimoncelli(max_steps=7)
    assert len(list(follow(lambda x, sigma: 1.5 * torch.ones_like(x), sampler, LADDER, start(), Noise()))) == 7
    assert sampler.planned_nfe(LADDER) == 7


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Euler(-0.1), "eta=-0.1: it must be at least 0"),
        (lambda: Euler(math.nan), "eta=nan"),
        (lambda: list(follow(EXACT, Euler(3.0), LADDER, start(), Noise())), "eta=3.0: at sigma'/sigma"),
        (lambda: EulerCorrected(scale=0.0), "scale=0.0: it must be above 0 and finite"),
        (lambda: EulerCorrected(shift=math.inf), "shift=inf"),
        (lambda: EulerCorrected(s_max=-1.0), "s_max=-1.0"),
        (lambda: KadkhodaieSimoncelli.taking(1, LADDER), "nfe=1: along this ladder beta_ks=1.0 takes more"),
        (lambda: Heun(s_churn=-1.0), "s_churn=-1.0: it must be at least 0 and finite"),
        (lambda: EulerChurn(s_noise=math.inf), "s_noise=inf"),
        (lambda: Heun(s_min=2.0, s_max=1.0), "s_min=2.0: .* at most s_max=1.0"),
        (lambda: DPMpp2MSDE(-1.0), "eta=-1.0"),
        (lambda: Accelerated(gam=0.0), "gam=0.0: it must be above 0"),
        (lambda: Accelerated(mu=1.0), "mu=1.0: it must be at least 0 and below 1"),
        (lambda: Interval(2.0, 1.0), "sigma_min=2.0: .*below sigma_max=1.0"),
        (lambda: Interval(n_steps=0), "n_steps=0"),
        (lambda: Interval(n_restarts=0), "n_restarts=0: it must be at least 1"),
        (lambda: Restart(rho=0.0), "rho=0.0"),
        (lambda: Restart().planned_nfe((100.0, 50.0)), "sigma_max=0.6: .* above the level nearest .* 50,"),
        (lambda: Restart((Interval(0.1, 20.0),)).planned_nfe(LADDER), "sigma_max=20.0: .* at most the ladder's 10"),
        (lambda: Restart().planned_nfe((1.0, 0.0)), "restarts need a level above 0"),
        (lambda: KadkhodaieSimoncelli(beta_ks=0.0), "beta_ks=0.0: it must be above 0 and at most 1"),
        (lambda: KadkhodaieSimoncelli(alpha_0=1.5), "alpha_0=1.5"),
        (lambda: KadkhodaieSimoncelli(max_steps=0), "max_steps=0"),
        (lambda: mu_steps(LADDER, 1.0), "mu=1.0"),
        (lambda: beta_ks_steps(LADDER, 0.1), "beta_ks=0.1: on this ladder it must be at least .* 0.43"),
        (lambda: beta_ks_steps(LADDER, 1.1), "beta_ks=1.1"),
        (lambda: churn_steps(LADDER, Churn(s_noise=1.1)), "s_noise=1.1: only 1 can be translated"),
    ],
)
def test_bad_parameters_are_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_noise_within_bounds_is_eulers_there_and_none_elsewhere() -> None:
    whole, none = eta_steps(LADDER, 0.8), eta_steps(LADDER, 0.0)
    alphas, betas = (
        tuple(a if 2 <= step <= 5 else b for step, (a, b) in enumerate(zip(*sides, strict=True)))
        for sides in ((whole.alphas, none.alphas), (whole.betas, none.betas))
    )
    within, steps = EulerWithin(0.8, s_min=LADDER[5], s_max=LADDER[2]), Steps(LADDER, alphas, betas)
    inside, expected = (list(follow(EXACT, s, LADDER, start(), Noise()))[-1] for s in (within, steps))
    assert torch.equal(inside, expected)
    everywhere = EulerWithin(0.8)
    first, second = (list(follow(EXACT, s, LADDER, start(), Noise()))[-1] for s in (everywhere, Euler(0.8)))
    assert torch.equal(first, second)
    with pytest.raises(ValueError, match=r"s_min=2: it must be at least 0 and at most s_max=1"):
        EulerWithin(s_min=2, s_max=1)


def test_corrections_that_change_nothing_are_eulers() -> None:
    plain = list(follow(EXACT, Euler(0.8), LADDER, start(), Noise()))[-1]
    for same in (EulerCorrected(0.8), EulerCorrected(0.8, scale=0.5, shift=2.0, s_max=0.01)):
        torch.testing.assert_close(list(follow(EXACT, same, LADDER, start(), Noise()))[-1], plain)


def test_a_corrected_step_is_the_formula() -> None:
    """From 1 to 0.5 at eta 0, taken to be at 1.2: x + (0.5 - 1.2) 0.9 eps(x, 1.2), and Euler's step from 2 to 1."""
    sampler = EulerCorrected(scale=0.9, shift=1.2, s_max=1.0)
    first = second = None
    for x in follow(EXACT, sampler, (2.0, 1.0, 0.5), start(), forbidden):
        first, second = second, x.clone()
    assert first is not None and second is not None
    torch.testing.assert_close(first, start() - EXACT(start(), torch.tensor([2.0, 2.0])))
    torch.testing.assert_close(second, first - 0.7 * 0.9 * EXACT(first, torch.tensor([1.2, 1.2])))


def test_a_shift_is_right_where_samples_are_that_much_noisier() -> None:
    """Data that is one point, samples at 1.1 times the ladder's level: the corrected step ends on the ladder."""
    point = GaussianDenoiser(std=0.0)
    x = 1.1 * start() / 10  # std 1.1 at level 1
    *_, end = follow(point, EulerCorrected(shift=1.1), (1.0, 0.5), x.clone(), forbidden)
    torch.testing.assert_close(end, x * 0.5 / 1.1)


@pytest.mark.parametrize("nfe", [10, 20, 66])
def test_kadkhodaie_simoncelli_of_a_wanted_cost(nfe: int) -> None:
    found = KadkhodaieSimoncelli.taking(nfe, LADDER)
    assert found.planned_nfe(LADDER) == nfe and found.max_steps == 1000


# -------------------------------------------------------------------------------- what a sampler yields is what counts


@dataclass(frozen=True)
class Mine(Sampler):
    """Euler that yields what `change` makes of its x, at each step but those in `skip`."""

    change: Callable[[Tensor], object] = torch.clone
    skip: tuple[int, ...] = ()
    more: int = 0

    def run(self, eps: Eps, x: Tensor, sigmas: tuple[float, ...], draw: Callable[[], Tensor]) -> Iterator[Any]:
        for step, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
            x = x + (sigma_next - sigma) * eps(x, sigma)
            if step not in self.skip:
                yield self.change(x)
        for _ in range(self.more):
            yield x


def test_a_new_tensor_counts_as_x_updated_in_place_does() -> None:
    mine, euler = (list(follow(EXACT, s, LADDER, start(), forbidden))[-1] for s in (Mine(), Euler()))
    torch.testing.assert_close(mine, euler)
    options: dict[str, Any] = {"n_samples": 5, "shape": (1, 4, 4), "final_denoise": True}
    for trajectory in (False, True):
        mine, euler = (sample(EXACT, LADDER, s, trajectory=trajectory, **options) for s in (Mine(), Euler()))
        torch.testing.assert_close(mine, euler, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        (Mine(lambda x: x * math.nan), "sampler Mine.*: at step 1 of 8 it yielded NaN or infinity, though the model"),
        (
            Mine(lambda x: x[:1]),
            r"at step 1 of 8 it yielded a tensor of shape \(1, 1, 4, 4\).* must yield x, ",
        ),
        (Mine(torch.Tensor.half), "at step 1 of 8 it yielded .*float16"),
        (Mine(lambda x: None), "at step 1 of 8 it yielded NoneType"),
        (Mine(skip=(3,)), "it took 7 of the 8 steps that its ladder has"),
        (Mine(skip=tuple(range(8))), "it took 0 of the 8 steps that its ladder has"),
        (Mine(more=1), "it took more than the 8 steps that its ladder has"),
    ],
    ids=["nan", "shape", "dtype", "nothing", "too few", "none", "too many"],
)
def test_what_is_wrong_with_a_sampler_is_named(sampler: Mine, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sample(EXACT, LADDER, sampler, n_samples=3, shape=(1, 4, 4))


def test_a_sampler_that_only_returns_is_named() -> None:
    class Returns(Euler):
        def run(self, *arguments: Any) -> Any:
            return None

    with pytest.raises(ValueError, match=r"sampler Returns\(eta=0\): run\(\) returned NoneType; it must yield x"):
        sample(EXACT, LADDER, Returns(), n_samples=3, shape=(1, 4, 4))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda x, sigma: x.mul_(0.5), "model: it changed x in place at step 0"),
        (lambda x, sigma: torch.zeros_like(x, dtype=torch.int64), "model: it returned torch.int64 at step 0"),
        (lambda x, sigma: None, "model: it returned NoneType at step 0"),
    ],
    ids=["in place", "integers", "nothing"],
)
def test_what_is_wrong_with_a_model_is_named(model: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sample(model, LADDER, Euler(1.0), n_samples=3, shape=(1, 4, 4))


def test_a_model_in_another_precision_is_converted() -> None:
    narrow = sample(lambda x, sigma: EXACT(x, sigma).bfloat16(), LADDER, Euler(), n_samples=3, shape=(1, 4, 4))
    expected = sample(EXACT, LADDER, Euler(), n_samples=3, shape=(1, 4, 4))
    assert narrow.dtype == torch.float32
    torch.testing.assert_close(narrow, expected, rtol=0.05, atol=0.05)


def test_a_model_that_returns_nan_only_once_is_said_not_to_repeat_itself() -> None:
    calls: list[int] = []

    def model(x: Tensor, sigma: Tensor) -> Tensor:
        calls.append(1)
        return EXACT(x, sigma) * (math.nan if len(calls) == 3 else 1.0)

    with pytest.raises(
        NotFiniteError, match=r"not when they were drawn again .* must return the same for the same input"
    ):
        sample(model, LADDER, Euler(), n_samples=3, shape=(1, 4, 4))


def test_the_original_rule_refuses_another_ladder() -> None:
    rule = AlphaBeta(0.1, 0.3)
    assert rule.planned_nfe(alpha_beta_ladder(0.1, 0.3)) == 132
    with pytest.raises(ValueError, match=r"from 10 to 5.62341, but alpha=0.1 and beta=0.3 multiply sigma by 0.948"):
        sample(EXACT, LADDER, rule, n_samples=3, shape=(1, 4, 4))
    with pytest.raises(ValueError, match=r"beta=0.5: with alpha=0.1 it must be below"):
        AlphaBeta(0.1, 0.5)


def test_a_subclass_has_a_name_of_its_own() -> None:
    class Better(Euler):
        pass

    assert Better(1.0).name == "Better(eta=1)" and Euler(1.0).name == "euler(eta=1)"
