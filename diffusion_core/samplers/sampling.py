"""Draws samples from a model: `generate_samples` with the alpha/beta rule, `sample` with any sampler and schedule."""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import torch
from torch import Tensor

from diffusion_core.samplers.base import Sampler
from diffusion_core.samplers.checked import Model, checked_steps, denoise, locate_nan, warn_of_training_mode
from diffusion_core.samplers.euler import AlphaBeta
from diffusion_core.samplers.seeded_noise import BLOCK, BlockNoise
from diffusion_core.schedules.sigma import alpha_beta_schedule
from diffusion_core.validation import check_range

CUDA_BATCH = 128 * BLOCK
ENOUGH = 256  # numbers of a start whose standard deviation is compared with its noise level
SPREAD = 1.25  # factor by which they may differ


def generate_samples(  # noqa: PLR0913  # the options of sampling, by keyword
    model: Model, sigma: float = 30.0, sigma_min: float = 0.03, alpha: float = 0.1, beta: float = 0.40, *,
    n_samples: int = 64, shape: tuple[int, ...] | None = None, seed: int = 0, first_sample: int = 0,
    batch_size: int | None = None, device: torch.device | str | None = None, final_denoise: bool = False,
    trajectory: bool = False,
) -> Tensor:  # fmt: skip
    """Draws samples with the alpha/beta rule: starts from pure noise and steps while sigma > sigma_min.

    Args:
        model: eps = model(x, sigma) with sigma (B,), see the docstring of `diffusion_core` and `bind_index`.
        sigma: the first noise level, in data standard deviations.
        sigma_min: sampling stops at the first noise level that is not above sigma_min.
        alpha: share of the estimated noise removed per step, in (0, 1].
        beta: fresh noise put back per step, in units of the current sigma; 0 <= beta < sqrt(1 - (1 - alpha)^2).
        shape: (C, H, W) of one sample; by default that of the model, as adapters have it, else (1, 32, 32).
        seed: of the noise. Sample i of a seed is the same image in every batch and run.
        first_sample: index i of the first of the n_samples.
        batch_size: samples per network evaluation, by default `default_batch`; it does not change the samples.
        device: where to sample; by default the device of the model's parameters.
        final_denoise: return the denoised images x - sigma eps of the last noise level (one more evaluation).
        trajectory: return x at every noise level, not only at the last one.

    Returns:
        float32 on the sampling device: (n_samples, C, H, W), or with `trajectory` (n_steps + 1, n_samples, C, H, W).
        A trajectory starts with the pure noise. With `final_denoise` the denoised images follow as entry n_steps + 2.

    Raises:
        ValueError: an argument outside its range; a model that returns a wrong shape, or changes x or sigma in place.
        NotFiniteError (a ValueError): the model returns NaN or infinity.

    Warns:
        UserWarning: the model has dropout or batch normalisation in training mode, and no attribute `random` = True.
    """
    shape = shape or getattr(model, "shape", None) or (1, 32, 32)
    return sample(
        model, alpha_beta_schedule(alpha, beta, sigma, sigma_min), AlphaBeta(alpha, beta),
        samples=range(first_sample, first_sample + n_samples), shape=shape, seed=seed, batch_size=batch_size,
        device=device, final_denoise=final_denoise, trajectory=trajectory,
    )  # fmt: skip


