"""`compare` and `score`: sets of images, or of features, against real ones."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from diffusion_core.data.load import random_order
from experiments.console import progress_bar
from experiments.distances.distance import renumber
from experiments.distances.duplicates import ClusterIds
from experiments.distances.feature_spaces import default_features
from experiments.distances.intervals import MIN_SAMPLES
from experiments.distances.kernels import MOSTLY_EQUAL, mostly_equal
from experiments.run.cache import Cache
from experiments.run.image_features import (
    FeatureSpace,
    ImageFeatures,
    ImageSet,
    batch_size,
    features_id,
    stored_features,
)
from experiments.run.machine import Machine, double_device
from experiments.run.spot_check import check_features
from experiments.scoring import warnings
from experiments.scoring.groups import GroupsOf, groups_of, or_clips
from experiments.scoring.inputs import FeatureSet, Input, Source, has_no_images, open_input
from experiments.scoring.output import ScoreOutput, pictures
from experiments.scoring.pairing import Pairing, Pairs, pair
from experiments.scoring.result import Scores, with_interval
from experiments.scoring.sides import NAME, score_in_space
from reports.schema import WORSE, Row

OWN_FEATURES = "your own"  # the feature space of features that the user computed
Weights = Path | str | None
LARGEST = 1e10  # magnitude of a feature
NAMED = 3  # sets that the question names, besides the first


def compare(
    real: Source,
    *sets: Source,
    features: str | None = None,
    pairs: Pairs = "auto",
    feature_weights: Weights = None,
    device: str = "auto",
    store: Cache | Path | str = "runs/store",
    groups: GroupsOf = None,
) -> Scores:
    """Which of several sets of images is nearest to real ones? Each is compared with the first.

    Args:
        real, sets: folders, .npz or .npy files, names of data sets, or arrays: uint8 images or float features (n, d).
        features: a feature space; by default digits for MNIST, else natural.
        pairs: which images of two sets come from the same noise: "names", "order", "none" or "auto", see `pair`.
        feature_weights: the file of the extractor's weights, if not the usual one.
        store: where features are kept for the next time.
        groups: the prompt of each image, see `groups_of`: prompts are then the units of all intervals.

    ValueError if something cannot be read, or does not suit the rest.
    """
    if not sets:
        raise ValueError("sets: there are none to compare with the real images")
    store = store if isinstance(store, Cache) else Cache(Path(store))
    with_images = [source for source in (real, *sets) if not has_no_images(source, store)]
    left_out = [str(source) for source in (real, *sets) if has_no_images(source, store)]
    if has_no_images(real, store) or len(with_images) < 2:
        raise ValueError(f"{left_out[0]}: it is the store or a result of score, which holds no samples")
    inputs = open_all(with_images, store)
    return score_inputs(inputs, features, pair(inputs[1:], pairs), feature_weights, device, store, groups, left_out)


def open_all(sources: Sequence[Source], store: Cache, of_arrays: Sequence[str] = ()) -> tuple[Input, ...]:
    """The real images and the sets, under names that are as short as they can be. Errors as in `open_input`."""
    names = of_arrays or ["REAL", *(f"set {index}" for index in range(1, len(sources)))]
    inputs = [open_input(source, store, name) for source, name in zip(sources, names, strict=True)]
    short = [Path(source.name).name or source.name for source in inputs]
    if len(set(short)) < len(short):
        short = [source.name for source in inputs]
    numbered: list[str] = []
    for name in short:
        candidates = (name if k == 0 else f"{name} ({k})" for k in itertools.count(int(short.count(name) > 1)))
        numbered.append(next(new for new in candidates if new not in numbered and (new == name or new not in short)))
    return tuple(replace(source, name=name) for source, name in zip(inputs, numbered, strict=True))


def score_inputs(  # noqa: PLR0913  # the options of the command
    inputs: Sequence[Input], features: str | None, pairing: Pairing, feature_weights: Weights, device: str,
    store: Cache, groups: GroupsOf = None, left_out: Sequence[str] = (),
) -> Scores:  # fmt: skip
    """Scores inputs that are open and paired, as `compare` does. `left_out`: sources without samples, for a note."""
    real, *sets = inputs
    name = space_of(inputs, features)
    if real.n < MIN_SAMPLES:
        raise ValueError(f"{real.name}: {real.n} real images; at least {MIN_SAMPLES} are needed")
    chosen = [random_order(real.n), *pairing.chosen]
    space = FeatureSpace(name, weights_of(name, feature_weights), Machine.resolve(device).device)
    prompts, notes = prompts_of(sets, pairing, groups)
    if pairing.note:
        notes = [pairing.note, *notes]
    for images, ids in zip(sets, prompts or (), strict=False):
        notes.append(f"{images.name}: {len(ids):,} images in {int(ids.max()) + 1:,} groups, the units of intervals")
    if left_out:
        notes.append(f"left out, since the store and results of score hold no samples: {', '.join(left_out)}")
    shared: Row = {"features": name, "features_id": "" if name == OWN_FEATURES else features_id(name, space.weights)}
    shared |= {"experiment": NAME, "section": NAME, "data": real.name, "n_samples": pairing.n}
    shared["n_reference"] = real.n
    described = measure_sets(inputs, chosen, space, store)
    double = double_device(space.device)
    real_rows, *rows = (torch.from_numpy(images.features).to(double) for images in described)
    noise_levels = warnings.noise_levels(inputs, described, chosen)
    names = [images.name for images in sets]
    result = score_in_space(shared, names, real_rows, rows, pairing.paired, noise_levels, prompts)
    doubts = warnings.find_warnings(inputs, described, result, space)
    notes += warnings.image_notes(inputs, described, result.dimension)
    return Scores(
        real.name, real.n, len(chosen[1]), pairing.by, result, tuple(dict.fromkeys(notes)),
        tuple(dict.fromkeys(doubts)), tuple(inputs), tuple(chosen),
    )  # fmt: skip


def make_output(scores: Scores) -> ScoreOutput:
    facts: Row = {"pairs": scores.pairs, "dimension": scores.space.dimension, "warnings": list(scores.warnings)}
    drawn = {
        f"{f'set-{index}' if index else 'real'}{ending}": picture
        for index, (images, order) in enumerate(zip(scores.inputs, scores.chosen, strict=True))
        for ending, picture in pictures(images, order)
    }
    verdicts = {name: by_metric["mmd"].verdict for name, by_metric in scores.differences.items()}
    summary = {
        "features": scores.space.features, "n": scores.n, "pairs": scores.pairs, "verdicts": verdicts,
        "scores": _with_intervals(scores.values), "differences": _with_intervals(scores.differences),
        "best": list(scores.best), "notes": scores.notes, "warnings": scores.warnings,
    }  # fmt: skip
    deciding = [by_metric[name] for by_metric in scores.differences.values() for name in ("mmd", "copies")]
    worse = any(row.verdict == WORSE for row in deciding)
    paired = [scores.pairing] if scores.pairing else []
    return ScoreOutput(NAME, question(scores), scores.tables, drawn, facts, summary, scores.notes, paired, int(worse))


def _with_intervals(sets: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, list[object]]]:
    return {name: {metric: with_interval(row) for metric, row in rows.items()} for name, rows in sets.items()}


def question(scores: Scores) -> str:
    first, *others = (row["setting"] for row in scores.tables["table.csv"])
    if not others:
        return f"How close is {first} to the real images?"
    if len(others) > NAMED:
        return f"Which of {len(others) + 1} sets are closer to the real images than {first}?"
    *most, last = others
    listed = f"Are {', '.join(most)} and {last}" if most else f"Is {last}"
    return f"{listed} closer to the real images than {first}?"


def score(real: Source, images: Source, **options: Any) -> Scores:
    """How far is a set of images from real ones, next to the score of real images? Options as in `compare`."""
    return compare(real, images, **options)


def prompts_of(sets: Sequence[Input], pairing: Pairing, groups: GroupsOf) -> tuple[list[ClusterIds] | None, list[str]]:
    """The prompt of each image of each set, in the order of the pairing; of pairs that of the first set. And notes."""
    if (groups := or_clips(sets, groups)) is None:
        return None, []
    named = [sets[0]] * len(sets) if pairing.paired else sets
    prompts, notes = zip(*(groups_of(images, groups) for images in named), strict=True)
    in_order = [renumber(ids[order]) for ids, order in zip(prompts, pairing.chosen, strict=True)]
    return in_order, [*dict.fromkeys(filter(None, notes))]


def space_of(inputs: Sequence[Input], features: str | None) -> str:
    """The feature space. ValueError if some inputs are images and some are features."""
    if latents := [source for source in inputs if isinstance(source, FeatureSet) and source.shape]:
        rule = "holds latents, which --margin compares, before and after a change"
        raise ValueError(f"{latents[0].name} {rule}{latents[0].hint}")
    by_content = {isinstance(source, FeatureSet): source.name for source in inputs}
    if len(by_content) > 1:
        raise ValueError(f"{by_content[True]} holds features, but {by_content[False]} holds images; give both the same")
    if True in by_content:
        if features:
            raise ValueError(f"features={features!r}: {by_content[True]} holds features already")
        return OWN_FEATURES
    real = inputs[0]
    return features or (default_features(real.data) if isinstance(real, ImageSet) else "natural")


def weights_of(space: str, weights: Weights) -> Path | None:
    """The file of a space's weights, or None for the usual one. ValueError if the sets hold features."""
    if weights is not None and space == OWN_FEATURES:
        raise ValueError(f"feature_weights={str(weights)!r}: the sets hold features already")
    return None if weights is None else Path(weights)


