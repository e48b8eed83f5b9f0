"""log_prob, and the mean and std that are returned, against what is really drawn.

With x_next = m + s z a log density is c - kappa |z|^2 / 2. Summed over D dimensions it has kappa = 1 and
c = -D (log s + log sqrt(2 pi)); averaged, both are divided by D. Five rows, z = 0, 1, -1, r and -r, give kappa, c, the
odd part (it has another mean) and the rest (it is no Gaussian). If kappa is not 1, its own standard deviation is
s / sqrt(kappa).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from diffusion_core.conformance.policy.steps import CLOSE, EPS, Step, Transition
from diffusion_core.conformance.policy.verdict import Remark

HALF_LOG_2PI = math.log(2 * math.pi) / 2
SAME = 0.01  # relative: a number that is explained


class Parabola(NamedTuple):
    """log_prob = c - kappa |z|^2 / 2 for x_next = mean + std z, and its errors in units of kappa sqrt(D).

    odd: the part that is odd in z; rest: what is neither.
    """

    kappa: float
    c: float
    odd: float
    rest: float


def parabola(log_prob: Callable[[Tensor], Tensor], like: Tensor) -> Parabola:
    """The parabola through log_prob(z) for five rows z, which have the shape of `like`."""
    dims = like[0].numel()
    r = torch.randn(like.shape[1:], generator=torch.Generator().manual_seed(1))
    r = r.bfloat16().double()  # exact in any dtype
    zero, one = torch.zeros_like(r), torch.ones_like(r)
    at_zero, up, down, there, back = log_prob(torch.stack([zero, one, -one, r, -r])).double().tolist()
    kappa = (2 * at_zero - up - down) / dims
    odd = max(abs(up - down), abs(there - back)) / 2
    rest = abs((there + back) / 2 - at_zero + kappa * float(r.square().sum()) / 2)
    scale = max(abs(kappa), 1e-12) * math.sqrt(dims)
    return Parabola(kappa, at_zero, odd / scale, rest / scale / math.sqrt(dims))


def drawn(step: Step, one: Transition) -> Callable[[Tensor], Tensor]:
    """log_prob(z) of x_next = mean + std z, where the step draws z itself."""
    return lambda z: step.fed(z * one.shares, *one.at).log_prob


def shape_of_log_prob(step: Step, one: Transition) -> Iterator[Remark]:
    """Whether log_prob is one number per image."""
    out, n = step.fed(torch.zeros(one.n_draws, *one.mean.shape, dtype=torch.float64), *one.at).log_prob, len(one.mean)
    if not isinstance(out, Tensor) or out.shape != (n,):
        said = f"of shape {tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
        yield Remark("log_prob", "log_prob: shape", f"it is {said}; it must be one number per image, ({n},).")
    elif out.dtype in (torch.float16, torch.bfloat16):
        text = f"it is {str(out.dtype).removeprefix('torch.')}, whose rounding moves every ratio: return float32."
        yield Remark("log_prob", "log_prob: rounded", text)


class Rows(NamedTuple):
    """The parabolas of the steps with noise, a column each, with log std of the noise, t - t_next, and a tolerance."""

    kappa: Tensor
    c: Tensor
    odd: Tensor
    rest: Tensor
    log_std: Tensor
    dt: Tensor
    tolerance: Tensor
    dims: int


def measured(step: Step, noisy: Sequence[Transition]) -> Rows:
    """log_prob at all steps with noise."""
    rows = [
        (
            *parabola(drawn(step, one), one.mean), float(one.std.log().mean()), one.dt,
            CLOSE + 64 * EPS * float(one.at[0].abs().max() / one.std.min()),
        )
        for one in noisy
    ]  # fmt: skip
    columns = (torch.tensor(column, dtype=torch.float64) for column in zip(*rows, strict=True))
    return Rows._make([*columns, noisy[0].dims])


def log_prob(rows: Rows) -> tuple[float | None, list[Remark]]:
    """The factor of log_prob over the log density, None if it is none, and what is wrong with it."""
    whole, mean = 1.0, 1 / rows.dims
    factor = min((whole, mean), key=lambda f: float((rows.kappa.abs() / f).log().abs().median()))
    is_parabola = bool((rows.rest <= 10 * rows.tolerance).all())
    if not is_parabola or (rows.kappa <= 0).any():
        text = "as a function of x_next it is not that of a Gaussian."
        if is_parabola and (rows.kappa < 0).all():
            text = "it is lowest, not highest, near the mean: its square has the wrong sign."
        elif is_parabola and not rows.kappa.any():
            text = "it does not depend on x_next."
        return None, [Remark("log_prob", "log_prob: not Gaussian", text)]
    if (rows.odd > 10 * rows.tolerance).any():
        far = float(rows.odd.max()) / math.sqrt(rows.dims)
        text = f"it is highest at least {far:.2g} standard deviations per dimension from the mean of x_next."
        return None, [Remark("log_prob", "log_prob: wrong mean", text)]
    if ((rows.kappa / factor - 1).abs() > 2 * rows.tolerance).any():
        return _wrong_kappa(rows)
    found = _normaliser(rows, factor)
    if factor == mean < whole:
        text = f"log_prob is the mean over {rows.dims} dimensions: a ratio is the {rows.dims}th root of the density's."
        found.append(Remark("log_prob", "mean", text, wrong=False))
    return factor, found


def _normaliser(rows: Rows, factor: float) -> list[Remark]:
    """What is missing in the constant of log_prob."""
    log_s = rows.log_std
    gap = rows.c / (factor * rows.dims) + log_s + HALF_LOG_2PI
    if (gap.abs() <= 5 * rows.tolerance).all():
        return []
    known = {
        "all of it is missing": log_s + HALF_LOG_2PI,
        "-log std is missing": log_s,
        "-log sqrt(2 pi) is missing": torch.full_like(log_s, HALF_LOG_2PI),
        "log std has the wrong sign": 2 * log_s,
    }
    why = next((why for why, gone in known.items() if ((gap - gone).abs() < SAME).all()), "")
    why = why or f"off by {span(gap)} per dimension"
    text = f"{why}. Ratios under the same std do not change, but it is no log density."
    return [Remark("log_prob", "log_prob: normaliser", text)]


def _wrong_kappa(rows: Rows) -> tuple[float | None, list[Remark]]:
    """Names a log_prob whose curvature is not that of the density: kappa = factor (std of the noise / its std)^2."""
    s, factors = rows.log_std.exp(), (1.0, 1 / rows.dims)
    for factor in factors:
        for name, kappa in (("-(x_next - mean)^2", 2 * s**2), ("-(x_next - mean)^2 / 2", s**2)):
            if ((rows.kappa / factor / kappa - 1).abs() < SAME).all():
                text = f"it is {name}: a step's gradient has {span(kappa)} times its weight."
                return factor, [Remark("log_prob", "log_prob: not divided by the variance", text)]

    def misfit(factor: float) -> float:
        """How far the constant is from that of a Gaussian with the std that kappa implies."""
        own = rows.log_std - (rows.kappa / factor).log() / 2
        return float((rows.c / (factor * rows.dims) + own + HALF_LOG_2PI).abs().median())

    factor = min(factors, key=misfit)
    if misfit(factor) > SAME and rows.kappa.std(correction=0) < CLOSE * rows.kappa.mean():
        value = float(rows.kappa.mean())
        shares = f"sum over {rows.dims} dimensions: 1, mean: {1 / rows.dims:.4g}"
        text = f"its square has {value:.4g} times the weight of that of the log density ({shares})."
        return value, [Remark("log_prob", "log_prob: factor", text)]
    ratio = (factor / rows.kappa).sqrt()  # its std over that of the noise
    known = {
        " It lacks sqrt(t - t_next).": rows.dt**-0.5,
        " It is the variance.": s,
        " It has sqrt(t - t_next) twice.": rows.dt**0.5,
    }
    why = next((why for why, wrong in known.items() if ((ratio / wrong - 1).abs() < SAME).all()), "")
    off = (ratio - 1).abs() > rows.tolerance
    why = why or ("" if off.all() else f" At {int(off.sum())} of {len(off)} steps.")
    return factor, [
        Remark("log_prob", "log_prob: wrong std", f"its std is {span(ratio)} times that of the noise drawn.{why}")
    ]


def reported(step: Step, noisy: Sequence[Transition]) -> Iterator[Remark]:
    """Whether the mean and std that the step returns are those of x_next."""
    outs = [step.fed(None, *one.at) for one in noisy]
    dt = torch.tensor([one.dt for one in noisy], dtype=torch.float64)
    tolerance = 2 * CLOSE + 64 * EPS / min(float(one.std.min()) for one in noisy)
    if all(out.std is not None for out in outs):
        ratios = [torch.as_tensor(out.std).double() / one.std for out, one in zip(outs, noisy, strict=True)]
        ratio = torch.stack([_farthest(values, 1.0) for values in ratios])
        if (bad := ~((ratio - 1).abs() <= tolerance)).any():
            lacks = ((ratio * dt.sqrt() - 1).abs() < SAME).all()
            text = (
                f"{span(ratio)} times that of the noise, wrong at {int(bad.sum())} of {len(ratio)} steps: a KL divided "
                f"by its square is {span(ratio[bad] ** -2)} times the true one."
                f"{' It lacks sqrt(t - t_next).' if lacks else ''}"
            )
            yield Remark("reported", "reported std", text)
    if all(out.mean is not None for out in outs):
        gaps = [(torch.as_tensor(out.mean).double() - one.mean) / one.std for out, one in zip(outs, noisy, strict=True)]
        gap = torch.stack([_farthest(values, 0.0).abs() for values in gaps]).max()
        if not gap <= tolerance:
            text = f"up to {float(gap):.2g} standard deviations from that of x_next."
            yield Remark("reported", "reported mean", text)


def _farthest(values: Tensor, right: float) -> Tensor:
    flat = values.flatten()
    return flat[(flat - right).abs().argmax()]


def span(values: Tensor) -> str:
    """The lowest and the highest value."""
    low, high = f"{float(values.min()):.3g}", f"{float(values.max()):.3g}"
    return low if low == high else f"{low} to {high}"
