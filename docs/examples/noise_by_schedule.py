"""On which schedules does fresh noise help Euler, with few and with many evaluations?

    python -m experiments sweep noise_by_schedule.py --train-images 100000

Twelve comparisons, planned before any result: eta 1 against eta 0 on each schedule, with 8 and with 66 evaluations.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

from experiments import Study
from experiments.settings import Setting

SCHEDULES = ("geometric", "geometric(end=0)", "linear", "linear(end=0)", "karras(end=0)", "vp(end=0)")


@dataclass(frozen=True)
class NoiseBySchedule(Study):
    question = "On which schedules does fresh noise help?"
    presets: ClassVar = {**Study.presets, "laptop": {"seeds": 5, "first_seed": 401, "n_samples": 1_000}}
    schedules: tuple[str, ...] = SCHEDULES
    """Schedules from 30 to 0.03; end=0 adds a last step to 0."""
    budgets: tuple[int, ...] = (8, 66)
    """Network evaluations per image."""

    def settings(self):
        for schedule in self.schedules:
            for budget in self.budgets:
                for eta in (0, 1):
                    setting = Setting.parse(f"{schedule}, euler(eta={eta}), {budget}", self.data_std)
                    yield replace(setting, label=f"eta {eta}", section=schedule)
