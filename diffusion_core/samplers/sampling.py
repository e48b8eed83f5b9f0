"""Samples from a model: `generate_samples` by the original rule, `sample` down any ladder by any sampler.

Both split the work into batches, start each from noise that depends on seed and sample index alone, and check what the
model returns and what the sampler yields: a wrong shape, a changed input, NaN or a missing step is an error.
"""

import itertools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from diffusion_core.errors import NotFiniteError
from diffusion_core.samplers.base import Noise, Sampler
from diffusion_core.samplers.euler import AlphaBeta
from diffusion_core.samplers.seeded_noise import BLOCK, BlockNoise
from diffusion_core.schedules.sigma import alpha_beta_ladder, check_ladder

Model = Callable[[Tensor, Tensor], Tensor]
CUDA_BATCH = 32 * BLOCK


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
        batch_size: samples per network evaluation, by default `default_batch`; it changes speed and memory, not the
            samples.
        device: where to sample; by default where the model's parameters are.
        final_denoise: return x - sigma eps at the last level (one more evaluation).
        trajectory: return all levels instead of the last.

    Returns:
        (n_samples, C, H, W) float32 on the sampling device; with `trajectory`, (n_steps + 1, n_samples, C, H, W), plus
        one more entry when `final_denoise`.

    Raises:
        ValueError: an argument outside its range; a model that returns a wrong shape, NaN or infinity, or changes x.
    """
    return sample(
        model,
        alpha_beta_ladder(alpha, beta, sigma, sigma_min),
        AlphaBeta(alpha, beta),
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
    sampler: Sampler,
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
        sampler: one of `SAMPLERS`, or any object with the same `name`, `planned_nfe` and `run`.
        after_batch: called with the number of samples that each batch has finished.
        watch: called after each step of the first batch with the steps done, 0 to begin with, and x, which the next
            step may overwrite.

    Raises also:
        ValueError: the sampler does not suit the ladder, or does not yield x after each step of it; a trajectory is
            asked of a sampler that does not follow its ladder.
    """
    if n_samples < 1 or first_sample < 0:
        raise ValueError(f"n_samples={n_samples}, first_sample={first_sample}: they must be at least 1 and at least 0")
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size={batch_size}: it must be at least 1")
    if trajectory and not _follows_ladder(sampler):
        raise ValueError(f"trajectory: {sampler.name} does not follow its ladder, so its steps have no level")
    place = torch.device(device) if device is not None else model_device(model)
    levels = (sigmas if trajectory else sigmas[-1:]) + ((0.0,) if trajectory and final_denoise else ())
    out = torch.empty(len(levels), n_samples, *shape, device=place)
    for start, n in _batches(first_sample, n_samples, batch_size or default_batch(place.type)):
        kept = out[:, start - first_sample : start - first_sample + n]
        noise = BlockNoise(seed, start, n, shape, place)
        begin = noise() * sigmas[0]
        watching = watch if start == first_sample else None
        if trajectory:
            kept[0] = begin
        if watching:
            watching(0, begin)
        x, step = begin, 0
        for step, x in enumerate(follow(model, sampler, sigmas, begin, noise, at_once=False), start=1):
            if trajectory:
                kept[step] = x
            if watching:
                watching(step, x)
        if final_denoise:
            x = denoise(model, x, sigmas[-1], step, at_once=False)
        if not torch.isfinite(x).all():
            _name_the_fault(model, sampler, sigmas, BlockNoise(seed, start, n, shape, place), final_denoise)
        kept[-1] = x
        if after_batch:
            after_batch(n)
    return out if trajectory else out[0]


def follow(
    model: Model, sampler: Sampler, sigmas: tuple[float, ...], x: Tensor, noise: Noise, *, at_once: bool = True
) -> Iterator[Tensor]:
    """x after each step of a sampler down a ladder; everything that it and the model return is checked.

    Args:
        model: eps = model(x, sigma).
        sigmas: the ladder.
        x: (B, C, H, W) at noise level sigmas[0]. The sampler may overwrite it, and what is yielded.
        noise: returns unit noise (B, C, H, W).
        at_once: look for NaN and infinity after each step and evaluation, which makes an accelerator wait for each.

    Raises (at the first step, or where it happens):
        ValueError: not a ladder, or one that does not suit the sampler; the sampler yields no tensor in the shape and
            dtype of x, or takes more or fewer steps than its ladder has; errors of the model, see `CheckedModel`.
        NotFiniteError: the model or the sampler returned NaN or infinity; the message names the step.
    """
    check_ladder(sigmas)
    sampler.planned_nfe(sigmas)
    eps, n_steps, like = CheckedModel(model, at_once), len(sigmas) - 1, (x.shape, x.dtype, x.device)
    steps = sampler.run(eps, x, sigmas, noise)
    if not isinstance(steps, Iterator):
        raise ValueError(f"sampler {sampler.name}: run() returned {type(steps).__name__}; it must yield x at each step")
    for found in steps:
        eps.step += 1
        if not isinstance(found, Tensor) or (found.shape, found.dtype, found.device) != like:
            raise ValueError(
                f"sampler {sampler.name}: at step {eps.step} of {n_steps} it yielded {_described(found)}; it must "
                f"yield x, {_described(x)}"
            )
        if eps.step > n_steps and _follows_ladder(sampler):
            raise ValueError(f"sampler {sampler.name}: it took more than the {n_steps} steps that its ladder has")
        if at_once and not torch.isfinite(found).all():
            raise NotFiniteError(
                f"sampler {sampler.name}: at step {eps.step} of {n_steps} it yielded NaN or infinity, though the model "
                "returned neither"
            )
        yield found
    if eps.step == 0 or (eps.step < n_steps and _follows_ladder(sampler)):
        raise ValueError(f"sampler {sampler.name}: it took {eps.step} of the {n_steps} steps that its ladder has")


