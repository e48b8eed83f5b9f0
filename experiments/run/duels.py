"""What explorers chose, and the comparisons that confirmers make of it: the words of a study for choice.py."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from reports.schema import CONFIRM

DEFAULT, CHALLENGER = "default", "challenger"  # kinds of settings
EXACTLY = ", all evaluations"  # ending of the kind of the best that takes all evaluations of the largest number
Place = tuple[str, int | None]  # label and number of evaluations of an explored setting


@dataclass(frozen=True)
class Chosen:
    """What explorers chose for a question: a candidate of one kind, with at most `budget` evaluations.

    Args:
        settings: the labels of the candidate's settings, explored with `explored_at` evaluations.
        advisable: False if it is confirmed only since its score is lowest, though it shows more noise than the default.
    """

    budget: int | None
    kind: str
    candidate: str
    explored_at: int | None
    settings: tuple[str, ...]
    advisable: bool = True

    @property
    def places(self) -> list[Place]:
        return [(label, self.explored_at) for label in self.settings]


@dataclass(frozen=True)
class Duel:
    """A comparison that confirmers make: a against b, `budget` evaluations being allowed. `kind`: of contrast."""

    kind: str
    budget: int | None
    a: Place
    b: Place
    choice: str
    advisable: bool = False


def duel_defaults(chosen: Sequence[Chosen]) -> Iterator[Duel]:
    """Each chosen setting against the default of its number of evaluations."""
    defaults = {choice.budget: choice for choice in chosen if choice.kind == DEFAULT}
    for choice in chosen:
        if choice.kind != DEFAULT and choice.budget in defaults:
            for a, b in zip(choice.places, defaults[choice.budget].places, strict=True):
                yield Duel(CONFIRM, choice.budget, a, b, choice.kind, choice.advisable)


def check_seeds(confirmers: Sequence[int], explorers: Iterable[int]) -> None:
    """Raises ValueError if a network would test what it chose itself."""
    if shared := sorted({*confirmers} & {*explorers}):
        raise ValueError(f"first_seed={confirmers[0]}: networks {shared} chose the settings; take others")
