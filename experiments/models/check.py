"""Whether a network from elsewhere denoises as it should: its error at ten noise levels, and likely causes of doubt.

`behaviour` refuses models that cannot be used at all. What is found here are doubts: the model runs, but it may have
been wrapped wrongly, and then every result about it would be wrong without an error.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion_core.adapters import Adapter
from diffusion_core.data import Images
from diffusion_core.samplers import Model
from diffusion_core.schedules import geometric
from experiments.models.batch import Batch
from experiments.models.best_linear import FEWEST, linear_errors
from experiments.models.function_variants import function_variants
from experiments.models.labels import better_labels, doubtful_labels
from experiments.models.variants import Remembering, Variant, shifted, variants, with_convention

SIGMAS = geometric(9, 30.0, 0.03)
N_IMAGES, FEW = 16, 2  # images per level; of these, for a first look at another reading
BEST = 3  # readings that are tried on all images, after the first look
LEAST = 1e-6  # the smallest error of a linear predictor that ratios are taken of
WORSE, SLACK = 1.5, 0.02  # an error is doubtful above WORSE times the best linear predictor's, plus SLACK
BUMP, LITTLE = 3.0, 0.2  # an error that is BUMP times its neighbours' is one; in units of the best linear predictor's
MOST_ERROR = 1e3  # errors are cut off here when readings are compared
SURE = 4.0  # standard errors by which a difference between two readings, on the same images and noise, is no accident
MATTERS = 0.05  # a shift of the table matters where it changes sigma by this much


@dataclass(frozen=True)
class Level:
    """Mean squared errors of eps per pixel at one noise level. Predicting no noise at all has error 1."""

    sigma: float
    error: float  # of the model
    linear: float  # of the best linear predictor
    time: float | None  # what the network is told, if it is known
    known: bool  # whether the network's table or time reaches this level

    @property
    def doubtful(self) -> bool:
        return self.known and _much(self.error, self.linear)

    @property
    def ratio(self) -> float:
        """The error in units of the best linear predictor's."""
        return self.error / max(self.linear, LEAST)


@dataclass(frozen=True)
class CheckResult:
    """What was found. `clean`, `noisy` and `denoised` (levels, C, H, W) show one image at each level."""

    levels: list[Level]
    doubts: list[str]
    clean: Tensor
    noisy: Tensor
    denoised: Tensor

    @property
    def usable(self) -> tuple[float, float] | None:
        """The smallest and largest of the tried sigmas where the network is better than predicting no noise."""
        good = [level.sigma for level in self.levels if level.known and level.error < 1]
        return (min(good), max(good)) if good else None


def examine(model: Model, images: Images, device: str) -> CheckResult:
    """The errors of a model on real noisy images, and what is doubtful about them, one sentence each.

    Args:
        model: on `device`; `behaviour` has accepted it.
        images: the data set that is sampled. Classes are denoised under their own labels, without guidance.
    """
    model = _remembering(model)
    guided, model = model, _plain(model)
    batch = Batch(images, _chosen(model, images), SIGMAS, device)
    eps = batch.eps(model)
    found = batch.squared(eps - batch.noise).view(batch.shape)
    times = model.times(torch.tensor(SIGMAS)).tolist() if isinstance(model, Adapter) else [None] * len(SIGMAS)
    linear = linear_errors(images, SIGMAS)
    levels = [
        Level(sigma, error, best, time, _knows(model, sigma))
        for sigma, error, best, time in zip(SIGMAS, found.mean(dim=1).tolist(), linear, times, strict=True)
    ]
    tried: dict[str, None] = {}
    cause = (
        _better_reading(model, images, batch, levels, found, tried)
        or _better_table(model, batch, levels, found, tried)
        or better_labels(model, images, device, tried)
    )
    first = slice(None, None, batch.shape[1])
    denoised = batch.x - batch.sigma.view(-1, 1, 1, 1) * eps
    doubts = [*_doubts(levels, cause, list(tried)), *doubtful_labels(guided, images, device)]
    if len(images.pixels) < FEWEST:
        doubts.append(
            f"the data set has only {len(images.pixels)} image(s), so little is known about what a good error is"
        )
    return CheckResult(levels, doubts, batch.x0[first].cpu(), batch.x[first].cpu(), denoised[first].cpu())


def _plain(model: Model) -> Model:
    """The model without guidance, which makes an estimate sharper than the best one."""
    guided = isinstance(model, Adapter) and model.convention.guidance != 1
    return with_convention(model, guidance=1.0) if guided and isinstance(model, Adapter) else model


def _remembering(model: Model) -> Model:
    """The model with a network that remembers its answers."""
    if not isinstance(model, Adapter):
        return model
    return Adapter(Remembering(model.net), model.data, model.convention)


def _chosen(model: Model, images: Images) -> Tensor:
    """The indices of the images: the first ones, of one class if the model has one."""
    label = model.convention.labels if isinstance(model, Adapter) else None
    of_class = (images.labels == label).nonzero().flatten() if isinstance(label, int) else torch.arange(0)
    return (of_class if len(of_class) else torch.arange(len(images.labels)))[:N_IMAGES]


def _much(error: float, linear: float) -> bool:
    """Whether an error is doubtful, given the best linear predictor's."""
    return error > WORSE * linear + SLACK


