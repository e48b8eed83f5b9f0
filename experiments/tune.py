"""Which sampler settings are best for this network, at each number of evaluations?

    python -m experiments tune --network python:my_model:eps --budgets 8 16 32
    python -m experiments tune                         networks trained here; laptop: minutes on two CPU cores
    python -m experiments tune --preset smoke          about 20 seconds: does everything work here?

The settings of ladders.py, and single ones, race at exactly the budget, on a few images. The best six and what is used
without tuning, the default, are compared on images of other noise. The best setting that is detectably better than the
default is recommended, else the default, and exported so that it can be pasted (export/).
"""

import math
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import tyro

from diffusion_core.samplers.base import Sampler
from diffusion_core.schedules import SCHEDULES
from diffusion_core.validation import check_range
from experiments.ladders import LADDERS, Ladders
from experiments.own.names import sampler
from experiments.run.compare import CONTROL, BestSet, Comparison, Contrast, Row, Side, control
from experiments.run.options import names, shown
from experiments.run.setting import Ladder, Setting, read_ladder
from experiments.run.study import GPU, SMOKE, Hidden, Of, Say
from reports.schema import RACE

if TYPE_CHECKING:
    from experiments.run.tables import ResultTables, RunResults

Library = Literal["torch", "diffusers", "json"]
UNITS = {"s": 1, "min": 60, "h": 3600}
FRESH, AGAIN = 2, 10  # draws of noise: of images that no race has seen; per --search-seed
FINALISTS = 6  # at most, per budget, besides the defaults
DEFAULT_ETAS = (0.0, 1.0)  # DDIM and DDPM, or ODE and SDE of a flow: what is used without tuning


