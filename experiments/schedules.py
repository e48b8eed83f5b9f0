"""Which noise levels should sampling visit, and with which sampler, for a given number of network evaluations?

    python -m experiments schedules                      laptop: about 30 minutes on two CPU cores
    python -m experiments schedules --preset smoke       about 20 seconds: does everything work here?
    python -m experiments schedules --schedules geometric "karras(rho=5)" --budgets 10 20 --etas 0 0.5 1 --samplers heun

Each setting gets the longest schedule that its number of network evaluations allows. Some networks try all settings and
choose; others compare the chosen with the default, the first schedule with the first sampler. tune.py is the same study
for a network of your own.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, ClassVar

from diffusion_core.registry import SAMPLERS
from diffusion_core.schedules import SCHEDULES
from diffusion_core.validation import check_range
from experiments.run.compare import DEFAULT, Chosen, Duel, Place, duel_defaults
from experiments.run.options import Names, names_option
from experiments.run.setting import Schedule, Setting, make_setting, read_sampler
from experiments.run.study import EXPLORE_GPU, EXPLORE_SMOKE, GPU, SMOKE, ExploringStudy, Presets, read_formulas
from experiments.user.parsing import SYNONYMS
from reports.schema import AT_LARGEST

SCHEDULES_HELP = (
    "Noise schedules that compete; the first is the default: {names}. With parameters: 'karras(rho=5, sigma_max=20)'."
)
SAMPLERS_HELP = "Samplers that compete: {names}; your own class, 'my_file:Mine(eta=0.5)'. 'heun(s_churn=10)' works."
ScheduleNames = Annotated[Names, names_option(SCHEDULES_HELP, SCHEDULES)]
SamplerNames = Annotated[Names, names_option(SAMPLERS_HELP, [*SAMPLERS, *SYNONYMS])]


@dataclass(frozen=True)
class Schedules(ExploringStudy):
    """What the experiment varies. All settings of one budget take at most that number of network evaluations."""

    question = "Which noise levels should sampling visit?"
    text = (
        "Explores noise schedules and samplers at equal numbers of network evaluations; confirms the best on other "
        "networks."
    )
    page = "schedules"
    presets: ClassVar[Presets] = {
        "smoke": {
            **SMOKE,
            **EXPLORE_SMOKE,
            "schedules": ("geometric", "karras"),
            "budgets": (4,),
            "etas": (0.0, 1.0),
            "samplers": ("heun",),
        },
        "laptop": {"train_images": 100_000, "seeds": 5},  # enough for a statement on such networks in general
        "gpu": {
            **GPU,
            **EXPLORE_GPU,
            "schedules": (
                *(name for name in SCHEDULES if name not in ("flow", "bong-tangent")),  # these two end at 0
                "vp(end=0)",
                "karras(end=0)",
            ),
        },
    }
    minutes = "about 30 minutes on two cores"
    examples: ClassVar[Mapping[str, str]] = {
        "": "all schedules, at equal evaluations",
        '--schedules geometric "karras(rho=5)" --budgets 10 20 --samplers heun dpm++2m': "two of each",
        '--schedules karras "karras(end=0)" vp "vp(end=0)"': "does a last step to 0 help?",
    }

    schedules: ScheduleNames = (
        "geometric",
        "karras",
        "geometric(end=0)",
        "karras(end=0)",
        "linear(end=0)",
    )
    budgets: tuple[int, ...] = (8, 16, 32, 66)
    """Network evaluations per image. A sampler with two evaluations per step gets half as many steps."""
    etas: tuple[float, ...] = (0.0, 0.5, 1.0, 1.4)
    """Noise of the sampler euler: 0 is DDIM (beta = 0), 1 is DDPM."""
    samplers: SamplerNames = (
        "heun",
        "dpm++2m",
        "res-2m",
        "res-2s",
        "dpm++2m-sde",
        "er-sde",
        "euler-churn(s_churn=2)",
    )
    sigma_max: float = 30.0
    """First level of all schedules but ddpm's, in standard deviations of the data."""
    sigma_min: float = 0.03
    """Last level."""

    def check(self) -> None:
        super().check()
        check_range("budgets", min(self.budgets, default=0), 1)

    @property
    def provenance(self) -> Mapping[str, Any]:
        """And the formula of each schedule and sampler, which is the first part of its docstring."""
        kinds: dict[str, Any] = {name: SCHEDULES[name] for name in (text.partition("(")[0] for text in self.schedules)}
        samplers = (read_sampler(name) for name in self.sampler_names)
        kinds |= {type(sampler).label: type(sampler) for sampler in samplers}
        return {**super().provenance, "formulas": read_formulas(kinds)}

    @cached_property
    def sampler_names(self) -> tuple[str, ...]:
        """The samplers as labels have them."""
        return (*(f"eta {eta:g}" for eta in self.etas), *self.samplers)

    @property
    def ends(self) -> Schedule:
        return Schedule(sigma_max=self.sigma_max, sigma_min=self.sigma_min)

    def explore(self) -> Iterator[Setting]:
        for budget, *names in itertools.product(self.budgets, self.schedules, self.sampler_names):
            yield make_setting(", ".join(names), budget, self.ends, self.data_std)

    def find(self, place: Place) -> Setting | None:
        label, budget = place
        return None if budget is None else make_setting(label, budget, self.ends, self.data_std)

    def duels(self, chosen: Sequence[Chosen]) -> Iterator[Duel]:
        """And the recommended ones of fewer evaluations against the default with the most."""
        yield from duel_defaults(chosen)
        *_, largest = (choice for choice in chosen if choice.kind == DEFAULT)
        for choice in chosen:
            if choice.kind != DEFAULT and choice.advisable and choice.budget != largest.budget:
                yield Duel(AT_LARGEST, choice.budget, choice.places[0], largest.places[0], choice.kind)
