"""Samplings in one batch are the samplings one by one; whatever fails ends all of them, and nobody waits for ever."""

import threading
from collections.abc import Callable

import pytest
import torch
from dialect_steps import alpha_beta_steps, eta_steps
from torch import Tensor

from diffusion_core.exact import GaussianDenoiser
from diffusion_core.samplers import DPMpp2M, Heun, KadkhodaieSimoncelli, Model, sample
from diffusion_core.samplers.joint_batch import sample_jointly
from diffusion_core.schedules import geometric, karras

EXACT = GaussianDenoiser(0.5)
Draw = Callable[[Model], Tensor]


def draws() -> dict[str, Draw]:
    """Runs that differ in all that may differ: ladder, sampler, seed, noise, number of samples, steps taken."""
    quiet, noisy, original = eta_steps(geometric(5), 0.0), eta_steps(geometric(9), 1.0), alpha_beta_steps(0.4, 0.3)
    options = {"shape": (1, 4, 4), "device": "cpu"}
    return {
        "quiet": lambda model: sample(model, quiet.sigmas, quiet, n_samples=3, **options),
        "noisy": lambda model: sample(model, noisy.sigmas, noisy, n_samples=5, seed=4, **options),
        "original": lambda model: sample(model, original.sigmas, original, n_samples=2, first_sample=70, **options),
        "batches": lambda model: sample(model, noisy.sigmas, noisy, n_samples=6, batch_size=2, **options),
        "heun": lambda model: sample(model, karras(4), Heun(), n_samples=4, final_denoise=True, **options),
        "dpm++": lambda model: sample(model, karras(6), DPMpp2M(), n_samples=1, **options),
        "own levels": lambda model: sample(model, geometric(8), KadkhodaieSimoncelli(), n_samples=2, **options),
    }


def test_joined_draws_are_those_drawn_alone() -> None:
    wanted = draws()
    for name, found in zip(wanted, sample_jointly(EXACT, list(wanted.values())), strict=True):
        torch.testing.assert_close(found, wanted[name](EXACT), rtol=1e-5, atol=1e-5)


def test_calls_are_evaluated_together_in_the_order_of_the_draws() -> None:
    seen: list[list[float]] = []

    def model(x: Tensor, sigma: Tensor) -> Tensor:
        seen.append(sigma.tolist())
        return EXACT(x, sigma)

    short, long = eta_steps((4.0, 2.0), 0.0), eta_steps((8.0, 6.0, 3.0, 1.0), 0.0)

    def draw(steps: object, n: int) -> Draw:
        return lambda model: sample(model, steps.sigmas, steps, n_samples=n, shape=(1, 2, 2), device="cpu")

    sample_jointly(model, [draw(long, 1), draw(short, 2)])
    assert seen == [[8.0, 4.0, 4.0], [6.0], [3.0]]


def test_the_sample_indices_are_given_by_name() -> None:
    """A model may have other optional arguments before `index`, or take it by name only."""

    def model(x: Tensor, sigma: Tensor, scale: Tensor | None = None, *, index: Tensor) -> Tensor:
        return EXACT(x, sigma) * (1 if scale is None else torch.nan) + index.view(-1, 1, 1, 1) / 10

    model.takes_index = True
    wanted = list(draws().values())
    for found, draw in zip(sample_jointly(model, wanted), wanted, strict=True):
        torch.testing.assert_close(found, draw(model), rtol=1e-5, atol=1e-5)


def test_an_error_of_the_model_is_raised_and_nobody_waits() -> None:
    def model(x: Tensor, sigma: Tensor) -> Tensor:
        raise MemoryError("out of memory")

    with pytest.raises(MemoryError, match="out of memory"):
        sample_jointly(model, list(draws().values()))


def test_an_error_of_one_draw_is_raised_and_the_others_end() -> None:
    def fails(model: Model) -> Tensor:
        model(torch.zeros(1, 1, 4, 4), torch.ones(1))
        raise ValueError("mine")

    endless = eta_steps(geometric(100_000), 0.0)

    def long(model: Model) -> Tensor:
        return sample(model, endless.sigmas, endless, n_samples=1, shape=(1, 4, 4), device="cpu")

    with pytest.raises(ValueError, match="mine"):
        sample_jointly(EXACT, [long, fails, long])


def test_an_error_that_shows_when_another_draw_has_ended_is_raised() -> None:
    def model(x: Tensor, sigma: Tensor) -> Tensor:
        if len(x) == 1:
            raise ValueError("one is too few")
        return EXACT(x, sigma)

    def calls(times: int) -> Draw:
        return lambda model: [model(torch.zeros(1, 1, 4, 4), torch.ones(1)) for _ in range(times)][-1]

    with pytest.raises(ValueError, match="one is too few"):
        sample_jointly(model, [calls(1), calls(2)])


def test_an_interrupt_ends_all_draws_and_goes_on() -> None:
    def model(x: Tensor, sigma: Tensor) -> Tensor:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample_jointly(model, list(draws().values()))


def test_it_is_evaluated_by_the_caller_under_its_autocast_and_nothing_is_nothing() -> None:
    seen: list[tuple[bool, bool]] = []

    def model(x: Tensor, sigma: Tensor) -> Tensor:
        seen.append((threading.current_thread() is threading.main_thread(), torch.is_autocast_enabled("cpu")))
        return EXACT(x, sigma)

    with torch.autocast("cpu", torch.bfloat16):
        sample_jointly(model, [draws()["quiet"], draws()["noisy"]])
    assert set(seen) == {(True, True)}
    assert sample_jointly(model, []) == []
