"""The sampler against closed forms, an independent loop, and its own contracts."""

import inspect
import math
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import diffusion_core
from diffusion_core import generate_samples
from diffusion_core.exact import GaussianDenoiser
from diffusion_core.samplers import AlphaBeta, Euler, Heun, KadkhodaieSimoncelli, Model, Sampler, sample
from diffusion_core.samplers.sampling import default_batch
from diffusion_core.samplers.seeded_noise import BLOCK, BlockNoise, block_seed
from diffusion_core.schedules import alpha_beta_schedule, geometric

EXACT = GaussianDenoiser()
SEVEN = partial(sample, EXACT, geometric(5), Euler(1.0), n_samples=7, shape=(1, 4, 4), batch_size=3)


def noise_of(n: int, size: int = 8, seed: int = 0) -> BlockNoise:
    return BlockNoise(seed, range(n), (1, size, size), torch.device("cpu"))


def recording(sizes: list[int]) -> Model:
    """The exact denoiser; the number of images of each call is added to `sizes`."""
    return lambda x, sigma: sizes.append(len(x)) or EXACT(x, sigma)


def test_equals_the_original_loop():
    noise = noise_of(4, seed=5)
    x, sigma = noise() * 30.0, 30.0
    while sigma > 0.03:
        eps = EXACT(x, torch.full((4,), sigma))
        x = x - 0.1 * sigma * eps + 0.3 * sigma * noise()
        sigma = sigma * ((1 - 0.1) ** 2 + 0.3**2) ** 0.5
    ours = generate_samples(EXACT, beta=0.3, n_samples=4, shape=(1, 8, 8), seed=5)
    assert_close(ours, x, rtol=1e-5, atol=1e-5)


def test_beta_zero_is_euler_on_the_ode_bit_for_bit():
    x = noise_of(8)() * 30.0
    for sigma, sigma_next in pairwise(alpha_beta_schedule(0.1, 0.0)):
        x = torch.add(x, EXACT(x, torch.full((8,), sigma)), alpha=sigma_next - sigma)
    assert torch.equal(generate_samples(EXACT, beta=0.0, n_samples=8, shape=(1, 8, 8)), x)


