"""Whether the labels of an adapter's network mean what they should: those of the classes, and that of no class."""

import math

import torch
from torch import Tensor

from diffusion_core.adapters import Adapter
from diffusion_core.data.dataset import DataSet
from experiments.user.noisy_batch import NoisyBatch

CLASSES, PER_CLASS = 10, 8  # images on which labels are tried
SIGMA, GAIN = 5.0, 0.1  # where a label tells most, and the share of the error that another must save
ALIKE = 0.1  # two labels are one if their errors differ by less than this share of what those of two classes differ
SURE = 2.0  # standard errors by which a difference on the same images and noise is no accident


def check_labels(model: Adapter, images: DataSet, device: str) -> tuple[dict[int, int], list[str]]:
    """The classes that another class's label denoises clearly better, with that label; and doubts.

    These are about the number of classes, labels without effect, and the label of no class if guidance uses it.
    """
    convention, n, doubts = model.convention, len(images.labels.unique()), list[str]()
    used = convention.labels == "balanced" or convention.guidance != 1
    if used and n > 1 and convention.n_classes != n:  # 1: data without labels
        why = ": does it count the label of no class?" if convention.n_classes == n + 1 else ""
        doubts.append(f"n_classes={convention.n_classes}, but the data have {n} classes{why}")
    classes: list[int] = images.labels.unique()[:CLASSES].tolist()
    if convention.labels is None or len(classes) < 2 or max(classes) >= (convention.n_classes or 0):
        return {}, doubts  # it has no labels, or perhaps not those of the data
    chosen = torch.cat([(images.labels == label).nonzero().flatten()[:PER_CLASS] for label in classes])
    batch, plain = NoisyBatch(images, chosen, [SIGMA], device), model.with_convention(guidance=1.0, null_label=None)
    # of each image under each label (labels, images), and under its own (images,)
    errors = torch.cat([batch.errors(batch.eps(plain.with_convention(labels=label))) for label in classes])
    own = torch.stack([errors[classes.index(label), i] for i, label in enumerate(batch.labels.tolist())])
    if (errors == errors[0]).all():
        return {}, [*doubts, "check its labels: they change nothing"]
    better = {}
    for label in classes:
        mine = batch.labels == label
        other = int(errors[:, mine].mean(dim=1).argmin())
        if _is_clear(own[mine] - errors[other, mine], own[mine]):
            better[label] = classes[other]
    if convention.guidance == 1:
        return better, doubts
    null = batch.errors(batch.eps(model.with_convention(guidance=0.0)))[0]  # no guidance at all towards the class
    between = torch.stack([(one - other).abs().mean() for i, one in enumerate(errors) for other in errors[:i]]).median()
    null_label = f"null_label={convention.null_label}"
    distances = (errors - null).abs().mean(dim=1)
    nearest = int(distances.argmin())
    wrong = (errors.sum(dim=0) - own) / (len(classes) - 1)
    if distances[nearest] < ALIKE * between:
        doubts.append(f"{null_label} behaves like class {classes[nearest]}, not like the label of no class")
    elif _is_clear(null - wrong, wrong):
        asked = "is it the label of no class, and was the network trained with it?"
        doubts.append(f"{null_label} denoises images worse than the labels of other classes do: {asked}")
    return better, doubts


def _is_clear(gain: Tensor, of: Tensor) -> bool:
    """Whether a gain on the same images is large, as a share of an error, and no accident."""
    n = len(gain)
    return n > 1 and bool(gain.mean() > max(GAIN * of.mean(), SURE * gain.std() / math.sqrt(n)))
