"""The step, the sampler, and `generate_samples`.

One step from sigma to sigma' = r sigma, with fresh unit noise z:

    x <- x - alpha sigma eps(x, sigma) + beta sigma z        r^2 = (1 - alpha)^2 + beta^2

beta = 0 is Euler on the probability-flow ODE dx/dsigma = eps (Karras et al. 2022, arXiv 2206.00364, Eq. 1), which is
DDIM (Song, Meng & Ermon 2021, arXiv 2010.02502). `dialects.py` translates beta into eta, churn and the others.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion_core.errors import NotFiniteError
from diffusion_core.samplers.dialects import alpha_from_beta, beta_from_eta
from diffusion_core.samplers.seeded_noise import BLOCK, BlockNoise
from diffusion_core.schedules.sigma import alpha_beta_ladder

Model = Callable[[Tensor, Tensor], Tensor]
Run = Callable[[Model, Tensor, tuple[float, ...], Callable[[], Tensor]], Iterator[Tensor]]  # see euler.Sampler
CUDA_BATCH = 32 * BLOCK


@dataclass(frozen=True)
class Steps:
    """What a sampler does at each of N steps: N + 1 levels `sigmas`, N moves `alphas`, N noise amounts `betas`."""

    sigmas: tuple[float, ...]
    alphas: tuple[float, ...]
    betas: tuple[float, ...]

    def run(self, model: Model, x: Tensor, sigmas: tuple[float, ...], noise: Callable[[], Tensor]) -> Iterator[Tensor]:
        """`euler` along these steps, called as `sample` calls every sampler; `sigmas` are its own."""
        return euler(model, x, self, noise)


def alpha_beta_steps(alpha: float, beta: float, sigma_max: float = 30.0, sigma_min: float = 0.03) -> Steps:
    """The original rule: alpha and beta fixed, the ladder and the number of steps follow. Errors as its ladder's."""
    sigmas = alpha_beta_ladder(alpha, beta, sigma_max, sigma_min)
    n_steps = len(sigmas) - 1
    return Steps(sigmas, (alpha,) * n_steps, (beta,) * n_steps)


def eta_steps(sigmas: tuple[float, ...], eta: float) -> Steps:
    """A given ladder with the noise of `eta` at each step; alpha follows from beta so that the ladder is kept.

    Raises:
        ValueError: eta < 0, or too large for one of the steps (see `dialects.beta_from_eta`).
    """
    ratios = [after / before for before, after in itertools.pairwise(sigmas)]
    betas = tuple(beta_from_eta(eta, ratio) for ratio in ratios)
    alphas = tuple(alpha_from_beta(beta, ratio) for beta, ratio in zip(betas, ratios, strict=True))
    return Steps(tuple(sigmas), alphas, betas)


def euler(model: Model, x: Tensor, steps: Steps, noise: Callable[[], Tensor]) -> Iterator[Tensor]:
    """Euler with reinjection, as a generator: yields x after each step.

    Args:
        model: eps = model(x, sigma).
        x: (B, C, H, W) at noise level steps.sigmas[0]. It is updated in place, so keep a clone of what you keep.
        steps: the ladder and its coefficients.
        noise: called once for each step with beta > 0 and never otherwise; returns unit noise (B, C, H, W).

    Raises:
        ValueError: the model returns another shape, NaN or infinity; the message names step and sigma.
    """
    checked = Checked(model)
    for step, (sigma, alpha, beta) in enumerate(zip(steps.sigmas, steps.alphas, steps.betas, strict=False)):
        x.add_(checked(x, sigma, step), alpha=-alpha * sigma)
        if beta > 0:
            x.add_(noise(), alpha=beta * sigma)
        if step + 1 == len(steps.alphas):
            checked.finish()
        yield x


def generate_samples(
    model: Model,
    sigma: float = 30.0,
    sigma_min: float = 0.03,
    alpha: float = 0.1,
    beta: float = 0.40,
    *,
    n_samples: int = 64,
    shape: tuple[int, ...] = (1, 32, 32),
    seed: int = 0,
    first_sample: int = 0,
    batch_size: int | None = None,
    device: torch.device | str | None = None,
    final_denoise: bool = False,
    trajectory: bool = False,
) -> Tensor:
    """Samples from pure noise by the alpha/beta rule: while sigma > sigma_min, step and let sigma decay.

    Args:
        model: eps = model(x, sigma), see the package's docstring.
        sigma: the level to start from, in data standard deviations.
        sigma_min: sampling stops at the first level at or below it.
        alpha: share of the estimated noise removed at each step, in (0, 1].
        beta: fresh noise put back at each step, in units of the current sigma; 0 <= beta < sqrt(1 - (1 - alpha)^2).
        n_samples, shape: how many samples, and (C, H, W) of one.
        seed, first_sample: sample i of a seed is the same image in whatever batch or run it is drawn; the samples
            drawn are first_sample, first_sample + 1, ...
        batch_size: samples a network evaluation, by default `default_batch`; it changes speed and memory, not the
            samples.
        device: where to sample; by default where the model's parameters are.
        final_denoise: return x - sigma eps at the last level (one more evaluation).
        trajectory: return all levels instead of the last.

    Returns:
        (n_samples, C, H, W) float32 on the sampling device; with `trajectory`, (n_steps + 1, n_samples, C, H, W), plus
        one more entry when `final_denoise`.

    Raises:
        ValueError: an argument outside its range, or a model that returns the wrong shape, NaN or infinity.
    """
    steps = alpha_beta_steps(alpha, beta, sigma, sigma_min)
    return sample(
        model,
        steps.sigmas,
        steps.run,
        n_samples=n_samples,
        shape=shape,
        seed=seed,
        first_sample=first_sample,
        batch_size=batch_size,
        device=device,
        final_denoise=final_denoise,
        trajectory=trajectory,
    )