@dataclass(frozen=True)
class Tune(Ladders):
    """What is tried, each at exactly the budget: ladders x samplers, and single settings."""

    question: ClassVar[str] = "Which sampler settings are best for this network, at each number of evaluations?"
    text: ClassVar[str] = (
        "1. The settings that people use race on a few images. 2. The best six are confirmed on images that the race "
        "did not see, against what is used without tuning (--default). 3. The best that is detectably better, or else "
        "the default, is recommended and exported, so that it can be pasted (--export). After an interrupt the same "
        "command goes on."
    )
    page: ClassVar[str] = "tune"
    uncounted: ClassVar[str] = f"the confirmation of the best {FINALISTS} on other images"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "smoke": {
            **SMOKE,
            "train_images": 1_920,  # after fewer, samples fail so grossly that nothing is recommended
            **{"ladders": ("vp", "karras"), "budgets": (4,), "etas": (0.0, 1.0), "samplers": ("heun",)},
            "single": ("karras, euler-split(1, 0, 0.5)",),
        },
        "laptop": {},
        "gpu": {**GPU, "race_samples": 1_000, "budgets": (8, 16, 32, 64)},
    }
    minutes: ClassVar[str] = "minutes on two cores"
    examples: ClassVar[Sequence[str]] = (
        "--network python:my_model:eps --budgets 8 16",
        "--preset smoke",
        "--n-samples 1500 --budgets 8 --time 20min",
        '--settings "karras(rho=5, sigma_max=20), heun(s_churn=1)" --export torch diffusers',
    )

    ladders: Annotated[tuple[str, ...], names(LADDERS, SCHEDULES)] = (  # vp: even steps in time, as in DDIM and DDPM
        "vp",
        "karras",
        "geometric",
        "cosine",
    )
    etas: tuple[float, ...] = (0.0, 0.5, 1.0)
    """Noise of the sampler euler. 0 (DDIM) and 1 (DDPM) are always added."""
    sigma_max: float = 30.0
    """First level of all ladders but ddpm's, in standard deviations of the data; lower if the network ends before."""
    sigma_min: float = 0.03
    """Last level; higher if the network ends before."""
    single: Annotated[
        tuple[str, ...],
        tyro.conf.arg(
            name="settings", metavar="[TEXT [TEXT ...]]", help_behavior_hint="(default: those of docs/models.md)"
        ),
    ] = (
        "vp(end=0), ddim",
        "karras(end=0), dpm++2m",
        "karras, heun(s_churn=1, s_min=0.1, s_noise=1.003)",  # s_noise of Karras et al. 2022, Table 5
        "karras, euler-churn(s_churn=2, s_min=0.1)",
        "karras, euler-within(1, 0.1, 3)",
        "karras, euler-split(1, 0, 0.5)",
        "karras, restart",
    )
    """Single settings besides, with noise in other forms or a last step to 0, as LADDER, SAMPLER: 'karras(rho=5,
    sigma_max=20, sigma_min=0.05), heun(s_churn=1)'. With end=0 the last evaluation is a step to sigma 0. Without a
    value: none."""
    default: Annotated[
        str | None, shown("TEXT", "DDIM on the first ladder; for a flow or DDPM's table, on its own levels")
    ] = None
    """The setting that you use today, as LADDER, SAMPLER: what is recommended is compared with it."""
    time: Annotated[str | None, shown("TIME", "no limit")] = None
    """Stop after this time, such as 10min: the race begins nothing after 60 % of it, and the confirmation nothing after
    its end. The report lists what did not run."""
    search_seed: int = 0
    """Another seed searches and confirms on other images."""
    export: Annotated[tuple[Library, ...] | None, shown("LIBRARY [LIBRARY ...]", "all that apply")] = None
    """Code to write besides settings.json, which is json: torch, diffusers."""
    race_samples: Hidden[int] = 166  # images per network in the race

    def __post_init__(self) -> None:
        object.__setattr__(self, "etas", tuple(sorted({*self.etas, *DEFAULT_ETAS})))

    def check(self) -> None:
        super().check()
        check_range("search_seed", self.search_seed, 0, 1_000_000)
        check_range("race_samples", self.race_samples, 1)
        _ = self.limit

    @property
    def limit(self) -> float:
        """The seconds of --time. ValueError for a text that is no duration such as 10min."""
        if self.time is None:
            return math.inf
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|min|h)", self.time.strip())
        if not match:
            raise ValueError(f"time={self.time!r}: it must read like 90s, 10min or 2h")
        return float(match[1]) * UNITS[match[2]]

    @property
    def notes(self) -> Sequence[str]:
        """Which settings do not take part in the race, and why: one text per reason and race."""
        absent: dict[tuple[int | None, str], list[str]] = {}
        for one in self.settings():
            if one.impossible:
                absent.setdefault((one.budget, one.impossible), []).append(f"“{one.label}”")
        return [
            f"not run: {', '.join(labels)}, {budget} evaluations: {why}" for (budget, why), labels in absent.items()
        ]

    @cached_property
    def known(self) -> tuple[float, float]:
        """The lowest and the highest level that the network knows."""
        return self._adapter.span if self._adapter else (0.0, math.inf)

    @cached_property
    def usual(self) -> tuple[str, ...]:
        """The schedules of the loops that networks of this kind come with."""
        return self._adapter.usual if self._adapter else ()

    @cached_property
    def _adapter(self) -> Any:
        from diffusion_core.data import resolve
        from experiments.run.networks import adapter_of

        return adapter_of(self.network, resolve(self.data), self.label) if ":" in self.network else None

    def ladder(self, text: str, n_steps: int) -> tuple[Ladder, bool]:
        high, low = min(self.sigma_max, self.known[1]), max(self.sigma_min, self.known[0])
        return read_ladder(text, n_steps, self.data_std, high, low)

    @cached_property
    def defaults(self) -> tuple[tuple[str, str], ...]:
        """What is used without tuning, the user's own first: DDIM, then DDPM, on the first or usual ladder."""
        ladder = _to_zero(self.usual[0]) if self.usual else self.ladders[0]
        own = [read_setting("default", self.default)] if self.default else []
        return (*own, *((ladder, f"eta {eta:g}") for eta in DEFAULT_ETAS))

    @cached_property
    def candidates(self) -> list[tuple[str, str]]:
        """The settings that race, as ladder and sampler: the defaults, which need no tuning, lead."""
        product = [(ladder, label) for ladder in self.ladders for label in self.labels]
        own = [(_to_zero(ladder), label) for ladder in self.usual for label in self.labels]
        single = [read_setting("settings", text) for text in self.single]
        return [*dict.fromkeys([*self.defaults, *product, *own, *single])]

    def settings(self) -> Iterator[Setting]:
        """The race. Churn raises no level above the highest that the network knows."""
        from experiments.run.setup_warnings import unknown_levels

        for budget in self.budgets:
            raced: dict[Hashable, str] = {}  # what is run -> the setting that does it first
            for text, label in self.candidates:
                one = self.labels.get(label) or sampler(label)
                levels, final = self.ladder(text, budget)
                name, ladder = f"{text}, {label}", exactly(budget, levels, one, final)
                why = "" if ladder else f"{label}: no ladder takes exactly {budget} evaluations"
                if ladder:
                    one = one.below(self.known[1], ladder.sigmas())
                    first = raced.setdefault((ladder.sigmas(), one, final), name)
                    why = unknown_levels(one, ladder.sigmas(), self.known)
                    why = why or ("" if first == name else f"it is the same as “{first}”")
                yield Setting(
                    name, ladder or levels, one, RACE, final_denoise=final, budget=budget,
                    n=min(self.race_samples, self.n_samples), draw=self.search_seed * AGAIN, impossible=why,
                )  # fmt: skip

    def then(self, results: "RunResults", say: Say) -> Iterator[Setting]:
        """The best of each race and the defaults, on images that no race saw; the A/A control of the last section.

        The default comes first, then the best: if the time is up too soon, these are compared.
        """
        first, *others = (f"{ladder}, {label}" for ladder, label in self.defaults)
        again: Setting | None = None
        for (_, budget), sides in results.sides.items():
            section = f"{budget} evaluations"
            ran = sorted((side for side in sides.values() if side.whole), key=_value)
            failed = [label for label, side in sides.items() if _failed(results, side)]
            late = [label for label, side in sides.items() if not side.whole and label not in failed]
            say(f"{section}: {len(ran)} of {len(sides)} settings ran, {min(len(ran), FINALISTS)} are kept")
            for why, labels in (("the time was up", late), ("a run failed", failed)):
                if labels:
                    say(f"{section}: left out, since {why}: {', '.join(f'“{label}”' for label in labels)}")
            kept = dict.fromkeys([first, *(side.label for side in ran[:FINALISTS]), *others]) if ran else ()
            chosen = [results.find(sides[label]).setting for label in kept if label in sides and sides[label].rows]
            fresh: dict[str, Any] = {"section": section, "n": self.n_samples, "draw": self._draw(FRESH)}
            yield from (replace(setting, **fresh) for setting in chosen)
            again = replace(chosen[0], **fresh) if chosen else again
        if again:
            yield replace(again, section=CONTROL, budget=None, draw=self._draw(1))

    def _draw(self, number: int) -> int:
        return self.search_seed * AGAIN + number

    def compare(self, of: Of) -> Iterator[Comparison]:
        """The finalists against what is used without tuning; the set of the best; then single knobs, in the race."""
        last: Mapping[str, Side] = {}
        for (section, budget), sides in of.items():
            if section in (CONTROL, RACE):
                continue
            last = sides
            names = (f"{ladder}, {label}" for ladder, label in self.defaults)
            first = next((sides[name] for name in names if name in sides), None)
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
        """In the race: every sampler on the ladder of the best setting, and every ladder with its sampler.

        Each is compared with the first of its kind. The best was chosen on these images, so it scores a little too well
        on them.
        """
        parts = {f"{text}, {label}": (text, label) for text, label in self.candidates}
        best = parts[min(raced, key=_value).label]
        for kind, knob in (("sampler", 0), ("ladder", 1)):
            same = [side for side in raced if parts[side.label][knob] == best[knob]]
            yield from (Contrast(kind, side, same[0]) for side in same[1:])

    def more(self, results: "RunResults") -> Mapping[str, Sequence[Row]]:
        """The race."""
        from reports.schema import JUDGE

        confirmed = {(run.setting.budget, run.setting.label) for run in results.runs if run.setting.section != RACE}
        return {
            "race.csv": [
                {"section": RACE, "setting": side.label, "budget": budget, "metric": JUDGE, "value": _value(side)}
                | {"n_samples": min(self.race_samples, self.n_samples), "left": (budget, side.label) in confirmed}
                for (section, budget), sides in results.sides.items()
                if section == RACE
                for side in sides.values()
                if side.whole
            ]
        }

    def finish(self, folder: Path, results: "RunResults", tables: "ResultTables", say: Say) -> None:
        """Writes settings.json, and code to paste."""
        from experiments.export.export import write_settings

        write_settings(folder, results, tables.tables.get("best_sets.csv", ()), say, self.export)


