"""Is beta > 0 really better than beta = 0? At equal alpha, on an equal schedule, and for an equal budget.

    python -m experiments beta                      laptop: about 5 minutes on two CPU cores
    python -m experiments beta --preset smoke       about 20 seconds: does everything work here?
    python -m experiments beta --preset gpu         60,000 digits, five networks, 10,000 to 20,000 samples per run

The primary contrast is fixed beforehand in the presets: eta = 1 against eta = 0 on the geometric schedule of 66 steps
from 30 to 0.03, by MMD. So is a second family: with 8, 16, 32 and 66 evaluations the best setting with fresh noise
against the best without, chosen on other networks. All other contrasts are exploratory.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from diffusion_core.samplers.euler import Euler
from diffusion_core.validation import check_range
from experiments.best import KINDS, Choice, as_choice, choose_best, make_setting, read_best
from experiments.export.settings_file import schedule_from
from experiments.run.compare import (
    BEST,
    CONTROL,
    PRIMARY,
    BestSet,
    Comparison,
    Contrast,
    Row,
    against_first,
    control,
    shared_seeds,
)
from experiments.run.options import option_help
from experiments.run.setting import AlphaBetaSchedule, Schedule, Setting
from experiments.run.study import GPU, SMOKE, HiddenOption, Notify, SidesBySection, Study
from reports.schema import JUDGE

if TYPE_CHECKING:
    from experiments.run.tables import RunResults, Tables

STEPS = 66  # of the primary contrast's schedule
LOWEST = 0.03  # its last level
LOWER = {"fashion-mnist": 0.003}  # last level that was chosen beforehand too: features of photographs see noise of 0.03
SIZES = ("train_images", "warmup_images", "seeds", "n_samples")
CHOOSE = "choose"  # section of the settings among which the first half of the networks chooses
ANYWHERE = "best-anywhere"  # section, and kind of contrast, of the best at any number of evaluations
OTHER_NOISE = 2  # draw of the best settings where no network is trained: the choice was made on the usual noise
CHOOSERS = 2  # networks that choose, at least
SCHEDULES = ("geometric", "linear", "vp", "karras")
SOLVERS = ("eta 0", "dpm++2m", "res-2m", "eta 1", "dpm++2m-sde", "er-sde")
# The best settings by data set: best.json of `schedules` with the schedules geometric, linear, vp and karras, each also
# with a last step to 0, and all samplers; 100,000 training images, 300 samples, networks of seeds 101 and 102.
CHOICES: Mapping[str, Choice] = {
    "mnist5k": Choice(
        {
            8: ("linear(end=0), res-2m", "linear(end=0), dpm++2m-sde"),
            16: ("linear(end=0), dpm++2m", "geometric(end=0), dpm++2m-sde"),
            32: ("linear(end=0), res-2s", "linear, eta 1"),
            66: ("linear(end=0), res-2s", "geometric(end=0), dpm++2m-sde"),
        },
        anywhere=(8, 8),
        seeds=(101, 102),
    ),
    "mnist": Choice(
        {
            8: ("linear(end=0), res-2m", "linear(end=0), dpm++2m-sde"),
            16: ("linear(end=0), dpm++2m", "karras(end=0), dpm++2m-sde"),
            32: ("linear(end=0), eta 0", "linear(end=0), eta 1"),
            66: ("linear(end=0), res-2s", "linear(end=0), eta 1"),
        },
        anywhere=(8, 8),
        seeds=(101, 102),
    ),
}


@dataclass(frozen=True)
class Beta(Study):
    """What the experiment varies: the noise that is put back, at equal alpha, on one schedule, and at equal cost."""

    question = "Does fresh noise in every step give better images?"
    text = (
        "Trains networks, samples with and without fresh noise, scores the samples and writes a report. Compares on "
        "one schedule, at equal alpha, and the best settings at equal cost. An interrupted run goes on with the same "
        "command."
    )
    page = "beta"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "smoke": {
            **SMOKE,
            "explore_seeds": 2,
            "n_steps": 4,
            "alpha": 0.8,
            "betas": (0.0, 0.4),
            "etas": (0.0, 1.0),
            "budgets": (8, 16),
        },
        "laptop": {"train_images": 50_000, "seeds": 5},  # enough for a statement on such networks in general
        "gpu": {**GPU, "n_samples": 20_000, "explore_seeds": 5, "explore_samples": 10_000, "best_samples": 10_000},
    }
    minutes = "about 5 minutes on two cores"
    examples: ClassVar[Mapping[str, str]] = {
        "": "the main comparison, in minutes",
        "--preset smoke": "does everything work here? 20 seconds",
        "--etas 0 0.5 1 --seeds 10": "fewer values, narrower intervals",
        "--only-primary --data mnist": "the comparison that was fixed beforehand, on 60,000 digits",
        "--network python:my_model:eps --setting runs/tune-laptop/settings.json --n-steps 16": "your network, as tuned",
    }

    n_samples: int = 500
    """Images per network and setting of the primary contrast and its A/A test."""
    explore_samples: int = 250
    """Images per network for all other settings."""
    explore_seeds: int = 1
    """Networks for the exploration: the first ones. The best settings get all."""
    best_samples: int = 250
    """Images per network for the best settings."""
    best: Annotated[Path | None, option_help("FILE", f"chosen beforehand for {', '.join(CHOICES)}")] = None
    """best.json of a run of schedules on other networks: the best settings without and with fresh noise to compare. For
    other data, the first half of four or more networks chooses."""
    budgets: tuple[int, ...] = (8, 16, 32, 66)
    """Network evaluations per image at which the best settings, and eta 0 and 1 on the primary schedule, compete."""
    only_primary: bool = False
    """Only eta 1 against eta 0, and the A/A test."""
    n_steps: Annotated[int | None, option_help("N", f"{STEPS}; with --setting its largest budget")] = None
    """Steps of the primary contrast's schedule. With --setting: one of its budgets."""
    sigma_min: Annotated[float | None, option_help("SIGMA", f"{LOWEST}; with --setting its own")] = None
    """Last level of the schedules. Lower it where features see the noise that is left, as those of photographs do."""
    setting: Annotated[Path | None, option_help("FILE", "none: geometric from 30 to --sigma-min")] = None
    """settings.json of a tune run: compare on its recommended schedule, one step per evaluation of its budget."""
    betas: tuple[float, ...] = (0.0, 0.2, 0.3, 0.35)
    """Values of beta at fixed alpha = 0.1. 0 is always added."""
    etas: tuple[float, ...] = (0.0, 0.5, 1.0, 1.4, 2.0)
    """Values of eta on the primary schedule. 0 and 1 are always added."""
    alpha: HiddenOption[float] = 0.1  # in section same-alpha

    def check(self) -> None:
        super().check()
        check_range("explore_samples", self.explore_samples, 1)
        check_range("best_samples", self.best_samples, 1)
        check_range("explore_seeds", self.explore_seeds, 0)
        if self.setting and self.sigma_min is not None:
            raise ValueError("sigma_min, setting: the setting has its own schedule; give one of them")

    @property
    def size(self) -> str:
        most = f"{self.n_samples:,} samples"
        if self.explore_samples >= self.n_samples:
            return super().size
        return super().size.replace(most, f"{self.explore_samples:,} to {most}")

    @cached_property
    def schedule(self) -> Schedule:
        if self.setting:
            return schedule_from(self.setting, self.n_steps, self)
        return Schedule(
            n_steps=STEPS if self.n_steps is None else self.n_steps,
            sigma_min=LOWEST if self.sigma_min is None else self.sigma_min,
        )

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Whether the primary contrast is that of a preset, chosen before any result; what else differs from that."""
        presets = [type(self)(**self.presets[name]) for name in ("laptop", "gpu")]
        differ = [[f.name for f in fields(Study) if getattr(self, f.name) != getattr(p, f.name)] for p in presets]
        words = [sorted({"sizes" if name in SIZES else name.replace("_", " ") for name in names}) for names in differ]
        usual = presets[0].schedule
        ends = (usual, replace(usual, sigma_min=LOWER.get(self.data, LOWEST)))
        fixed = not self.setting and self.schedule in ends
        return {"fixed_beforehand": fixed, "differs_from_preset": min(words, key=len) if fixed else []}

    @property
    def notes(self) -> Sequence[str]:
        schedule = self.schedule
        notes = list[str]()
        if self.setting:
            notes.append(f"the schedule is {schedule.name}, {schedule.n_steps} steps, from {self.setting}")
        elif schedule.sigma_min == LOWER.get(self.data):
            notes.append(f"the last level for {self.data}, {schedule.sigma_min:g}, was chosen beforehand too")
        if self.only_primary:
            return notes
        remedy = f"it needs --best FILE, the best.json of schedules --data {self.data} --network {self.network}"
        if self.choosers:
            networks = f"{self.choosers} of {self.seeds} networks"
            return [*notes, f"the best settings were chosen on {networks}, and tested on the others"]
        lacking = [budget for budget in self.budgets if not self.choice or budget not in self.choice[0].pairs]
        if self.choice and len(lacking) < len(self.budgets):
            where = "on other networks" if self.trains else "on this network with other noise"
            notes.append(f"the best settings were chosen beforehand, {where}{f': {self.best}' if self.best else ''}")
        if lacking:
            which = f" with {', '.join(map(str, lacking))} evaluations" if len(lacking) < len(self.budgets) else ""
            notes.append(f"best against best is left out{which}; {remedy}")
        return notes

    @property
    def choosers(self) -> int:
        """How many networks choose the best settings, where nothing else does; 0 if they are too few to test them."""
        alone = self.trains and not self.best and not self.only_primary and self.data not in CHOICES
        return self.seeds // 2 if alone and self.seeds >= 2 * CHOOSERS else 0

    @cached_property
    def choice(self) -> tuple[Choice, Schedule] | None:
        """The best settings, if they are known before the run, and the ends of their schedules.

        ValueError as in `read_best`, and if networks of this run chose them.
        """
        if self.only_primary or not (self.best or (self.trains and self.data in CHOICES)):
            return None
        if self.best:
            choice, ends = read_best(self.best, self.budgets, self)
        else:
            choice = CHOICES[self.data]
            ends = Schedule(sigma_min=LOWER.get(self.data, LOWEST))
        if shared := sorted({*range(self.first_seed, self.first_seed + self.seeds)} & {*choice.seeds}):
            raise ValueError(f"first_seed={self.first_seed}: networks {shared} chose the best settings; take others")
        return choice, ends

    def settings(self) -> Iterator[Setting]:
        schedule = self.schedule
        for eta in (0.0, 1.0):
            yield Setting(f"eta {eta:g}", schedule, Euler(eta), PRIMARY)
        yield Setting("eta 0", schedule, Euler(0.0), CONTROL, draw=1)
        if self.choice:
            yield from self._best(*self.choice)
        if self.choosers:
            n = min(self.explore_samples, self.n_samples)
            for budget, *names in itertools.product(self.budgets, SCHEDULES, SOLVERS):
                setting = make_setting(", ".join(names), budget, schedule, self.data_std)
                yield replace(setting, networks=self.choosers, section=CHOOSE, n=n)
        if self.explore_seeds and not self.only_primary:
            yield from self._exploration()

    def follow_up_settings(self, results: "RunResults", notify: Notify) -> Iterator[Setting]:
        """The best settings of the networks that choose, on the others."""
        raced = {key: sides for key, sides in results.sides.items() if key[0] == CHOOSE}
        if best := choose_best(results, raced):
            yield from self._best(as_choice(best), self.schedule)

    def _best(self, choice: Choice, ends: Schedule) -> Iterator[Setting]:
        """The best settings without and with fresh noise for each number of evaluations.

        Then those at any number, if the numbers differ: otherwise they are compared already.
        """
        few: dict[str, Any] = {"n": min(self.best_samples, self.n_samples), "skip": self.choosers}
        few["draw"] = 0 if self.trains else OTHER_NOISE
        for budget in self.budgets:
            for text in choice.pairs.get(budget, ()):
                yield replace(make_setting(text, budget, ends, self.data_std), section=BEST, **few)
        if len({*choice.anywhere}) > 1 and {*choice.anywhere} <= {*self.budgets}:
            for text, budget in choice.best:
                setting = make_setting(text, budget, ends, self.data_std)
                yield replace(setting, section=ANYWHERE, budget=None, **few)

    def _exploration(self) -> Iterator[Setting]:
        """All settings with fewer networks: at equal alpha, on one schedule, and on shorter ones."""
        schedule = self.schedule
        few: dict[str, Any] = {"n": min(self.explore_samples, self.n_samples), "networks": self.explore_seeds}
        for eta in (0.0, 1.0):
            yield Setting(f"eta {eta:g}", schedule, Euler(eta), "final-denoise", final_denoise=True, **few)
        for beta in sorted({0.0, *self.betas}):
            rule = AlphaBetaSchedule(self.alpha, beta, sigma_min=schedule.sigma_min)
            yield Setting(f"beta {beta:g}", rule, rule.sampler, "same-alpha", **few)
        for eta in sorted({0.0, 1.0, *self.etas}):
            yield Setting(f"eta {eta:g}", schedule, Euler(eta), "same-schedule", **few)
        for budget in self.budgets:
            for eta in (0.0, 1.0):
                shorter = replace(schedule, n_steps=budget)
                yield Setting(f"eta {eta:g}", shorter, Euler(eta), "pareto", budget=budget, **few)

    def extra_tables(self, results: "RunResults") -> "Tables":
        """Quality against evaluations: MMD of settings with its interval; and what fresh noise does to recall."""
        from experiments.distances.intervals import estimate_pairs

        rows = list[Row]()
        for (section, budget), sides in results.sides.items():
            if section not in (BEST, "pareto") or len(sides) != len(KINDS):
                continue
            for kind, side in zip(KINDS, sides.values(), strict=True):
                distances = [by_metric[JUDGE] for by_metric in side.distances.values()]
                if not distances:
                    continue
                score = estimate_pairs([(distance, distance - distance) for distance in distances])
                row: Row = {"section": section, "budget": budget, "setting": side.label, "metric": JUDGE}
                row["curve"] = f"best {kind} fresh noise" if section == BEST else side.label
                rows.append(row | {"value": score.difference, "low": score.low, "high": score.high})
        return {"quality.csv": [*rows, *self._change_of_recall(results)]}

    def _change_of_recall(self, results: "RunResults") -> Iterator[Row]:
        """What fresh noise does to recall, over networks."""
        from experiments.distances.intervals import estimate

        sides = [*results.sides.get((PRIMARY, None), {}).values()]
        if len(sides) < 2 or len(seeds := shared_seeds(sides)) < 2:
            return
        before, after = ([side.rows[seed]["recall"] for seed in seeds] for side in sides)
        changes = [b - a for a, b in zip(before, after, strict=True)]
        change = estimate(mean(changes), stdev(changes) / len(seeds) ** 0.5, len(seeds) - 1.0, "")
        row = {"section": PRIMARY, "setting": sides[1].label, "metric": "recall"}
        yield row | {"value": change.difference, "low": change.low, "high": change.high}

    def compare(self, of: SidesBySection) -> Iterator[Comparison]:
        """The primary contrast and its A/A control, then the exploratory contrasts."""
        primary = of.get((PRIMARY, None), {})
        if len(primary) == 2:
            yield Contrast(PRIMARY, primary["eta 1"], primary["eta 0"])
            for again in of.get((CONTROL, None), {}).values():
                yield control(again, primary["eta 0"])
        for (section, _), sides in of.items():
            if section in (BEST, ANYWHERE, "final-denoise", "pareto") and len(sides) == 2:
                yield from against_first(section, [*sides.values()])
            elif section in ("same-alpha", "same-schedule"):
                yield from against_first(section, [*sides.values()])
                yield BestSet([*sides.values()])
