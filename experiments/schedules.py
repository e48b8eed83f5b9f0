"""Which noise levels should sampling visit, and with which sampler, for a given number of network evaluations?

    python -m experiments schedules                      laptop: about 40 minutes on two CPU cores
    python -m experiments schedules --preset smoke       about 20 seconds: does everything work here?
    python -m experiments schedules --schedules geometric "karras(rho=5)" --budgets 10 20 --etas 0 0.5 1 --samplers heun

Each setting gets the longest schedule that its budget of network evaluations allows. The answer at each budget is the
set of settings that cannot be told from the best. best.json has the best setting without and with fresh noise, which
`beta --best` compares on other networks. tune.py takes the same settings to find one to use.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from diffusion_core.registry import SAMPLERS
from diffusion_core.samplers.base import Sampler
from diffusion_core.samplers.euler import Euler
from diffusion_core.schedules import SCHEDULES
from diffusion_core.validation import check_range
from experiments.run.compare import CONTROL, BestSet, Comparison, SidesBySection, against_first, control
from experiments.run.options import Names, names_option
from experiments.run.setting import Schedule, Setting, read_schedule
from experiments.run.study import GPU, SMOKE, Notify, Study, read_formulas
from experiments.user.parsing import SYNONYMS, parse_sampler
from reports.schema import CONTROL_FAILED

if TYPE_CHECKING:
    from experiments.run.tables import RunResults, Tables

SCHEDULES_HELP = "Noise schedules; the first is the baseline: {names}. With parameters: 'karras(rho=5, sigma_max=20)'."
SAMPLERS_HELP = "Further samplers: {names}; your own class, 'my_file:Mine(eta=0.5)'. 'heun(s_churn=10)' works."
ScheduleNames = Annotated[Names, names_option(SCHEDULES_HELP, SCHEDULES)]
SamplerNames = Annotated[Names, names_option(SAMPLERS_HELP, [*SAMPLERS, *SYNONYMS])]


@dataclass(frozen=True)
class Schedules(Study):
    """What the experiment varies. All settings of one budget take at most that number of network evaluations."""

    question = "Which noise levels should sampling visit?"
    text = "Compares noise schedules and samplers at equal numbers of network evaluations."
    page = "schedules"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "smoke": {
            **SMOKE,
            "schedules": ("geometric", "karras"),
            "budgets": (4,),
            "etas": (0.0, 1.0),
            "samplers": ("heun",),
        },
        "laptop": {"seeds": 5, "n_samples": 250},  # enough for a statement on such networks in general
        "gpu": {
            **GPU,
            "schedules": (
                *(name for name in SCHEDULES if name not in ("flow", "bong-tangent")),  # these two end at 0
                "vp(end=0)",
                "karras(end=0)",
            ),
        },
    }
    minutes = "about 40 minutes on two cores"
    examples: ClassVar[Mapping[str, str]] = {
        "": "all schedules, at equal evaluations",
        '--schedules geometric "karras(rho=5)" --budgets 10 20 --samplers heun dpm++2m': "two of each",
        '--schedules karras "karras(end=0)" vp "vp(end=0)"': "does a last step to 0 help?",
    }

    schedules: ScheduleNames = (
        "geometric",
        "karras",
        "cosine",
        "vp",
        "linear",
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
        kinds |= {type(sampler).label: type(sampler) for sampler in self.labels.values()}
        return {**super().provenance, "formulas": read_formulas(kinds)}

    @cached_property
    def labels(self) -> dict[str, Sampler]:
        return {f"eta {eta:g}": Euler(eta) for eta in self.etas} | {text: parse_sampler(text) for text in self.samplers}

    def schedule(self, text: str, n_steps: int) -> tuple[Schedule, bool]:
        """As `read_schedule`, with the ends of this study."""
        return read_schedule(text, n_steps, self.data_std, self.sigma_max, self.sigma_min)

    def settings(self) -> Iterator[Setting]:
        for budget in self.budgets:
            settings = list[Setting]()
            section = f"{budget} evaluations"
            for text, (label, solver) in itertools.product(self.schedules, self.labels.items()):
                schedule, final = self.schedule(text, budget)
                within = schedule.within(budget - final, solver)
                setting = Setting(f"{text}, {label}", within, solver, section, final_denoise=final, budget=budget)
                settings.append(setting)
            yield from settings
        yield replace(settings[0], section=CONTROL, budget=None, draw=1)

    def compare(self, of: SidesBySection) -> Iterator[Comparison]:
        """At each budget: every setting against the first schedule with the first sampler, and the set of the best."""
        budgets = [of.get((f"{budget} evaluations", budget), {}) for budget in self.budgets]
        first = f"{self.schedules[0]}, {next(iter(self.labels))}"
        for sides in budgets:
            if first in sides:
                yield from against_first("setting", [*sides.values()])
                yield BestSet([*sides.values()])
        for again in of.get((CONTROL, None), {}).values():
            if again.label in budgets[-1]:
                yield control(again, budgets[-1][again.label])

    def after_write(self, folder: Path, results: "RunResults", tables: "Tables", notify: Notify) -> None:
        """Writes best.json, unless the control failed."""
        from experiments.best import write_best

        if any(row.get("verdict") == CONTROL_FAILED for row in tables["contrasts.csv"]):
            (folder / "best.json").unlink(missing_ok=True)
            notify("best.json is not written: the A/A test failed")
        elif (path := write_best(folder, self, results, (self.sigma_max, self.sigma_min))) is not None:
            notify(f"the best settings without and with fresh noise: {path}")
