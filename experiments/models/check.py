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
from diffusion_core.samplers.sampling import at_samples
from diffusion_core.schedules import geometric
from experiments.models.variants import Remembering, shifted, variants, with_convention

SIGMAS = geometric(9, 30.0, 0.03)
N_IMAGES, FEW = 16, 4  # images per level; of these, for a first look at another reading
SEED = 20_263
MOST = 2048  # images that the best linear predictor comes from
LARGEST, COMPONENTS = 1024, 128  # see `linear_errors`
WORSE, SLACK = 1.5, 0.02  # an error is doubtful above WORSE times the best linear predictor's, plus SLACK
FITS = 0.7  # another reading fits better if its error is below FITS times the error, as a geometric mean over levels
BUMP, LITTLE = 3.0, 0.2  # an error that is BUMP times its neighbours' is one; in units of the best linear predictor's
MOST_ERROR = 1e3  # errors are cut off here when readings are compared
SURE = 4.0  # standard errors by which a difference between two readings, on the same images and noise, is no accident
MATTERS = 0.05  # a shift of the table matters where it changes sigma by this much
CLASSES, PER_CLASS = 10, 8  # images on which labels are tried
LABEL_SIGMA, LABEL_GAIN = 5.0, 0.1  # where a label tells most, and the share of the error that another must save


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
        return self.known and self.error > WORSE * self.linear + SLACK


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


class _Batch:
    """Real images at all levels, the same images and noise for every reading of the model."""

    def __init__(self, images: Images, chosen: Tensor, sigmas: Sequence[float], device: str) -> None:
        self.labels, n = images.labels[chosen], len(chosen)
        x0 = images.standardised(chosen)
        self.shape = (len(sigmas), n)
        self.x0 = x0.repeat(len(sigmas), 1, 1, 1).to(device)
        generator = torch.Generator().manual_seed(SEED)
        self.noise = torch.randn(self.x0.shape, generator=generator).to(device)
        self.sigma = torch.tensor(sigmas, device=device).repeat_interleave(n)
        self.x = self.x0 + self.sigma.view(-1, 1, 1, 1) * self.noise
        self.index = self.labels.repeat(len(sigmas)).to(device)  # balanced labels of these are the images' own

    def eps(self, model: Model) -> Tensor:
        """The model's output at all levels, for all images."""
        return self._asked(model, slice(None))

    def errors(self, model: Model, levels: Tensor | slice = slice(None), n: int | None = None) -> Tensor:
        """Squared errors of eps per pixel, float64 (levels, images), at these levels, for the first n images."""
        which = torch.arange(len(self.x)).view(self.shape)[levels][:, :n]
        chosen = which.flatten().to(self.x.device)
        return self.squared(self._asked(model, chosen) - self.noise[chosen]).view(which.shape)

    @torch.no_grad()
    def _asked(self, model: Model, which: Tensor | slice) -> Tensor:
        parts = (part[which].split(64) for part in (self.x, self.sigma, self.index))
        return torch.cat(
            [at_samples(model, index)(x, sigma).to(x.dtype) for x, sigma, index in zip(*parts, strict=True)]
        )

    @staticmethod
    def squared(errors: Tensor) -> Tensor:
        """Mean square per image, float64, on the CPU."""
        return errors.double().square().flatten(1).mean(dim=1).cpu()


def examine(model: Model, images: Images, device: str) -> CheckResult:
    """The errors of a model on real noisy images, and what is doubtful about them, one sentence each.

    Args:
        model: on `device`; `behaviour` has accepted it.
        images: the data set that is sampled. Classes are denoised under their own labels, without guidance.
    """
    model = _remembering(_plain(model))
    batch = _Batch(images, _chosen(model, images), SIGMAS, device)
    eps = batch.eps(model)
    found = batch.squared(eps - batch.noise).view(batch.shape)
    low, high = model.span if isinstance(model, Adapter) else (0.0, math.inf)
    times = model.times(torch.tensor(SIGMAS)).tolist() if isinstance(model, Adapter) else [None] * len(SIGMAS)
    linear = linear_errors(images, SIGMAS)
    levels = [
        Level(sigma, error, best, time, low <= sigma <= high)
        for sigma, error, best, time in zip(SIGMAS, found.mean(dim=1).tolist(), linear, times, strict=True)
    ]
    cause = (
        _better_reading(model, images, batch, levels, found)
        or _better_table(model, batch, found)
        or _better_labels(model, images, device)
    )
    first = slice(None, None, batch.shape[1])
    denoised = batch.x - batch.sigma.view(-1, 1, 1, 1) * eps
    return CheckResult(
        levels, list(_doubts(levels, cause)), batch.x0[first].cpu(), batch.x[first].cpu(), denoised[first].cpu()
    )


def linear_errors(images: Images, sigmas: Sequence[float]) -> list[float]:
    """The error of the best linear predictor of eps at each level: the mean of l / (l + sigma^2) over the variances l.

    These are the variances along the data's principal components. Of images with more than LARGEST values only the
    first COMPONENTS are used and the rest is treated alike, because so few images do not show more.
    """
    x0 = images.standardised(slice(MOST)).flatten(1)
    dim = x0.shape[1]
    x0 = x0[:, x0.amax(dim=0) > x0.amin(dim=0)]  # constant pixels, as those of a border, have no variance
    x0 = x0 - x0.mean(dim=0)
    products = x0.T @ x0 if dim <= LARGEST else x0[:LARGEST] @ x0[:LARGEST].T  # their non-zero eigenvalues are the same
    variances = torch.linalg.eigvalsh(products).double().flip(0).clamp(min=0) / min(len(x0), MOST)
    if dim > LARGEST:
        variances *= len(x0) / min(len(x0), LARGEST)
        first = variances[:COMPONENTS]
        rest = (variances[COMPONENTS:].sum() / (dim - len(first))).expand(dim - len(first))
        variances = torch.cat([first, rest])
    return [(variances / (variances + sigma**2)).sum().item() / dim for sigma in sigmas]


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


