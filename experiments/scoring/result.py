"""What `compare` and `score` return: values with intervals, and tables of them for a notebook."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from experiments.distances.copies import Groups
from experiments.distances.intervals import LEVEL, Estimate
from experiments.distances.real import JUDGE

PAIRS = {
    "names": "images of the same name are compared in pairs",
    "order": "images at the same place are compared in pairs",
    "none": "no pairs: the sets are independent",
}
MMD = "MMD x1000"  # a column, which people type in Python


@dataclass(frozen=True)
class Copies:
    """Which images of a set are copies: the group (n,) of each with its copies, and how many are of real images."""

    groups: Groups
    of_real: int

    @property
    def repeats(self) -> int:
        """How many images are copies of others in the set."""
        return len(self.groups) - len(set(self.groups.tolist()))


@dataclass(frozen=True)
class Side:
    """One set of images against real ones. `grain` is its fine noise, as a noise level (see distances/texture.py)."""

    name: str
    values: Mapping[str, Estimate]
    precision: float
    recall: float
    grain: float | None
    copies: Copies


@dataclass(frozen=True)
class Difference:
    """Set a against the first set b: value of a minus value of b, so below 0 a is better.

    Args:
        values: by metric.
        verdict: on a.
        needed: images of each set that detect half of the difference with 80 % power; None if no number does: there
            are too few real images, or more images would be needed than MMD reads.
        gain: how many times as many images the pairs are worth, or None without pairs.
    """

    a: str
    b: str
    values: Mapping[str, Estimate]
    verdict: str
    needed: int | None
    gain: float | None


@dataclass(frozen=True)
class Floor:
    """The score of real images: n of them against the others, repeated. By metric: mean, sd, low and high."""

    n: int
    n_others: int
    repeats: int
    values: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Space:
    """All results in one feature space.

    Args:
        best: the names of the sets that cannot be told from the best, best first, if there are three sets or more.
        real_copies: the copies among the real images.
    """

    features: str
    features_id: str
    dimension: int
    sides: tuple[Side, ...]
    differences: tuple[Difference, ...]
    floor: Floor
    best: tuple[str, ...]
    real_copies: Copies


@dataclass(frozen=True)
class Scores:
    """The answer: `print` shows it. Values are those of the first feature space, unless another is asked for.

    Args:
        real: the name of the real images.
        n_real: how many there are.
        n: images of each set that are compared.
        pairs: how they are paired: names, order or none.
        spaces: the results, one for each feature space.
        notes: what was done with the images, one sentence each.
        warnings: reasons for doubt, one sentence each.
    """

    real: str
    n_real: int
    n: int
    pairs: str
    spaces: tuple[Space, ...]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """The verdict on the second set against the first; empty if there is only one."""
        differences = self.spaces[0].differences
        return differences[0].verdict if differences else ""

    @property
    def difference(self) -> Estimate:
        """The second set minus the first in the deciding distance, or the distance of the only set."""
        space = self.spaces[0]
        return (space.differences[0] if space.differences else space.sides[0]).values[JUDGE]

    @property
    def pairing(self) -> str:
        """How images are paired, and how much that brings; empty for one set."""
        gains, worth = sorted(pair.gain for pair in self.spaces[0].differences if pair.gain), ""
        if gains and gains[-1] > 1.05:
            ends = dict.fromkeys(f"{gain:.1f}" for gain in (gains[0], gains[-1]))
            worth = f", which is worth {' to '.join(ends)} times as many images"
        return PAIRS[self.pairs] + worth if self.spaces[0].differences else ""

    def frame(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """A row per set, with real images last, and one per difference from the first set, in each feature space.

        `low` and `high` are the limits of the 95 % interval of MMD. FD of fewer real images than a set has is missing,
        since FD falls with their number.
        """
        sets = [row for space in self.spaces for row in (*map(_of_set, space.sides), self._of_real(space))]
        names = [space.features for space in self.spaces for _ in range(len(space.sides) + 1)]
        pairs = [(space.features, pair) for space in self.spaces for pair in space.differences]
        rows = [(name, pair.a, pair.b, *_thousand(pair.values[JUDGE]), pair.verdict) for name, pair in pairs]
        of_sets = pd.DataFrame(sets, columns=["set", MMD, "low", "high", "FD", "precision", "recall", "grain"])
        of_sets.insert(0, "features", names)
        columns = ["features", "a", "b", f"{MMD} difference", "low", "high", "verdict"]
        return of_sets, pd.DataFrame(rows, columns=columns)

    def _of_real(self, space: Space) -> tuple[object, ...]:
        floor, none = space.floor, math.nan
        mean = {metric: values["mean"] for metric, values in floor.values.items()}
        fd = mean["fd"] if floor.n >= self.n else none
        name = f"{floor.n} real images"
        return name, 1000 * mean[JUDGE], none, none, fd, mean["precision"], mean["recall"], none

    def __str__(self) -> str:
        parts, frames = list[str](), self.frame()
        for space in self.spaces:
            parts.append(f"feature space {space.features}, {100 * LEVEL:g} % intervals:")
            for frame in frames:
                rows = frame[frame["features"] == space.features].drop(columns="features")
                if len(rows):
                    parts.append(rows.to_string(index=False, na_rep="", float_format="{:.3f}".format) + "\n")
        notes = [*filter(None, [self.pairing]), *self.notes, *(f"warning: {text}" for text in self.warnings)]
        return "\n".join([*parts, *notes])

    __repr__ = __str__


def _of_set(side: Side) -> tuple[object, ...]:
    grain = math.nan if side.grain is None else side.grain
    return side.name, *_thousand(side.values[JUDGE]), side.values["fd"].difference, side.precision, side.recall, grain


def _thousand(value: Estimate) -> tuple[float, float, float]:
    """A value of MMD and its limits, times 1000."""
    return 1000 * value.difference, 1000 * value.low, 1000 * value.high