@torch.no_grad()
def sample(
    model: Model,
    sigmas: tuple[float, ...],
    run: Run,
    *,
    n_samples: int,
    shape: tuple[int, ...],
    seed: int = 0,
    first_sample: int = 0,
    batch_size: int | None = None,
    device: torch.device | str | None = None,
    final_denoise: bool = False,
    trajectory: bool = False,
    after_batch: Callable[[int], None] | None = None,
    watch: Callable[[int, Tensor], None] | None = None,
) -> Tensor:
    """Samples down a ladder by any sampler. The other arguments, the result and errors are as in `generate_samples`.

    Args:
        sigmas: the ladder.
        run: the sampler's `run`, as `euler.Sampler` describes it.
        after_batch: called with the number of samples that each batch has finished.
        watch: called after each step of the first batch with the steps done, 0 to begin with, and x, which the next
            step overwrites.

    Raises also:
        ValueError: a trajectory is asked of a sampler that does not follow its ladder.
    """
    if n_samples < 1 or first_sample < 0:
        raise ValueError(f"n_samples={n_samples}, first_sample={first_sample}: they must be at least 1 and at least 0")
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size={batch_size}: it must be at least 1")
    where = torch.device(device) if device is not None else model_device(model)
    levels = (sigmas if trajectory else sigmas[-1:]) + ((0.0,) if trajectory and final_denoise else ())
    out = torch.empty(len(levels), n_samples, *shape, device=where)
    for start, n in _batches(first_sample, n_samples, batch_size or default_batch(where.type)):
        noise = BlockNoise(seed, start, n, shape, where)
        x = noise() * sigmas[0]
        kept = out[:, start - first_sample : start - first_sample + n]
        if trajectory:
            kept[0] = x
        watching = watch if start == first_sample else None
        if watching:
            watching(0, x)
        step = 0
        for step, _ in enumerate(run(model, x, sigmas, noise), start=1):  # x is updated in place
            if trajectory and step < len(sigmas):
                kept[step] = x
            if watching:
                watching(step, x)
        if trajectory and step != len(sigmas) - 1:
            raise ValueError(f"trajectory: the sampler took {step} steps down a ladder of {len(sigmas) - 1}")
        if final_denoise:
            x = denoise(model, x, sigmas[-1], step)
        kept[-1] = x
        if after_batch:
            after_batch(n)
    return out if trajectory else out[0]


def denoise(model: Model, x: Tensor, sigma: float, step: int = 0) -> Tensor:
    """x - sigma eps(x, sigma), the model's estimate of the clean images; x (B, C, H, W). Errors as `euler`'s."""
    checked = Checked(model)
    eps = checked(x, sigma, step)
    checked.finish()
    return torch.add(x, eps, alpha=-sigma)


def model_device(model: Model) -> torch.device:
    """The device of the model's parameters, else of its buffers; the CPU for a model without any."""
    tensors = itertools.chain(model.parameters(), model.buffers()) if isinstance(model, torch.nn.Module) else iter(())
    first = next(tensors, None)
    return torch.device("cpu") if first is None else first.device


class Checked:
    """A model whose every output is checked: its shape at once, NaN and infinity when `finish` is called.

    A sum of all of eps is finite only if each of its values is. The sums are read once, after the last step, so that a
    device is not made to wait at each.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.sums: list[Tensor] = []
        self.places: list[tuple[int, float]] = []

    def __call__(self, x: Tensor, sigma: float, step: int) -> Tensor:
        eps = evaluate(self.model, x, x.new_full((), sigma), step)
        self.sums.append(eps.sum(dtype=torch.float32))
        self.places.append((step, sigma))
        return eps

    def finish(self) -> None:
        """Raises NotFiniteError naming the first step and sigma at which the model returned NaN or infinity."""
        check_sums(torch.stack(self.sums), self.places)


def evaluate(model: Model, x: Tensor, sigma: Tensor, step: int) -> Tensor:
    """eps = model(x, sigma), its shape checked; sigma 0-d, or (B,) for a level of its own for each sample."""
    eps = model(x, sigma.expand(len(x)))
    if eps.shape != x.shape:
        raise ValueError(
            f"model: it returned shape {tuple(eps.shape)} at step {step} for x of shape {tuple(x.shape)}; "
            "eps must have the shape of x"
        )
    return eps


def check_sums(sums: Tensor, places: list[tuple[int, float]]) -> None:
    """Raises NotFiniteError naming the first place (step, sigma) whose sum of eps (N,) is not finite."""
    finite = torch.isfinite(sums).tolist()
    if not all(finite):
        step, sigma = places[finite.index(False)]
        raise NotFiniteError(
            f"model: it returned NaN or infinity at step {step}, sigma={sigma:.6g}; eps must be finite"
        )


def default_batch(device: str, threads: int | None = None) -> int:
    """Samples a network evaluation where nobody says how many.

    One block for each thread of a CPU, as more fall out of its caches (bench/LOG.md); on a card as many as should keep
    it busy, which has not been measured.

    Args:
        device: kind of the device, cpu or cuda.
        threads: of a CPU; by default those that torch uses.
    """
    return BLOCK * (threads or torch.get_num_threads()) if device == "cpu" else CUDA_BATCH


def _batches(first: int, n_samples: int, batch_size: int) -> Iterator[tuple[int, int]]:
    for start in range(first, first + n_samples, batch_size):
        yield start, min(batch_size, first + n_samples - start)
