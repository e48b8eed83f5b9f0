"""Comparisons of settings, for experiments and for `score`. contrasts.py makes rows of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from reports.schema import CHALLENGER as CHALLENGER
from reports.schema import CONFIRM as CONFIRM
from reports.schema import DEFAULT as DEFAULT
from reports.schema import EXPLORE as EXPLORE
from reports.schema import MORE, PRIMARY_METRIC, VISIBLE
from reports.schema import PRIMARY as PRIMARY

if TYPE_CHECKING:
    from experiments.distances.distance import Distance

Row = dict[str, Any]
Place = tuple[str, int | None]  # label and number of evaluations of an explored setting
RULE = f"the lowest mean MMD over explorers among the settings whose visible noise is at most {VISIBLE}"


@dataclass(frozen=True)
class Side:
    """A measured setting: its rows and distances by training seed, without failed runs."""

    label: str
    section: str
    budget: int | None
    planned: int  # number of networks
    rows: Mapping[Any, Row]
    distances: "Mapping[Any, Mapping[str, Distance]]"
    paired: bool = True  # whether image i comes from the same noise as image i of the sides that it is compared with
    is_image_set: bool = False  # a set of images that people have: its one seed is None, and there is no network

    @property
    def section_key(self) -> tuple[str, int | None]:
        """Settings with the same key are compared with each other."""
        return self.section, self.budget

    @property
    def name(self) -> tuple[str, int | None, str]:
        return self.section, self.budget, self.label

    @property
    def score(self) -> float:
        """Its distance to real images in the metric that decides, a mean over networks."""
        return sum(float(row[PRIMARY_METRIC]) for row in self.rows.values()) / len(self.rows)

    @property
    def whole(self) -> bool:
        """Whether all of its planned runs succeeded."""
        return 0 < len(self.rows) == self.planned

    @property
    def visible_noise(self) -> list[float]:
        """Its visible noise on each network, where it was measured."""
        noise = (row.get("visible_noise") for row in self.rows.values())
        return [share for share in noise if share is not None]


SidesBySection = Mapping[tuple[str, int | None], Mapping[str, Side]]  # (section, budget) -> label -> side


@dataclass(frozen=True)
class Contrast:
    """a against b, network by network.

    Args:
        budget: network evaluations that the question allows; None for those of the section of a.
        role: for which explorers chose a, such as "with fresh noise"; "" if they did not.
    """

    kind: str
    a: Side
    b: Side
    budget: int | None = None
    role: str = ""

    @property
    def sides(self) -> Sequence[Side]:
        return (self.a, self.b)

    @property
    def seeds(self) -> list[int | None]:
        return shared_seeds(self.sides)

    def pairs(self, metric: str) -> "list[tuple[Distance, Distance]]":
        return [(self.a.distances[seed][metric], self.b.distances[seed][metric]) for seed in self.seeds]


@dataclass(frozen=True)
class Effect:
    """The effect of a value of one factor, or how much larger that effect is at a value of a second one.

    Args:
        names: factor, value, against; then factor_b, value_b, against_b of an interaction.
        combinations: the cells of each combination of the other factors: (a, a0), or (a b, a0 b0, a0 b, a b0). The
            first half is added, the second subtracted.
    """

    names: tuple[str, ...]
    combinations: Sequence[tuple[Side, ...]]
    kind: ClassVar[str] = "effect"

    @property
    def columns(self) -> Row:
        """The columns of effects.csv that say which effect it is."""
        names = ("factor_a", "level_a", "against_a", "factor_b", "level_b", "against_b")
        kind = "interaction" if len(self.names) > 3 else "main"
        named = dict.fromkeys(names) | dict(zip(names, self.names, strict=False))
        return {"kind": kind, **named, "n_cells": len(self.combinations), "cost": self.cost}

    @property
    def cost(self) -> float | None:
        """Evaluations at the value of a main effect, as a multiple of those at the baseline."""
        if len(self.names) > 3:
            return None
        at_value, first = (
            sum(row["nfe"] for side in sides for row in side.rows.values())
            for sides in zip(*self.combinations, strict=True)
        )
        return float(at_value / first)

    @property
    def sides(self) -> Sequence[Side]:
        return [side for cells in self.combinations for side in cells]

    @property
    def seeds(self) -> list[int | None]:
        return shared_seeds(self.sides)

    def pairs(self, metric: str) -> "list[tuple[Distance, Distance]]":
        """Returns, by network, the distance that is added and the one that is subtracted: means over combinations."""
        from experiments.distances.distance import mean_of

        half = len(self.combinations[0]) // 2
        added = [side for cells in self.combinations for side in cells[:half]]
        subtracted = [side for cells in self.combinations for side in cells[half:]]
        return [
            (mean_of([side.distances[seed][metric] for side in added], half),
             mean_of([side.distances[seed][metric] for side in subtracted], half))
            for seed in self.seeds
        ]  # fmt: skip


def shared_seeds(sides: Sequence[Side]) -> list[int | None]:
    """The networks with which all these settings succeeded."""
    return [seed for seed in sides[0].rows if all(seed in side.rows for side in sides)]


Comparison = Contrast | Effect


def against_first(kind: str, sides: Sequence[Side]) -> Iterator[Contrast]:
    for side in sides[1:]:
        yield Contrast(kind, side, sides[0])


# --- what explorers chose ---


@dataclass(frozen=True)
class Choice:
    """The choice of explorers for a question: a candidate of one role, with at most `budget` evaluations.

    Args:
        settings: the labels of the candidate's settings, explored with `explored_at` evaluations.
        score: its mean MMD over explorers; None if none ran.
    """

    budget: int | None
    role: str
    candidate: str
    explored_at: int | None
    settings: tuple[str, ...]
    score: float | None = None

    @property
    def places(self) -> list[Place]:
        return [(label, self.explored_at) for label in self.settings]


class Choices(NamedTuple):
    """All that explorers chose, the rows of choices.csv, and for what an earlier run chose, notes and caveats on it."""

    rows: Sequence[Row] = ()
    chosen: Sequence[Choice] = ()
    notes: Sequence[str] = ()
    caveats: Sequence[str] = ()


@dataclass(frozen=True)
class Duel:
    """A comparison that confirmers make: a against b, `budget` evaluations being allowed."""

    kind: str
    budget: int | None
    a: Place
    b: Place
    role: str


def duel_defaults(chosen: Sequence[Choice]) -> Iterator[Duel]:
    """Each chosen setting against the default of its number of evaluations."""
    defaults = {choice.budget: choice for choice in chosen if choice.role == DEFAULT}
    for choice in chosen:
        if choice.role != DEFAULT and choice.budget in defaults:
            for a, b in zip(choice.places, defaults[choice.budget].places, strict=True):
                yield Duel(CONFIRM, choice.budget, a, b, choice.role)


def duel_fewest(chosen: Sequence[Choice]) -> Iterator[Duel]:
    """Of each number of evaluations the lowest that takes more than the fewest, against those of the fewest.

    Is it worth its price?
    """
    by_budget: dict[int, list[Choice]] = {}
    for choice in chosen:
        if choice.budget is not None and choice.role != DEFAULT:
            by_budget.setdefault(choice.budget, []).append(choice)
    fewest, *larger = sorted(by_budget) or [0]
    compared = set[Place]()
    for budget in larger:
        dearer = (choice for choice in by_budget[budget] if (choice.explored_at or 0) > fewest)
        lowest = min(dearer, key=lambda choice: choice.score or 0.0, default=None)
        if lowest and lowest.places[0] not in compared:
            for choice in by_budget[fewest]:
                yield Duel(MORE, budget, lowest.places[0], choice.places[0], lowest.role)
            compared.add(lowest.places[0])


def name_both(a: Any, b: Any) -> str:
    """Two settings by label and section, since sections may share labels."""
    first = repr(a.label) if a.section == b.section else f"{a.label!r} of {a.section!r}"
    return f"{first} and {b.label!r} of {b.section!r}"
