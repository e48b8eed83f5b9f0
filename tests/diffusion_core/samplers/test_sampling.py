"""The sampler against closed forms, an independent loop, and its own contracts."""

import inspect
import math

import pytest
import torch
from dialect_steps import Steps, alpha_beta_steps, eta_steps
from torch import Tensor

from diffusion_core import generate_samples
from diffusion_core.exact import GaussianDenoiser, gaussian_moments
from diffusion_core.samplers import AlphaBeta, Heun, KadkhodaieSimoncelli, follow, sample
from diffusion_core.samplers.sampling import default_batch
from diffusion_core.samplers.seeded_noise import BLOCK, BlockNoise, block_seed
from diffusion_core.schedules import alpha_beta_ladder, geometric

CPU = torch.device("cpu")
EXACT = GaussianDenoiser()


class Counting:
    """A model that counts its calls and the images in them."""

    def __init__(self) -> None:
        self.calls, self.images = 0, 0

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        self.calls += 1
        self.images += len(x)
        return EXACT(x, sigma)


@pytest.mark.parametrize(("alpha", "beta"), [(0.1, 0.0), (0.1, 0.3), (0.1, 0.4), (0.3, 0.5)])
def test_std_agrees_with_the_closed_form(alpha: float, beta: float) -> None:
    n = 20_000
    x = generate_samples(EXACT, alpha=alpha, beta=beta, n_samples=n, shape=(1, 1, 1), batch_size=n)
    steps = alpha_beta_steps(alpha, beta)
    std = math.sqrt(gaussian_moments(steps.sigmas, steps.alphas, steps.betas)[-1])
    assert abs(x.std().item() - std) < 4 * std / math.sqrt(2 * n)
    assert abs(x.mean().item()) < 4 * std / math.sqrt(n)


@pytest.mark.parametrize(("eta", "ratio"), [(0.0, 0.9735), (1.0, 0.9496), (2.0, 0.8412)])
def test_reference_ratios_on_the_fixed_ladder(eta: float, ratio: float) -> None:
    sigmas = tuple(30 * 0.9**step for step in range(67))
    steps = eta_steps(sigmas, eta)
    std = math.sqrt(gaussian_moments(steps.sigmas, steps.alphas, steps.betas)[-1])
    assert std / math.sqrt(1 + sigmas[-1] ** 2) == pytest.approx(ratio, abs=5e-5)


@pytest.mark.parametrize("beta", [0.0, 0.3])
def test_equals_the_original_loop(beta: float) -> None:
    noise = BlockNoise(5, 0, 4, (1, 8, 8), CPU)
    x, sigma = noise().clone() * 30.0, 30.0
    while sigma > 0.03:
        eps = EXACT(x, torch.full((4,), sigma))
        x = x - 0.1 * sigma * eps + (beta * sigma * noise() if beta else 0)
        sigma = sigma * ((1 - 0.1) ** 2 + beta**2) ** 0.5
    ours = generate_samples(EXACT, beta=beta, n_samples=4, shape=(1, 8, 8), seed=5)
    torch.testing.assert_close(ours, x, rtol=1e-5, atol=1e-5)


def test_beta_zero_is_euler_on_the_ode_bit_for_bit() -> None:
    steps = alpha_beta_steps(0.1, 0.0)
    x = BlockNoise(0, 0, 8, (1, 8, 8), CPU)().clone() * 30.0
    for sigma, sigma_next in zip(steps.sigmas, steps.sigmas[1:], strict=False):
        x = torch.add(x, EXACT(x, torch.full((8,), sigma)), alpha=sigma_next - sigma)
    assert torch.equal(generate_samples(EXACT, beta=0.0, n_samples=8, shape=(1, 8, 8)), x)


