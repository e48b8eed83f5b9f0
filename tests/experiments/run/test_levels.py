"""The levels that a network is asked for: churn raises them above the ladder, but not above what the network knows."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from torch import Tensor

from diffusion_core.samplers import Euler, EulerChurn, Heun, Interval, Restart, Sampler
from diffusion_core.samplers.base import Eps, Noise
from diffusion_core.schedules import karras
from experiments.run.levels import unknown, unknown_levels

LADDER = karras(8, 5.0, 0.2)


@dataclass(frozen=True)
class Raising(Sampler):
    """A sampler from outside, which asks for levels above its ladder and declares nothing."""

    def run(self, eps: Eps, x: Tensor, sigmas: tuple[float, ...], noise: Noise) -> Iterator[Tensor]:
        return Euler().run(lambda x, sigma: eps(x, 1.5 * sigma), x, sigmas, noise)


@pytest.mark.parametrize(
    ("sampler", "ends"),
    [
        (Euler(1.0), (0.2, 5.0)),
        (Heun(s_churn=1.0), (0.2, 5.0 * (1 + 1 / 8))),
        (EulerChurn(s_churn=1.0, s_max=4.0), (0.2, 5.0)),
        (Restart((Interval(0.3, 2.0),)), (0.2, 5.0)),
        (Raising(), (0.2, 7.5)),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_the_levels_that_a_network_is_asked_for(sampler: Sampler, ends: tuple[float, float]) -> None:
    assert sampler.asked(LADDER) == pytest.approx(ends)


def test_a_level_to_0_is_asked_of_nobody() -> None:
    assert Euler(0.0).asked((2.0, 1.0, 0.0)) == (1.0, 2.0)


def test_levels_beyond_those_known_are_named() -> None:
    assert unknown(5.0, (0.2, 5.0 - 1e-6)) == "" == unknown(0.2, (0.2, 5.0))
    assert unknown_levels(Heun(s_churn=1.0), LADDER, (0.3, 5.2)) == (
        "sigma 0.2: the network knows no level below 0.3; sigma 5.62: the network knows no level above 5.2"
    )


@pytest.mark.parametrize("sampler", [Heun(s_churn=1.0), EulerChurn(s_churn=2.0, s_min=0.3), Heun(s_churn=1e3)])
@pytest.mark.parametrize("most", [5.0, 5.2])
def test_churn_raises_no_level_above_the_known_ones(sampler: Sampler, most: float) -> None:
    capped = sampler.below(most, LADDER)
    assert unknown_levels(sampler, LADDER, (0.1, most)) and not unknown_levels(capped, LADDER, (0.1, most))
    assert capped.asked(LADDER)[1] > LADDER[1] and capped.s_churn == sampler.s_churn  # type: ignore[attr-defined]


@pytest.mark.parametrize("sampler", [Euler(1.0), Heun(), Heun(s_churn=1.0, s_max=2.0), Heun(s_churn=1.0, s_min=4.9)])
def test_a_sampler_that_need_not_or_cannot_be_capped_stays(sampler: Sampler) -> None:
    assert sampler.below(5.0, LADDER) is sampler
