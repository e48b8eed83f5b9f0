"""Draws samples from a model: `generate_samples` with the alpha/beta rule, `sample` with any sampler on any ladder.

Both work in batches. The noise in a sample depends only on seed, sample index and step. Both check the outputs of the
model and of the sampler. Errors are a wrong shape, an input changed in place, NaN, infinity, and more or fewer steps
than the ladder has.
"""

import itertools
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from diffusion_core.errors import NotFiniteError
from diffusion_core.samplers.base import Noise, Sampler
from diffusion_core.samplers.counting import MAX_STEPS
from diffusion_core.samplers.euler import AlphaBeta
from diffusion_core.samplers.seeded_noise import BLOCK, BlockNoise
from diffusion_core.schedules.sigma import alpha_beta_ladder, check_ladder

Model = Callable[..., Tensor]  # eps = model(x, sigma), or model(x, sigma, index=...), see `at_samples`
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
    """Draws samples with the alpha/beta rule: starts from pure noise and steps while sigma > sigma_min.

    Args:
        model: eps = model(x, sigma) with sigma (B,), see the docstring of `diffusion_core` and `at_samples`.
        sigma: the first noise level, in data standard deviations.
        sigma_min: sampling stops at the first noise level that is not above sigma_min.
        alpha: share of the estimated noise removed per step, in (0, 1].
        beta: fresh noise put back per step, in units of the current sigma; 0 <= beta < sqrt(1 - (1 - alpha)^2).
        n_samples: number of samples.
        shape: (C, H, W) of one sample.
        seed: seed of the noise. Sample i of a seed is the same image in every batch and run.
        first_sample: index i of the first sample. Samples first_sample + 1, ... follow.
        batch_size: samples per network evaluation; by default `default_batch`. It changes speed and memory, not the
            samples.
        device: where to sample; by default the device of the model's parameters.
        final_denoise: return the denoised images x - sigma eps of the last noise level (one more evaluation).
        trajectory: return x at every noise level, not only at the last one.

    Returns:
        float32 on the sampling device: (n_samples, C, H, W), or with `trajectory` (n_steps + 1, n_samples, C, H, W).
        A trajectory starts with the pure noise. With `final_denoise` the denoised images follow as entry n_steps + 2.

    Raises:
        ValueError: an argument outside its range; a model that returns a wrong shape or changes x.
        NotFiniteError (a ValueError): the model returns NaN or infinity.
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
    clean: Tensor | None = None,
    after_batch: Callable[[int], None] | None = None,
    watch: Callable[[int, Tensor], None] | None = None,
) -> Tensor:
    """Draws samples with any sampler on any ladder. Other arguments, result and errors are as in `generate_samples`.

    Args:
        sigmas: the ladder.
        sampler: a `Sampler` (see base.py), or any object with `name` (text), `run(eps, x, sigmas, noise)` (yields x
            after each step) and perhaps `planned_nfe(sigmas)` (the number of evaluations; raises ValueError for an
            unsuitable ladder).
        clean: (n_samples, C, H, W) images to start from: x = clean + sigmas[0] * noise, instead of noise alone (Meng et
            al. 2022, arXiv 2108.01073).
        after_batch: called after each batch with its number of samples.
        watch: called as watch(step, x), only for the first batch: once before the first step (step 0), then after each
            step. Copy x if you keep it: the next step may overwrite it.

    Raises also:
        ValueError: the sampler does not suit the ladder, or does not yield x after each step of the ladder;
            `trajectory` for a sampler with follows_ladder = False: its steps do not end at the ladder's levels; `clean`
            of another shape.
    """
    if n_samples < 1 or first_sample < 0:
        raise ValueError(f"n_samples={n_samples}, first_sample={first_sample}: they must be at least 1 and at least 0")
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size={batch_size}: it must be at least 1")
    if clean is not None and clean.shape != (n_samples, *shape):
        raise ValueError(f"clean: its shape is {tuple(clean.shape)}, but it must be {(n_samples, *shape)}")
    if trajectory and not _follows_ladder(sampler):
        raise ValueError(f"trajectory: {sampler.name} does not follow its ladder, so its steps have no level")
    place = torch.device(device) if device is not None else model_device(model)
    levels = (sigmas if trajectory else sigmas[-1:]) + ((0.0,) if trajectory and final_denoise else ())
    out = torch.empty(len(levels), n_samples, *shape, device=place)

    def beginning(start: int, n: int) -> tuple[Tensor, BlockNoise]:
        noise = BlockNoise(seed, start, n, shape, place)
        x = noise() * sigmas[0]
        return (x if clean is None else x + clean[start - first_sample :][:n].to(x)), noise

    for start, n in _batches(first_sample, n_samples, batch_size or default_batch(place.type)):
        kept = out[:, start - first_sample : start - first_sample + n]
        begin, noise = beginning(start, n)
        watching = watch if start == first_sample else None
        if trajectory:
            kept[0] = begin
        if watching:
            watching(0, begin)
        x, step = begin, 0
        these = at_samples(model, torch.arange(start, start + n, device=place))
        for step, x in enumerate(follow(these, sampler, sigmas, begin, noise, at_once=False), start=1):
            if trajectory:
                kept[step] = x
            if watching:
                watching(step, x)
        if final_denoise:
            x = denoise(these, x, sigmas[-1], step, at_once=False)
        if not torch.isfinite(x).all():
            _name_the_fault(these, sampler, sigmas, *beginning(start, n), final_denoise)
        kept[-1] = x
        if after_batch:
            after_batch(n)
    return out if trajectory else out[0]


def follow(
    model: Model, sampler: Sampler, sigmas: tuple[float, ...], x: Tensor, noise: Noise, *, at_once: bool = True
) -> Iterator[Tensor]:
    """Yields x after each step of a sampler along a ladder, and checks every output of the model and the sampler.

    Args:
        model: eps = model(x, sigma).
        sigmas: the ladder.
        x: (B, C, H, W) at noise level sigmas[0]. The sampler may overwrite x and every tensor that it has yielded, so
            copy a yielded tensor before you ask for the next one.
        noise: returns unit noise (B, C, H, W).
        at_once: check for NaN and infinity after each step and evaluation. This is slower on a GPU, because each check
            waits for the device. If False, the caller must check the end result.

    Raises (at the first step, or at the step that fails):
        ValueError: `sigmas` is not a ladder, or does not suit the sampler. The sampler yields something other than a
            tensor with the shape, dtype and device of x. It takes more or fewer steps than its ladder has, unless
            its follows_ladder is False, or does not end. The model fails a check of `CheckedModel`.
        NotFiniteError (a ValueError): with `at_once`, the model or the sampler returned NaN or infinity. The message
            names the step.
    """
    check_ladder(sigmas)
    if getattr(type(sampler), "planned_nfe", Sampler.planned_nfe) is not Sampler.planned_nfe:
        sampler.planned_nfe(sigmas)  # raises ValueError if the ladder does not suit the sampler
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
        if eps.step > max(n_steps, MAX_STEPS):
            raise ValueError(f"sampler {sampler.name}: it took more than {MAX_STEPS:,} steps, or does not end")
        if at_once and not torch.isfinite(found).all():
            raise NotFiniteError(
                f"sampler {sampler.name}: at step {eps.step} of {n_steps} it yielded NaN or infinity, though the model "
                "returned neither"
            )
        yield found
    if eps.step == 0 or (eps.step < n_steps and _follows_ladder(sampler)):
        raise ValueError(f"sampler {sampler.name}: it took {eps.step} of the {n_steps} steps that its ladder has")


def denoise(model: Model, x: Tensor, sigma: float, step: int = 0, *, at_once: bool = True) -> Tensor:
    """x - sigma eps(x, sigma), the model's estimate of the clean images. Errors as in `CheckedModel`."""
    eps = CheckedModel(model, at_once)
    eps.step = step
    return torch.add(x, eps(x, sigma), alpha=-sigma)