def _doubts(levels: Sequence[Level], cause: str | None) -> Iterator[str]:
    """Doubts about the error as a function of sigma, with what is probably wrong, if something was found."""
    doubtful = [level for level in levels if level.doubtful]
    if doubtful:
        ratio = max(level.error / level.linear for level in doubtful)
        why = cause or "is it trained, and on data like these?"
        yield f"error at sigma {_span(doubtful)} up to {_times(ratio)} times the best linear predictor's: {why}"
    elif cause:
        yield cause
    ratios = [max(level.error / level.linear, LITTLE) for level in levels]
    for index, level in enumerate(levels[1:-1], start=1):
        expected = math.sqrt(ratios[index - 1] * ratios[index + 1])
        if levels[index + 1].known and levels[index - 1].known and ratios[index] > BUMP * expected:
            times = _times(ratios[index] / expected)
            yield f"error at sigma {level.sigma:.2g} is {times} times what its neighbours suggest"
    if bad := [level for level in levels if level.known and level.error > 1 + SLACK]:
        yield f"error above 1 at sigma {_span(bad)}: predicting no noise at all would be better there"


def _better_reading(model: Model, images: Images, batch: _Batch, levels: Sequence[Level], found: Tensor) -> str | None:
    """What to say about the reading of the model with the smallest error, if it is clearly smaller than `found`."""
    if not (isinstance(model, Adapter) or any(level.doubtful for level in levels)):
        return None  # too many readings of a function to try without a reason
    known = [index for index, level in enumerate(levels) if level.known]

    def size(errors: Tensor) -> float:
        return errors[known].nan_to_num(MOST_ERROR).mean(dim=1).clamp(1 / MOST_ERROR, MOST_ERROR).log().mean().item()

    first = size(found[:, :FEW])
    better = [
        one for one in variants(model, images) if size(batch.errors(one.model, n=FEW)) - first < math.log(FITS) / 2
    ]
    readings = [(size(batch.errors(one.model)) - size(found), one.says) for one in better]
    change, says = min(readings, default=(0.0, ""))
    return f"{says}; the error is then {_times(math.exp(-change))} times smaller" if change < math.log(FITS) else None


def _better_table(model: Model, batch: _Batch, found: Tensor) -> str | None:
    """What to say about a table whose neighbour fits better, at the levels where one entry makes a difference."""
    sigmas = torch.tensor(SIGMAS, dtype=torch.float64)
    for one in shifted(model):
        assert isinstance(model, Adapter) and isinstance(one.model, Adapter)
        low, high = model.span
        other = one.model.convention.time.sigma(model.times(sigmas)) / model.scale
        matters = ((other / sigmas).log().abs() > MATTERS) & (sigmas >= low) & (sigmas <= high)
        if not matters.any():
            continue
        gain = (found[matters] - batch.errors(one.model, matters)).flatten()
        if gain.mean() > max(SURE * gain.std() / math.sqrt(len(gain)), SLACK * found[matters].mean()):
            return f"{one.says}, at sigma {sigmas[matters].min():.2g} to {sigmas[matters].max():.2g}"
    return None


def _better_labels(model: Model, images: Images, device: str) -> str | None:
    """What to say about labels, if images of a class are denoised better under the label of another class."""
    if not isinstance(model, Adapter) or model.convention.labels is None or model.convention.n_classes is None:
        return None
    classes = images.labels.unique()[:CLASSES].tolist()
    if len(classes) < 2 or max(classes) >= model.convention.n_classes:
        return None
    chosen = torch.cat([(images.labels == label).nonzero().flatten()[:PER_CLASS] for label in classes])
    batch = _Batch(images, chosen, [LABEL_SIGMA], device)
    errors = torch.cat([batch.errors(with_convention(model, labels=label)) for label in classes])  # (labels, images)
    wrong = []
    for row, label in enumerate(classes):
        mine = errors[:, batch.labels == label]
        best = int(mine.mean(dim=1).argmin())
        gain = mine[row] - mine[best]
        if len(gain) > 1 and gain.mean() > max(LABEL_GAIN * mine[row].mean(), 2 * gain.std() / math.sqrt(len(gain))):
            wrong.append(f"images of class {label} under label {classes[best]}")
    if wrong:
        return f"its labels may be mixed up: it denoises {', '.join(wrong)} better than under their own"
    same = bool((errors == errors[0]).all())
    return "its labels change nothing: every label gives the same error" if same else None


def _times(ratio: float) -> str:
    return f"{ratio:.2g}" if ratio < 100 else f"{ratio:,.0f}"


def _span(levels: Sequence[Level]) -> str:
    low, high = min(level.sigma for level in levels), max(level.sigma for level in levels)
    return f"{low:.2g}" if low == high else f"{low:.2g} to {high:.2g}"
