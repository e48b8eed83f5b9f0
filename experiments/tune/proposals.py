"""Proposals of new settings around the best so far, by Optuna's tree-structured Parzen estimator (extra `tune`).

Optuna only proposes; the race decides (engine/race.py). Its study is built anew for each round from the scores so far,
with a fixed seed. So there is no state to keep: a run that was interrupted finds its scores in the store and gets the
same proposals again.

Source: Bergstra et al. 2011, Algorithms for Hyper-Parameter Optimization (NeurIPS); Optuna: Akiba et al. 2019,
    arXiv 1907.10902.
"""

import importlib.util
import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from diffusion_core.samplers import SAMPLERS
from diffusion_core.samplers.base import Range
from diffusion_core.samplers.dialects import largest_eta
from diffusion_core.schedules import OWN_ENDS, SCHEDULES
from experiments.config.config import SampleConfig
from experiments.config.names import called
from experiments.tune.settings import SamplerSetting, exactly

if TYPE_CHECKING:
    import optuna

INSTALL = "refine: proposals need Optuna: pip install -e '.[tune]'. Only the named settings race"
TRIES = 20  # per proposal, until it is a new setting
Space = Mapping[str, Range]  # parameter -> its range
LADDERS: dict[str, Space] = {
    "karras": {"rho": (1.5, 15.0, True)},
    "polyexponential": {"rho": (0.4, 2.5, True)},
    "flow": {"shift": (0.5, 6.0, True)},
}


@dataclass(frozen=True)
class Scope:
    """Where proposals may lie: the budget, and the ends of the named settings' ladders, which the network reaches."""

    budget: int  # network evaluations per image
    sigma_max: float  # data standard deviations
    sigma_min: float
    data_std: float  # of the data set scaled to [-1, 1], see config/names.py


def installed() -> bool:
    return importlib.util.find_spec("optuna") is not None


def samplers(budget: int) -> dict[str, Space]:
    """The samplers that are proposed, with the ranges of their parameters."""
    proposed = {label for kind in SAMPLERS.values() for label in kind.near}
    return {label: kind.ranges(budget) for label, kind in SAMPLERS.items() if label in proposed}


def ends(scope: Scope) -> Space:
    """The ends of the ladder: never beyond those of the named settings."""
    middle = math.sqrt(scope.sigma_max * scope.sigma_min)
    return {
        "sigma_max": (max(scope.sigma_max / 6, middle), scope.sigma_max, True),
        "sigma_min": (scope.sigma_min, min(scope.sigma_min * 6, middle), True),
    }


def propose(
    n: int, scope: Scope, tried: Mapping[str, tuple[SampleConfig, float]], good: Sequence[SampleConfig], seed: int
) -> list[SamplerSetting]:
    """At most n new settings, the same for the same arguments.

    Args:
        tried: name of a setting -> a run and its score, lower is better.
        good: runs of the best settings so far. Their schedules are tried, and the samplers near theirs.
    """
    import optuna
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = samplers(scope.budget)
    near = {name for run in good for name in run.sampler.near} or {"euler", "euler-split"}
    choices: dict[str, list[Any]] = {
        "ladder": [*dict.fromkeys([*map(_schedule, good), "karras"])],
        "sampler": [name for name in space if name in near],
        "to_zero": [False, True],
    }
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    ranges = {f"{label} {name}": values for label, own in (LADDERS | space).items() for name, values in own.items()}
    ranges = {**ends(scope), **ranges}
    distributions: dict[str, Any] = {name: CategoricalDistribution(values) for name, values in choices.items()}
    distributions |= {name: FloatDistribution(low, high, log=log) for name, (low, high, log) in ranges.items()}
    for samples, value in tried.values():
        params = {name: value for name, value in _point(samples).items() if _inside(value, distributions.get(name))}
        if choices.keys() <= params.keys():
            known = {name: distributions[name] for name in params}
            study.add_trial(optuna.trial.create_trial(params=params, distributions=known, value=value))
    settings: list[SamplerSetting] = []
    for _ in range(TRIES * n):
        setting = _setting(study.ask(), choices, ranges, scope)
        if setting.name not in tried and setting not in settings and _possible(setting, scope):
            settings.append(setting)
        if len(settings) == n:
            break
    return settings


def _possible(setting: SamplerSetting, scope: Scope) -> bool:
    """Whether the setting takes exactly the budget. Heun, for one, takes an odd number only with a step to 0."""
    ladder, sampler = setting.parts(scope.budget, (scope.sigma_max, scope.sigma_min), scope.data_std)
    return exactly(scope.budget, ladder, sampler, setting.to_zero) is not None


def _schedule(samples: SampleConfig) -> str:
    return str(getattr(samples.ladder, "schedule", samples.ladder.name))


def _point(samples: SampleConfig) -> dict[str, Any]:
    """A run as a point of the space: its parameters by name."""
    schedule, sampler = _schedule(samples), samples.sampler
    usual = inspect.signature(SCHEDULES[schedule]).parameters if schedule in SCHEDULES else {}
    options = {name: value.default for name, value in usual.items()} | dict(getattr(samples.ladder, "options", ()))
    return {
        "ladder": schedule,
        "sampler": sampler.label,
        "to_zero": samples.final_denoise,
        **{f"{schedule} {name}": value for name, value in options.items()},
        "sigma_max": samples.ladder.sigma_max,
        "sigma_min": samples.ladder.sigma_min,
        **{f"{sampler.label} {name}": value for name, value in vars(sampler).items()},
    }


def _inside(value: Any, distribution: Any) -> bool:
    """Whether a value is one that could have been proposed."""
    if distribution is None:
        return False
    if hasattr(distribution, "choices"):
        return value in distribution.choices
    return isinstance(value, int | float) and bool(distribution.low <= value <= distribution.high)


def _setting(
    trial: "optuna.Trial", choices: Mapping[str, Sequence[Any]], ranges: Space, scope: Scope
) -> SamplerSetting:
    """A proposal with rounded values. eta is at most what the steps of the ladder allow."""

    def number(name: str) -> float:
        low, high, log = ranges[name]
        return float(f"{trial.suggest_float(name, low, high, log=log):.3g}")

    schedule, label, to_zero = (trial.suggest_categorical(name, choices[name]) for name in choices)
    high, low = min(number("sigma_max"), scope.sigma_max), max(number("sigma_min"), scope.sigma_min)
    options = {name: number(f"{schedule} {name}") for name in LADDERS.get(schedule, {})}
    ladder = called(schedule, options.items()) + ("" if schedule in OWN_ENDS else f" from {high:g} to {low:g}")
    values = {name: number(f"{label} {name}") for name in samplers(scope.budget)[label]}
    plain = SamplerSetting(ladder, "eta 0").parts(max(scope.budget - to_zero, 1), (high, low), scope.data_std)
    sigmas = plain[0].sigmas()
    if SAMPLERS[label](**values).etas(sigmas):
        most = min(largest_eta(after / sigma) for sigma, after in pairwise(sigmas))
        most = math.floor(100 * most) / 100
        values = {name: min(value, most) if name.startswith("eta") else value for name, value in values.items()}
    sampler = f"eta {values['eta']:g}" if label == "euler" else called(label, values.items())
    return SamplerSetting(ladder, sampler, to_zero)
