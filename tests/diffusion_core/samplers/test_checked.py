"""A sampler or model of one's own: what it yields is what counts, what is wrong with it is named, and its cost."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import pytest
import torch
from short_runs import EXACT, SCHEDULE
from torch import Tensor, nn
from torch.testing import assert_close

from diffusion_core import adapters
from diffusion_core.data.dataset import Images
from diffusion_core.samplers import (
    SAMPLERS,
    AlphaBeta,
    Euler,
    KadkhodaieSimoncelli,
    Sampler,
    checked,
    sample,
)
from diffusion_core.samplers.checked import changed_by_training_mode
from diffusion_core.schedules import alpha_beta_schedule
from diffusion_core.validation import NotFiniteError


def drawn(model: Callable[..., Tensor], sampler: Sampler = Euler(), n: int = 3) -> Tensor:  # noqa: B008
    return sample(model, SCHEDULE, sampler, n_samples=n, shape=(1, 4, 4))


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

    def run(self, eps, x, sigmas, noise):
        for step, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
            for _ in range(self.evaluations):
                slope = eps(x, self.level(x, sigma))
            x = x + (sigma_next - sigma) * slope
            if step not in self.skip:
                yield self.change(x)
        for _ in range(self.more):
            yield x


class Returns(Sampler):
    def run(self, eps, x, sigmas, noise):
        return x


class Early(Euler):
    """Yields x before each step."""

    def run(self, eps, x, sigmas, noise):
        for sigma, after in pairwise(sigmas):
            yield x
            x = x + (after - sigma) * eps(x, sigma)


def test_a_new_tensor_counts_as_x_updated_in_place_does():
    options = {"n_samples": 5, "shape": (1, 4, 4), "final_denoise": True}
    for trajectory in (False, True):
        mine, euler = (sample(EXACT, SCHEDULE, s, trajectory=trajectory, **options) for s in (Mine(), Euler()))
        assert_close(mine, euler, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (3, 1, 1, 1)], ids=str)
def test_a_level_may_have_any_shape(shape: tuple[int, ...]):
    mine = Mine(level=lambda x, sigma: torch.full((len(x), *shape[1:]) if 3 in shape else shape, sigma))
    watched = []

    def model(x, sigma):
        watched.append(tuple(sigma.shape))
        return EXACT(x, sigma)

    assert_close(drawn(model, mine), drawn(model, Mine()))
    assert set(watched) == {(3,)}
    assert mine.asked(SCHEDULE) == pytest.approx((SCHEDULE[-1], SCHEDULE[0])) and mine.planned_nfe(SCHEDULE) == 8


@pytest.mark.parametrize(
    "sampler, message",
    [
        (Mine(evaluations=1001), "sampler: step 1 took more than 1,000 evaluations, or does not end; it must yield x"),
        (
            Mine(level=lambda x, sigma: torch.full((2,), sigma)),
            r"it called eps with sigma of shape \(2,\) for 3 images; it must be one level, or \(3,\)",
        ),
        (Mine(lambda x: x.index_fill(0, torch.tensor(1), math.nan)), "sampler .*Mine.*: at step 1 of 8 it yielded NaN"),
        (Mine(lambda x: x[:1]), r"at step 1 of 8 it yielded a tensor of shape \(1, 1, 4, 4\).* must yield x, "),
        (Mine(torch.Tensor.half), "at step 1 of 8 it yielded .*float16"),
        (Mine(lambda x: None), "at step 1 of 8 it yielded NoneType"),
        (Mine(skip=(3,)), "it took 7 of the 8 steps that its schedule has"),
        (Mine(more=1), "it took more than the 8 steps that its schedule has"),
        (Returns(), "sampler .*Returns: run must yield x after each step, not return it"),
        (Early(), r"sampler .*Early: it yields x before each step, so its last step is lost"),
    ],
)
def test_what_is_wrong_with_a_sampler_is_named(sampler: Sampler, message: str):
    with pytest.raises(ValueError, match=message):
        drawn(EXACT, sampler)


@pytest.mark.parametrize(
    "model, message",
    [
        (lambda x, sigma: torch.zeros_like(x, dtype=torch.int64), "torch.int64 at step 0"),
        (lambda x, sigma: None, "NoneType at step 0"),
        (lambda x, sigma: x[..., 0], r"shape \(3, 1, 4\) at step 0 for x of shape \(3, 1, 4, 4\)"),
    ],
)
def test_what_is_wrong_with_a_model_is_named(model: Any, message: str):
    with pytest.raises(ValueError, match="model: it returned " + message):
        drawn(model)


def test_a_model_in_another_precision_is_converted():
    narrow, expected = drawn(lambda x, sigma: EXACT(x, sigma).bfloat16()), drawn(EXACT)
    assert narrow.dtype == torch.float32
    assert_close(narrow, expected, rtol=0.05, atol=0.05)


def test_a_model_that_returns_nan_only_once_is_said_not_to_repeat_itself():
    calls = []

    def model(x, sigma):
        calls.append(1)
        return EXACT(x, sigma) * (math.nan if len(calls) == 3 else 1.0)

    with pytest.raises(NotFiniteError, match=r"not when they were drawn again .* must return the same for the same"):
        drawn(model)


def test_the_original_rule_refuses_another_schedule():
    rule = AlphaBeta(0.1, 0.3)
    assert rule.planned_nfe(alpha_beta_schedule(0.1, 0.3)) == 132
    with pytest.raises(ValueError, match=r"from 10 to 5.62341, but alpha=0.1 and beta=0.3 multiply sigma by 0.948"):
        drawn(EXACT, rule)


def test_a_subclass_has_a_name_of_its_own():
    class Better(Euler):
        pass

    assert Better(1.0).name.endswith(".Better(eta=1)") and Euler(1.0).name == "euler(eta=1)"


CHANGES = {"x": lambda x, sigma: EXACT(x.mul_(0.5), sigma), "sigma": lambda x, sigma: EXACT(x, sigma.log_().exp())}


@pytest.mark.parametrize("sampler", [Euler(), KadkhodaieSimoncelli()], ids=["one level", "a level per sample"])
@pytest.mark.parametrize("name", CHANGES)
def test_a_model_that_changes_its_input_is_named_or_in_inference_mode_harmless(name: str, sampler: Sampler):
    tidy = (lambda x, sigma: EXACT(x * 0.5, sigma)) if name == "x" else (lambda x, sigma: EXACT(x, sigma.log().exp()))
    for n in (1, 3):
        with pytest.raises(ValueError, match=f"model: it changed {name} in place at step 0; it must leave its input"):
            drawn(CHANGES[name], sampler, n)
        with torch.inference_mode():
            assert torch.equal(drawn(CHANGES[name], sampler, n), drawn(tidy, sampler, n))


@pytest.mark.parametrize("name", SAMPLERS)
def test_samples_are_the_same_in_inference_mode(name: str):
    sampler = SAMPLERS[name]()
    expected = drawn(EXACT, sampler)
    assert torch.equal(drawn(torch.inference_mode()(EXACT), sampler), expected)
    with torch.inference_mode():
        assert torch.equal(drawn(EXACT, sampler), expected)


@dataclass(frozen=True)
class Twice(Sampler):
    """Two evaluations per step, the second in a batch of two. It does not say its cost."""

    def run(self, eps, x, sigmas, noise):
        for sigma, sigma_next in pairwise(sigmas):
            guess = torch.cat([x, x + (sigma_next - sigma) * eps(x, sigma)])
            levels = torch.tensor([sigma, sigma_next]).repeat_interleave(len(x))
            first, second = eps(guess, levels).chunk(2)
            x = x + (sigma_next - sigma) * (first + second) / 2
            yield x


class Broken(Twice):
    def run(self, *arguments):
        raise KeyError("x")


@dataclass(frozen=True)
class Endless(Sampler):
    """It yields x for ever, with or without an evaluation."""

    evaluates: bool = False
    follows_schedule: ClassVar[bool] = False

    def run(self, eps, x, sigmas, noise):
        while True:
            if self.evaluates:
                eps(x, sigmas[0])
            yield x


@pytest.mark.parametrize(
    "sampler, expected",
    [(Twice(), 24), (Euler(0.5), 8), (Broken(), 8), (Endless(), 8), (Endless(True), 8)],
    ids=["counted", "said", "broken", "endless", "endless evaluations"],
)
def test_cost_is_said_or_counted(sampler: Any, expected: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("diffusion_core.samplers.base.MAX_STEPS", 200)
    assert sampler.planned_nfe(SCHEDULE) == expected


def test_a_sampler_that_does_not_end_is_stopped(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(checked, "MAX_STEPS", 50)
    with pytest.raises(ValueError, match=r"^sampler .*Endless: it took more than 50 steps, or does not end"):
        drawn(EXACT, Endless())


DATA = Images("mine", torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(2), 40.0, 70.0)


class Network(nn.Module):
    """Two layers with another module between them."""

    def __init__(self, between: nn.Module):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 2, 1), between, nn.Conv2d(2, 1, 1))

    def forward(self, z, time):
        return self.layers(z)


@pytest.mark.parametrize("between", [nn.Dropout(0.5), nn.BatchNorm2d(2)], ids=lambda module: type(module).__name__)
@pytest.mark.parametrize("wrap", [lambda net: net, lambda net: adapters.vp(net, DATA)], ids=["bare", "adapter"])
def test_it_is_said_until_eval_is_called(between: nn.Module, wrap: type[nn.Module]):
    model = wrap(Network(between).train())
    name = type(between).__name__
    with pytest.warns(UserWarning, match=rf"model: (net\.)?layers\.1 \({name}\) is in training mode.*call \.eval\(\)"):
        drawn(model)
    assert torch.equal(drawn(model.eval()), drawn(model))  # a warning would be an error


def test_nothing_is_said_of_a_network_put_to_eval_before_it_is_wrapped_nor_of_one_that_is_meant_to_be_random():
    wrapped = adapters.vp(Network(nn.Dropout(0.5)).eval(), DATA)
    random = adapters.vp(Network(nn.Dropout(0.5)).train(), DATA)
    random.random = True  # type: ignore[assignment]  # as docs/models.md says
    assert wrapped.training and torch.equal(drawn(wrapped), drawn(wrapped))  # a warning would be an error
    drawn(random)


@pytest.mark.parametrize(
    "module, found",
    [
        (nn.Dropout(0.0), []),
        (nn.InstanceNorm2d(2), []),
        (nn.InstanceNorm2d(2, track_running_stats=True), ["it (InstanceNorm2d)"]),
        (nn.MultiheadAttention(2, 1), []),
        (nn.MultiheadAttention(2, 1, dropout=0.1), ["it (MultiheadAttention)"]),
        (nn.Sequential(nn.AlphaDropout(), nn.RReLU()), ["0 (AlphaDropout)", "1 (RReLU)"]),
        (lambda x, sigma: x, []),
    ],
    ids=lambda value: str(value) if isinstance(value, list) else type(value).__name__,
)
def test_only_what_training_mode_changes_is_found(module: nn.Module, found: list[str]):
    assert changed_by_training_mode(module) == found
    if isinstance(module, nn.Module):
        assert changed_by_training_mode(module.eval()) == []
