"""What `compare` and `score` return: values with intervals, and a text of them for a terminal or a notebook."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from experiments.metrics.best_set import Standing
from experiments.metrics.intervals import Estimate
from reports.formats import as_precise, cell, interval, listed, metric_name, number, percent
from reports.schema import BETTER, JUDGE, LEVEL, METRICS, WORSE


@dataclass(frozen=True)
class Side:
    """One set of images against real ones. `grain` is its fine noise, as a noise level (see metrics/texture.py)."""

    name: str
    values: Mapping[str, Estimate]
    precision: float
    recall: float
    grain: float | None


@dataclass(frozen=True)
class Difference:
    """Set a against the first set b: value of a minus value of b, so below 0 a is better.

    Args:
        values: by metric.
        verdict: on a.
        needed: images of each set that detect half of the difference with 80 % power; None if no number does, since
            there are too few real images.
        gain: how many times as many images the pairs are worth, or None without pairs.
        p_adjusted: of the judge, corrected for the number of differences (Holm).
    """

    a: str
    b: str
    values: Mapping[str, Estimate]
    verdict: str
    needed: int | None
    gain: float | None
    p_adjusted: float | None


@dataclass(frozen=True)
class Floor:
    """The score of real images: n of them against the others, repeated. By metric: mean, standard deviation, range."""

    n: int
    n_others: int
    repeats: int
    values: Mapping[str, tuple[float, float, float, float]]


@dataclass(frozen=True)
class Space:
    """All results in one feature space. `standings` say which sets cannot be told from the best, if there are three."""

    features: str
    features_id: str
    dimension: int
    sides: tuple[Side, ...]
    differences: tuple[Difference, ...]
    floor: Floor
    standings: tuple[Standing, ...] = ()

    @property
    def best(self) -> tuple[str, ...]:
        """The names of the sets that cannot be told from the best, if there are three sets or more."""
        return tuple(side.name for side, one in zip(self.sides, self.standings, strict=False) if not one.worse)


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
    def sentence(self) -> str:
        """The answer in one sentence."""
        space = self.spaces[0]
        if len(space.sides) > 2:
            best = space.best
            return f"{listed(best)} cannot be told from the best." if len(best) > 1 else f"{best[0]} is the best."
        return difference_sentence(space) if space.differences else side_sentence(space, space.sides[0])

    def __str__(self) -> str:
        parts = [self.sentence, *(text for space in self.spaces for text in space_text(space))]
        return "\n".join([*parts, *self.notes, *(f"warning: {text}" for text in self.warnings)])

    __repr__ = __str__


def shown(space: Space, metric: str, value: Estimate, note: str = "") -> str:
    """ "FD −3.1 (95 % interval −4.0 to −2.2)"."""
    size = interval(metric, value.difference, value.low, value.high, note)
    return f"{metric_name(metric, space.features)} {size}"


def difference_sentence(space: Space) -> str:
    """Which of two sets is better, by how much."""
    one = space.differences[0]
    words = {BETTER: f"{one.a} is better than {one.b}", WORSE: f"{one.a} is worse than {one.b}"}
    size = shown(space, JUDGE, one.values[JUDGE], f"{percent(LEVEL)} interval ")
    return f"{words.get(one.verdict, f'{one.a} against {one.b}: {one.verdict}')}; difference in {size}."


def side_sentence(space: Space, side: Side) -> str:
    """How far a set is from real images, and how far real ones are."""
    value, floor = side.values[JUDGE], space.floor.values[JUDGE][0]
    real = as_precise(JUDGE, [floor], value.low, value.high)[0]
    return f"{side.name} scores {shown(space, JUDGE, value, f'{percent(LEVEL)} interval ')}; real images score {real}."


def space_text(space: Space) -> list[str]:
    """A table of the sets, and one of the differences from the first, as lines."""
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
    floor = space.floor
    real = [
        f"{floor.n:,} real images",
        *(as_precise(m, [floor.values[m][0]], *_ends(space.sides[0].values[m])[1:])[0] for m in METRICS),
    ]
    rows.append([*real, *(cell(name, floor.values[name][0]) for name in ("precision", "recall")), "0.000"])
    lines = ["", f"feature space {space.features}, {percent(LEVEL)} intervals:", *aligned([head, *rows])]
    if not space.differences:
        return lines
    head = ["difference", *head[1 : 1 + len(METRICS)], "verdict"]
    rows = [
        [f"{one.a} − {one.b}", *(interval(m, *_ends(one.values[m])) for m in METRICS), one.verdict]
        for one in space.differences
    ]
    return [*lines, "", *aligned([head, *rows])]


def _ends(value: Estimate) -> tuple[float, float, float]:
    return value.difference, value.low, value.high


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of texts as lines with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
