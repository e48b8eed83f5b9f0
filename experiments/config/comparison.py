"""Comparisons between runs: planned with the trials, measured by `results/contrasts.py`."""

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from experiments.config.trial import Infeasible, Trial

Key = TypeVar("Key", bound=Hashable)
Groups = Mapping[str, tuple[Trial, ...]]  # setting -> its runs, one per network


@dataclass(frozen=True)
class Stop:
    """How a contrast that was looked at several times came to its end.

    Args:
        level: of its interval, see metrics/looks.py.
        look, n_looks: the look that ended it (from 1), and how many were planned.
        why: clear, equal, maximum (no more images were planned) or failed (a run failed).
        smallest: the smallest difference of interest, as a share of b's KD.
    """

    level: float
    look: int
    n_looks: int
    why: str
    smallest: float


@dataclass(frozen=True)
class Contrast:
    """a against b: one (a, b) pair of trials per training seed, equal in n_samples and in all that is not compared.

    With enough networks (see metrics/intervals.py) the interval is over networks. The verdicts of one `family`
    are corrected for their number; "" belongs to none.
    """

    kind: str
    mode: str
    a: str
    b: str
    pairs: tuple[tuple[Trial, Trial], ...]
    family: str = ""
    stop: Stop | None = None

    @property
    def retrained(self) -> bool:
        """Whether a and b are different networks, each trained on its own."""
        return any(a.model != b.model and a.model.from_scratch for a, b in self.pairs)


@dataclass(frozen=True)
class BestSet:
    """Which settings of a mode cannot be told from the best? setting -> its trials, one per network."""

    mode: str
    settings: Mapping[str, tuple[Trial, ...]]


@dataclass(frozen=True)
class Looks:
    """The primary contrast at growing numbers of images, and what must have as many images as it.

    Args:
        contrasts: the primary contrast at each look, the fewest images first.
        controls: the A/A control at each look.
        smallest: the smallest difference of interest, as a share of b's KD.
    """

    contrasts: tuple[Contrast, ...]
    controls: tuple[Contrast, ...]
    smallest: float

    @property
    def sizes(self) -> tuple[int, ...]:
        """Images per network and side at each look."""
        return tuple(contrast.pairs[0][0].samples.n_samples for contrast in self.contrasts)

    def trials(self, look: int) -> tuple[Trial, ...]:
        """The trials of a look (from 0), in the same order at every look."""
        pairs = (*self.contrasts[look].pairs, *self.controls[look].pairs)
        return tuple(trial for pair in pairs for trial in pair)


Comparison = Contrast | BestSet
Field = Mapping[str, Groups]  # mode -> its settings
Left = Mapping[str, tuple[str, ...]]  # mode -> the settings that are left of a race, the best score first
Scores = Mapping[str, Mapping[str, float]]  # mode -> setting -> KD at the first look, mean over networks


@dataclass(frozen=True)
class Refinement:
    """New settings that enter a race in rounds, after the first field. In a round they meet the best so far.

    Args:
        rounds: how many rounds.
        propose: round (from 1), the settings left, all settings at the first look, and their scores -> the new settings
            at each look. It is a function of these alone, so that an interrupted run repeats itself.
        best: how many of the best so far they meet.
        deadline: of the race and of what follows it, on the clock time.monotonic(). The first block has fewer settings
            if it would take half of the time, and no block or round begins that would take the time of what follows.
    """

    rounds: int
    propose: Callable[[int, Left, Field, Scores], Sequence[Field]]
    best: int
    deadline: float = math.inf


@dataclass(frozen=True)
class Race:
    """Settings that are compared after growing numbers of images, until few are left. See metrics/race.py.

    Args:
        sizes: images per network at each look, ascending.
        fields: the settings at each look.
        then: what is run and compared when the race is over, on images that the race has not seen. It is given what was
            left of the first field, what is left now, and all settings at the first look.
        refinement: new settings that are tried afterwards.
    """

    sizes: tuple[int, ...]
    fields: tuple[Field, ...]
    then: Callable[[Left, Left, Field], tuple[Sequence[Trial], Sequence[Comparison]]]
    refinement: Refinement | None = None

    def trials(self, look: int) -> tuple[Trial, ...]:
        """The trials of a look (from 0), if no setting has left."""
        return tuple(trial for groups in self.fields[look].values() for runs in groups.values() for trial in runs)


def grouped(planned: Iterable[Trial | Infeasible], key: Callable[[Trial], Key]) -> dict[Key, tuple[Trial, ...]]:
    """The feasible trials of each key, one per network in the order of seeds."""
    groups: dict[Key, tuple[Trial, ...]] = {}
    for trial in planned:
        if isinstance(trial, Trial):
            groups[key(trial)] = (*groups.get(key(trial), ()), trial)
    return groups


def by_setting(planned: Iterable[Trial | Infeasible]) -> dict[str, dict[str, tuple[Trial, ...]]]:
    """mode -> setting -> its runs, one per network."""
    modes: dict[str, dict[str, tuple[Trial, ...]]] = {}
    for (mode, setting), trials in grouped(planned, lambda trial: (trial.mode, trial.setting)).items():
        modes.setdefault(mode, {})[setting] = trials
    return modes


def paired(kind: str, mode: str, a: str, b: str, groups: Groups, **more: Any) -> Contrast:
    """The contrast of two settings, network by network."""
    return Contrast(kind, mode, a, b, tuple(zip(groups[a], groups[b], strict=True)), **more)


def control(setting: str, again: tuple[Trial, ...], main: tuple[Trial, ...], *, retrained: bool = False) -> Contrast:
    """The A/A control: a setting against itself, with other sampling noise or with retrained networks."""
    mode, what = ("retrained", "retrained") if retrained else ("control", "other noise")
    return Contrast("control", mode, f"{setting}, {what}", setting, tuple(zip(again, main, strict=True)))


def against_first(kind: str, mode: str, groups: Groups, family: str = "") -> Iterator[Contrast]:
    """Each setting against the first."""
    baseline, *others = groups or [""]
    for setting in others:
        yield paired(kind, mode, setting, baseline, groups, family=family)
