"""log_prob, of new and of stored samples, and the mean and std that are returned, against what is really drawn.

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

from experiments.conformance.policy.findings import Finding
from experiments.conformance.policy.steps import CLOSE, EPS, Levels, PolicyStep, Transition, measure

HALF_LOG_2PI = math.log(2 * math.pi) / 2
SAME = 0.01  # relative: a number that is explained
FAR = 0.7  # standard deviations from the mean, where the gradient is taken
LACKS_ROOT = " It lacks sqrt(t - t_next)."
OTHERS = (-1, 1, -2, 2)  # numbers of steps that a replay may have instead


def fit_parabola(log_prob: Callable[[Tensor], Tensor], like: Tensor) -> tuple[float, float, float, float]:
    """kappa, c, odd part and rest of log_prob(z) from five rows z, which have the shape of `like`.

    Both errors are in units of kappa sqrt(D).
    """
    dims = like[0].numel()
    r = torch.randn(like.shape[1:], generator=torch.Generator().manual_seed(1))
    r = r.bfloat16().double()  # exact in any dtype
    zero, one = torch.zeros_like(r), torch.ones_like(r)
    at_zero, up, down, there, back = log_prob(torch.stack([zero, one, -one, r, -r])).double().tolist()
    kappa = (2 * at_zero - up - down) / dims
    odd = max(abs(up - down), abs(there - back)) / 2
    rest = abs((there + back) / 2 - at_zero + kappa * float(r.square().sum()) / 2)
    scale = max(abs(kappa), 1e-12) * math.sqrt(dims)
    return kappa, at_zero, odd / scale, rest / scale / math.sqrt(dims)


def check_shape(step: PolicyStep, transition: Transition) -> Iterator[Finding]:
    """Yields a finding unless log_prob is one number per image, and in more than 16 bits."""
    n = len(transition.mean)
    out = step.call_with(torch.zeros_like(transition.shares), *transition.at).log_prob
    if not isinstance(out, Tensor) or out.shape != (n,):
        shape = f"of shape {tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
        yield Finding("log_prob", "log_prob: shape", f"it is {shape}; it must be one number per image, ({n},).")
    elif out.dtype in (torch.float16, torch.bfloat16):
        text = f"it is {str(out.dtype).removeprefix('torch.')}, whose rounding moves every ratio: return float32."
        yield Finding("log_prob", "log_prob: rounded", text)


class LogProbFits(NamedTuple):
    """The parabolas of the steps with noise, a column each, with log std of the noise, t - t_next, and a tolerance."""

    kappa: Tensor
    c: Tensor
    odd: Tensor
    rest: Tensor
    log_std: Tensor
    dt: Tensor
    tolerance: Tensor
    dims: int


def _fit_log_prob(step: PolicyStep, noisy: Sequence[Transition]) -> LogProbFits:
    def fit(transition: Transition) -> tuple[float, ...]:
        def log_prob(z: Tensor) -> Tensor:
            return step.call_with(z * transition.shares, *transition.at).log_prob

        tolerance = CLOSE + 64 * EPS * float(transition.at[0].abs().max() / transition.std.min())
        parabola = fit_parabola(log_prob, transition.mean)
        return *parabola, float(transition.std.log().mean()), transition.dt, tolerance

    columns = torch.tensor([fit(transition) for transition in noisy], dtype=torch.float64).T
    return LogProbFits._make([*columns, noisy[0].mean[0].numel()])


def check_log_prob(step: PolicyStep, noisy: Sequence[Transition]) -> tuple[float | None, list[Finding]]:
    """The factor of log_prob over the log density, None if it is none, and what is wrong with it."""
    fits = _fit_log_prob(step, noisy)
    factor = min((1.0, 1 / fits.dims), key=lambda f: float((fits.kappa.abs() / f).log().abs().median()))
    is_parabola = bool((fits.rest <= 10 * fits.tolerance).all())
    if not is_parabola or (fits.kappa <= 0).any():
        text = "as a function of x_next it is not that of a Gaussian."
        if is_parabola and (fits.kappa < 0).all():
            text = "it is lowest, not highest, near the mean: its square has the wrong sign."
        elif is_parabola and not fits.kappa.any():
            text = "it does not depend on x_next."
        return None, [Finding("log_prob", "log_prob: not Gaussian", text)]
    if (fits.odd > 10 * fits.tolerance).any():
        far = float(fits.odd.max()) / math.sqrt(fits.dims)
        text = f"it is highest at least {far:.2g} standard deviations per dimension from the mean of x_next."
        return None, [Finding("log_prob", "log_prob: wrong mean", text)]
    if ((fits.kappa / factor - 1).abs() > 2 * fits.tolerance).any():
        factor, name, text = _wrong_kappa(fits)
        return factor, [Finding("log_prob", name, text)]
    findings = [*_normaliser(fits, factor)]
    if factor < 1:
        text = f"log_prob is the mean over {fits.dims} dimensions: a ratio is the {fits.dims}th root of the density's."
        findings.append(Finding("log_prob", "mean", text, wrong=False))
    return factor, findings


def _normaliser(fits: LogProbFits, factor: float) -> Iterator[Finding]:
    """Yields a finding that names what is missing in the constant of log_prob, if it is not that of the density."""
    log_s = fits.log_std
    gap = fits.c / (factor * fits.dims) + log_s + HALF_LOG_2PI
    if (gap.abs() <= 5 * fits.tolerance).all():
        return
    causes = {
        "all of it is missing": gap - log_s - HALF_LOG_2PI,
        "-log std is missing": gap - log_s,
        "-log sqrt(2 pi) is missing": gap - HALF_LOG_2PI,
        "log std has the wrong sign": gap - 2 * log_s,
    }
    cause = _find_cause(causes, f"off by {span(gap)} per dimension")
    text = f"{cause}. Ratios under the same std do not change, but it is no log density."
    yield Finding("log_prob", "log_prob: normaliser", text)


def _find_cause(errors: dict[str, Tensor], otherwise: str) -> str:
    """The first cause that explains all steps: `errors` are what it leaves unexplained."""
    return next((cause for cause, error in errors.items() if (error.abs() < SAME).all()), otherwise)


def _wrong_kappa(fits: LogProbFits) -> tuple[float, str, str]:
    """Names a log_prob whose curvature is not that of the density: kappa = factor (std of the noise / its std)^2."""
    s = fits.log_std.exp()
    factors = (1.0, 1 / fits.dims)
    for factor in factors:
        squares = {"-(x_next - mean)^2": 2 * s**2, "-(x_next - mean)^2 / 2": s**2}
        errors = {name: fits.kappa / factor / weight - 1 for name, weight in squares.items()}
        if name := _find_cause(errors, ""):
            text = f"it is {name}: a step's gradient has {span(squares[name])} times its weight."
            return factor, "log_prob: not divided by the variance", text

    def misfit(factor: float) -> float:
        """How far the constant is from that of a Gaussian with the std that kappa implies."""
        implied = fits.log_std - (fits.kappa / factor).log() / 2
        return float((fits.c / (factor * fits.dims) + implied + HALF_LOG_2PI).abs().median())

    factor = min(factors, key=misfit)
    if misfit(factor) > SAME and fits.kappa.std(correction=0) < CLOSE * fits.kappa.mean():
        value = float(fits.kappa.mean())
        shares = f"sum over {fits.dims} dimensions: 1, mean: {1 / fits.dims:.4g}"
        text = f"its square has {value:.4g} times the weight of that of the log density ({shares})."
        return value, "log_prob: factor", text
    ratio = (factor / fits.kappa).sqrt()  # its std over that of the noise
    causes = {
        LACKS_ROOT: ratio * fits.dt**0.5 - 1,
        " It is the variance.": ratio / s - 1,
        " It has sqrt(t - t_next) twice.": ratio / fits.dt**0.5 - 1,
    }
    off = (ratio - 1).abs() > fits.tolerance
    cause = _find_cause(causes, "" if off.all() else f" At {int(off.sum())} of {len(off)} steps.")
    return factor, "log_prob: wrong std", f"its std is {span(ratio)} times that of the noise drawn.{cause}"


def check_reported(step: PolicyStep, noisy: Sequence[Transition]) -> Iterator[Finding]:
    """Yields findings if the std or the mean that the step returns is not that of x_next."""
    pairs = [(step.call_with(None, *transition.at), transition) for transition in noisy]
    dt = torch.tensor([transition.dt for transition in noisy], dtype=torch.float64)
    tolerance = 2 * CLOSE + 64 * EPS / min(float(transition.std.min()) for transition in noisy)
    if all(out.std is not None for out, _ in pairs):
        ratios = [torch.as_tensor(out.std).double() / transition.std for out, transition in pairs]
        ratio = torch.stack([_farthest(values, 1.0) for values in ratios])
        if (bad := ~((ratio - 1).abs() <= tolerance)).any():
            text = (
                f"{span(ratio)} times that of the noise, wrong at {int(bad.sum())} of {len(ratio)} steps: a KL divided "
                f"by its square is {span(ratio[bad] ** -2)} times the true one."
                f"{_find_cause({LACKS_ROOT: ratio * dt.sqrt() - 1}, '')}"
            )
            yield Finding("reported", "reported std", text)
    if all(out.mean is not None for out, _ in pairs):
        gaps = [(torch.as_tensor(out.mean).double() - true.mean) / true.std for out, true in pairs]
        gap = torch.stack([_farthest(values, 0.0).abs() for values in gaps]).max()
        if not gap <= tolerance:
            text = f"up to {float(gap):.2g} standard deviations from that of x_next."
            yield Finding("reported", "reported mean", text)


def _farthest(values: Tensor, right: float) -> Tensor:
    return values.flatten()[(values - right).abs().argmax()]


def span(values: Tensor) -> str:
    low, high = f"{float(values.min()):.3g}", f"{float(values.max()):.3g}"
    return low if low == high else f"{low} to {high}"


# --- log_prob of stored samples: is the ratio 1 before any update, and does its gradient reach the velocity? ---


class Replay(NamedTuple):
    """A step whose x_next was stored and got its log_prob again."""

    largest: float  # difference of the trainer's log_prob from its own, over the images
    mean: float  # the same
    bound: float  # how far rounding may move log_prob
    off: float  # largest difference of its own log_prob from that of the density
    is_wider: bool  # whether x_next has another type than x


def check_replay(
    step: PolicyStep, trainer: PolicyStep, transitions: Sequence[Transition], levels: Levels, replayed: Levels,
    factor: float, is_density: bool,
) -> Iterator[Finding]:  # fmt: skip
    """Yields findings unless the trainer's log_prob of the stored x_next is the sampler's, in float32 and in bfloat16.

    Args:
        replayed: the levels of the trainer.
        factor: log_prob over the log density.
        is_density: whether log_prob is a log density in float32, so that its rounding in bfloat16 is measured.
    """
    times = replayed(len(transitions))
    pairs = [times[min(at, len(times) - 2) :][:2] for at in range(len(transitions))]  # the trainer may have fewer
    whole, half = (
        [_replay(step, trainer, transition, pairs[at], factor, at, in_half)
         for at, transition in enumerate(transitions) if transition.noisy]
        for in_half in (False, True)
    )  # fmt: skip
    beyond = [row for row in whole if not row.largest <= row.bound]  # also NaN
    rounded = [row.largest for row in half if not row.largest <= row.bound]
    if beyond:
        worst = max(beyond)
        cause = _other_schedule(step, trainer, transitions, times, levels, factor)
        text = (
            f"log_prob of the stored x_next differs by up to {worst.largest:.3g} (mean {worst.mean:+.2g}) "
            f"at {len(beyond)} of {len(whole)} steps: ratios are not 1 before any update.{cause}"
        )
        yield Finding("replay", "replay", text)
    elif rounded:
        is_wider = any(row.is_wider for row in half)
        advice = "x_next is wider than x: keep it so." if is_wider else "Round x_next first."
        text = (
            f"with x in bfloat16, the ratio of the stored sample is up to exp({max(rounded):.2g}): log_prob is that of "
            f"x_next before rounding. {advice}"
        )
        yield Finding("replay", "replay in bfloat16", text, wrong=not is_wider)
    excess = max(row.off - 4 * row.bound for row in half)
    if is_density and not rounded and excess > CLOSE * factor * transitions[0].mean[0].numel():
        text = f"with x in bfloat16, log_prob is off by {excess:.2g}: compute it in float32."
        yield Finding("replay", "computed in bfloat16", text)


def _replay(
    step: PolicyStep, trainer: PolicyStep, exact: Transition, times: Tensor, factor: float, seed: int, in_half: bool
) -> Replay:
    """The replay of one transition by a trainer at these two times; `in_half`: from x, and with x_next, in bfloat16."""
    x, t, after, v = exact.at
    if in_half:
        x, v = x.bfloat16(), v.bfloat16()
        exact = measure(step, x.double(), t, after, v.double())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        out = step(x, t, after, v)
        again = trainer(x, *times, v, x_next=out.x.to(x.dtype) if in_half else out.x)
    minus_log = ((out.x.double() - exact.mean) / exact.std).square() / 2 + exact.std.log() + HALF_LOG_2PI
    off = out.log_prob.double() + factor * minus_log.flatten(1).sum(1)
    gap = (again.log_prob - out.log_prob).double()
    largest, mean, most_off = (float(value) for value in (gap.abs().max(), gap.mean(), off.abs().max()))
    return Replay(largest, mean, _rounding(exact, out.x, factor), most_off, out.x.dtype != x.dtype)


def _rounding(transition: Transition, x_next: Tensor, factor: float) -> float:
    """How far rounding may move log_prob: 8 units in the last place of float32 of x, of the mean and of x_next."""
    mean = transition.mean
    std = transition.std
    stored = x_next.double()
    e = 8 * EPS * (transition.at[0].double().abs() + mean.abs() + stored.abs()) / std
    z = (stored - mean).abs() / std
    return abs(factor) * float((z * e + e * e / 2).flatten(1).sum(1).max()) + 1e-6


def _stored_kappa(trainer: PolicyStep, transition: Transition, times: Sequence[Tensor]) -> float:
    """kappa of the log_prob of the stored x_next, replayed at these two times."""
    x, _, _, v = transition.at

    def log_prob(z: Tensor) -> Tensor:
        x_next = (transition.mean + transition.std * z).to(x.dtype)
        return trainer(x, *times, v, x_next=x_next).log_prob

    return fit_parabola(log_prob, transition.mean)[0]


def _other_schedule(
    step: PolicyStep, trainer: PolicyStep, transitions: Sequence[Transition], times: Tensor, levels: Levels,
    factor: float,
) -> str:  # fmt: skip
    """A sentence if the standard deviations that the replay implies are those of another number of steps."""
    implied = {}
    for at, transition in enumerate(transitions[: len(times) - 1]):
        if transition.noisy and (kappa := _stored_kappa(trainer, transition, [*times[at : at + 2]]) / factor) > 0:
            implied[at] = float(transition.std.mean()) / kappa**0.5
    for n_steps in (len(transitions) + more for more in OTHERS if len(transitions) + more > 0):
        other = levels(n_steps)
        stds = {
            at: measure(step, transitions[at].at[0], *other[at : at + 2], transitions[at].at[3]).std.mean()
            for at in implied
            if at < n_steps
        }
        if stds and max(abs(float(std) / implied[at] - 1) for at, std in stds.items()) < 2 * CLOSE:
            return f" Its std is that of {n_steps + 1} points, not of {len(transitions) + 1}."
    return ""


def check_gradient(trainer: PolicyStep, transition: Transition) -> Iterator[Finding]:
    """Yields a finding unless the gradient of log_prob by the velocity v is kappa z / s dm/dv.

    The mean m is affine in v.
    """
    x, t, after, v = transition.at
    mean, std = transition.mean, transition.std
    leaf = v.clone().requires_grad_()
    with torch.enable_grad():
        log_prob = trainer(x, t, after, leaf, x_next=(mean + FAR * std).to(x.dtype)).log_prob.sum()
    slope = torch.autograd.grad(log_prob, leaf, allow_unused=True)[0] if log_prob.requires_grad else None
    got = torch.zeros_like(mean) if slope is None else slope.double()
    by_velocity = (measure(trainer, x, t, after, v + 1).mean - mean) / std
    kappa = _stored_kappa(trainer, transition, [t, after])
    shares = got / (kappa * FAR * by_velocity) + 0.0  # no -0
    rounding = 64 * EPS * float((x.double().abs() / std).max())
    if not float((shares - 1).abs().max()) <= 0.02 + rounding:
        text = f"from t = {float(t):.3g}, that of log_prob by the velocity is {span(shares)} times that of the density."
        yield Finding("gradient", "gradient", text)