def _knows(model: Model, sigma: float) -> bool:
    low, high = model.span if isinstance(model, Adapter) else (0.0, math.inf)
    return low <= sigma <= high


def _doubts(levels: Sequence[Level], cause: str | None, tried: Sequence[str] = ()) -> Iterator[str]:
    """Doubts about the error as a function of sigma, with what is probably wrong, if something was found.

    Args:
        tried: what was read in another way without success, one word each.
    """
    doubtful = [level for level in levels if level.doubtful]
    if doubtful:
        ratio = max(level.ratio for level in doubtful)
        in_vain = f" No other reading fits (tried: {', '.join(tried)})" if tried else ""
        why = cause or f"is it trained, and on data like these?{in_vain}"
        yield f"error at sigma {_span(doubtful)} up to {_times(ratio)} times the best linear predictor's: {why}"
    elif cause:
        yield cause
    ratios = [max(level.ratio, LITTLE) for level in levels]
    for index, level in enumerate(levels[1:-1], start=1):
        expected = math.sqrt(ratios[index - 1] * ratios[index + 1])
        if levels[index + 1].known and levels[index - 1].known and ratios[index] > BUMP * expected:
            times = _times(ratios[index] / expected)
            yield f"error at sigma {level.sigma:.2g} is {times} times what its neighbours suggest"
    if bad := [level for level in levels if level.known and level.error > 1 + SLACK]:
        yield f"error above 1 at sigma {_span(bad)}: predicting no noise at all would be better there"


def _better_reading(
    model: Model, images: Images, batch: Batch, levels: Sequence[Level], found: Tensor, tried: dict[str, None]
) -> str | None:
    """What to say about the reading of the model with the smallest error, if it fits.

    It fits if its error is clearly smaller than `found` and doubtful at no level that both know. They must share more
    than half of the levels.
    """
    doubtful = any(level.doubtful for level in levels)
    if not (isinstance(model, Adapter) or doubtful):
        return None  # too many readings of a function to try without a reason
    readings = variants(model, every=doubtful) if isinstance(model, Adapter) else function_variants(model, images)

    def look(one: Variant, n: int) -> tuple[float, bool]:
        """The log of the reading's error over `found`, and whether an error is still doubtful; for n images."""
        known = [index for index, level in enumerate(levels) if level.known and _knows(one.model, level.sigma)]
        if 2 * len(known) <= sum(level.known for level in levels):
            return 0.0, True
        try:
            errors = batch.errors(one.model, n=n)
        except Exception:  # the network may have no answer to what it was never meant to be asked
            return 0.0, True
        still = any(_much(errors[index].mean().item(), levels[index].linear) for index in known)
        return _size(errors[known]) - _size(found[known, :n]), still

    looks = []
    for one in readings:
        tried |= dict.fromkeys(one.kinds)
        looks.append((look(one, FEW)[0], one))
    looks = sorted((pair for pair in looks if pair[0] < math.log(pair[1].fits) / 2), key=lambda pair: pair[0])[:BEST]
    better = [(*look(one, N_IMAGES), one) for _, one in looks]
    fitting = [(change, one.says) for change, still, one in better if change < math.log(one.fits) and not still]
    change, says = min(fitting, default=(0.0, ""))
    return f"{says}; the error is then {_times(math.exp(-change))} times smaller" if says else None


def _size(errors: Tensor) -> float:
    """The mean log of errors (levels, images), each level's averaged over the images first."""
    return errors.nan_to_num(MOST_ERROR).mean(dim=1).clamp(1 / MOST_ERROR, MOST_ERROR).log().mean().item()


def _better_table(
    model: Model, batch: Batch, levels: Sequence[Level], found: Tensor, tried: dict[str, None]
) -> str | None:
    """What to say about a table whose neighbour fits, at the levels where one entry makes a difference.

    It fits if its error is smaller there and no level is doubtful any more.
    """
    sigmas = torch.tensor(SIGMAS, dtype=torch.float64)
    for one in shifted(model):
        assert isinstance(model, Adapter) and isinstance(one.model, Adapter)
        tried |= dict.fromkeys(one.kinds)
        low, high = model.span
        other = one.model.convention.time.sigma(model.times(sigmas)) / model.scale
        matters = ((other / sigmas).log().abs() > MATTERS) & (sigmas >= low) & (sigmas <= high)
        elsewhere = any(level.doubtful for level, here in zip(levels, matters, strict=True) if not here)
        if elsewhere or not matters.any():
            continue
        try:
            errors = batch.errors(one.model, matters)
        except Exception:  # as in `_better_reading`
            continue
        gain = (found[matters] - errors).flatten()
        best = [level.linear for level, here in zip(levels, matters, strict=True) if here]
        still = any(map(_much, errors.mean(dim=1).tolist(), best))
        if not still and gain.mean() > max(SURE * gain.std() / math.sqrt(len(gain)), SLACK * found[matters].mean()):
            return f"{one.says}, at sigma {sigmas[matters].min():.2g} to {sigmas[matters].max():.2g}"
    return None


def _times(ratio: float) -> str:
    return f"{ratio:.2g}" if ratio < 100 else f"{ratio:,.0f}"


def _span(levels: Sequence[Level]) -> str:
    low, high = min(level.sigma for level in levels), max(level.sigma for level in levels)
    return f"{low:.2g}" if low == high else f"{low:.2g} to {high:.2g}"