def test_beta_zero_draws_no_noise() -> None:
    def forbidden() -> Tensor:
        raise AssertionError("noise was drawn")

    def finish(beta: float) -> Tensor:
        ladder = alpha_beta_ladder(0.1, beta, 2.0, 1.0)
        return list(follow(EXACT, AlphaBeta(0.1, beta), ladder, torch.ones(2, 1, 4, 4), forbidden))[-1]

    assert torch.isfinite(finish(0.0)).all()
    with pytest.raises(AssertionError, match="noise was drawn"):
        finish(0.1)


@pytest.mark.parametrize("batch_size", [1, 7, 64, 100])
def test_a_sample_does_not_depend_on_its_batch(batch_size: int) -> None:
    steps = eta_steps(geometric(12), 1.0)
    whole = sample(EXACT, steps.sigmas, steps, n_samples=150, shape=(1, 8, 8), seed=3)
    batched = sample(EXACT, steps.sigmas, steps, n_samples=150, shape=(1, 8, 8), seed=3, batch_size=batch_size)
    torch.testing.assert_close(batched, whole, rtol=1e-5, atol=1e-5)
    part = sample(
        EXACT, steps.sigmas, steps, n_samples=30, shape=(1, 8, 8), seed=3, first_sample=99, batch_size=batch_size
    )
    torch.testing.assert_close(part, whole[99:129], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(part, whole[98:128], atol=1e-2)


def test_batches_are_one_block_a_thread_unless_told() -> None:
    seen = []

    def model(x: Tensor, sigma: Tensor) -> Tensor:
        seen.append(len(x))
        return EXACT(x, sigma)

    steps, n = eta_steps(geometric(1), 0.0), 64 * torch.get_num_threads() + 3
    sample(model, steps.sigmas, steps, n_samples=n, shape=(1, 4, 4), device="cpu")
    assert seen == [n - 3, 3]
    assert default_batch("cpu", 3) == 192
    assert default_batch("cuda") == default_batch("cuda", 7) > 192, "threads of a CPU say nothing about a card"


def test_any_sampler_gives_a_trajectory_if_it_follows_its_ladder() -> None:
    sigmas = geometric(6)
    whole = sample(EXACT, sigmas, Heun(), n_samples=3, shape=(1, 4, 4), trajectory=True, final_denoise=True)
    assert whole.shape == (8, 3, 1, 4, 4)
    last = sample(EXACT, sigmas, Heun(), n_samples=3, shape=(1, 4, 4), final_denoise=True)
    torch.testing.assert_close(whole[-1], last)
    with pytest.raises(ValueError, match=r"trajectory: kadkhodaie-simoncelli.* does not follow its ladder"):
        sample(EXACT, sigmas, KadkhodaieSimoncelli(), n_samples=1, shape=(1, 4, 4), trajectory=True)


def test_watch_sees_the_way_of_the_first_batch() -> None:
    steps, seen = eta_steps(geometric(5), 1.0), []
    options = {"n_samples": 7, "shape": (1, 4, 4), "batch_size": 3}
    whole = sample(EXACT, steps.sigmas, steps, trajectory=True, **options)
    sample(EXACT, steps.sigmas, steps, watch=lambda step, x: seen.append((step, x.clone())), **options)
    assert [step for step, _ in seen] == list(range(6))
    assert torch.equal(torch.stack([x for _, x in seen]), whole[:, :3])


def test_noise_depends_on_seed_sample_and_step() -> None:
    noise = BlockNoise(0, 0, 2 * BLOCK, (1, 4, 4), CPU)
    first, second = noise().clone(), noise().clone()
    other = BlockNoise(1, 0, 2 * BLOCK, (1, 4, 4), CPU)()
    draws = [first[:BLOCK], first[BLOCK:], second[:BLOCK], other[:BLOCK]]
    for i, left in enumerate(draws):
        for right in draws[i + 1 :]:
            correlation = torch.corrcoef(torch.stack([left.flatten(), right.flatten()]))[0, 1]
            assert abs(correlation) < 0.15  # 1,024 pairs: five standard errors
    assert len({block_seed(seed, block) for seed in range(50) for block in range(50)}) == 2500


@pytest.mark.parametrize(("beta", "nfe"), [(0.0, 66), (0.3, 132), (0.4, 454)])
@pytest.mark.parametrize("final_denoise", [False, True])
def test_nfe_is_the_number_of_steps(beta: float, nfe: int, final_denoise: bool) -> None:
    model = Counting()
    generate_samples(model, beta=beta, n_samples=3, shape=(1, 2, 2), final_denoise=final_denoise)
    assert model.calls == nfe + final_denoise and model.images == 3 * model.calls


def test_trajectory_ends_in_the_samples() -> None:
    arguments = {"alpha": 0.3, "beta": 0.2, "n_samples": 5, "shape": (1, 4, 4), "batch_size": 2}
    steps = alpha_beta_steps(0.3, 0.2)
    levels = generate_samples(EXACT, **arguments, trajectory=True)
    assert levels.shape == (len(steps.sigmas), 5, 1, 4, 4)
    assert torch.equal(levels[-1], generate_samples(EXACT, **arguments))
    assert levels[0].std().item() == pytest.approx(30, rel=0.3)
    denoised = generate_samples(EXACT, **arguments, trajectory=True, final_denoise=True)
    assert denoised.shape == (len(steps.sigmas) + 1, 5, 1, 4, 4) and torch.equal(denoised[:-1], levels)
    sigma = steps.sigmas[-1]
    expected = levels[-1] - sigma * EXACT(levels[-1], torch.full((5,), sigma))
    torch.testing.assert_close(denoised[-1], expected, rtol=1e-6, atol=1e-6)
    assert torch.equal(denoised[-1], generate_samples(EXACT, **arguments, final_denoise=True))


def test_signature_is_the_contract() -> None:
    parameters = inspect.signature(generate_samples).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items() if name != "model"}
    assert next(iter(parameters)) == "model"
    assert defaults == {
        "sigma": 30.0, "sigma_min": 0.03, "alpha": 0.1, "beta": 0.40, "n_samples": 64, "shape": (1, 32, 32), "seed": 0,
        "first_sample": 0, "batch_size": None, "device": None, "final_denoise": False, "trajectory": False,
    }  # fmt: skip


