"""What `compare` and `score` return: values with intervals, and a text of them for a terminal or a notebook."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from experiments.distances.copies import Groups
from experiments.distances.intervals import BETTER, LEVEL, NOT_DETECTABLE, WORSE, Estimate
from experiments.distances.real import JUDGE, METRICS
from reports.formats import as_precise, cell, interval, listed, metric_name, number, percent, times

PAIRS = {
    "names": "images of the same name are compared in pairs",
    "order": "images at the same place are compared in pairs",
    "none": "no pairs: the sets are independent",
}


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
class Standing:
    """A set against the best of the others: the difference, and its limits from the intervals of all pairs."""

    difference: float
    low: float
    high: float

    @property
    def worse(self) -> bool:
        """Whether it is not in the set of the best."""
        return self.low > 0


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

    `standings` say which sets cannot be told from the best, if there are three; `real_copies` are the real images'.
    """

    features: str
    features_id: str
    dimension: int
    sides: tuple[Side, ...]
    differences: tuple[Difference, ...]
    floor: Floor
    standings: tuple[Standing, ...]
    real_copies: Copies

    @property
    def best(self) -> tuple[str, ...]:
        """The names of the sets that cannot be told from the best, best first, if there are three sets or more."""
        sides = [side for side, standing in zip(self.sides, self.standings, strict=False) if not standing.worse]
        return tuple(side.name for side in sorted(sides, key=lambda side: side.values[JUDGE].difference))


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
            range_ = dict.fromkeys([times(gains[0]), times(gains[-1])])
            worth = f", which is worth {listed(range_, 'to')} times as many images"
        return PAIRS[self.pairs] + worth if self.spaces[0].differences else ""

    @property
    def sentence(self) -> str:
        """The answer in one sentence."""
        space = self.spaces[0]
        if len(space.sides) == 1:
            return side_sentence(space, space.sides[0])
        if len(space.sides) == 2:
            return difference_sentence(space)
        if len(space.best) > 1:
            return f"{listed(space.best)} cannot be told from the best ({number(len(space.sides), 0)} sets)."
        if any(pair.verdict == NOT_DETECTABLE for pair in space.differences if space.best[0] in (pair.a, pair.b)):
            return f"Only {space.best[0]} can be the best of {number(len(space.sides), 0)} sets ({percent(LEVEL)})."
        return f"{space.best[0]} is better than the {number(len(space.differences), 0)} other sets."

    def __str__(self) -> str:
        parts = [self.sentence, *(text for space in self.spaces for text in space_text(space, self.n))]
        return "\n".join(
            [*parts, *filter(None, [self.pairing]), *self.notes, *(f"warning: {text}" for text in self.warnings)]
        )

    __repr__ = __str__


def difference_sentence(space: Space) -> str:
    """By how much the second of two sets is better or worse than the first."""
    (difference,), (first, second) = space.differences, space.sides
    verb = {BETTER: "lowers", WORSE: "raises"}.get(difference.verdict, f"against {first.name} changes")
    name, change = metric_name(JUDGE, space.features), difference.values[JUDGE]
    values = " to ".join(cell(JUDGE, side.values[JUDGE].difference) for side in (first, second))
    size = interval(JUDGE, *_ends(change), f"{percent(LEVEL)} interval ")
    return f"{second.name} {verb} {name} from {values}: {size}."


def side_sentence(space: Space, side: Side) -> str:
    """How far a set is from real images, and how far real ones are."""
    size = interval(JUDGE, *_ends(side.values[JUDGE]), f"{percent(LEVEL)} interval ")
    real = cell(JUDGE, space.floor.values[JUDGE]["mean"])
    return f"{side.name} scores {metric_name(JUDGE, space.features)} {size}; real images score {real}."


def space_text(space: Space, n: int) -> list[str]:
    """A table of the sets of n images, and one of the differences from the first, as lines.

    FD of fewer real images is left out, since it falls with their number.
    """
    floor = space.floor

    def of_real(metric: str) -> str:
        if metric == "fd" and floor.n < n:
            return ""
        _, low, high = _ends(space.sides[0].values[metric])
        return as_precise(metric, [floor.values[metric]["mean"]], low, high)[0]

    head = ["", *(metric_name(metric, space.features) for metric in METRICS), "precision", "recall", "grain"]
    rows = [
        [
            side.name,
            *(interval(metric, *_ends(side.values[metric])) for metric in METRICS),
            *(cell(name, getattr(side, name)) for name in ("precision", "recall")),
            "" if side.grain is None else number(side.grain, 3),
        ]
        for side in space.sides
    ]
    grain = "" if all(side.grain is None for side in space.sides) else "0.000"
    quality = (cell(name, floor.values[name]["mean"]) for name in ("precision", "recall"))
    rows.append([f"{floor.n:,} real images", *map(of_real, METRICS), *quality, grain])
    lines = ["", f"feature space {space.features}, {percent(LEVEL)} intervals:", *aligned([head, *rows])]
    if not space.differences:
        return lines
    head = ["difference", *head[1 : 1 + len(METRICS)], "verdict"]
    rows = [
        [f"{pair.a} − {pair.b}", *(interval(m, *_ends(pair.values[m])) for m in METRICS), pair.verdict]
        for pair in space.differences
    ]
    return [*lines, "", *aligned([head, *rows])]


def _ends(value: Estimate) -> tuple[float, float, float]:
    return value.difference, value.low, value.high


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of texts as lines with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
