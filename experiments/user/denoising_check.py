"""Check of a pretrained network's denoising: its error at ten noise levels, and likely causes of doubt."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, product, takewhile

import torch
from torch import Tensor

from diffusion_core.adapters import Adapter
from diffusion_core.data.dataset import DataSet
from diffusion_core.samplers import Model
from diffusion_core.schedules import geometric
from diffusion_core.tensors import broadcast_like
from experiments.console import ProgressCallback, silent
from experiments.user.conventions import Hypothesis, hypotheses, multiply, read_as, relabel, wrap
from experiments.user.imports import user_code_errors
from experiments.user.network_io import shape_of
from experiments.user.noisy_batch import FEWEST, NoisyBatch, linear_errors

SIGMAS = geometric(9, 30.0, 0.03)
# The error at SIGMAS of trained networks. Digits: a network `small` that saw 100,000 images of mnist, on 1,024 test
# images that it did not see. Clothes: two such networks of fashion-mnist
# (`git show 8d79f8d:reports/published/noise_levels-fashion`, log-normal(-0.507, 1.2)).
DIGITS = (0.000732, 0.00312, 0.0107, 0.0228, 0.0369, 0.0549, 0.0814, 0.116, 0.154, 0.211)
CLOTHES = (0.000659, 0.0024, 0.00691, 0.0177, 0.0444, 0.0919, 0.157, 0.233, 0.326, 0.449)
WELL_TRAINED = {"mnist5k": DIGITS, "mnist": DIGITS, "fashion-mnist": CLOTHES}
N_IMAGES = 64  # per level
# an error is doubtful above WORSE times the best linear predictor's (or 1), plus SLACK
WORSE = 1.5
SLACK = 0.02
ABOVE = 1.1  # times the best linear predictor's error: above it a level is worse than linear, whatever the images
NEARLY = 1.5  # times the error of a well-trained network: up to there an error is good
FEWEST_LEVELS = 3  # a network is usable where this many neighbouring levels, or all that it knows, are without doubt
BUMP = 3.0  # an error that is that many times its neighbours' is doubtful
LITTLE = 0.2  # of the best linear predictor's: errors below it count as that large there
FIRST_LOOK = 6  # images per level of a first look at a hypothesis
PAIR_LOOK = 2  # and of a first look at a pair
FINALISTS = 4  # hypotheses that all images decide
N_FIRST = 6  # best hypotheses that are paired with those of the aspects PAIRED, as are those of the aspects COMMON
COMMON = ("range", "prediction", "sign")
PAIRED = (*COMMON, "time", "black and white", "channel order", "orientation", "labels")
SURE = 4.0  # standard errors by which errors differ clearly
CLEAR = 1.01  # and the factor
LARGE = 0.05  # a gain, as the mean logarithm over levels, that outweighs losses at single levels
UNIT = 0.1  # times the best linear predictor's error: errors below it are alike
MOST = 1e3  # errors above it are alike
LEAST = 1e-6  # the smallest error of a linear predictor that ratios are taken of
GAIN = 0.03  # difference from 1 below which no gain is tried
GUIDANCE = 0.2  # difference from 1 below which no guidance in the network is tried
FITTED = 16  # images from which gain and guidance are solved
SIGMAS_SQUARED = torch.tensor(SIGMAS, dtype=torch.float64).square()
UNTRAINED = "is it trained, and on data like these?"
FLAT = 0.5  # an error of x0 is at its limit if it does not fall below this share of the one above it,
LARGEST_X0 = 0.1  # and is no larger than this
CLASSES = 10  # whose labels are tried
PER_CLASS = 8  # images of each, on which labels are tried
LABEL_SIGMA = 5.0  # where a label tells most
SAVED = 0.1  # share of the error that another label must save
ALIKE = 0.1  # two labels are one if their errors differ by less than this share of what those of two classes differ
SAVED_SURELY = 2.0  # standard errors by which a difference on the same images and noise is no accident


@dataclass(frozen=True)
class Level:
    """Mean squared errors of eps per pixel at one noise level. Predicting no noise at all has error 1."""

    sigma: float
    error: float  # of the model
    linear: float  # of the best linear predictor
    trained: float | None  # of a well-trained network, for data that we know
    time: float | None  # what the network receives, if it is known
    known: bool  # whether the network's table or time reaches this level

    @property
    def threshold(self) -> float:
        """The largest error that is not doubtful. Without denoising the error is 1."""
        return min(WORSE * self.linear, 1) + SLACK

    @property
    def doubtful(self) -> bool:
        return self.known and self.error > self.threshold

    @property
    def good(self) -> bool:
        """Whether it is nearly as good as a well-trained network, or, without one, better than linear."""
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
        no_use = low_levels_of_no_use(self.levels)
        runs = groupby(self.levels, lambda level: level.known and not level.doubtful and level not in no_use)
        longest = max(([level.sigma for level in run] for fine, run in runs if fine), key=len, default=[])
        needed = min(FEWEST_LEVELS, sum(level.known for level in self.levels))
        return (min(longest), max(longest)) if longest and len(longest) >= needed else None


def low_levels_of_no_use(levels: Sequence[Level]) -> list[Level]:
    """The lowest levels that a network knows, as long as it is worse there than the best linear predictor."""
    known = [level for level in reversed(levels) if level.known]
    return [*takewhile(lambda level: level.ratio > ABOVE and not level.doubtful, known)]


@user_code_errors("model", ValueError)
def check_denoising(model: Model, images: DataSet, device: str, progress: ProgressCallback = silent) -> CheckResult:
    """The errors of a model on real noisy images, and what is doubtful about them, one sentence each.

    Args:
        model: on `device`; `network_fingerprint` has accepted it. Hypotheses are tried for adapters.
        images: the data set that is sampled. Classes are denoised under their own labels, without guidance.
        progress: called with the share of the hypotheses that are tried.

    ValueError if the network does not work on these data.
    """
    if (shape := shape_of(model, images)) != images.shape:
        how = "it cannot be checked: save the latents of images, and name them as --data latents:FILE.npy"
        raise ValueError(f"its x has shape {shape}, and data={images.name!r} {images.shape}, so {how}")
    plain = model.with_convention(guidance=1.0) if isinstance(model, Adapter) else model
    label = model.convention.labels if isinstance(model, Adapter) else None
    of_class = (images.labels == label).nonzero().flatten() if isinstance(label, int) else torch.arange(0)
    chosen = (of_class if len(of_class) else torch.arange(len(images.labels)))[:N_IMAGES]
    batch = NoisyBatch(images, chosen, SIGMAS, device)
    eps = batch.eps(plain)
    errors = batch.errors(eps)
    unknown = [None] * len(SIGMAS)
    times = plain.times(torch.tensor(SIGMAS)).tolist() if isinstance(plain, Adapter) else unknown
    linear = linear_errors(images, SIGMAS)
    trained = WELL_TRAINED.get(images.name, unknown)
    columns = SIGMAS, errors.mean(dim=1).tolist(), linear, trained, times, _in_span(plain).tolist()
    levels = [Level(*row) for row in zip(*columns, strict=True)]
    about_labels = list[str]()
    doubts = [*_worse_than_linear(levels)]
    if isinstance(model, Adapter) and isinstance(plain, Adapter):
        labels, about_labels = check_labels(model, images, device)
        search = Search(plain, batch, levels, errors, progress)
        doubts = [*search.doubts(labels)] or doubts
    elif any(level.doubtful for level in levels):
        doubts = [_doubtful(levels, f"{UNTRAINED} No other reading is tried without an adapter")]
    doubts += [*_bumps(levels), *about_labels]
    if (n := len(images)) < FEWEST:
        doubts.append(f"the data set has only {n} image(s), so little is known about what a good error is")
    denoised = batch.x - broadcast_like(batch.x, batch.sigma) * eps
    return CheckResult(levels, doubts, *(batch.first(values, 1).cpu() for values in (batch.x0, batch.x, denoised)))


def _in_span(model: Model) -> Tensor:
    """Which levels a model knows (levels,)."""
    low, high = model.span if isinstance(model, Adapter) else (0.0, math.inf)
    return torch.tensor([low <= sigma <= high for sigma in SIGMAS])


@dataclass(frozen=True)
class Reading:
    """A hypothesis (None: the model as it is), the model read so, and its errors (levels, images), NaN if unknown."""

    hypothesis: Hypothesis | None
    model: Adapter
    errors: Tensor

    @property
    def mean(self) -> Tensor:  # (levels,)
        return self.errors.mean(dim=1)

    @property
    def saturated(self) -> Tensor:
        """The lowest levels (levels,) at which the error of x0 no longer falls, so that eps has it over sigma^2."""
        of_x0 = self.mean * SIGMAS_SQUARED
        limited = torch.zeros(len(SIGMAS)).bool()
        for i in reversed(range(1, len(SIGMAS)) if self.model.convention.predicts == "x0" else ()):
            if FLAT * of_x0[i - 1] > of_x0[i] or of_x0[i] > LARGEST_X0:
                break
            limited[i] = True
        return limited


class Search:
    """Which hypothesis fits better than the model as it is, whose `levels` and `errors` (levels, images) are known."""

    def __init__(
        self, model: Adapter, batch: NoisyBatch, levels: Sequence[Level], errors: Tensor, progress: ProgressCallback
    ) -> None:
        self.model = model
        self.batch = batch
        self.levels = levels
        self.progress = progress
        linear = torch.tensor([level.linear for level in levels], dtype=torch.float64)
        self.unit = UNIT * linear.clamp(min=LEAST).view(-1, 1)
        self.in_span = _in_span(model)
        self.thresholds = torch.tensor([level.threshold for level in levels])
        self.start = Reading(None, model, self._comparable(errors, model))

    def doubts(self, labels: Mapping[int, int]) -> Iterator[str]:
        """Yields a sentence for each doubt about the errors, with its cause."""
        best = self.find_cause(labels)
        reading = best or self.start
        cause = reading.hypothesis.message if reading.hypothesis else None
        limited = reading.saturated & (reading.mean > self.thresholds)
        if self.doubtful(reading).any():
            cause = f"{cause}, but some errors stay doubtful" if cause else f"{UNTRAINED} No other reading fits"
        if cause:
            yield _doubtful(self.levels, cause)
        if limited.any():
            of_x0 = f"{(reading.mean * SIGMAS_SQUARED)[limited].mean():.2g}"
            fine = [sigma for sigma, fits in zip(SIGMAS, reading.mean <= self.thresholds, strict=True) if fits]
            end = min(fine, default=SIGMAS[0])
            yield (
                f"it predicts x0, with an error of {of_x0} at sigma {_span(limited)}: in eps that is {of_x0} / sigma^2 "
                f"and of no use there; end schedules at sigma {end:.2g}, with a last step to 0 (end=0)"
            )

    def find_cause(self, labels: Mapping[int, int]) -> Reading | None:
        """The best hypothesis, or two at once, that is clearly better. `labels`: as `check_labels` gives them."""
        text = ", ".join(f"{other} for class {label}" for label, other in labels.items())
        by_label = [Hypothesis("labels", f"label {text}", relabel(labels))] if labels else []
        rows = [*hypotheses(self.model), *self._solved(self.model), *by_label]
        sizes = [row for row in rows if row.aspect == "size"]
        ranked = self._rank([row for row in rows if row.aspect != "size"], FIRST_LOOK, 0)
        best = self._decide(sorted(ranked[:FINALISTS], key=rows.index))
        if best is None or self.doubtful(best).any():  # last, since a border that is denoised exactly always helps
            best = self._decide([*sizes, *([best.hypothesis] if best and best.hypothesis else [])])
        if best is None and by_label:  # labels of few classes change too few images to be clear in all of them
            best = self._read(by_label[0])
        if best or self.doubtful(self.start).any():
            reading = best or self.start
            firsts = [reading.hypothesis] if reading.hypothesis else []
            if self.doubtful(reading).any():
                firsts = [*ranked[:N_FIRST], *(row for row in rows if row.aspect in COMMON), *firsts]
            others = [*self._solved(reading.model), *(row for row in rows if row.aspect in PAIRED)]
            both = product(dict.fromkeys(firsts), others)
            pairs = [first.and_then(other) for first, other in both if first.aspect != other.aspect]
            pair = self._decide(sorted(self._rank(pairs, PAIR_LOOK, 0.5)[:FINALISTS], key=pairs.index))
            best = pair if pair and self._better(pair, reading) else best
        self.progress(1.0)
        return best

    def _solved(self, model: Adapter) -> Iterator[Hypothesis]:
        """Hypotheses whose number is solved, since eps is affine in the output: gain; guidance in the network."""
        eps = self.batch.eps(model, FITTED)
        silent = self.batch.eps(_silent(model), FITTED)
        gain = self.batch.blend(silent, eps)
        if gain > 0 and abs(gain - 1) > GAIN:
            yield Hypothesis("gain", f"{gain:.3g} * net(...)", wrap(output=multiply(gain)), must_fit=True)
        if model.convention.null_label is not None:
            share = self.batch.blend(self.batch.eps(model.with_convention(guidance=0.0), FITTED), eps)
            if 0 < share < 1 - GUIDANCE:
                instead = f"guidance={share:.2g}, as if the network guided already,"
                yield Hypothesis("labels", instead, read_as(guidance=share))

    def _rank(self, rows: Sequence[Hypothesis], n: int, done: float) -> list[Hypothesis]:
        """Those that can be read so, by their errors on n images per level, best first."""
        sizes = dict[Hypothesis, float]()
        for index, hypothesis in enumerate(rows):
            if (reading := self._read(hypothesis, n)) is not None:
                sizes[hypothesis] = self._gain(reading, self.start).nanmean().item()
            self.progress(done + index / len(rows) / 2)
        return sorted(sizes, key=lambda hypothesis: -sizes[hypothesis])

    def _decide(self, rows: Sequence[Hypothesis]) -> Reading | None:
        """On all images: the best that is clearly better than the model as it is, of equals the first."""
        helpful = [reading for reading in map(self._read, rows) if reading and self._helps(reading)]
        best = max(helpful, key=lambda reading: self._gain(reading, self.start).nanmean().item(), default=None)
        return next((reading for reading in helpful if best and not self._better(best, reading)), None)

    def _read(self, hypothesis: Hypothesis, n: int | None = None) -> Reading | None:
        """The model read so, for the first n images. None if it fails, or knows less than half of the same levels."""
        try:
            model = hypothesis.read(self.model)
            errors = self._comparable(self.batch.errors(self.batch.eps(model, n)), model)
        except Exception:  # the network may have no answer to what it was never meant to be asked
            return None
        return Reading(hypothesis, model, errors) if 2 * (~errors[:, 0].isnan()).sum() > self.in_span.sum() else None

    def _comparable(self, errors: Tensor, model: Adapter) -> Tensor:
        errors = errors.clamp(max=MOST)
        errors[~(self.in_span & _in_span(model))] = math.nan
        return errors

    def doubtful(self, reading: Reading) -> Tensor:
        """The levels (levels,) with a doubtful error, but for those that a prediction of x0 explains."""
        return (reading.mean > self.thresholds) & ~reading.saturated

    def _helps(self, reading: Reading) -> bool:
        """Whether it is better than the model as it is, and than if the network returned 0."""
        if reading.hypothesis and reading.hypothesis.must_fit and self.doubtful(reading).any():
            return False
        nothing = _silent(reading.model)
        thanks = self._gain(reading, Reading(None, nothing, self.batch.errors(self.batch.eps(nothing))))
        return self._better(reading, self.start) and bool(thanks.nanmean() > 0)

    def _better(self, reading: Reading, than: Reading) -> bool:
        """Whether it is clearly better over all levels, and clearly worse at none.

        One that gains much, or repairs levels that are doubtful now, may be worse at others, within limits.
        """
        gain = self._gain(reading, than)
        worse = _is_clear(-gain) & ~reading.saturated
        if gain.nanmean() > LARGE or self.doubtful(than).any():
            worse &= self.doubtful(reading)
        return bool(_is_clear(gain.nanmean(dim=0)) and not worse.any())

    def _gain(self, reading: Reading, than: Reading) -> Tensor:
        """The log of how many times smaller its errors are (levels, images)."""
        errors = reading.errors
        return ((than.errors[:, : errors.shape[1]] + self.unit) / (errors + self.unit)).log()


def _silent(model: Adapter) -> Adapter:
    """The model with a network that returns 0."""
    return Adapter(lambda z, *_: torch.zeros_like(z), model.data, model.convention)


def _is_clear(gain: Tensor) -> Tensor:
    """Returns where gains (..., images) are large and no accident, bool (...)."""
    error = gain.std(dim=-1, correction=0) / math.sqrt(max(gain.shape[-1] - 1, 1))
    return gain.mean(dim=-1) > (SURE * error).clamp(min=math.log(CLEAR))


def check_labels(model: Adapter, images: DataSet, device: str) -> tuple[dict[int, int], list[str]]:
    """The classes that another class's label denoises clearly better, with that label; and doubts about labels."""
    convention = model.convention
    n = len(images.labels.unique())
    doubts = list[str]()
    used = convention.labels == "balanced" or convention.guidance != 1
    if used and n > 1 and convention.n_classes != n:  # 1: data without labels
        question = ": does it count the label of no class?" if convention.n_classes == n + 1 else ""
        doubts.append(f"n_classes={convention.n_classes}, but the data have {n} classes{question}")
    classes: list[int] = images.labels.unique()[:CLASSES].tolist()
    if convention.labels is None or len(classes) < 2 or max(classes) >= (convention.n_classes or 0):
        return {}, doubts  # it has no labels, or perhaps not those of the data
    chosen = torch.cat([(images.labels == label).nonzero().flatten()[:PER_CLASS] for label in classes])
    batch = NoisyBatch(images, chosen, [LABEL_SIGMA], device)
    plain = model.with_convention(guidance=1.0, null_label=None)
    # of each image under each label (labels, images), and under its own (images,)
    errors = torch.cat([batch.errors(batch.eps(plain.with_convention(labels=label))) for label in classes])
    right = torch.stack([errors[classes.index(label), i] for i, label in enumerate(batch.labels.tolist())])
    if (errors == errors[0]).all():
        return {}, [*doubts, "check its labels: they change nothing"]
    better = {}
    for label in classes:
        mine = batch.labels == label
        other = int(errors[:, mine].mean(dim=1).argmin())
        if _saves(right[mine] - errors[other, mine], right[mine]):
            better[label] = classes[other]
    if convention.guidance == 1:
        return better, doubts
    null = batch.errors(batch.eps(model.with_convention(guidance=0.0)))[0]  # no guidance at all towards the class
    pairs = [(first - second).abs().mean() for i, first in enumerate(errors) for second in errors[:i]]
    between = torch.stack(pairs).median()
    null_label = f"null_label={convention.null_label}"
    distance, nearest = (errors - null).abs().mean(dim=1).min(dim=0)
    wrong = (errors.sum(dim=0) - right) / (len(classes) - 1)
    if distance < ALIKE * between:
        doubts.append(f"{null_label} behaves like class {classes[int(nearest)]}, not like the label of no class")
    elif _saves(null - wrong, wrong):
        asked = "is it the label of no class, and was the network trained with it?"
        doubts.append(f"{null_label} denoises images worse than the labels of other classes do: {asked}")
    return better, doubts


