"""What fits into `Study.limit`: how many real images, and whether there is time for anything. Timed at once.

The features of all real images of a large data set can take longer than all samples. Then the first ones must do.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch

from experiments.distances import kernels
from experiments.distances.frechet import Moments
from experiments.own.features import opened, usual_batch
from experiments.run import dry_run
from experiments.run.cache import Cache
from experiments.run.execute import missing
from experiments.run.machine import pin_scores
from experiments.run.plan import VALUES, Reference, Run
from experiments.run.steps import real_samples
from experiments.run.study import Study
from experiments.run.tables import REPEATS
from experiments.terminal import duration

LAST = 0.9  # of the limit, for all samples and scores; the tables and the report take the rest
SHARE = 0.25  # of the limit, for the real images and their floor
FILLED = 0.75  # of the time that is left, for what is planned: what is timed for a second may take longer later
# Numbers of real images are few, so that the same command finds its files again: 100, 200, 500, 1,000, ...
NUMBERS = [digit * 10**power for power in range(2, 7) for digit in (1, 2, 5)]
ALIKE = 3  # real images that are stored are used again if there is time for at most so many times as many
# What a shorter command has; at most, if all of it is needed.
FEWER = (("budgets", 1), ("n_samples", 200), ("seeds", 1), ("n_samples", 100), ("train_images", 50_000))
MOST, SECONDS = 400, 1.0  # images, and about how long, for timing features
DECODED = 8  # images, for timing how they are decoded
ROWS = 3_000  # images for timing kernels
Plan = Callable[[Study], Sequence[Run]]


@dataclass(frozen=True)
class Pace:
    """Seconds per image for features, moments and decoding, per pair for kernels, and per network evaluation."""

    features: float
    moments: float
    pair: float
    evaluation: float
    decoded: float = 0.0

    @classmethod
    def timed(cls, runs: Sequence[Run]) -> "Pace":
        """That of the features and the network of these runs. ValueError as in `features.extract`."""
        pin_scores()
        seconds, rows = _features(runs[0].reference)
        rows = rows.repeat(math.ceil(ROWS / len(rows)), 1)[:ROWS]
        start = time.perf_counter()
        kernels.sums(kernels.both(1.0), rows.numpy())
        middle = time.perf_counter()
        Moments.of(rows.numpy())
        moments, pair = (time.perf_counter() - middle) / ROWS, (middle - start) / ROWS**2
        runs[0].machine.pin()
        rate = dry_run.pace(runs)  # None for what is exact
        return cls(seconds, moments, pair, 1 / rate if rate else 0.0, _decoding(runs[0]))

    def floor(self, n: int) -> float:
        """The seconds of the floors of n real images, for two numbers of samples."""
        return 2 * REPEATS * n * self.moments

    def real(self, n: int) -> float:
        """The seconds of the file of n real images, and of their floors."""
        return n * self.features + n * n * self.pair + self.floor(n)

    def missing(self, runs: Iterable[Run], cache: Cache) -> tuple[float, float]:
        """The seconds of the networks that runs lack, and of their samples and scores."""
        first = {run.score_id: run for run in runs if not run.impossible}
        left = missing([*first.values()], cache)
        scores = [run for run in first.values() if cache.path("scores", run.scored) in left["scores"]]
        scored = sum(run.n * (self.features + self.decoded + 2 * run.reference.n * self.pair) for run in scores)
        networks, samples = (self.evaluation * sum(left[kind].values()) for kind in ("networks", "samples"))
        return networks, samples + scored


def _decoding(run: Run) -> float:
    """The seconds per image that a network takes to decode its samples."""
    x = torch.zeros(DECODED, *run.network.shape, device=run.machine.device)
    run.network.decode(x[:1])  # outside the clock
    start = time.perf_counter()
    run.network.decode(x)
    return (time.perf_counter() - start) / DECODED


def _features(config: Reference) -> tuple[float, torch.Tensor]:
    """The seconds per image that features take, and some features float64 (n, d)."""
    if config.features == VALUES:
        return 0.0, real_samples(config, slice(MOST)).flatten(1).double()
    layers, step, rows = opened(config.features, config.weights), usual_batch(config.features), []
    layers(real_samples(config, slice(1)))  # outside the clock
    start = time.perf_counter()
    for first in range(0, min(MOST, config.n), step):
        rows.append(layers(real_samples(config, slice(first, min(first + step, MOST))))[0])
        if time.perf_counter() - start > SECONDS:
            break
    features = torch.cat(rows).double()
    return (time.perf_counter() - start) / len(features), features


@dataclass(frozen=True)
class Fit:
    """What fits: the first so many real images (None for all), which the note says. No pace: there is no limit."""

    most: int | None = None
    note: str = ""
    pace: Pace | None = None

    def cut(self, runs: Sequence[Run]) -> list[Run]:
        """The runs with these real images."""
        most = self.most
        return [replace(run, reference=replace(run.reference, most=most)) if most else run for run in runs]


def fit(study: Study, runs: Sequence[Run], plan: Plan, cache: Cache, began: float, workers: int = 1) -> Fit:
    """What fits into the limit of a study whose command began at the time `began`.

    Args:
        runs: what is planned, as far as it is possible.
        plan: the runs of `Study.shortest` of any study.

    Raises:
        ValueError: not even that fits. It says which options would.
    """
    config, limit = runs[0].reference, float(study.limit)
    pace = Pace.timed(runs)
    spent = time.time() - began

    def is_stored(n: int) -> bool:
        return cache.path("references", _fit(config, n).cut(runs[:1])[0].reference).exists()

    def needs(study: Study) -> tuple[int, float, float]:
        """The number of real images, their seconds, and those of all else."""
        numbers = [*(n for n in NUMBERS if 3 * study.n_samples <= n < config.n), config.n]  # see `plan.planned`
        n = max((n for n in numbers if pace.real(n) <= SHARE * limit), default=numbers[0])
        n = max((known for known in numbers if ALIKE * known >= n and is_stored(known)), default=n)
        work = sum(pace.missing(_fit(config, n).cut(plan(study)), cache)) / workers / FILLED
        return n, pace.floor(n) if is_stored(n) else pace.real(n), work

    n, real, work = needs(study)
    if real + work <= LAST * limit - spent:
        return replace(_fit(config, n), pace=pace)
    enough = max((work + spent) / (LAST - SHARE), (real + work + spent) / LAST)  # more time allows more real images
    advice = f"--time {math.ceil(enough / 60)}min"
    for shorter, words in _shorter(study):
        with suppress(ValueError):  # it does not suit other options
            if sum(needs(shorter)[1:]) <= LAST * limit - spent:
                advice += f", or {words}"
                break
    raise ValueError(
        f"time={getattr(study, 'time', limit)!r}: it is too short: {duration(spent)} have passed, {n:,} real images "
        f"take {duration(real)} here, and the least that must be sampled takes {duration(work)}; give {advice}"
    )


def _fit(config: Reference, n: int) -> Fit:
    if n == config.n:
        return Fit()
    return Fit(n, f"{n:,} of {config.n:,} real images are used, since the time is limited; a longer --time allows more")


def _shorter(study: Study) -> Iterator[tuple[Study, str]]:
    """Shorter forms of a study, and the options that ask for them."""
    changes: dict[str, Any] = {}
    for name, value in FEWER:
        now = getattr(study, name, 0)
        if isinstance(now, tuple) and len(now) > value:
            changes[name] = (min(now),)
        elif isinstance(now, int) and now > value and (study.trains or name not in study.of_training):
            changes[name] = value
        else:
            continue
        words = (f"--{key.replace('_', '-')} {to[0] if isinstance(to, tuple) else to}" for key, to in changes.items())
        yield replace(study, **changes), " ".join(words)
