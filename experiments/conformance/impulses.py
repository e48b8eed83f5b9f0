"""Mean and standard deviation of samples: exactly, by impulses in place of normal draws, or by Monte Carlo.

With the exact denoiser of Gaussian data nearly every sampler is affine in its noise: x = c + sum_k c_k z_k. Row 0 of
a batch gets only zeros and returns c, the mean. Row k gets 1 in draw k and returns c + c_k; the variance is the sum of
the c_k^2. Two more rows get normal draws, others in each direction: they must return what c and the c_k say, or the
sampler is not affine, or it mixes directions.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from experiments.conformance.oracle import Oracle

SamplerFunction = Callable[[Oracle, int, Tensor], Tensor]  # samples = sampler(denoiser, n_steps, noise)
N_DRAWN = 100_000  # samples of Monte Carlo
TESTS = 2  # rows with normal draws
AFFINE = 1e-3  # largest difference between these rows and the impulses' prediction, in standard deviations


class NotAffineError(Exception):
    """The sampler's result is not what impulses can measure; the message says why."""


class SuspectError(NotAffineError):
    """Impulses cannot measure it, and samples may depend on each other, which Monte Carlo does not see."""


@dataclass(frozen=True)
class SampleMoments:
    """Mean and standard deviation of the result after `n_steps`, (D,) each, and their standard errors (0: exact).

    `correlation` is the largest between two directions, by Monte Carlo less 5 standard errors.
    """

    n_steps: int
    mean: np.ndarray
    std: np.ndarray
    mean_error: np.ndarray
    std_error: np.ndarray
    correlation: float = 0.0


class PatchedNormal(TorchFunctionMode):
    """Inside it, torch's normal draws return `answer(shape)`, scaled as asked: randn, randn_like, normal, normal_.

    A draw from the same state of its generator, as in Brownian trees, has the same answer again.
    """

    def __init__(self, answer: Callable[[torch.Size], Tensor]) -> None:
        super().__init__()
        self.answer = answer
        self.answers: dict[tuple[int, int] | None, Tensor] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func not in (torch.randn, torch.randn_like, torch.normal, Tensor.normal_):
            return func(*args, **kwargs)
        state = (kwargs.get("generator") or torch.default_generator).get_state()
        out = func(*args, **kwargs)
        positional = args[1:] if func is Tensor.normal_ else args if func is torch.normal else ()
        scale = {"mean": 0.0, "std": 1.0} | dict(zip(("mean", "std"), positional, strict=False)) | kwargs
        key = None if not out.is_cpu else (hash(state.numpy().tobytes()), out.numel())
        answer = self.answers[key].reshape(out.shape) if key in self.answers else self.answer(out.shape)
        if key is not None:
            self.answers[key] = answer
        return out.copy_(answer.to(out.device) * scale["std"] + scale["mean"])


def answer_draw(make_row: Callable[[bool], Tensor], shape: torch.Size, rows: torch.Size) -> Tensor:
    """Answers a draw of this shape; `rows` is the shape of the samples. SuspectError for other shapes.

    A sampler draws, per sample, its full shape (once or n times) or one number; `make_row(True)` answers the number.
    """
    lead = len(shape) - len(rows)
    if shape[lead:] == rows:  # one draw, or several at once as (n, B, C, H, W)
        return torch.stack([make_row(False) for _ in range(shape[:lead].numel())]).reshape(shape)
    if shape.numel() == rows.numel() and (len(shape) == 1 or shape[0] == rows[0]):
        return make_row(False).reshape(shape)
    if shape.numel() == rows[0] == shape[0]:
        return make_row(True).flatten(1)[:, 0].reshape(shape)
    raise SuspectError(f"it draws noise of shape {tuple(shape)}, which is not one draw per sample")


