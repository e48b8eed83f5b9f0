"""Whether a network from elsewhere denoises as it should: its error at ten noise levels, and likely causes of doubt.

`behaviour` refuses models that cannot be used at all. What is found here are doubts: the model runs, but it may have
been wrapped wrongly, and then every result about it would be wrong without an error.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from diffusion_core.adapters import Adapter
from diffusion_core.data.dataset import DataSet
from diffusion_core.samplers import Model
from diffusion_core.schedules import geometric
from diffusion_core.tensors import broadcast_like
from experiments.console import ProgressCallback, silent
from experiments.own.alternatives import Alternative, alternatives
from experiments.own.batch import Batch
from experiments.own.best_linear import FEWEST, limit, linear_errors
from experiments.own.form import shape_of
from experiments.own.labels import better_labels, doubtful_labels
from experiments.own.readings import LEAST, Readings
from experiments.own.user_code import of_user

SIGMAS = geometric(9, 30.0, 0.03)
# The error at SIGMAS of trained networks. Digits: a network `small` that saw 100,000 images of mnist, on 1,024 test
# images that it did not see. Clothes: two such networks of fashion-mnist
# (`git show 8d79f8d:reports/published/noise_levels-fashion`, log-normal(-0.507, 1.2)).
DIGITS = (0.000732, 0.00312, 0.0107, 0.0228, 0.0369, 0.0549, 0.0814, 0.116, 0.154, 0.211)
CLOTHES = (0.000659, 0.0024, 0.00691, 0.0177, 0.0444, 0.0919, 0.157, 0.233, 0.326, 0.449)
WELL_TRAINED = {"mnist5k": DIGITS, "mnist": DIGITS, "fashion-mnist": CLOTHES}
N_IMAGES = 64  # per level
NEARLY = 1.5  # times the error of a well-trained network: up to there an error is good
FEWEST_LEVELS = 3  # a network is usable where this many neighbouring levels, or all that it knows, are without doubt
BUMP, LITTLE = 3.0, 0.2  # an error that is BUMP times its neighbours' is one; in units of the best linear predictor's


@dataclass(frozen=True)
class Level:
    """Mean squared errors of eps per pixel at one noise level. Predicting no noise at all has error 1."""

    sigma: float
    error: float  # of the model
    linear: float  # of the best linear predictor
    trained: float | None  # of a well-trained network, for data that we know
    time: float | None  # what the network is told, if it is known
    known: bool  # whether the network's table or time reaches this level

    @property
    def doubtful(self) -> bool:
        return self.known and self.error > limit(self.linear)

    @property
    def good(self) -> bool:
        """Whether it is as good as is known to be possible: nearly as a well-trained network, else as linear."""
        return self.error < (self.linear if self.trained is None else NEARLY * self.trained)

    @property
    def ratio(self) -> float:
        """The error in units of the best linear predictor's."""
        return self.error / max(self.linear, LEAST)


@dataclass(frozen=True)
class CheckResult:
    """The errors and the doubts. `clean`, `noisy` and `denoised` (levels, ...) are one x at each level."""

    levels: list[Level]
    doubts: list[str]
    clean: Tensor
    noisy: Tensor
    denoised: Tensor

    @property
    def usable(self) -> tuple[float, float] | None:
        """The smallest and largest of the tried sigmas in the longest row of levels without doubt; None if short."""
        runs = [
            list(run) for fine, run in groupby(self.levels, lambda level: level.known and not level.doubtful) if fine
        ]
        longest = [level.sigma for level in max(runs, key=len, default=[])]
        needed = min(FEWEST_LEVELS, sum(level.known for level in self.levels))
        return (min(longest), max(longest)) if longest and len(longest) >= needed else None