def _saves(gain: Tensor, of: Tensor) -> bool:
    """Whether a gain on the same images is large, as a share of an error, and no accident."""
    n = len(gain)
    return n > 1 and bool(gain.mean() > max(SAVED * of.mean(), SAVED_SURELY * gain.std() / math.sqrt(n)))


def _doubtful(levels: Sequence[Level], cause: str) -> str:
    """A doubt and its cause, with the levels that are doubtful, if any."""
    if not (doubtful := [level for level in levels if level.doubtful]):
        return cause
    ratio = max(level.ratio for level in doubtful)
    span = _span([level.doubtful for level in levels])
    return f"error at sigma {span} up to {_factor(ratio)} times the best linear predictor's: {cause}"


def _bumps(levels: Sequence[Level]) -> Iterator[str]:
    """Doubts about levels whose error is larger than the errors beside them suggest."""
    ratios = [max(level.ratio, LITTLE) for level in levels]
    for index, level in enumerate(levels[1:-1], start=1):
        expected = math.sqrt(ratios[index - 1] * ratios[index + 1])
        if levels[index + 1].known and levels[index - 1].known and ratios[index] > BUMP * expected:
            times = _factor(ratios[index] / expected)
            yield f"error at sigma {level.sigma:.2g} is {times} times what its neighbours suggest"


def _worse_than_linear(levels: Sequence[Level]) -> Iterator[str]:
    """The doubt about the lowest levels, if there is one."""
    no_use = low_levels_of_no_use(levels)
    above = [level.sigma for level in levels if level.known and level not in no_use]
    if no_use:
        where, remedy = (f"below sigma {min(above):.2g}", "end schedules there") if above else ("everywhere", UNTRAINED)
        yield f"{where} it is worse than the best linear denoiser: {remedy}"


def _factor(ratio: float) -> str:
    return f"{ratio:.2g}" if ratio < 100 else f"{ratio:,.0f}"


def _span(chosen: Iterable[object]) -> str:
    sigmas = [sigma for sigma, wanted in zip(SIGMAS, chosen, strict=True) if wanted]
    return f"{min(sigmas):.2g}" if len(sigmas) == 1 else f"{min(sigmas):.2g} to {max(sigmas):.2g}"