def test_samples_are_on_the_models_device() -> None:
    model = torch.nn.Conv2d(1, 1, 1)
    samples = generate_samples(lambda x, sigma: model(x), beta=0.0, alpha=0.9, n_samples=1, shape=(1, 2, 2))
    assert samples.device == model.weight.device and not samples.requires_grad


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_nan_names_step_and_sigma(bad: float) -> None:
    def broken(x: Tensor, sigma: Tensor) -> Tensor:
        return torch.full_like(x, bad) if sigma[0] < 25 else EXACT(x, sigma)

    with pytest.raises(ValueError, match=r"NaN or infinity at step 2, sigma=24.3"):
        generate_samples(broken, beta=0.0, n_samples=2, shape=(1, 4, 4))


def test_nan_in_the_final_denoising_is_named() -> None:
    steps = Steps((1.0, 0.5), (0.5,), (0.0,))
    with pytest.raises(ValueError, match=r"NaN or infinity at step 1, sigma=0.5"):
        sample(
            lambda x, sigma: x * math.nan if sigma[0] == 0.5 else x,
            steps.sigmas, steps, n_samples=2, shape=(1, 2, 2), final_denoise=True,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"beta": 0.5}, "beta=0.5"),
        ({"alpha": 0}, "alpha=0"),
        ({"sigma": 0.01}, "sigma_min=0.03"),
        ({"n_samples": 0}, "n_samples=0"),
        ({"first_sample": -1}, "first_sample=-1"),
        ({"batch_size": 0}, "batch_size=0"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        generate_samples(EXACT, **arguments)
