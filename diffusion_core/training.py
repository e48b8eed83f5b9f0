"""Denoising score matching as a generator: it yields after every step, so the caller decides what to log."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn

from diffusion_core.broadcast import along
from diffusion_core.errors import NotFiniteError
from diffusion_core.fields import check_positive, check_range
from diffusion_core.networks.parameterisations import Parameterised
from diffusion_core.noise.sigma import NoiseDistribution
from diffusion_core.precision import PRECISIONS, computing_in
from diffusion_core.stable_targets import StableTargets
from diffusion_core.weightings import WEIGHTINGS

ADAM_BETAS = (0.9, 0.99)
CHECK_EVERY = 50  # steps between checks of the loss on an accelerator, where each check waits for the device


Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # x, sigma, target eps


@dataclass(frozen=True)
class Step:
    """One finished step: its number from 1, images seen so far, learning rate, and two 0-d tensors, not synchronised.

    `gradient` is the norm of the loss's gradient before it is clipped.
    """

    step: int
    images_seen: int
    loss: torch.Tensor
    lr: float
    gradient: torch.Tensor


def train(  # noqa: PLR0913  # the options of training, by keyword
    model: nn.Module,
    images: torch.Tensor,
    noise: NoiseDistribution,
    *,
    n_images: int,
    batch_size: int = 64,
    lr: float = 3e-3,
    warmup_images: int = 10_000,
    ema_decay: float = 0.999,
    weighting: str = "karras",
    stratified: bool = False,
    stable_above: float = math.inf,
    precision: str = "fp32",
    seed: int = 0,
) -> Iterator[Step]:
    """Trains model in place and yields each step. When the generator ends, model holds the averaged (EMA) weights.

    AdamW without weight decay, linear warm-up, then linear decay to zero, gradients clipped to norm 1. The same
    arguments on the same device with the same number of threads give the same weights bit for bit (on CUDA: if the
    model's kernels are deterministic).

    Args:
        model: keeps the contract eps = model(x, sigma), on the device of images.
        images: standardised, float (n, C, H, W), all on the device; visited in a new random order every epoch.
        noise: the noise distribution, which sigma is drawn from.
        n_images: images to train on in total; the last batch is cut to match.
        batch_size: images per step; may exceed n.
        lr: the largest learning rate, after the warm-up.
        warmup_images: images over which lr rises; at most half of n_images is used.
        ema_decay: largest decay per step of the weight average; 0 for no average.
        weighting: one of `WEIGHTINGS`: a factor on the squared error of eps that depends on sigma.
        stratified: for the n images of a batch, draw one noise level from each n-th of the distribution instead of
            independent levels, so that the loss varies less.
        stable_above: noise level above which the target is the mean of the noises that could have made x from one of
            the images, instead of the noise that made it (see `StableTargets`).
        precision: fp32, or bf16 for autocast to bfloat16.
        seed: of the order of images, the noise levels and the noise.

    Raises (all but NotFiniteError when the first step is requested):
        ValueError: no images, n_images or batch_size below 1, lr or stable_above not positive, ema_decay outside
            [0, 1), an unknown weighting or precision, a network that needs `fit` and lacks it.
        NotFiniteError: the loss is NaN or infinity; on an accelerator checked every 50 steps and at the last.
    """
    if len(images) == 0:
        raise ValueError("images: there are 0 images to train on; training needs at least one")
    if not stable_above > 0:
        raise ValueError(f"stable_above={stable_above}: must be positive; inf for no stable targets")
    device = images.device
    generator = torch.Generator(device).manual_seed(seed)
    order = torch.empty(0, dtype=torch.long, device=device)
    targets = StableTargets(images, stable_above)

    def draw(n: int) -> Batch:
        nonlocal order
        while len(order) < targets.ahead(n):
            order = torch.cat([order, torch.randperm(len(images), generator=generator, device=device)])
        x0 = images[order[:n]]
        sigma = noise.sample(n, generator, stratified)
        eps = torch.randn(x0.shape, generator=generator, device=device)
        x = x0 + along(x0, sigma) * eps
        eps, order = targets(x, sigma, eps, order), order[n:]
        return x, sigma, eps

    yield from optimise(
        model,
        draw,
        n_images=n_images,
        batch_size=batch_size,
        lr=lr,
        warmup_images=warmup_images,
        ema_decay=ema_decay,
        weighting=weighting,
        precision=precision,
        device=device,
    )


def optimise(  # noqa: PLR0913  # the options of training, by keyword
    model: nn.Module,
    draw: Callable[[int], Batch],
    *,
    n_images: int,
    batch_size: int,
    lr: float,
    warmup_images: int,
    ema_decay: float,
    weighting: str,
    precision: str,
    device: torch.device,
) -> Iterator[Step]:
    """The optimisation of `train` on any inputs. `draw(n)` returns x (n, C, H, W), sigma (n,) and the target eps.

    Other arguments, result and errors are as in `train`.
    """
    check_range("n_images", n_images, 1)
    check_range("batch_size", batch_size, 1)
    check_positive("lr", lr)
    if not 0 <= ema_decay < 1:
        raise ValueError(f"ema_decay={ema_decay}: must lie in [0, 1)")
    for name, value, known in (("weighting", weighting, WEIGHTINGS), ("precision", precision, PRECISIONS)):
        if value not in known:
            raise ValueError(f"{name}={value!r}: must be one of {', '.join(known)}")
    if isinstance(model, Parameterised) and model.needs_fit:
        raise ValueError("model: call model.fit(images) first; this parameterisation also learns without gradients")
    n_steps = math.ceil(n_images / batch_size)
    weights: list[torch.Tensor] = [p for p in model.parameters() if p.requires_grad]
    averages = [p.detach().clone() for p in weights]
    optimizer = torch.optim.AdamW(weights, lr, ADAM_BETAS, weight_decay=0.0, fused=True)
    model.train()
    for step in range(1, n_steps + 1):
        n = min(batch_size, n_images - (step - 1) * batch_size)
        x, sigma, eps = draw(n)
        with computing_in(precision, device):
            estimate = model(x, sigma)
        loss = (WEIGHTINGS[weighting](sigma) * (estimate - eps).square().mean(dim=tuple(range(1, x.ndim)))).mean()
        current = lr * lr_factor(step, n_steps, warmup_images / batch_size)
        if (device.type == "cpu" or step % CHECK_EVERY == 0 or step == n_steps) and not math.isfinite(loss.item()):
            raise NotFiniteError(
                f"training: the loss is {loss.item()} at step {step} of {n_steps} (lr={current:.3g}); lower lr"
            )

        optimizer.param_groups[0]["lr"] = current
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        gradient = nn.utils.clip_grad_norm_(weights, 1.0, foreach=True)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(averages, weights, 1 - min(ema_decay, step / (step + 9)))
        yield Step(step, min(step * batch_size, n_images), loss.detach(), current, gradient)
    model.eval()
    with torch.no_grad():
        torch._foreach_copy_(weights, averages)


def lr_factor(step: int, n_steps: int, warmup_steps: float) -> float:
    """The learning rate at a step (1 to n_steps) over its largest: a linear rise, a linear fall to 0 at n_steps + 1."""
    warmup_steps = max(1.0, min(warmup_steps, n_steps / 2))
    return min(step / warmup_steps, (n_steps + 1 - step) / (n_steps + 1 - warmup_steps))