@of_user("model", ValueError)
def examine(model: Model, images: DataSet, device: str, progress: ProgressCallback = silent) -> CheckResult:
    """The errors of a model on real noisy images, and what is doubtful about them, one sentence each.

    Args:
        model: on `device`; `behaviour` has accepted it.
        images: the data set that is sampled. Classes are denoised under their own labels, without guidance, which makes
            an estimate sharper than the best one.
        progress: called with the share of the other readings that are tried.

    ValueError if the network does not work on these data: then nothing is known about it.
    """
    if (shape := shape_of(model, images)) != images.shape:
        raise ValueError(
            f"its x has shape {shape}, and data={images.name!r} {images.shape}, so it cannot be checked: save the "
            "latents of images, and name them as --data latents:FILE.npy"
        )
    guided = model
    if isinstance(model, Adapter):
        model = model.with_convention(guidance=1.0)
    batch = Batch(images, _chosen(model, images), SIGMAS, device)
    eps = batch.eps(model)
    errors, linear = batch.squared(eps), linear_errors(images, SIGMAS)
    readings = Readings(model, batch, errors, linear, progress)
    times = model.times(torch.tensor(SIGMAS)).tolist() if isinstance(model, Adapter) else [None] * len(SIGMAS)
    trained = WELL_TRAINED.get(images.name, [None] * len(SIGMAS))
    columns = (SIGMAS, errors.mean(dim=1).tolist(), linear, trained, times, readings.known.tolist())
    levels = [Level(*row) for row in zip(*columns, strict=True)]
    cause = _better_reading(readings, list(alternatives(model, images))) or better_labels(model, images, device)
    doubts = [*_doubts(levels, cause), *doubtful_labels(guided, images, device)]
    if (n := len(images)) < FEWEST:
        doubts.append(f"the data set has only {n} image(s), so little is known about what a good error is")
    first = slice(None, None, batch.shape[1])
    denoised = batch.x - broadcast_like(batch.x, batch.sigma) * eps
    return CheckResult(levels, doubts, batch.x0[first].cpu(), batch.x[first].cpu(), denoised[first].cpu())


def _chosen(model: Model, images: DataSet) -> Tensor:
    """The indices of the images: the first ones, of one class if the model has one."""
    label = model.convention.labels if isinstance(model, Adapter) else None
    of_class = (images.labels == label).nonzero().flatten() if isinstance(label, int) else torch.arange(0)
    return (of_class if len(of_class) else torch.arange(len(images.labels)))[:N_IMAGES]


def _better_reading(readings: Readings, tried: Sequence[Alternative]) -> str | None:
    """What to say about the best other reading, if one is clearly better."""
    best = readings.best(tried)
    if best is None:
        return None
    return best.way.says + (", but some errors stay doubtful" if readings.doubtful(best).any() else "")


def _doubts(levels: Sequence[Level], cause: str | None) -> Iterator[str]:
    """Doubts about the error as a function of sigma, with its cause, if known."""
    doubtful = [level for level in levels if level.doubtful]
    if doubtful:
        ratio = max(level.ratio for level in doubtful)
        why = cause or "is it trained, and on data like these? No other reading fits"
        yield f"error at sigma {_span(doubtful)} up to {_times(ratio)} times the best linear predictor's: {why}"
    elif cause:
        yield cause
    ratios = [max(level.ratio, LITTLE) for level in levels]
    for index, level in enumerate(levels[1:-1], start=1):
        expected = math.sqrt(ratios[index - 1] * ratios[index + 1])
        if levels[index + 1].known and levels[index - 1].known and ratios[index] > BUMP * expected:
            times = _times(ratios[index] / expected)
            yield f"error at sigma {level.sigma:.2g} is {times} times what its neighbours suggest"


def _times(ratio: float) -> str:
    return f"{ratio:.2g}" if ratio < 100 else f"{ratio:,.0f}"


def _span(levels: Sequence[Level]) -> str:
    low, high = min(level.sigma for level in levels), max(level.sigma for level in levels)
    return f"{low:.2g}" if low == high else f"{low:.2g} to {high:.2g}"
