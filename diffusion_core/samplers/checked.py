"""One batch along a schedule, with every output of the model and of the sampler checked, and the model's mode."""

import warnings
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.instancenorm import _InstanceNorm

from diffusion_core.samplers.base import MAX_EVALUATIONS, Noise, Sampler
from diffusion_core.schedules.sigma import MAX_STEPS, Sigmas, check_schedule
from diffusion_core.validation import NotFiniteError

Model = Callable[..., Tensor]  # eps = model(x, sigma), or model(x, sigma, index=...), see `bind_index` in sampling.py


def checked_steps(
    model: Model, sampler: Sampler, sigmas: Sigmas, x: Tensor, noise: Noise, *, at_once: bool = True
) -> Iterator[Tensor]:
    """Yields x after each step of a sampler along a schedule, and checks every output of the model and the sampler.

    Args:
        x: (B, C, H, W) at noise level sigmas[0]. The sampler may overwrite x and every tensor that it has yielded.
        noise: returns unit noise (B, C, H, W).
        at_once: check for NaN and infinity at each step, for which a GPU must wait. Else the caller checks the end.

    Raises (at the step that fails):
        ValueError: `sigmas` is not a schedule, or does not suit the sampler. The sampler does not yield tensors like x,
            takes more or fewer steps than the schedule that it follows, or does not end. Errors of `CheckedModel`.
        NotFiniteError (a ValueError): with `at_once`, the model or the sampler returned NaN or infinity.
    """
    check_schedule(sigmas)
    if type(sampler).planned_nfe is not Sampler.planned_nfe:
        sampler.planned_nfe(sigmas)  # raises ValueError if the schedule does not suit the sampler
    eps = CheckedModel(model, at_once)
    n_steps = len(sigmas) - 1
    expected = x.shape, x.dtype, x.device
    steps = sampler.run(eps, x, sigmas, noise)
    who = f"sampler {sampler.name}"
    if isinstance(steps, Tensor):
        raise ValueError(f"{who}: run must yield x after each step, not return it")
    version = _changes(x)
    yields_before_step = False
    for state in steps:
        yields_before_step |= eps.step == 0 and state is x and not x.is_inference() and _changes(x) == version
        eps.step += 1
        eps.calls = 0
        if not isinstance(state, Tensor) or (state.shape, state.dtype, state.device) != expected:
            yielded = f"at step {eps.step} of {n_steps} it yielded {_describe(state)}"
            raise ValueError(f"{who}: {yielded}; it must yield x, {_describe(x)}")
        if eps.step > n_steps and sampler.follows_schedule:
            raise ValueError(f"{who}: it took more than the {n_steps} steps that its schedule has")
        if eps.step > max(n_steps, MAX_STEPS):
            raise ValueError(f"{who}: it took more than {MAX_STEPS:,} steps, or does not end")
        if at_once and not torch.isfinite(state).all():
            yielded = f"at step {eps.step} of {n_steps} it yielded NaN or infinity"
            raise NotFiniteError(f"{who}: {yielded}, though the model returned neither")
        last = eps.step >= n_steps or not sampler.follows_schedule
        yield state.clone() if last else state  # what the sampler does after its last yield must not change the result
    if yields_before_step and eps.calls:
        raise ValueError(f"{who}: it yields x before each step, so its last step is lost; it must yield x after it")
    if eps.step == 0 or (eps.step < n_steps and sampler.follows_schedule):
        raise ValueError(f"{who}: it took {eps.step} of the {n_steps} steps that its schedule has")


def denoise(model: Model, x: Tensor, sigma: float, step: int = 0, *, at_once: bool = True) -> Tensor:
    """x - sigma eps(x, sigma), the model's estimate of the clean images. Errors as in `CheckedModel`."""
    eps = CheckedModel(model, at_once)
    eps.step = step
    return torch.add(x, eps(x, sigma), alpha=-sigma)


