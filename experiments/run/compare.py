"""What is compared with what: for experiments and for `score`.

A `Side` is a setting as it was measured: for each network a row of the table and the distances of its images. Nothing
here knows where they come from. contrasts.py makes rows of comparisons.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from experiments.distances.distance import Distance

Row = dict[str, Any]
PRIMARY, CONTROL = "primary", "control"  # groups, and kinds of contrasts
ALONE = (PRIMARY, CONTROL)  # kinds of contrasts with an interval of their own


@dataclass(frozen=True)
class Side:
    """A setting as it was measured: by training seed its rows and distances. Failed runs are not among them.

    Args:
        planned: how many networks were planned.
        paired: whether image i comes from the same noise as image i of the sides that it is compared with.
        what: what it is, without its names and its noise.
    """

    label: str
    group: str
    budget: int | None
    planned: int
    rows: Mapping[int, Row]
    distances: "Mapping[int, Mapping[str, Distance]]"
    paired: bool = True
    what: object = None

    @property
    def place(self) -> tuple[str, int | None]:
        """What it is compared within."""
        return self.group, self.budget

    @property
    def whole(self) -> bool:
        """Whether no run of it failed."""
        return 0 < len(self.rows) == self.planned


@dataclass(frozen=True)
class Contrast:
    """a against b, network by network."""

    kind: str
    a: Side
    b: Side

    @property
    def seeds(self) -> list[int]:
        """The networks of which both sides succeeded."""
        return [seed for seed in self.a.rows if seed in self.b.rows]

    def pairs(self, metric: str) -> "list[tuple[Distance, Distance]]":
        return [(self.a.distances[seed][metric], self.b.distances[seed][metric]) for seed in self.seeds]


@dataclass(frozen=True)
class BestSet:
    """Which of these settings cannot be told from the best? They are of one group and budget."""

    sides: Sequence[Side]

    def __post_init__(self) -> None:
        object.__setattr__(self, "sides", tuple(self.sides))  # they are read several times


Comparison = Contrast | BestSet


def against_first(kind: str, sides: Sequence[Side]) -> Iterator[Contrast]:
    """Each setting against the first."""
    for side in sides[1:]:
        yield Contrast(kind, side, sides[0])


def repeated(again: Side, sides: Iterable[Side]) -> Side | None:
    """The setting that a control repeats, of several the one of its label; None if it is not there."""
    same = (side for side in sides if side.what == again.what)
    return min(same, key=lambda side: side.label != again.label, default=None)


def control(again: Side, setting: Side) -> Contrast:
    """The A/A control: a setting against itself, with other noise or with retrained networks."""
    networks = [{row.get("model_id") for row in side.rows.values()} for side in (again, setting)]
    what, group = ("retrained", "retrained") if networks[0] != networks[1] else ("other noise", CONTROL)
    return Contrast(CONTROL, replace(again, label=f"{setting.label}, {what}", group=group, paired=False), setting)
