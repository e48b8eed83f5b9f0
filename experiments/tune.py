"""Which sampler settings are best for this network, at each number of evaluations?

    python -m experiments tune --network python:my_model:eps --budgets 8 16 32
    python -m experiments tune                         networks trained here; laptop: minutes on two CPU cores
    python -m experiments tune --preset smoke          about 20 seconds: does everything work here?

The settings of schedules.py, and single ones, race at exactly the budget, on few images. The best six and the default,
which is used without tuning, are compared on images of other noise.
"""

import math
import re
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import tyro

from diffusion_core.samplers.base import Sampler
from diffusion_core.validation import check_range
from experiments.run.compare import CONTROL, BestSet, Comparison, Contrast, Side, SidesBySection, control
from experiments.run.options import option_help
from experiments.run.setting import Schedule, Setting, read_schedule, read_setting
from experiments.run.study import GPU, SMOKE, HiddenOption, Notify
from experiments.schedules import SamplerNames, ScheduleNames, Schedules
from experiments.user.imports import is_pretrained
from experiments.user.parsing import parse_sampler
from reports.schema import JUDGE, RACE

if TYPE_CHECKING:
    from experiments.run.tables import RunResults, Tables

Library = Literal["torch", "diffusers", "json"]
UNITS = {"s": 1, "min": 60, "h": 3600}
FRESH = 2  # draw of noise of images that no race has seen
AGAIN = 10  # draws of noise per --search-seed
FINALISTS = 6  # at most, per budget, besides the defaults
USUAL_SCHEDULES = ("vp", "karras", "geometric", "cosine")  # vp: even steps in time, as in DDIM and DDPM
DEFAULT_ETAS = (0.0, 1.0)  # DDIM and DDPM, or ODE and SDE of a flow: what is used without tuning


