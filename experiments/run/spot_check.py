"""The spot check: once per command, 8 to 16 stored samples of each network and sampler are drawn again, and a score.

A difference is an error: only the user knows whether the old results or the new code are wrong.
"""

import random
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from experiments.run.cache import Cache
from experiments.run.image_features import FeatureSpace, ImageSet, compute_features, feature_key
from experiments.run.networks import Advance, data_of
from experiments.run.runs import Run
from experiments.run.stages import decode, generate, measure, prepare_model
from experiments.user.network_io import is_random
from reports.schema import METRICS

FEWEST, MOST = 8, 16  # samples that are drawn again
SHARE = 50  # between these, one of so many samples: a check costs a few per cent of the run
# What rounding changes of a sample, as a share of its deviation: the median and the largest over samples.
MEDIAN = {"fp32": 0.002, "bf16": 0.05}
LARGEST = {"fp32": 0.05, "bf16": 0.5}
ALIKE = 1e-3  # of its size: a smaller deviation, as of black images only, is rounding
SCORES = 1e-3  # of a distance and its standard error, by rounding
REMEDY = "add --fresh, or name another --store"


class StaleError(ValueError):
    """The code gives something else now than what is stored."""


def choose_runs(runs: Iterable[Run], cache: Cache, seen: set[Any]) -> list[Run]:
    """Stored runs, at random, that have each network and each class of samplers that is not in `seen`; adds these."""
    possible = {run.samples_id: run for run in runs if not run.impossible}
    stored = [run for run in possible.values() if cache.contains("samples", run)]
    chosen = list[Run]()
    for run in random.SystemRandom().sample(stored, len(stored)):
        to_check = {run.network, type(run.setting.sampler)}
        if not to_check <= seen:
            seen |= to_check
            chosen.append(run)
    return chosen


def spot_check(run: Run, cache: Cache, advance: Advance) -> None:
    """Raises StaleError if some samples of a run, drawn again, differ from the stored ones by more than rounding."""
    network = run.network.artifact(cache, advance)
    model = run.network.load(network)
    stored = cache.load("samples", run)
    if stored is None or is_random(model):  # no two runs of it can be compared
        return
    machine = replace(run.machine, threads=1)  # more would wait for each other most of the time
    if run.machine.precision == "fp32":  # to compile takes longer than to draw a few; bf16 rounds otherwise if compiled
        machine = replace(machine, compiled=False)
    run = replace(run, machine=machine)
    machine.pin()
    n_classes = len(data_of(run.network.data).labels.unique())
    chosen = sample_indices(run.n, n_classes)
    x = generate(run, prepare_model(model, run, len(chosen)), chosen, len(chosen))
    again = decode(run, x)
    check_same("samples", run.setting.label, again, stored.tensors["samples"][chosen], run.machine.precision)


def check_score(run: Run, cache: Cache) -> None:
    """Raises StaleError if the distances of a run, measured again from its stored samples, differ from the stored."""
    if (stored := cache.load("scores", run.scored)) is None:
        return
    samples = cache.load("samples", run)
    real = cache.load("references", run.reference)
    if samples is None or real is None:
        return
    _, facts = measure(run, samples, real)
    for name in METRICS:
        before = stored.facts[name]
        change = abs(facts[name] - before)
        if change > SCORES * (abs(before) + facts.get(f"{name}_se", 0.0)):
            raise StaleError(_message(name.upper(), run.setting.label, change, REMEDY))


def check_features(images: ImageSet, space: FeatureSpace, cache: Cache) -> None:
    """Raises StaleError if features of some images, computed again, differ from the stored ones."""
    if (stored := cache.load("features", feature_key(images, space))) is None:
        return
    chosen = sample_indices(images.n, 1)
    again = torch.from_numpy(compute_features(images, chosen, space).features)
    before = stored.tensors["features"][chosen]
    check_same(f"features {space.name}", images.name, again, before, remedy="name another --store")


def check_same(
    what: str, of: str, again: Tensor, stored: Tensor, precision: str = "fp32", remedy: str = REMEDY
) -> None:
    """Raises StaleError if what `of` gives now differs from what is stored by more than rounding."""
    change = difference(again, stored)
    if change.max() > LARGEST[precision] or change.median() > MEDIAN[precision]:
        raise StaleError(_message(what, of, float(change.max()), remedy))


def _message(what: str, of: str, change: float, remedy: str) -> str:
    return f"stored {what} of {of} differ from what {of} gives now by {change:.1g}; {remedy}"


def difference(a: Tensor, b: Tensor) -> Tensor:
    """How much each sample (n, ...) of a and b differs, relative to the standard deviation of b's."""
    if a.shape != b.shape:
        return torch.full((len(a),), torch.inf, dtype=torch.float64)
    a, b = a.double().flatten(1), b.double().flatten(1)
    whole = b.square().mean().sqrt()
    size = (b - b.mean(dim=0)).square().mean().sqrt() if len(b) > 1 else whole
    size = size.clamp(min=ALIKE * float(whole) + 1e-12)
    return ((a - b).square().mean(dim=1).sqrt() / size).nan_to_num(torch.inf)


def sample_indices(n: int, n_classes: int) -> list[int]:
    """8 to 16 of n indices: one near a random place in each of equal parts, spread over the labels i mod n_classes."""
    chance = random.SystemRandom()  # whatever a user's code seeds
    n_classes = n_classes if n_classes <= n else 1
    n_parts = min(max(n // SHARE, FEWEST), MOST, n)
    in_any_order = chance.sample(range(n_parts), n_parts)
    chosen = set()
    for label, part in enumerate(in_any_order, start=chance.randrange(n_classes)):
        place = int((part + chance.random()) * n / n_parts)
        index = place - (place - label) % n_classes
        chosen.add(index if index >= 0 else index + n_classes)
    return sorted(index for index in chosen if index < n)
