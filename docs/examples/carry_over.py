"""Does advice that was found in one feature space hold in another? On the same images: run it once in each.

    python -m experiments sweep carry_over.py --features digits
    python -m experiments sweep carry_over.py --features natural

Ten comparisons, written before any result: each setting against geometric, euler, 66; and linear down to 0.3 with
RES-2M against the same down to 0.03, and against the SDE solver that people use with 32 evaluations.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

from experiments import Study
from experiments.settings import Setting

DEFAULT = "geometric(30, 0.003), euler, 66"
FORMER = "linear(30, 0.03, end=0), res-2m, 8"
ADVISED = "linear(30, 0.3, end=0), res-2m, 8"
OF_PRACTICE = "karras(30, 0.03, end=0), dpm++2m-sde, 32"
SECTIONS = {
    "against the default": (
        DEFAULT,
        "geometric(30, 0.003), euler(eta=1), 66",
        FORMER,
        ADVISED,
        "linear(30, 0.3, end=0), dpm++2m-sde, 16",
        "karras(30, 0.03, end=0), heun, 31",
        "karras(30, 0.03, end=0), dpm++2m, 16",
        "karras(30, 0.03, end=0), dpm++2m, 32",
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
            for text in settings:
                yield replace(Setting.parse(text, self.data_std), label=text, section=section, budget=None)