@dataclass(frozen=True)
class Tune(Schedules):
    """What is tried, each at exactly the budget: schedules x samplers, and single settings."""

    question = "Which sampler settings are best for this network, at each number of evaluations?"
    text = (
        "Races many settings on few images, confirms the best six on new ones, writes the winner to paste. The "
        "confirmation is against what is used without tuning (--default). The best that is detectably better, or else "
        "the default, is recommended and exported, so that it can be pasted (--export). After an interrupt the same "
        "command goes on."
    )
    page = "tune"
    uncounted = f"the confirmation of the best {FINALISTS} on other images"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "smoke": {
            **SMOKE,
            "train_images": 1_920,  # after fewer, samples fail so grossly that nothing is recommended
            "schedules": ("vp", "karras"),
            "budgets": (4,),
            "etas": (0.0, 1.0),
            "samplers": ("heun",),
            "single": ("karras, euler-split(1, 0, 0.5)",),
        },
        "laptop": {},
        "gpu": {**GPU, "race_samples": 1_000, "budgets": (8, 16, 32, 64)},
    }
    minutes = "minutes on two cores"
    examples: ClassVar[Mapping[str, str]] = {
        "--network python:my_model:eps --budgets 8 16": "settings for your network, at 8 and 16 evaluations",
        "--preset smoke": "does everything work here? 20 seconds",
        "--n-samples 1500 --budgets 8 --time 20min": "stop after 20 minutes",
        '--settings "karras(rho=5, sigma_max=20), heun(s_churn=1)" --export torch': "try this one too",
    }

    schedules: ScheduleNames = USUAL_SCHEDULES
    budgets: tuple[int, ...] = (8, 16, 32)
    """Network evaluations per image. A sampler with two evaluations per step gets half as many steps."""
    samplers: SamplerNames = ("heun", "dpm++2m")
    etas: tuple[float, ...] = (0.0, 0.5, 1.0)
    """Noise of the sampler euler. 0 (DDIM) and 1 (DDPM) are always added."""
    sigma_max: float = 30.0
    """First level of all schedules but ddpm's, in standard deviations of the data; lower if the network ends before."""
    sigma_min: float = 0.03
    """Last level; higher if the network ends before."""
    single: Annotated[
        tuple[str, ...],
        tyro.conf.arg(
            name="settings", metavar="[TEXT [TEXT ...]]", help_behavior_hint="(default: those of docs/tune.md)"
        ),
    ] = (
        *(f"{schedule}(end=0), {name}" for schedule in USUAL_SCHEDULES for name in ("ddim", "ddpm")),
        "karras(end=0), dpm++2m",
        "karras(end=0), res-2m",
        "karras(end=0), er-sde",
        "karras, heun(s_churn=1, s_min=0.1, s_noise=1.003)",  # s_noise of Karras et al. 2022, Table 5
        "karras, euler-churn(s_churn=2, s_min=0.1)",
        "karras, euler-within(1, 0.1, 3)",
        "karras, euler-split(1, 0, 0.5)",
        "karras, restart",
    )
    """Single settings besides, with noise in other forms or a last step to 0, as SCHEDULE, SAMPLER: 'karras(rho=5,
    sigma_max=20, sigma_min=0.05), heun(s_churn=1)'. With end=0 the last evaluation is a step to sigma 0. Without a
    value: none."""
    default: Annotated[
        str | None, option_help("TEXT", "DDIM on the first schedule; for a flow or DDPM's table, on its own levels")
    ] = None
    """The setting that you use today, as SCHEDULE, SAMPLER: what is recommended is compared with it."""
    time: Annotated[str | None, option_help("TIME", "no limit")] = None
    """Time limit, such as 10min. The race begins nothing after 60 % of it, the confirmation nothing after its end; the
    report lists what did not run."""
    search_seed: int = 0
    """Another seed searches and confirms on other images."""
    export: Annotated[tuple[Library, ...] | None, option_help("LIBRARY [LIBRARY ...]", "all that apply")] = None
    """Code to write besides settings.json, which is json: torch, diffusers."""
    race_samples: HiddenOption[int] = 166  # images per network in the race

    def __post_init__(self) -> None:
        object.__setattr__(self, "etas", tuple(sorted({*self.etas, *DEFAULT_ETAS})))

    def check(self) -> None:
        super().check()
        check_range("search_seed", self.search_seed, 0, 1_000_000)
        check_range("race_samples", self.race_samples, 1)
        _ = self.time_limit

    @property
    def time_limit(self) -> float:
        """The seconds of --time. ValueError for a text that is no duration such as 10min."""
        if self.time is None:
            return math.inf
        if not (match := re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|min|h)", self.time.strip())):
            raise ValueError(f"time={self.time!r}: it must read like 90s, 10min or 2h")
        return float(match[1]) * UNITS[match[2]]

    @property
    def notes(self) -> Sequence[str]:
        """Which settings do not take part in the race, and why: one text per reason and race."""
        absent: dict[tuple[int | None, str], list[str]] = {}
        for setting in self.settings():
            if setting.impossible:
                absent.setdefault((setting.budget, setting.impossible), []).append(f"“{setting.label}”")
        return [
            f"not run: {', '.join(labels)}, {budget} evaluations: {reason}"
            for (budget, reason), labels in absent.items()
        ]

    @cached_property
    def _adapter(self) -> Any:
        from diffusion_core.data.load import resolve
        from experiments.run.networks import adapter_of

        return adapter_of(self.network, resolve(self.data), self.label) if is_pretrained(self.network) else None

    @cached_property
    def span(self) -> tuple[float, float]:
        """The lowest and the highest level that the network knows."""
        return self._adapter.span if self._adapter else (0.0, math.inf)

    @cached_property
    def default_schedules(self) -> tuple[str, ...]:
        """The schedules of the loops that networks of this kind come with."""
        return self._adapter.default_schedules if self._adapter else ()

    def schedule(self, text: str, n_steps: int) -> tuple[Schedule, bool]:
        low, high = self.span
        return read_schedule(text, n_steps, self.data_std, min(self.sigma_max, high), max(self.sigma_min, low))

    @cached_property
    def defaults(self) -> dict[str, tuple[str, str]]:
        """What is used without tuning, the user's own first: DDIM, then DDPM, on the first or usual schedule."""
        schedule = _to_zero(self.default_schedules[0]) if self.default_schedules else self.schedules[0]
        from_user = [read_setting("default", self.default)] if self.default else []
        return _by_label([*from_user, *((schedule, f"eta {eta:g}") for eta in DEFAULT_ETAS)])

    @cached_property
    def candidates(self) -> dict[str, tuple[str, str]]:
        """The settings that race, by label, as schedule and sampler: the defaults, which need no tuning, lead."""
        schedules = [*self.schedules, *map(_to_zero, self.default_schedules)]
        product = [(schedule, label) for schedule in schedules for label in self.labels]
        single = [read_setting("settings", text) for text in self.single]
        return self.defaults | _by_label([*product, *single])

    def settings(self) -> Iterator[Setting]:
        """The race. Churn raises no level above the highest that the network knows."""
        from experiments.run.setup_warnings import unknown_levels

        for budget in self.budgets:
            raced: dict[Hashable, str] = {}  # what is run -> the setting that does it first
            for name, (text, label) in self.candidates.items():
                solver = self.labels.get(label) or parse_sampler(label)
                levels, final = self.schedule(text, budget)
                schedule = schedule_for_budget(budget, levels, solver, final)
                impossible = f"{label}: no schedule takes exactly {budget} evaluations"
                if schedule:
                    sigmas = schedule.sigmas()
                    solver = solver.below(self.span[1], sigmas)
                    first = raced.setdefault((sigmas, solver, final), name)
                    impossible = unknown_levels(solver, sigmas, self.span)
                    if not impossible and first != name:
                        impossible = f"it is the same as “{first}”"
                yield Setting(
                    name, schedule or levels, solver, RACE, final_denoise=final, budget=budget,
                    n=min(self.race_samples, self.n_samples), draw=self.search_seed * AGAIN, impossible=impossible,
                )  # fmt: skip

    def follow_up_settings(self, results: "RunResults", notify: Notify) -> Iterator[Setting]:
        """The default, the best of each race and the other defaults, on new images; the control of the last section."""
        again: Setting | None = None
        for key, sides in results.sides.items():
            section = f"{key[1]} evaluations"
            ran = sorted((side for side in sides.values() if side.whole), key=lambda side: side.score)
            runs = (run for run in results.runs if run.score_id in results.failed)
            with_failures = {run.setting.label for run in runs if (run.setting.section, run.setting.budget) == key}
            failed = [label for label in sides if label in with_failures]
            late = [label for label, side in sides.items() if not side.whole and label not in failed]
            notify(f"{section}: {len(ran)} of {len(sides)} settings ran, {min(len(ran), FINALISTS)} are kept")
            for reason, labels in (("the time was up", late), ("a run failed", failed)):
                if labels:
                    notify(f"{section}: left out, since {reason}: {', '.join(f'“{label}”' for label in labels)}")
            default, *others = self.defaults
            kept = dict.fromkeys([default, *(side.label for side in ran[:FINALISTS]), *others]) if ran else ()
            chosen = [results.find(sides[label]).setting for label in kept if label in sides and sides[label].rows]
            fresh: dict[str, Any] = {"section": section, "n": self.n_samples, "draw": self.search_seed * AGAIN + FRESH}
            yield from (replace(setting, **fresh) for setting in chosen)
            again = replace(chosen[0], **fresh) if chosen else again
        if again:
            yield replace(again, section=CONTROL, budget=None, draw=self.search_seed * AGAIN + 1)

    def compare(self, of: SidesBySection) -> Iterator[Comparison]:
        """The finalists against what is used without tuning; the set of the best; then single knobs, in the race."""
        last: Mapping[str, Side] = {}
        for (section, budget), sides in of.items():
            if section in (CONTROL, RACE):
                continue
            last = sides
            first = next((sides[name] for name in self.defaults if name in sides), None)
            if first:
                others = [side for side in sides.values() if side is not first]
                yield from (Contrast("tuned", side, first) for side in others)
                yield BestSet([first, *others])
            raced = [side for side in of.get((RACE, budget), {}).values() if side.whole]
            if raced:
                yield from self._knobs(raced)
        for again in of.get((CONTROL, None), {}).values():
            if again.label in last:
                yield control(again, last[again.label])

    def _knobs(self, raced: Sequence[Side]) -> Iterator[Contrast]:
        """In the race: every sampler on the schedule of the best setting, and every schedule with its sampler.

        Each is compared with the first of its kind. The best was chosen on these images, so its score is too good.
        """
        best = self.candidates[min(raced, key=lambda side: side.score).label]
        for kind, knob in (("sampler", 0), ("schedule", 1)):
            first, *others = (side for side in raced if self.candidates[side.label][knob] == best[knob])
            yield from (Contrast(kind, side, first) for side in others)

    def extra_tables(self, results: "RunResults") -> "Tables":
        """The race."""
        confirmed = {(run.setting.budget, run.setting.label) for run in results.runs if run.setting.section != RACE}
        shared = {"section": RACE, "metric": JUDGE, "n_samples": min(self.race_samples, self.n_samples)}
        races = (sides for (section, _), sides in results.sides.items() if section == RACE)
        return {
            "race.csv": [
                {"setting": side.label, "budget": side.budget, "value": side.score}
                | {"left": (side.budget, side.label) in confirmed} | shared
                for sides in races for side in sides.values() if side.whole
            ]
        }  # fmt: skip

    def after_write(self, folder: Path, results: "RunResults", tables: "Tables", notify: Notify) -> None:
        """Writes settings.json, and code to paste."""
        from experiments.export.export import write_settings

        write_settings(folder, results, tables.get("best_sets.csv", ()), notify, self.export)


def schedule_for_budget(budget: int, schedule: Schedule, solver: Sampler, final: bool) -> Schedule | None:
    """The schedule on which the sampler takes exactly `budget` evaluations, with `final` one of them a step to 0."""
    longest = schedule.within(budget - final, solver)
    try:
        return longest if solver.planned_nfe(longest.sigmas()) + final == budget else None
    except ValueError:  # it suits no schedule of this rule
        return None


def _by_label(pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, str]]:
    return {f"{schedule}, {label}": (schedule, label) for schedule, label in pairs}


def _to_zero(schedule: str) -> str:
    return f"{schedule[:-1]}, end=0)" if schedule.endswith(")") else f"{schedule}(end=0)"
