"""Whether the labels of an adapter's network mean what they should: those of the classes, and that of no class."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from diffusion_core.adapters import Adapter
from diffusion_core.data.dataset import DataSet
from diffusion_core.samplers import Model
from experiments.own.batch import Batch

CLASSES, PER_CLASS = 10, 8  # images on which labels are tried
SIGMA, GAIN = 5.0, 0.1  # where a label tells most, and the share of the error that another must save
ALIKE = 0.1  # two labels are one if their errors differ by less than this share of what those of two classes differ
SURE = 2.0  # standard errors by which a difference on the same images and noise is no accident


def better_labels(model: Model, images: DataSet, device: str) -> str | None:
    """What to say about labels, if images of a class are denoised better under the label of another class."""
    classes = _classes(model, images)
    if not classes:
        return None
    assert isinstance(model, Adapter)
    batch, errors = _errors(model, images, classes, device)
    best = {}  # class -> the label under which it is denoised clearly better than under its own
    for row, label in enumerate(classes):
        mine = errors[:, batch.labels == label]
        other = int(mine.mean(dim=1).argmin())
        if _clear(mine[row] - mine[other], mine[row]):
            best[label] = classes[other]
    if best:
        wrong = ", ".join(f"{other} for class {label}" for label, other in best.items())
        return f"check its labels: it fits label {wrong} better"
    same = bool((errors == errors[0]).all())
    return "check its labels: they change nothing" if same else None


def doubtful_labels(model: Model, images: DataSet, device: str) -> Iterator[str]:
    """Doubts about the number of classes, and about the label of no class if guidance uses it."""
    if not isinstance(model, Adapter):
        return
    convention, n = model.convention, len(images.labels.unique())
    used = convention.labels == "balanced" or convention.guidance != 1
    if used and n > 1 and convention.n_classes != n:  # 1: data without labels
        why = ": does it count the label of no class?" if convention.n_classes == n + 1 else ""
        yield f"n_classes={convention.n_classes}, but the data have {n} classes{why}"
    classes = _classes(model, images)
    if convention.guidance == 1 or not classes:
        return
    batch, errors = _errors(model, images, classes, device)
    null = batch.errors(model.with_convention(guidance=0.0))[0]  # no guidance at all towards the class
    between = torch.stack([(one - other).abs().mean() for i, one in enumerate(errors) for other in errors[:i]]).median()
    distances = (errors - null).abs().mean(dim=1)
    nearest = int(distances.argmin())
    own = torch.tensor([classes.index(label) for label in batch.labels.tolist()])  # rows of the images' own labels
    wrong = (errors.sum(dim=0) - errors[own, torch.arange(len(null))]) / (len(classes) - 1)
    if distances[nearest] < ALIKE * between:
        label = f"null_label={convention.null_label}"
        yield f"{label} behaves like class {classes[nearest]}, not like the label of no class"
    elif _clear(null - wrong, wrong):
        yield (
            f"null_label={convention.null_label} denoises images worse than the labels of other classes do: is it the "
            "label of no class, and was the network trained with it?"
        )


def _classes(model: Model, images: DataSet) -> list[int]:
    """The classes whose labels are tried; none if the network has no labels, or perhaps not those of the data."""
    if not isinstance(model, Adapter) or model.convention.labels is None or model.convention.n_classes is None:
        return []
    classes: list[int] = images.labels.unique()[:CLASSES].tolist()
    return classes if len(classes) > 1 and max(classes) < model.convention.n_classes else []


def _errors(model: Adapter, images: DataSet, classes: list[int], device: str) -> tuple[Batch, Tensor]:
    """Images of these classes, and the error of each under each label, without guidance, float64 (labels, images)."""
    chosen = torch.cat([(images.labels == label).nonzero().flatten()[:PER_CLASS] for label in classes])
    batch, plain = Batch(images, chosen, [SIGMA], device), model.with_convention(guidance=1.0, null_label=None)
    return batch, torch.cat([batch.errors(plain.with_convention(labels=label)) for label in classes])


def _clear(gain: Tensor, of: Tensor) -> bool:
    """Whether a gain on the same images is large, as a share of an error, and no accident."""
    n = len(gain)
    return n > 1 and bool(gain.mean() > max(GAIN * of.mean(), SURE * gain.std() / math.sqrt(n)))
