"""A model leaves its input as it is, and sampling works in torch.inference_mode(), where changes are not counted."""

from collections.abc import Callable

import pytest
import torch
from short_runs import EXACT, LADDER
from torch import Tensor

from diffusion_core.samplers import SAMPLERS, Euler, KadkhodaieSimoncelli, Sampler, sample


def drawn(model: Callable[..., Tensor], sampler: Sampler, n: int = 3) -> Tensor:
    return sample(model, LADDER, sampler, n_samples=n, shape=(1, 4, 4))


CHANGES = {"x": lambda x, sigma: EXACT(x.mul_(0.5), sigma), "sigma": lambda x, sigma: EXACT(x, sigma.log_().exp())}


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("sampler", [Euler(), KadkhodaieSimoncelli()], ids=["one level", "a level per sample"])
@pytest.mark.parametrize("name", CHANGES)
def test_a_model_that_changes_its_input_is_named(name: str, sampler: Sampler, n: int) -> None:
    with pytest.raises(ValueError, match=f"model: it changed {name} in place at step 0; it must leave its input as it"):
        drawn(CHANGES[name], sampler, n)


@pytest.mark.parametrize("name", SAMPLERS)
def test_samples_are_the_same_in_inference_mode(name: str) -> None:
    sampler = SAMPLERS[name]()
    expected = drawn(EXACT, sampler)
    assert torch.equal(drawn(torch.inference_mode()(EXACT), sampler), expected)
    with torch.inference_mode():
        assert torch.equal(drawn(EXACT, sampler), expected)


@pytest.mark.parametrize("sampler", [Euler(), KadkhodaieSimoncelli()], ids=["one level", "a level per sample"])
@pytest.mark.parametrize("name", CHANGES)
def test_a_model_that_changes_its_input_does_no_harm_in_inference_mode(name: str, sampler: Sampler) -> None:
    tidy = (lambda x, sigma: EXACT(x * 0.5, sigma)) if name == "x" else (lambda x, sigma: EXACT(x, sigma.log().exp()))
    with torch.inference_mode():
        assert torch.equal(drawn(CHANGES[name], sampler), drawn(tidy, sampler))