def read_setting(option: str, text: str) -> tuple[str, str]:
    """The ladder and the sampler that a text names. ValueError if it has not two parts."""
    parts = [part.strip() for part in re.split(r",(?![^(]*\))", text)]  # at commas that are in no bracket
    if len(parts) != 2 or not all(parts):
        example = "'karras(rho=5, sigma_max=20, end=0), heun(s_churn=1)'"
        raise ValueError(f"{option}={text!r}: it must be a ladder and a sampler, such as {example}")
    return parts[0], parts[1]


def exactly(budget: int, ladder: Ladder, one: Sampler, final: bool) -> Ladder | None:
    """The ladder of this schedule on which the sampler takes exactly `budget` evaluations, else None.

    `final`: whether the last evaluation is a step to 0, after the ladder.
    """
    longest = ladder.within(budget - final, one)
    try:
        return longest if one.planned_nfe(longest.sigmas()) + final == budget else None
    except ValueError:  # it suits no ladder of this schedule
        return None


def _to_zero(ladder: str) -> str:
    """The name of a ladder with a last step to 0."""
    return f"{ladder[:-1]}, end=0)" if ladder.endswith(")") else f"{ladder}(end=0)"


def _value(side: Side) -> float:
    """The mean of the metric that decides, over networks."""
    from reports.schema import JUDGE

    values = [float(row[JUDGE]) for row in side.rows.values()]
    return sum(values) / len(values)


def _failed(results: "RunResults", side: Side) -> bool:
    place = (side.section, side.budget, side.label)
    same = (run for run in results.runs if (run.setting.section, run.setting.budget, run.setting.label) == place)
    return any(run.score_id in results.failed for run in same)