class _ImpulseRows:
    """The answers to the draws: an impulse in each row, normal numbers in the last `TESTS`."""

    def __init__(self, n_draws: int, n_directions: int) -> None:
        self.shape = torch.Size((1 + n_draws + TESTS, 1, 1, n_directions))
        self.n_draws = n_draws
        self.taken = 0
        self.shared: list[int] = []  # draws that gave all directions of a sample the same number
        generator = torch.Generator().manual_seed(0)
        self.tests = torch.randn(n_draws, TESTS, 1, 1, n_directions, dtype=torch.float64, generator=generator)

    def __call__(self, shape: torch.Size) -> Tensor:
        return answer_draw(self.make_row, shape, self.shape)

    def make_row(self, shared: bool) -> Tensor:
        """The next draw, in the shape of the samples; `shared` gives all directions of a sample the same number."""
        z = torch.zeros(self.shape, dtype=torch.float64)
        if self.taken < self.n_draws:
            if shared:
                self.shared.append(self.taken)
                self.tests[self.taken] = self.tests[self.taken, ..., :1].clone()
            z[1 + self.taken] = 1.0
            z[-TESTS:] = self.tests[self.taken]
        self.taken += 1
        return z


@torch.no_grad()
def by_impulses(sampler: SamplerFunction, oracle: Oracle, n_steps: int, n_draws: int) -> tuple[SampleMoments, int]:
    """The exact moments and the number of draws, from one run, or from two if it takes more draws than `n_draws`.

    NotAffineError if the result is not affine in the draws, or has randomness that is not torch's normal draws.
    """
    rows = _ImpulseRows(n_draws, len(oracle.stds))
    with PatchedNormal(rows):
        out = sampler(oracle, n_steps, rows(rows.shape).clone())
    if rows.taken > n_draws:
        return by_impulses(sampler, oracle, n_steps, rows.taken)
    out = out.double().reshape(len(out), -1)
    mean = out[0]
    used = out[1 : 1 + rows.taken] - mean
    std = used.square().sum(dim=0).sqrt()
    expected = mean + (rows.tests[: rows.taken, :, 0, 0] * used[:, None]).sum(dim=0)
    tolerance = AFFINE * (oracle.true_stds + std + mean.abs())
    if not ((out[-TESTS:] - expected).abs() <= tolerance).all() and torch.isfinite(out).all():
        reason = "its result is not affine in its normal draws direction by direction, or it has other randomness"
        raise NotAffineError(reason)
    exact = np.zeros(len(oracle.stds))  # standard errors
    shared = used[rows.shared]
    correlation = _correlation(shared.T @ shared, std)
    return SampleMoments(n_steps, mean.numpy(), std.numpy(), exact, exact, correlation=correlation), rows.taken


@torch.no_grad()
def by_monte_carlo(sampler: SamplerFunction, oracle: Oracle, n_steps: int, seed: int) -> SampleMoments:
    """The moments of `N_DRAWN` samples, with standard errors. It seeds torch."""
    torch.manual_seed(seed)
    n = N_DRAWN
    x = sampler(oracle, n_steps, torch.randn(n, 1, 1, len(oracle.stds), dtype=torch.float64)).double().reshape(n, -1)
    mean = x.mean(dim=0)
    centred = x - x.mean(dim=0)
    variance = centred.square().sum(dim=0) / (n - 1)
    kurtosis = centred.pow(4).mean(dim=0) / variance.clamp(min=1e-300).square()
    std_error = variance.sqrt() * ((kurtosis - 1).clamp(min=0) / (4 * n)).sqrt()
    errors = (variance / n).sqrt().numpy(), std_error.numpy()
    correlation = max(_correlation(centred.T @ centred / (n - 1), variance.sqrt()) - 5 / math.sqrt(n), 0.0)
    return SampleMoments(n_steps, mean.numpy(), variance.sqrt().numpy(), *errors, correlation)


def _correlation(covariance: Tensor, std: Tensor) -> float:
    """The largest correlation between two directions, from their covariances; the diagonal is not read."""
    return float((covariance / std.outer(std)).fill_diagonal_(0.0).abs().nan_to_num(0.0, 0.0).max())
