"""Does advice that was found in one feature space hold in another? On the same images: run it once in each.

    python -m experiments sweep carry_over.py --features digits
    python -m experiments sweep carry_over.py --features natural

Ten comparisons, written before any result: each setting against geometric, eta 0, 66; and linear down to 0.3 with
RES-2M against the same down to 0.03, and against the SDE solver that people use with 32 evaluations.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

from experiments import Study
from experiments.run.setting import Point, Setting

# schedule, sampler, last level, whether a step to 0 follows, evaluations
DEFAULT = ("geometric", "eta 0", 0.003, False, 66)
FORMER = ("linear", "res-2m", 0.03, True, 8)
ADVISED = ("linear", "res-2m", 0.3, True, 8)
OF_PRACTICE = ("karras", "dpm++2m-sde", 0.03, True, 32)
SECTIONS = {
    "against the default": (
        DEFAULT,
        ("geometric", "eta 1", 0.003, False, 66),
        FORMER,
        ADVISED,
        ("linear", "dpm++2m-sde", 0.3, True, 16),
        ("karras", "heun", 0.03, True, 31),
        ("karras", "dpm++2m", 0.03, True, 16),
        ("karras", "dpm++2m", 0.03, True, 32),
        OF_PRACTICE,
    ),
    "down to 0.3, not 0.03": (FORMER, ADVISED),
    "against practice": (OF_PRACTICE, ADVISED),
}


@dataclass(frozen=True)
class CarryOver(Study):
    question = "Does advice that was found in one feature space hold in another?"
    laptop: ClassVar = {"seeds": 10, "first_seed": 811, "train_images": 100_000, "n_samples": 1_000}
    presets: ClassVar = {**Study.presets, "laptop": laptop}

    def settings(self) -> Iterator[Setting]:
        for section, settings in SECTIONS.items():
            for schedule, sampler, last, to_zero, nfe in settings:
                name = f"{schedule}(sigma_min={last:g}{', end=0' * to_zero}), {sampler}, {nfe}"
                setting = Point(name, schedule, sampler, 30.0, last, to_zero).at(nfe, self.data_std)
                yield replace(setting, section=section, budget=None)
