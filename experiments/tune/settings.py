"""A sampler setting as text, such as "karras(rho=5) from 20 to 0.05, euler-split(1, 0, 0.5), ending at 0".

The text says all but the number of steps, which the budget decides. It is what tables show and what `--settings` reads.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from diffusion_core.samplers import Euler, Sampler
from experiments.config.config import Ladder
from experiments.config.trial import Infeasible, Trial
from experiments.own import names

TO_ZERO = "ending at 0"
RACE = ", race"  # the end of a race's mode


@dataclass(frozen=True)
class SamplerSetting:
    """Which levels, which sampler, and whether a last step goes to sigma 0.

    Args:
        ladder: a schedule, perhaps with its ends: "karras(rho=5) from 20 to 0.05".
        sampler: such as "eta 0.5", which is euler(eta=0.5), or "heun(s_churn=1)".
        to_zero: whether the last evaluation of the budget denoises what is left at the last level.
    """

    ladder: str
    sampler: str
    to_zero: bool = False

    @property
    def name(self) -> str:
        return ", ".join((self.ladder, self.sampler, *((TO_ZERO,) * self.to_zero)))

    @classmethod
    def read(cls, text: str, option: str = "settings") -> "SamplerSetting":
        """The setting that a text names. Raises ValueError if it has not two or three parts."""
        parts = [part.strip() for part in re.split(r",(?![^(]*\))", text)]  # at commas that are in no bracket
        if len(parts) == 3 and parts[2] == TO_ZERO:
            return cls(parts[0], parts[1], True)
        if len(parts) != 2 or not all(parts):
            raise ValueError(
                f"{option}={text!r}: it must read like 'karras(rho=5) from 20 to 0.05, heun(s_churn=1)', perhaps with "
                f"', {TO_ZERO}' at its end"
            )
        return cls(parts[0], parts[1])

    def parts(self, budget: int, ends: tuple[float, float], data_std: float) -> tuple[Ladder, Sampler]:
        """The ladder with as many steps as evaluations, and the sampler.

        Args:
            ends: sigma_max and sigma_min, unless the text has its own.

        Raises:
            ValueError: an unknown name, or parameters that do not suit it.
        """
        schedule, _, own = self.ladder.partition(" from ")
        if own:
            try:
                high, low = map(float, own.split(" to "))
            except ValueError:
                raise ValueError(f"ladder={self.ladder!r}: its ends must read like 'from 20 to 0.05'") from None
            ends = high, low
        name, options = names.schedule(schedule, data_std)
        ladder = Ladder(name, budget, *ends, options)
        label, _, eta = self.sampler.partition(" ")
        if label != "eta":
            return ladder, names.sampler(self.sampler)
        try:
            return ladder, Euler(float(eta))
        except ValueError as error:
            raise ValueError(f"sampler={self.sampler!r}: {error}") from None


def exactly(budget: int, ladder: Ladder, sampler: Sampler, to_zero: bool) -> Ladder | None:
    """The ladder of this schedule on which the sampler takes exactly `budget` evaluations, else None.

    Args:
        to_zero: whether the last evaluation is a step to 0, after the ladder.
    """
    n_steps = budget - to_zero
    while n_steps > 0:
        shorter = replace(ladder, n_steps=n_steps)
        try:
            nfe = sampler.planned_nfe(shorter.sigmas()) + to_zero
        except ValueError:
            n_steps -= 1
            continue
        if nfe <= budget:
            return shorter if nfe == budget else None
        n_steps = min(n_steps - 1, n_steps * budget // nfe + 1)  # evaluations are about proportional to steps
    return None


def race_of(budget: int) -> str:
    """The mode of a race."""
    return f"{budget} evaluations{RACE}"


def not_run(planned: Iterable[Trial | Infeasible]) -> list[str]:
    """Which settings do not take part in the race, and why: one text per reason and race."""
    absent: dict[tuple[str, str], dict[str, None]] = {}
    for trial in planned:
        if isinstance(trial, Infeasible):
            absent.setdefault((trial.mode.removesuffix(RACE), trial.why), {})[f"“{trial.setting}”"] = None
    return [f"not run: {', '.join(names)}, {where}: {why}" for (where, why), names in absent.items()]
