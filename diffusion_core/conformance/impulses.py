"""The law of a sampler's result: exactly, by impulses in place of its normal draws, or by Monte Carlo.

With the exact denoiser of Gaussian data nearly every sampler is affine in its noise: x = c + sum_k c_k z_k. Row 0 of
a batch gets only zeros and returns c, the mean. Row k gets 1 in draw k and returns c + c_k; the variance is the sum of
the c_k^2. Two more rows get normal draws, others in each direction: they must return what c and the c_k say, or the
sampler is not affine, or it mixes directions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from diffusion_core.conformance.oracle import Oracle

SamplerFunction = Callable[[Oracle, int, Tensor], Tensor]  # samples = sampler(denoiser, n_steps, noise)
TESTS = 2  # rows with normal draws
AFFINE = 1e-3  # largest difference between these rows and the impulses' prediction, in standard deviations


class NotAffineError(Exception):
    """The sampler's result is not what impulses can measure; the message says why."""


@dataclass(frozen=True)
class Law:
    """Mean and standard deviation of the result after `n_steps`, (D,) each, and their standard errors (0: exact).

    `rare` is the share of the samples in the rare mode of mixture data, (D,).
    """

    n_steps: int
    mean: np.ndarray
    std: np.ndarray
    mean_error: np.ndarray
    std_error: np.ndarray
    rare: np.ndarray | None = None


class Draws(TorchFunctionMode):
    """Inside it, torch's normal draws return `answer(shape)`, scaled as asked: randn, randn_like, normal, normal_."""

    def __init__(self, answer: Callable[[torch.Size], Tensor]) -> None:
        super().__init__()
        self.answer = answer

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if func not in (torch.randn, torch.randn_like, torch.normal, torch.Tensor.normal_):
            return out
        given = args[1:] if func is torch.Tensor.normal_ else args if func is torch.normal else ()
        scale = {"mean": 0.0, "std": 1.0} | dict(zip(("mean", "std"), given, strict=False)) | kwargs
        return out.copy_(self.answer(out.shape).to(out.device) * scale["std"] + scale["mean"])


class _Rows:
    """The answers to the draws: an impulse in each row, normal numbers in the last `TESTS`."""

    def __init__(self, n_draws: int, n_directions: int) -> None:
        self.shape = torch.Size((1 + n_draws + TESTS, 1, 1, n_directions))
        self.n_draws, self.taken = n_draws, 0
        generator = torch.Generator().manual_seed(0)
        self.tests = torch.randn(n_draws, TESTS, 1, 1, n_directions, dtype=torch.float64, generator=generator)

    def __call__(self, shape: torch.Size) -> Tensor:
        dims = len(self.shape)
        if shape[len(shape) - dims :] == self.shape:  # one draw, or several at once as (n, B, C, H, W)
            n = shape[: len(shape) - dims].numel()
            return torch.stack([self.draw() for _ in range(n)]).reshape(shape)
        if len(shape) > 0 and shape[0] == self.shape[0] and len(shape) <= dims:
            return self.draw(shared=True)[..., 0].view(-1, *[1] * (len(shape) - 1)).expand(shape)
        raise NotAffineError(f"it draws noise of shape {tuple(shape)}, which is not one draw per sample")

    def draw(self, shared: bool = False) -> Tensor:
        """The next draw, in the shape of the samples; `shared` gives all directions of a sample the same number."""
        z = torch.zeros(self.shape, dtype=torch.float64)
        if self.taken < self.n_draws:
            if shared:
                self.tests[self.taken] = self.tests[self.taken, ..., :1].clone()
            z[1 + self.taken] = 1.0
            z[-TESTS:] = self.tests[self.taken]
        self.taken += 1
        return z


@torch.no_grad()
def by_impulses(sampler: SamplerFunction, oracle: Oracle, n_steps: int, n_draws: int) -> tuple[Law, int]:
    """The exact law and the number of draws, from one run, or from two if it takes more draws than `n_draws`.

    Raises:
        NotAffineError: the result is not affine in the draws, or has randomness that is not torch's normal draws.
        ValueError: the sampler returned something other than samples in the shape of its noise.
    """
    rows = _Rows(n_draws, len(oracle.stds))
    with Draws(rows):
        out = checked(sampler(oracle, n_steps, rows(rows.shape).clone()), rows.shape, n_steps)
    if rows.taken > n_draws:
        return by_impulses(sampler, oracle, n_steps, rows.taken)
    out = out.double().reshape(len(out), -1)
    mean, used = out[0], out[1 : 1 + rows.taken] - out[0]
    expected = mean + (rows.tests[: rows.taken, :, 0, 0] * used[:, None]).sum(dim=0)
    tolerance = AFFINE * (oracle.true_stds + used.square().sum(dim=0).sqrt() + mean.abs())
    if not ((out[-TESTS:] - expected).abs() <= tolerance).all() and torch.isfinite(out).all():
        raise NotAffineError(
            "its result is not affine in its normal draws direction by direction, or it has other randomness"
        )
    none = np.zeros(len(oracle.stds))
    return Law(n_steps, mean.numpy(), used.square().sum(dim=0).sqrt().numpy(), none, none), rows.taken


@torch.no_grad()
def by_monte_carlo(sampler: SamplerFunction, oracle: Oracle, n_steps: int, n: int, seed: int) -> Law:
    """The law of n samples, with standard errors. It seeds torch. Errors as above."""
    torch.manual_seed(seed)
    noise = torch.randn(n, 1, 1, len(oracle.stds), dtype=torch.float64)
    out = checked(sampler(oracle, n_steps, noise), noise.shape, n_steps)
    x = out.double().reshape(n, -1)
    mean, centred = x.mean(dim=0), x - x.mean(dim=0)
    variance = centred.square().sum(dim=0) / (n - 1)
    kurtosis = centred.pow(4).mean(dim=0) / variance.clamp(min=1e-300).square()
    std_error = variance.sqrt() * ((kurtosis - 1).clamp(min=0) / (4 * n)).sqrt()
    rare = None
    if len(oracle.means) > 1:  # beyond the middle between the modes, to which no tail reaches
        rare = (x > sum(oracle.means) / 2).double().mean(dim=0).numpy()
    errors = (variance / n).sqrt().numpy(), std_error.numpy()
    return Law(n_steps, mean.numpy(), variance.sqrt().numpy(), *errors, rare)


def z_scores(exact: Law, drawn: Law) -> np.ndarray:
    """How far a Monte Carlo law is from the exact one, in standard errors: of the means, then of the deviations."""
    n = (drawn.std / drawn.mean_error.clip(min=1e-300)) ** 2
    mean = (drawn.mean - exact.mean) / (exact.std / np.sqrt(n) + 1e-6)
    return np.concatenate([mean, (drawn.std - exact.std) / (exact.std / np.sqrt(2 * n) + 1e-6)])


def checked(out: object, shape: torch.Size, n_steps: int, name: str = "sampler") -> Tensor:
    """The samples that a sampler returned. ValueError with its name if they are none, or of another shape."""
    if not isinstance(out, Tensor) or out.shape != shape:
        returned = f"shape {tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
        raise ValueError(f"{name}: it returned {returned} with n_steps={n_steps}; it must return {tuple(shape)}")
    return out
