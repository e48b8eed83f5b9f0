"""`compare` and `score`: sets of images, or of features, against real ones."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from diffusion_core.data_user import random_order
from experiments.distances.copies import Groups
from experiments.distances.intervals import MIN_SAMPLES
from experiments.distances.kernels import MOSTLY_EQUAL, mostly_equal
from experiments.distances.spaces import suited
from experiments.own.features import features_id
from experiments.run.cache import Cache
from experiments.scoring import doubts
from experiments.scoring.features import Described, Extractor, describe
from experiments.scoring.groups import GroupsOf, units
from experiments.scoring.inputs import FeatureSet, ImageSet, Input, Source, holds_no_set, open_input
from experiments.scoring.pairing import Pairing, Pairs, pair
from experiments.scoring.result import Scores, Space
from experiments.scoring.space import results

GIVEN = "your own"  # the feature space of features that the user computed
Weights = Path | str | Mapping[str, Path | str] | None
LARGEST = 1e10  # magnitude of a feature


def compare(
    real: Source,
    *sets: Source,
    features: str | Sequence[str] | None = None,
    pairs: Pairs = "auto",
    feature_weights: Weights = None,
    device: str = "auto",
    store: Cache | Path | str = "runs/store",
    groups: GroupsOf = None,
) -> Scores:
    """Which of several sets of images is nearest to real ones? Each is compared with the first.

    Args:
        real, sets: folders, .npz or .npy files, names of data sets, or arrays: uint8 images or float features (n, d).
        features: a feature space, or several, of which the first decides; by default digits for MNIST, else natural.
        pairs: which images of two sets come from the same noise: "names", "order", "none" or "auto", see `pair`.
        feature_weights: the file of an extractor's weights, if not the usual one; for several spaces {space: file}.
        device: "cpu", "cuda" or "auto".
        store: where features are kept for the next time.
        groups: the prompt of each image, see `units`: prompts are then the units of all intervals.

    Raises:
        ValueError: something cannot be read, or does not suit the rest. The message names it.
    """
    if not sets:
        raise ValueError("sets: there are none to compare with the real images")
    kept = store if isinstance(store, Cache) else Cache(Path(store))
    return measure((real, *sets), features, pairs, feature_weights, device, kept, groups).scores


@dataclass(frozen=True)
class Compared:
    """Scores, and the images that they are of: first the real ones, each with the order in which they are taken."""

    scores: Scores
    inputs: tuple[Input, ...]
    chosen: tuple[NDArray[np.intp], ...]


def open_all(sources: Sequence[Source], store: Cache, of_arrays: Sequence[str] = ()) -> tuple[Input, ...]:
    """The real images and the sets, under names that are as short as they can be. Errors as in `open_input`."""
    names = of_arrays or ["REAL", *(f"set {place}" for place in range(1, len(sources)))]
    inputs = [open_input(source, store, name) for source, name in zip(sources, names, strict=True)]
    short = [Path(source.name).name or source.name for source in inputs]
    if len(set(short)) < len(short):
        short = [source.name for source in inputs]
    numbered: list[str] = []
    for name in short:
        free = (name if k == 0 else f"{name} ({k})" for k in itertools.count(int(short.count(name) > 1)))
        numbered.append(next(each for each in free if each not in numbered and (each == name or each not in short)))
    return tuple(replace(source, name=name) for source, name in zip(inputs, numbered, strict=True))


def measure(
    sources: Sequence[Source],
    features: str | Sequence[str] | None,
    pairs: Pairs,
    feature_weights: Weights,
    device: str,
    kept: Cache,
    groups: GroupsOf = None,
) -> Compared:
    """The comparison of the first source with the others. Arguments and errors as in `compare`."""
    with_images, left_out = _with_images(sources, kept)
    inputs = open_all(with_images, kept)
    return measured(inputs, features, pairs, feature_weights, device, kept, groups, left_out)


def measured(
    inputs: Sequence[Input],
    features: str | Sequence[str] | None,
    pairs: Pairs,
    feature_weights: Weights,
    device: str,
    kept: Cache,
    groups: GroupsOf = None,
    left_out: Sequence[str] = (),
) -> Compared:
    """The same of images that are open; `left_out` had none."""
    files = weights_of(spaces_of(inputs, features), feature_weights)
    pairing = pair(inputs[1:], pairs)
    if inputs[0].n < MIN_SAMPLES:
        raise ValueError(f"{inputs[0].name}: {inputs[0].n} real images; at least {MIN_SAMPLES} are needed")
    chosen = [random_order(inputs[0].n), *pairing.chosen]
    where, prompts = device_of(device), prompts_of(inputs[1:], pairing, groups)
    spaces, warnings = list[Space](), dict[str, None]()
    notes = dict.fromkeys([pairing.note] if pairing.note else [])
    if left_out:
        notes[f"left out, since the store and results of score hold no samples: {', '.join(left_out)}"] = None
    for space, file in files.items():
        extractor = Extractor(space, file, where)
        described = [features_of(each, extractor, kept).at(order) for each, order in zip(inputs, chosen, strict=True)]
        check_scale(inputs, described)
        grains = doubts.grains(inputs, described, chosen)
        content = "" if space == GIVEN else features_id(space, file)
        real, *sets = (each.features for each in described)
        set_names = [each.name for each in inputs[1:]]
        spaces.append(results(space, content, set_names, real, sets, pairing.by != "none", grains, prompts))
        warnings |= dict.fromkeys(doubts.doubts(inputs, described, spaces[-1]))
        notes |= dict.fromkeys(doubts.remarks(inputs, described, spaces[-1].dimension))
    n = len(pairing.chosen[0])
    scores = Scores(inputs[0].name, inputs[0].n, n, pairing.by, tuple(spaces), tuple(notes), tuple(warnings))
    return Compared(scores, tuple(inputs), tuple(chosen))


def score(real: Source, images: Source, **options: Any) -> Scores:
    """How far is a set of images from real ones, next to the score of real images? Options as in `compare`."""
    return compare(real, images, **options)


def _with_images(sources: Sequence[Source], store: Cache) -> tuple[list[Source], list[str]]:
    """The sources without what `runs/*/` has besides, and the names of that. ValueError if it is REAL, or all sets."""
    empty = [holds_no_set(source, store) for source in sources]
    if empty[0] or all(empty[1:]):
        name = sources[0] if empty[0] else sources[1]
        raise ValueError(f"{name}: it is the store or a result of score, which holds no samples")
    named = list(zip(sources, empty, strict=True))
    return [source for source, leave in named if not leave], [str(source) for source, leave in named if leave]


def device_of(device: str) -> str:
    """The device to compute features on. ValueError if there is none of this name."""
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device={device!r}: PyTorch sees no CUDA device here; use cpu or auto")
    if device not in ("auto", "cpu") and not device.startswith("cuda"):
        raise ValueError(f"device={device!r}: it must be auto, cpu or cuda")
    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device


def prompts_of(sets: Sequence[Input], pairing: Pairing, groups: GroupsOf) -> list[Groups] | None:
    """The prompt of each image of each set, in the order of the pairing; of pairs that of the first set."""
    if groups is None:
        return None
    own = [units(sets[0], groups)] * len(sets) if pairing.by != "none" else [units(one, groups) for one in sets]
    return [np.unique(one[order], return_inverse=True)[1] for one, order in zip(own, pairing.chosen, strict=True)]


def spaces_of(inputs: Sequence[Input], features: str | Sequence[str] | None) -> tuple[str, ...]:
    """The feature spaces. ValueError if some inputs are images and some are features."""
    kinds = {isinstance(source, FeatureSet): source.name for source in inputs}
    if len(kinds) > 1:
        raise ValueError(f"{kinds[True]} holds features, but {kinds[False]} holds images; give both the same")
    if True in kinds:
        if features:
            raise ValueError(f"features={features!r}: {kinds[True]} holds features already")
        return (GIVEN,)
    if not features:
        real = inputs[0]
        return (suited(real.data) if isinstance(real, ImageSet) else "natural",)
    spaces = (features,) if isinstance(features, str) else tuple(features)
    if len(set(spaces)) < len(spaces):
        raise ValueError(f"features={features!r}: one of them is given twice")
    return spaces


def weights_of(spaces: Sequence[str], given: Weights) -> dict[str, Path | None]:
    """The weights file of each space, or None for the usual one. ValueError if it is not clear which one it is for."""
    if given is not None and spaces == (GIVEN,):
        raise ValueError(f"feature_weights={str(given)!r}: the features are given, so no network computes them")
    files = given if isinstance(given, Mapping) else {spaces[0]: given}
    if given is not None and files is not given and len(spaces) > 1:
        raise ValueError(f"feature_weights={str(given)!r}: for which feature space? Write {spaces[-1]}={given}")
    if unknown := [name for name in files if name not in spaces]:
        raise ValueError(f"feature_weights: {unknown[0]} is not among the feature spaces {', '.join(spaces)}")
    return {space: None if (file := files.get(space)) is None else Path(file) for space in spaces}


def features_of(source: Input, extractor: Extractor, store: Cache) -> Described:
    """Features and texture of a set; of features that are given, these."""
    if isinstance(source, FeatureSet):
        return Described(source.features, np.full(source.n, np.nan), np.zeros((source.n, 2), dtype=np.int64))
    return describe(source, extractor, store)


def check_scale(inputs: Sequence[Input], described: Sequence[Described]) -> None:
    """ValueError if the features of a set do not suit those of real images, or if these have no scale."""
    real = described[0].features
    for source, each in zip(inputs, described, strict=True):
        if (d := each.features.shape[1]) != real.shape[1]:
            raise ValueError(f"{source.name} has features of {d} numbers, but {inputs[0].name} of {real.shape[1]}")
        if not (largest := max(each.features.max(), -each.features.min())) <= LARGEST:  # NaN too
            raise ValueError(
                f"{source.name}: the magnitude of a feature is {largest:.3g}; at most {LARGEST:g} can be compared, so "
                "divide the features of all sets by one number"
            )
    if mostly_equal(real):
        raise ValueError(f"{inputs[0].name}: {MOSTLY_EQUAL}; leave out the copies, or take other features")
