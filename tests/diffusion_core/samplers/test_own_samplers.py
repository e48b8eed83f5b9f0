"""A sampler or model of one's own: what it yields is what counts, and what is wrong with it is named."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
import torch
from short_runs import EXACT, LADDER, forbidden, start
from torch import Tensor

from diffusion_core.samplers import AlphaBeta, Euler, Sampler, checked_steps, sample
from diffusion_core.samplers.base import Eps
from diffusion_core.schedules import alpha_beta_ladder
from diffusion_core.validation import NotFiniteError


@dataclass(frozen=True)
class Mine(Sampler):
    """Euler that yields what `change` makes of its x, at each step but those in `skip`.

    It calls eps with the level that `level` makes of x and sigma, `evaluations` times a step.
    """

    change: Callable[[Tensor], object] = torch.clone
    skip: tuple[int, ...] = ()
    more: int = 0
    level: Callable[[Tensor, float], Any] = lambda x, sigma: sigma
    evaluations: int = 1

    def run(self, eps: Eps, x: Tensor, sigmas: tuple[float, ...], draw: Callable[[], Tensor]) -> Iterator[Any]:
        for step, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
            for _ in range(self.evaluations):
                slope = eps(x, self.level(x, sigma))
            x = x + (sigma_next - sigma) * slope
            if step not in self.skip:
                yield self.change(x)
        for _ in range(self.more):
            yield x


class Early(Euler):
    """Yields x before each step."""

    def run(self, eps: Eps, x: Tensor, sigmas: tuple[float, ...], noise: Any) -> Iterator[Tensor]:
        for sigma, after in pairwise(sigmas):
            yield x
            x = x + (after - sigma) * eps(x, sigma)


class Returns(Euler):
    def run(self, *arguments: Any) -> Any:
        return None


def test_a_new_tensor_counts_as_x_updated_in_place_does() -> None:
    mine, euler = (list(checked_steps(EXACT, s, LADDER, start(), forbidden))[-1] for s in (Mine(), Euler()))
    torch.testing.assert_close(mine, euler)
    options: dict[str, Any] = {"n_samples": 5, "shape": (1, 4, 4), "final_denoise": True}
    for trajectory in (False, True):
        mine, euler = (sample(EXACT, LADDER, s, trajectory=trajectory, **options) for s in (Mine(), Euler()))
        torch.testing.assert_close(mine, euler, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (3, 1, 1, 1)], ids=str)
def test_a_level_may_have_any_shape(shape: tuple[int, ...]) -> None:
    mine = Mine(level=lambda x, sigma: torch.full((len(x), *shape[1:]) if 3 in shape else shape, sigma))
    watched: list[tuple[int, ...]] = []

    def model(x: Tensor, sigma: Tensor) -> Tensor:
        watched.append(tuple(sigma.shape))
        return EXACT(x, sigma)

    x, expected = (sample(model, LADDER, s, n_samples=3, shape=(1, 4, 4)) for s in (mine, Mine()))
    torch.testing.assert_close(x, expected)
    assert set(watched) == {(3,)}
    assert mine.asked(LADDER) == pytest.approx((LADDER[-1], LADDER[0])) and mine.planned_nfe(LADDER) == 8


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        (Mine(evaluations=1001), "sampler: step 1 took more than 1,000 evaluations, or does not end; it must yield x"),
        (
            Mine(level=lambda x, sigma: torch.full((2,), sigma)),
            r"it called eps with sigma of shape \(2,\) for 3 images; it must be one level, or \(3,\)",
        ),
        (Mine(lambda x: x * math.nan), "sampler Mine.*: at step 1 of 8 it yielded NaN or infinity, though the model"),
        (Mine(lambda x: x[:1]), r"at step 1 of 8 it yielded a tensor of shape \(1, 1, 4, 4\).* must yield x, "),
        (Mine(torch.Tensor.half), "at step 1 of 8 it yielded .*float16"),
        (Mine(lambda x: None), "at step 1 of 8 it yielded NoneType"),
        (Mine(skip=(3,)), "it took 7 of the 8 steps that its ladder has"),
        (Mine(skip=tuple(range(8))), "it took 0 of the 8 steps that its ladder has"),
        (Mine(more=1), "it took more than the 8 steps that its ladder has"),
        (Early(), r"sampler Early\(eta=0\): it yields x before each step, so its last step is lost"),
        (Returns(), r"sampler Returns\(eta=0\): run\(\) returned NoneType; it must yield x"),
    ],
    ids=["endless", "levels", "nan", "shape", "dtype", "nothing", "too few", "none", "too many", "early", "return"],
)
def test_what_is_wrong_with_a_sampler_is_named(sampler: Sampler, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sample(EXACT, LADDER, sampler, n_samples=3, shape=(1, 4, 4))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda x, sigma: torch.zeros_like(x, dtype=torch.int64), "model: it returned torch.int64 at step 0"),
        (lambda x, sigma: None, "model: it returned NoneType at step 0"),
    ],
    ids=["integers", "nothing"],
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