def measure_sets(
    inputs: Sequence[Input], chosen: Sequence[NDArray[np.intp]], space: FeatureSpace, store: Cache
) -> list[ImageFeatures]:
    """Features and texture of some images of each set, comparable with the first; features are taken as they are."""
    described = list[ImageFeatures]()
    for images, order in zip(inputs, chosen, strict=True):
        if isinstance(images, FeatureSet):
            described.append(ImageFeatures.of_rows(images.features).at(order))
            continue
        check_features(images, space, store)
        with progress_bar(images.n / batch_size(space.name)) as advance:
            text = f"{space.name} features of {images.name}"
            advance(text)
            described.append(stored_features(images, space, store, lambda _: advance(text)).at(order))  # noqa: B023
    check_scale(inputs, described)
    return described


def check_scale(inputs: Sequence[Input], described: Sequence[ImageFeatures]) -> None:
    """ValueError if the features of a set do not suit those of real images, or if these have no scale."""
    real = described[0].features
    for source, images in zip(inputs, described, strict=True):
        rows = images.features
        if (d := rows.shape[1]) != real.shape[1]:
            raise ValueError(f"{source.name} has features of {d} numbers, but {inputs[0].name} of {real.shape[1]}")
        if not (largest := max(rows.max(), -rows.min())) <= LARGEST:  # NaN too
            raise ValueError(
                f"{source.name}: the magnitude of a feature is {largest:.3g}; at most {LARGEST:g} can be compared, so "
                "divide the features of all sets by one number"
            )
    if mostly_equal(real):
        raise ValueError(f"{inputs[0].name}: {MOSTLY_EQUAL}; leave out the copies, or take other features")
