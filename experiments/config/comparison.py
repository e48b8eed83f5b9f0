"""What is compared with what: planned with the trials, measured by `results/contrasts.py`."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from experiments.config.trial import Infeasible, Trial

Key = TypeVar("Key", bound=Hashable)
Groups = Mapping[str, tuple[Trial, ...]]  # setting -> its runs, one per network


@dataclass(frozen=True)
class Contrast:
    """a against b: one (a, b) pair of trials for each training seed, which share n and whatever is not compared.

    Its interval speaks of networks in general if there are enough of them, unless a was chosen on these very networks.
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
        candidates: label -> one trial for each network. The first is the baseline.
        against_all: measure the choice against every other candidate, and not just against the baseline.
        rivals: if any, measure it against these instead; they are not chosen among.
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
    """The A/A control: a setting against itself, with other sampling noise, or with networks trained anew."""
    mode, what = ("retrained", "retrained") if retrained else ("control", "other noise")
    return Contrast("control", mode, f"{setting}, {what}", setting, tuple(zip(again, main, strict=True)))


def against_first(kind: str, mode: str, groups: Groups, against_all: bool = False) -> Iterator[Contrast | BestOf]:
    """Each setting against the first, then the choice among them on split images."""
    baseline, *others = groups or [""]
    for setting in others:
        yield paired(kind, mode, setting, baseline, groups)
    if others:
        yield BestOf("best", mode, groups, against_all)