class CheckedModel:
    """A model as samplers call it, with its output checked: eps(x, sigma), where sigma is a number or (B,).

    `step` is the number of finished steps; it appears in messages only.

    Raises (when called):
        ValueError: the model returns something other than a floating-point tensor of the shape of x, or changes x in
            place.
        NotFiniteError (a ValueError): with `at_once`, the model returns NaN or infinity. The message names step and
            sigma.
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
    model: Model, sampler: Sampler, sigmas: tuple[float, ...], x: Tensor, noise: BlockNoise, final_denoise: bool
) -> None:
    """Samples a batch again, checks each step, and raises NotFiniteError with the first step that is not finite.

    `sample` does not check each step, because that is slow on a GPU. It calls this function if a result is not finite.
    """
    *_, x = follow(model, sampler, sigmas, x, noise)
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


def at_samples(model: Model, index: Tensor) -> Model:
    """The model for the samples with these indices (B,), as eps = model(x, sigma) on the whole batch.

    A model whose result depends on the sample, for example because each has its own label, has an attribute
    `takes_index` = True and is called as model(x, sigma, index=index). Other models are returned as they are.
    """
    return partial(model, index=index) if getattr(model, "takes_index", False) else model


def model_device(model: Model) -> torch.device:
    """The device of the model's parameters, else of its buffers, else the CPU."""
    tensors = itertools.chain(model.parameters(), model.buffers()) if isinstance(model, torch.nn.Module) else iter(())
    first = next(tensors, None)
    return torch.device("cpu") if first is None else first.device


def default_batch(device: str, threads: int | None = None) -> int:
    """The default number of samples per network evaluation.

    On a CPU it is one block per thread: noise is drawn in blocks of 64 samples, and a larger batch would not fit into
    the CPU's caches (bench/LOG.md). On a GPU it is 32 blocks, a guess at what keeps the GPU busy; this has not been
    measured.

    Args:
        device: kind of the device, cpu or cuda.
        threads: threads of a CPU; by default as many as torch uses.
    """
    return BLOCK * (threads or torch.get_num_threads()) if device == "cpu" else CUDA_BATCH


def _batches(first: int, n_samples: int, batch_size: int) -> Iterator[tuple[int, int]]:
    for start in range(first, first + n_samples, batch_size):
        yield start, min(batch_size, first + n_samples - start)