class CheckedModel:
    """A model as samplers call it, with its output checked: eps(x, sigma), where sigma is a number or B of them.

    `step` is the number of finished steps, and `calls` the number of evaluations since then. Tensors do not count their
    changes in torch.inference_mode(), so there the model gets copies.

    Raises (when called):
        ValueError: sigma is neither one level nor one level per image; the sampler does not end a step; the model
            returns no floating-point tensor of the shape of x, or changes x or sigma in place.
        NotFiniteError (a ValueError): with `at_once`, the model returns NaN or infinity.
    """

    def __init__(self, model: Model, at_once: bool = True) -> None:
        self.model = model
        self.at_once = at_once
        self.step = 0
        self.calls = 0

    def __call__(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        self.calls += 1
        if self.calls > MAX_EVALUATIONS:
            fault = f"step {self.step + 1} took more than {MAX_EVALUATIONS:,} evaluations, or does not end"
            raise ValueError(f"sampler: {fault}; it must yield x after each step")
        if not isinstance(sigma, Tensor):
            levels = x.new_full((len(x),), sigma)
        elif sigma.numel() in (1, len(x)):
            levels = sigma.flatten().expand(len(x))
        else:
            given = f"sigma of shape {tuple(sigma.shape)} for {len(x)} images"
            raise ValueError(f"sampler: it called eps with {given}; it must be one level, or ({len(x)},)")
        inputs = [tensor.clone() if tensor.is_inference() else tensor for tensor in (x, levels)]
        versions = [_changes(tensor) for tensor in inputs]
        eps = self.model(*inputs)
        if not isinstance(eps, Tensor) or eps.shape != x.shape:
            shape = f"shape {tuple(eps.shape)}" if isinstance(eps, Tensor) else type(eps).__name__
            returned = f"{shape} at step {self.step} for x of shape {tuple(x.shape)}"
            raise ValueError(f"model: it returned {returned}; eps must have the shape of x")
        for name, tensor, version in zip(("x", "sigma"), inputs, versions, strict=True):
            if _changes(tensor) != version:
                changed = f"{name} in place at step {self.step}"
                raise ValueError(f"model: it changed {changed}; it must leave its input as it is")
        if not eps.is_floating_point():
            raise ValueError(f"model: it returned {eps.dtype} at step {self.step}; eps must hold real numbers")
        eps = eps.to(x.dtype, copy=True)  # the model may answer in the same memory again
        if self.at_once and not (finite := torch.isfinite(eps).flatten(1).all(dim=1)).all():
            where = f"at step {self.step}, sigma={levels[~finite][0].item():.6g}"
            raise NotFiniteError(f"model: it returned NaN or infinity {where}; eps must be finite")
        return eps


def locate_nan(model: Model, sampler: Sampler, sigmas: Sigmas, x: Tensor, noise: Noise, final_denoise: bool) -> None:
    """Draws a batch that held NaN or infinity again, and raises NotFiniteError with the first step that has them."""
    *_, x = checked_steps(model, sampler, sigmas, x, noise)
    if final_denoise:
        denoise(model, x, sigmas[-1], len(sigmas) - 1)
    raise NotFiniteError(
        f"model: samples of {sampler.name} hold NaN or infinity, but not when they were drawn again from the same "
        "noise; the model must return the same for the same input"
    )


def _changes(tensor: Tensor) -> int:
    """How often a tensor was changed in place; 0 for a tensor of torch.inference_mode(), which does not count."""
    return 0 if tensor.is_inference() else tensor._version


def _describe(value: object) -> str:
    if not isinstance(value, Tensor):
        return type(value).__name__
    return f"a tensor of shape {tuple(value.shape)}, {value.dtype}, on {value.device}"


def warn_of_training_mode(model: Model) -> None:
    """Warns the caller of `sample` if the model is in training mode where it matters, and not meant to be random."""
    changed = changed_by_training_mode(model)
    if changed and getattr(model, "random", False) is not True:
        more = f"and {len(changed) - 1} more are" if len(changed) > 1 else "is"
        warnings.warn(
            f"model: {changed[0]} {more} in training mode, which changes the samples; call .eval() on the model. If it "
            "is meant to be random, give it an attribute random = True",
            stacklevel=4,  # the caller of `sample`, behind the wrapper of no_grad
        )


def changed_by_training_mode(model: Model) -> list[str]:
    """The modules of a model that are in training mode, if that changes their output; none of a function."""
    modules = model.named_modules() if isinstance(model, nn.Module) else iter(())
    return [
        f"{name or 'it'} ({type(module).__name__})"
        for name, module in modules
        if module.training
        and (
            isinstance(module, _BatchNorm | nn.RReLU)
            or (isinstance(module, _InstanceNorm) and module.track_running_stats)
            or (isinstance(module, _DropoutNd) and module.p > 0)
            or (isinstance(module, nn.MultiheadAttention | nn.RNNBase) and module.dropout > 0)
        )
    ]
