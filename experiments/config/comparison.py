"""Comparisons between runs: planned with the trials, measured by `results/contrasts.py`."""

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from experiments.config.trial import Infeasible, Trial

Key = TypeVar("Key", bound=Hashable)
Groups = Mapping[str, tuple[Trial, ...]]  # setting -> its runs, one per network


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

    @property
    def retrained(self) -> bool:
        """Whether a and b are different networks, each trained on its own."""
        return any(a.model != b.model and a.model.from_scratch for a, b in self.pairs)


@dataclass(frozen=True)
class BestSet:
    """Which settings of a mode cannot be told from the best? setting -> its trials, one per network."""

    mode: str
    settings: Mapping[str, tuple[Trial, ...]]


Comparison = Contrast | BestSet
Field = Mapping[str, Groups]  # mode -> its settings
Left = Mapping[str, tuple[str, ...]]  # mode -> the settings that are left of a race, the best score first


@dataclass(frozen=True)
class Race:
    """Settings of which the best are confirmed.

    Args:
        field: the settings.
        keep: how many are left in the end, at most.
        then: what is run and compared when the race is over, on images that the race has not seen. It is given what is
            left, all settings, and the share of the images that there is time for.
        deadline: of the race and of what follows it, on the clock time.monotonic(). The field has fewer settings if it
            would take half of the time.
    """

    field: Field
    keep: int
    then: Callable[[Left, Field, float], tuple[Sequence[Trial], Sequence[Comparison]]]
    deadline: float = math.inf

    @property
    def trials(self) -> tuple[Trial, ...]:
        """The trials of the race."""
        return tuple(trial for groups in self.field.values() for runs in groups.values() for trial in runs)

    @property
    def confirmation(self) -> Sequence[Trial]:
        """The trials of what follows if all settings were confirmed."""
        everyone = {mode: tuple(groups) for mode, groups in self.field.items()}
        return self.then(everyone, self.field, 1.0)[0]


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