def denoise(model: Model, x: Tensor, sigma: float, step: int = 0, *, at_once: bool = True) -> Tensor:
    """x - sigma eps(x, sigma), the model's estimate of the clean images; x (B, C, H, W). Errors as `CheckedModel`'s."""
    eps = CheckedModel(model, at_once)
    eps.step = step
    return torch.add(x, eps(x, sigma), alpha=-sigma)


class CheckedModel:
    """A model as samplers call it: eps(x, sigma) with sigma a number or (B,), and its output checked.

    `step`, the number of steps done, is for messages.

    Raises (when called):
        ValueError: it returns no tensor in the shape of x, or one of integers; it changes x in place.
        NotFiniteError: it returns NaN or infinity, with `at_once`; the message names step and sigma.
    """

    def __init__(self, model: Model, at_once: bool = True) -> None:
        self.model, self.at_once, self.step = model, at_once, 0

    def __call__(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        levels = sigma if isinstance(sigma, Tensor) else x.new_full((), sigma).expand(len(x))
        changes = x._version
        eps = self.model(x, levels)
        if not isinstance(eps, Tensor) or eps.shape != x.shape:
            found = f"shape {tuple(eps.shape)}" if isinstance(eps, Tensor) else type(eps).__name__
            raise ValueError(
                f"model: it returned {found} at step {self.step} for x of shape {tuple(x.shape)}; "
                "eps must have the shape of x"
            )
        if x._version != changes:
            raise ValueError(f"model: it changed x in place at step {self.step}; it must leave its input as it is")
        if eps.dtype != x.dtype:
            if not eps.is_floating_point():
                raise ValueError(f"model: it returned {eps.dtype} at step {self.step}; eps must hold real numbers")
            eps = eps.to(x.dtype)
        if self.at_once and not (finite := torch.isfinite(eps).flatten(1).all(dim=1)).all():
            raise NotFiniteError(
                f"model: it returned NaN or infinity at step {self.step}, sigma={levels[~finite][0].item():.6g}; "
                "eps must be finite"
            )
        return eps


def _name_the_fault(
    model: Model, sampler: Sampler, sigmas: tuple[float, ...], noise: BlockNoise, final_denoise: bool
) -> None:
    """Samples a batch again, looking at each step, and raises NotFiniteError naming the first that is not finite."""
    *_, x = follow(model, sampler, sigmas, noise() * sigmas[0], noise)
    if final_denoise:
        denoise(model, x, sigmas[-1], len(sigmas) - 1)
    raise NotFiniteError(
        f"model: samples of {sampler.name} hold NaN or infinity, but not when they were drawn again from the same "
        "noise; the model must return the same for the same input"
    )


def _described(value: object) -> str:
    if not isinstance(value, Tensor):
        return type(value).__name__
    return f"a tensor of shape {tuple(value.shape)}, {value.dtype}, on {value.device}"


def _follows_ladder(sampler: Sampler) -> bool:
    return getattr(sampler, "follows_ladder", True)


def model_device(model: Model) -> torch.device:
    """The device of the model's parameters, else of its buffers; the CPU for a model without any."""
    tensors = itertools.chain(model.parameters(), model.buffers()) if isinstance(model, torch.nn.Module) else iter(())
    first = next(tensors, None)
    return torch.device("cpu") if first is None else first.device


def default_batch(device: str, threads: int | None = None) -> int:
    """Samples per network evaluation where nobody says how many.

    One block for each thread of a CPU, as more fall out of its caches (bench/LOG.md); on a card as many as should keep
    it busy, which has not been measured.

    Args:
        device: kind of the device, cpu or cuda.
        threads: of a CPU; by default as many as torch uses.
    """
    return BLOCK * (threads or torch.get_num_threads()) if device == "cpu" else CUDA_BATCH


def _batches(first: int, n_samples: int, batch_size: int) -> Iterator[tuple[int, int]]:
    for start in range(first, first + n_samples, batch_size):
        yield start, min(batch_size, first + n_samples - start)
