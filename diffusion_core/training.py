"""Denoising score matching as a generator: it yields after every step, so the caller decides what to log."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from diffusion_core.exact import Empirical
from diffusion_core.networks.parameterisations import Parameterised
from diffusion_core.noise.sigma import NoiseDistribution
from diffusion_core.tensors import PRECISIONS, broadcast_like, computing_in
from diffusion_core.validation import NotFiniteError, check_positive, check_range, check_share, one_of
from diffusion_core.weightings import WEIGHTINGS

ADAM_BETAS = (0.9, 0.99)
CHECK_EVERY = 50  # steps between checks of the loss on an accelerator, where each check waits for the device
BLOCK = 5_000  # images that a stable target is the mean over
STANDARDISED = (0.7, 1.4)  # of the images' standard deviation: one class of digits has 0.79, pixels in [-1, 1] 0.65
OFF_CENTRE = 0.5  # largest mean of standardised images


@dataclass(frozen=True)
class TrainingStep:
    """One finished step: its number from 1, images seen so far, learning rate, and two 0-d tensors, not synchronised.

    `gradient` is the norm of the loss's gradient before it is clipped.
    """

    step: int
    images_seen: int
    loss: Tensor
    lr: float
    gradient: Tensor


def train(  # noqa: PLR0913, PLR0915  # the options of training, by keyword; one loop
    model: nn.Module,
    images: Tensor,
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
) -> Iterator[TrainingStep]:
    """Trains model in place and yields each step. When the generator ends, model holds the averaged (EMA) weights.

    AdamW without weight decay, linear warm-up, then linear decay to zero, gradients clipped to norm 1. The same
    arguments on the same device with the same number of threads give the same weights bit for bit (on CUDA: if the
    model's kernels are deterministic).

    Args:
        model: keeps the contract eps = model(x, sigma), on the device of images.
        images: standardised, float (n, C, H, W), all on the device; visited in a new random order every epoch.
        noise: which sigma is drawn from.
        n_images: images to train on in total; the last batch is cut to match.
        batch_size: images per step; may exceed n.
        lr: the largest learning rate, after the warm-up.
        warmup_images: images over which lr rises; at most half of n_images is used.
        ema_decay: largest decay per step of the weight average; 0 for no average.
        weighting: one of `WEIGHTINGS`: a factor on the squared error of eps that depends on sigma.
        stratified: draw one noise level from each n-th of the distribution for the n images of a batch.
        stable_above: noise level above which the targets are those of `StableTargets`.
        precision: fp32, or bf16 for autocast to bfloat16.
        seed: of the order of images, the noise levels and the noise.

    Raises (all but NotFiniteError when the first step is requested):
        ValueError: no images, images whose mean and standard deviation are far from 0 and 1, n_images or batch_size
            below 1, lr or stable_above not positive, ema_decay outside [0, 1), an unknown weighting or precision, a
            network that needs `fit` and lacks it.
        NotFiniteError: the loss is NaN or infinity; on an accelerator checked every 50 steps and at the last.
    """
    if not (len(images) and stable_above > 0):
        got = f"{len(images)} images, stable_above={stable_above}"
        raise ValueError(f"{got}: there must be at least one image, and the level must be positive")
    std, mean = torch.stack(torch.std_mean(images.float(), correction=0)).tolist()
    if not (STANDARDISED[0] <= std <= STANDARDISED[1] and abs(mean) <= OFF_CENTRE):
        raise ValueError(
            f"images: their mean is {mean:.3g} and their standard deviation {std:.3g}, but noise levels are in units "
            "where these are 0 and 1; pass load(...).standardised(), or subtract the mean and divide by the deviation"
        )
    check_range("n_images", n_images, 1)
    check_range("batch_size", batch_size, 1)
    check_positive("lr", lr)
    check_share("ema_decay", ema_decay)
    one_of("weighting", weighting, WEIGHTINGS)
    one_of("precision", precision, PRECISIONS)
    if isinstance(model, Parameterised) and model.needs_fit:
        raise ValueError("model: call model.fit(images) first; this parameterisation also learns without gradients")
    device = images.device
    generator = torch.Generator(device).manual_seed(seed)
    order = torch.empty(0, dtype=torch.long, device=device)
    targets = StableTargets(images, stable_above)
    n_steps = math.ceil(n_images / batch_size)
    weights: list[Tensor] = [p for p in model.parameters() if p.requires_grad]
    averages = [p.detach().clone() for p in weights]
    optimizer = torch.optim.AdamW(weights, lr, ADAM_BETAS, weight_decay=0.0, fused=True)
    model.train()
    for step in range(1, n_steps + 1):
        n = min(batch_size, n_images - (step - 1) * batch_size)
        while len(order) < targets.ahead(n):
            order = torch.cat([order, torch.randperm(len(images), generator=generator, device=device)])
        x0 = images[order[:n]]
        sigma = noise.sample(n, generator, stratified)
        eps = torch.randn(x0.shape, generator=generator, device=device)
        x = x0 + broadcast_like(x0, sigma) * eps
        eps = targets(x, sigma, eps, order)
        order = order[n:]
        with computing_in(precision, device):
            estimate = model(x, sigma)
        errors = (estimate - eps).square().mean(dim=tuple(range(1, x.ndim)))
        loss = (WEIGHTINGS[weighting](sigma) * errors).mean()
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
        yield TrainingStep(step, min(step * batch_size, n_images), loss.detach(), current, gradient)
    model.eval()
    with torch.no_grad():
        torch._foreach_copy_(weights, averages)


def lr_factor(step: int, n_steps: int, warmup_steps: float) -> float:
    """The learning rate at a step (1 to n_steps) over its largest: a linear rise, a linear fall to 0 at n_steps + 1."""
    warmup_steps = max(1.0, min(warmup_steps, n_steps / 2))
    return min(step / warmup_steps, (n_steps + 1 - step) / (n_steps + 1 - warmup_steps))


class StableTargets:
    """Stable targets: above a noise level the target eps is the expected noise given x, which varies less.

    The expectation is over all training images, equally likely, if they are at most 5,000. Of more, it is over a block:
    the 5,000 that training visits one after another, the image of x among them. Then targets have a bias towards that
    image, which falls with the number of images. At low noise levels only one image can have made x, and the target
    would be the same.

    Args:
        images: standardised training images (n, C, H, W).
        above: the noise level, in data standard deviations; inf for no level.

    Source: Xu, Tong & Jaakkola 2023, arXiv 2302.00670 (they draw other images for every batch).
    Note: of more than 5,000 images the order of the second epoch is drawn earlier than without stable targets, so that
        from there on the same seed gives other images, noise and noise levels.
    """

    def __init__(self, images: Tensor, above: float) -> None:
        self.images = images
        self.above = above
        self.left: float = math.inf  # images of the block that are not visited yet
        if above < math.inf and len(images) <= BLOCK:
            self.exact = Empirical(images)
        elif above < math.inf:
            self.left = 0

    def ahead(self, n: int) -> int:
        """How many images of the order must be known to visit the next n."""
        return n if n <= self.left else max(n, BLOCK)

    def __call__(self, x: Tensor, sigma: Tensor, eps: Tensor, order: Tensor) -> Tensor:
        """The targets (n, C, H, W) for x at sigma (n,), where x has the images[order[:n]] and the noise eps."""
        if self.above == math.inf:
            return eps
        n = len(x)
        if n > self.left:
            self.left = self.ahead(n)
            self.exact = Empirical(self.images[order[: int(self.left)]])
        self.left -= n
        if x.device.type != "cpu":  # to count rows, a GPU would wait
            return torch.where(broadcast_like(x, sigma > self.above), self.exact(x, sigma), eps)
        rows = (sigma > self.above).nonzero().squeeze(1)
        return eps.index_copy(0, rows, self.exact(x[rows], sigma[rows]))
