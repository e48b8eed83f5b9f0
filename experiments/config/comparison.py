"""Comparisons between runs: planned with the trials, measured by `results/contrasts.py`."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from experiments.config.trial import Infeasible, Trial

Key = TypeVar("Key", bound=Hashable)
Groups = Mapping[str, tuple[Trial, ...]]  # setting -> its runs, one per network


@dataclass(frozen=True)
class Contrast:
    """a against b: one (a, b) pair of trials per training seed, equal in n_samples and in all that is not compared.

    With enough networks (see metrics/intervals.py) the interval is over networks. If `chosen`, a was chosen on these
    networks, and the interval holds only for them.
    """

    kind: str
    mode: str
    a: str
    b: str
    pairs: tuple[tuple[Trial, Trial], ...]
    chosen: bool = False


@dataclass(frozen=True)
class BestOf:
    """The best of several candidates, chosen by KD on the first half of the images and measured on the second.

    Args:
        candidates: label -> one trial per network. The first is the baseline.
        against_all: compare the choice with every other candidate, not only with the baseline.
        rivals: if given, compare the choice with these instead. They cannot be chosen.
    """

    kind: str
    mode: str
    candidates: Mapping[str, tuple[Trial, ...]]
    against_all: bool = False
    rivals: Mapping[str, tuple[Trial, ...]] = field(default_factory=dict)


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


def against_first(kind: str, mode: str, groups: Groups, against_all: bool = False) -> Iterator[Contrast | BestOf]:
    """Each setting against the first, then the best of all settings (`BestOf`)."""
    baseline, *others = groups or [""]
    for setting in others:
        yield paired(kind, mode, setting, baseline, groups)
    if others:
        yield BestOf("best", mode, groups, against_all)