@torch.no_grad()
def sample(  # noqa: C901, PLR0913  # one rule per argument; the options of sampling, by keyword
    model: Model, sigmas: Iterable[float], sampler: Sampler, *, shape: tuple[int, ...], n_samples: int = 64,
    samples: Sequence[int] | None = None, seed: int = 0, x: Tensor | None = None, batch_size: int | None = None,
    device: torch.device | str | None = None, final_denoise: bool = False, trajectory: bool = False,
    after_batch: Callable[[int], None] | None = None, watch: Callable[[int, Tensor], None] | None = None,
) -> Tensor:  # fmt: skip
    """Draws samples with any sampler on any schedule. Other arguments, result and errors are as in `generate_samples`.

    Args:
        sigmas: the levels, falling: a tuple, a list, an array or a tensor.
        samples: the indices of the samples, instead of 0 to n_samples - 1.
        x: (n, *shape), where sampling begins, at noise level sigmas[0], instead of noise from the seed. The seed still
            draws the fresh noise.
        after_batch: called after each batch with its number of samples.
        watch: called as watch(step, x), only for the first batch: once before the first step (step 0), then after each
            step. Copy x if you keep it: the next step may overwrite it.

    Raises also:
        ValueError: `x` has another shape, or another scale than its noise level; `sampler` does not suit the schedule,
            or does not yield x after each of its steps; `trajectory` for a sampler with follows_schedule = False, whose
            steps end at other levels.
    """
    if not isinstance(sampler, Sampler):
        raise ValueError(f"sampler={sampler!r}: it must be an instance of a sampler, such as Euler(1.0)")
    sigmas = tuple(map(float, sigmas))
    wanted = range(n_samples) if samples is None else samples
    if not wanted or min(wanted) < 0:
        raise ValueError(f"samples={wanted}: there must be at least one sample, and no index below 0")
    if batch_size is not None:
        check_range("batch_size", batch_size, 1)
    if x is not None:
        check_start(x, (len(wanted), *shape), sigmas[0])
    if trajectory and not sampler.follows_schedule:
        raise ValueError(f"trajectory: {sampler.name} does not follow its schedule, so its steps have no level")
    warn_of_training_mode(model)
    target = torch.device(device) if device is not None else model_device(model)
    levels = (sigmas if trajectory else sigmas[-1:]) + ((0.0,) if trajectory and final_denoise else ())
    out = torch.empty(len(levels), len(wanted), *shape, device=target)

    def begin_with(start: int, batch: Sequence[int]) -> tuple[Tensor, BlockNoise]:
        noise = BlockNoise(seed, batch, shape, target)
        drawn = noise() * sigmas[0]
        return drawn if x is None else x[start : start + len(batch)].to(drawn, copy=True), noise

    size = batch_size or default_batch(target.type)
    for start in range(0, len(wanted), size):
        batch = wanted[start : start + size]
        kept = out[:, start : start + len(batch)]
        begin, noise = begin_with(start, batch)
        on_batch = bind_index(model, torch.tensor(batch, device=target))
        steps = checked_steps(on_batch, sampler, sigmas, begin, noise, at_once=False)
        for step, state in enumerate(itertools.chain([begin], steps)):
            if trajectory:
                kept[step] = state
            if watch and start == 0:
                watch(step, state)
        if final_denoise:
            state = denoise(on_batch, state, sigmas[-1], step, at_once=False)
        if not torch.isfinite(state).all():
            locate_nan(on_batch, sampler, sigmas, *begin_with(start, batch), final_denoise)
        kept[-1] = state
        if after_batch:
            after_batch(len(batch))
    return out if trajectory else out[0]


def check_start(x: Tensor, shape: tuple[int, ...], sigma: float) -> None:
    """Raises ValueError for a start of another shape, or of another scale than its noise level."""
    if x.shape != shape:
        raise ValueError(f"x: its shape is {tuple(x.shape)}, but must be {shape}")
    std = float(x.std()) if x.numel() >= ENOUGH else sigma
    if not sigma / SPREAD <= std <= SPREAD * math.hypot(1, sigma):
        raise ValueError(
            f"x: its standard deviation is {std:.3g}, but sampling begins at noise level {sigma:g}; "
            "multiply unit noise by sigmas[0]"
        )


def bind_index(model: Model, index: Tensor) -> Model:
    """The model for the samples with these indices (B,), as eps = model(x, sigma) on the whole batch.

    A model whose result depends on the sample, for example because each has its own label, has an attribute
    `takes_index` = True and is called as model(x, sigma, index=index). Other models are returned as they are.
    """
    return partial(model, index=index) if getattr(model, "takes_index", False) else model


def model_device(model: Model) -> torch.device:
    """The device of the model's parameters, else of its buffers, else the CPU."""
    tensors = itertools.chain(model.parameters(), model.buffers()) if isinstance(model, torch.nn.Module) else ()
    return next((tensor.device for tensor in tensors), torch.device("cpu"))


def default_batch(device: str, threads: int | None = None) -> int:
    """The default number of samples per network evaluation on a kind of device, cpu or cuda.

    On a CPU it is one block of noise per thread (by default as many as torch uses): more would not fit into its caches
    (bench/LOG.md). On a GPU it is 128 blocks, by counting (docs/speed.md).
    """
    return BLOCK * (threads or torch.get_num_threads()) if device == "cpu" else CUDA_BATCH