@pytest.mark.parametrize("batch_size", [1, 7, 64, 100])
def test_a_sample_does_not_depend_on_its_batch(batch_size: int):
    run = partial(sample, EXACT, geometric(12), Euler(1.0), shape=(1, 8, 8), seed=3)
    whole = run(n_samples=150)
    assert_close(run(n_samples=150, batch_size=batch_size), whole, rtol=1e-5, atol=1e-5)
    part = run(samples=range(99, 129), batch_size=batch_size)
    assert_close(part, whole[99:129], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(part, whole[98:128], atol=1e-2)


def test_sampling_begins_with_noise_that_is_given():
    x = geometric(5)[0] * noise_of(7, 4)()
    kept = x.clone()
    assert torch.equal(SEVEN(x=x), SEVEN()) and torch.equal(x, kept)
    assert not torch.equal(SEVEN(x=-x), SEVEN())
    with pytest.raises(ValueError, match=r"x: its shape is \(7, 1, 4\), but must be \(7, 1, 4, 4\)"):
        SEVEN(x=x[..., 0])


@pytest.mark.parametrize("scale", [1.0, 0.5 * geometric(5)[0], 2 * geometric(5)[0]])
def test_a_start_of_another_scale_than_its_noise_level_is_refused(scale: float):
    with pytest.raises(ValueError, match=r"^x: its standard deviation is .* multiply unit noise by sigmas\[0\]"):
        sample(EXACT, geometric(5), Euler(0.0), n_samples=8, shape=(1, 8, 8), x=scale * noise_of(8)())


def test_the_packages_list_what_they_export():
    assert {*dir(diffusion_core)} >= {"train", "sample", "load", "Euler"}


def test_watch_sees_the_way_of_the_first_batch():
    seen = []
    whole = SEVEN(trajectory=True)
    SEVEN(watch=lambda step, x: seen.append((step, x.clone())))
    assert [step for step, _ in seen] == list(range(6))
    assert torch.equal(torch.stack([x for _, x in seen]), whole[:, :3])


def test_noise_depends_on_seed_sample_and_step():
    noise = noise_of(2 * BLOCK, 4)
    first, second = noise().clone(), noise().clone()
    other = noise_of(2 * BLOCK, 4, seed=1)()
    draws = [first[:BLOCK], first[BLOCK:], second[:BLOCK], other[:BLOCK]]
    for i, left in enumerate(draws):
        for right in draws[i + 1 :]:
            correlation = torch.corrcoef(torch.stack([left.flatten(), right.flatten()]))[0, 1]
            assert abs(correlation) < 0.15  # 1,024 pairs: five standard errors
    assert len({block_seed(seed, block) for seed in range(50) for block in range(50)}) == 2500


def test_batches_are_one_block_a_thread_unless_told():
    sizes = []
    n = 64 * torch.get_num_threads() + 3
    sample(recording(sizes), geometric(1), Euler(), n_samples=n, shape=(1, 4, 4), device="cpu")
    assert sizes == [n - 3, 3]
    assert default_batch("cpu", 3) == 192
    assert default_batch("cuda") == default_batch("cuda", 7) > 192, "threads of a CPU say nothing about a card"


@pytest.mark.parametrize("sampler", [AlphaBeta(0.3, 0.2), Heun()], ids=lambda sampler: sampler.name)
def test_trajectory_ends_in_the_samples(sampler: Sampler):
    sigmas = alpha_beta_schedule(0.3, 0.2)
    run = partial(sample, EXACT, sigmas, sampler, n_samples=5, shape=(1, 4, 4), batch_size=2)
    states = run(trajectory=True)
    assert states.shape == (len(sigmas), 5, 1, 4, 4) and not states.requires_grad
    assert torch.equal(states[-1], run()) and states[0].std().item() == pytest.approx(30, rel=0.3)
    denoised = run(trajectory=True, final_denoise=True)
    assert denoised.shape == (len(sigmas) + 1, 5, 1, 4, 4) and torch.equal(denoised[:-1], states)
    expected = states[-1] - sigmas[-1] * EXACT(states[-1], torch.full((5,), sigmas[-1]))
    assert_close(denoised[-1], expected, rtol=1e-6, atol=1e-6)
    assert torch.equal(denoised[-1], run(final_denoise=True))
    with pytest.raises(ValueError, match=r"trajectory: kadkhodaie-simoncelli.* does not follow its schedule"):
        sample(EXACT, sigmas, KadkhodaieSimoncelli(), n_samples=1, shape=(1, 4, 4), trajectory=True)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("level, step", [(24.3, 2), (0.0286501, 66)], ids=["on the way", "final denoising"])
def test_nan_names_step_and_sigma(bad: float, level: float, step: int):
    def broken(x, sigma):
        eps = EXACT(x, sigma)
        which = torch.arange(1, 2) if math.isnan(bad) else torch.arange(2)  # one image of two, or both
        return eps.index_fill(0, which, bad) if sigma[0] < 1.001 * level else eps

    with pytest.raises(ValueError, match=rf"NaN or infinity at step {step}, sigma={level}"):
        generate_samples(broken, beta=0.0, n_samples=2, shape=(1, 4, 4), final_denoise=True)


def test_signature_is_the_contract():
    parameters = inspect.signature(generate_samples).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items() if name != "model"}
    assert next(iter(parameters)) == "model"
    assert defaults == {
        "sigma": 30.0, "sigma_min": 0.03, "alpha": 0.1, "beta": 0.40, "n_samples": 64, "shape": None, "seed": 0,
        "first_sample": 0, "batch_size": None, "device": None, "final_denoise": False, "trajectory": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"beta": 0.5}, "beta=0.5"),
        ({"alpha": 0}, "alpha=0"),
        ({"sigma": 0.01}, "sigma_min=0.03"),
        ({"n_samples": 0}, "samples=range.* there must be at least one sample, and no index below 0"),
        ({"first_sample": -1}, "samples=range.* no index below 0"),
        ({"batch_size": 0}, "batch_size=0"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, float], message: str):
    with pytest.raises(ValueError, match=message):
        generate_samples(EXACT, **arguments)


def test_levels_may_be_a_list_an_array_or_a_tensor_and_a_sampler_must_be_an_instance():
    levels = geometric(4)
    usual = sample(EXACT, levels, Euler(0.0), shape=(1, 4, 4))
    for given in (list(levels), np.array(levels), torch.tensor(levels, dtype=torch.float64)):
        assert torch.equal(sample(EXACT, given, Euler(0.0), shape=(1, 4, 4)), usual)
    with pytest.raises(ValueError, match="it must be an instance of a sampler, such as Euler"):
        sample(EXACT, levels, Euler, shape=(1, 4, 4))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="eta='1': it must be a number"):
        Euler("1")  # type: ignore[arg-type]


def test_samples_of_high_noise_are_as_they_are():
    x = sample(lambda x, _: torch.zeros_like(x), (30.0, 20.0), Euler(0.0), shape=(1, 8, 8))
    assert torch.equal(x, 30 * noise_of(64)())
