"""What a study compares: a list of pairs of settings, written before any result. judge.py compares them.

A key names a setting: its section, its number of evaluations (0 without one) and its label.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from experiments.settings import Key, Setting
from reports.schema import EXPLORATION, IN_USE


@dataclass(frozen=True)
class Pair:
    """a against b, network by network.

    Args:
        question: in words, for reports; pairs of one question stand together.
        a, b: a setting, or the keys of several, whose mean is compared: that is an effect.
        family: of the comparisons that are corrected together.
        b_is: what b is to a reader: in use today, a rival, or the cheaper one. It decides what is advised.
        within: network evaluations that the question allows; None for those of a.
        names: of a and b if they are means.
        times: by which the difference of the means is multiplied; 2 in an interaction.
    """

    question: str
    a: Setting | Sequence[Key]
    b: Setting | Sequence[Key]
    family: str = EXPLORATION
    b_is: str = IN_USE
    within: int | None = None
    names: tuple[str, str] = ("", "")
    times: int = 1

    @property
    def sides(self) -> tuple[tuple[Key, ...], tuple[Key, ...]]:
        """The keys of a, and of b."""
        return _keys(self.a), _keys(self.b)


def _keys(side: Setting | Sequence[Key]) -> tuple[Key, ...]:
    return (side.key,) if isinstance(side, Setting) else tuple(side)


def against_first(settings: Sequence[Setting]) -> Iterator[Pair]:
    """In each section and number of evaluations, every setting against the first."""
    first: dict[Key, Setting] = {}
    for setting in settings:
        section, budget, _ = setting.key
        usual = first.setdefault((section, budget, ""), setting)
        if usual is not setting:
            yield Pair(setting.section, setting, usual)


def name_both(a: Setting, b: Setting) -> str:
    """Two settings by label and section, since sections may share labels."""
    first = repr(a.label) if a.section == b.section else f"{a.label!r} of {a.section!r}"
    return f"{first} and {b.label!r} of {b.section!r}"
