"""Is beta > 0 really better than beta = 0? On one schedule, and the best of either kind within equal evaluations.

    python -m experiments beta                      laptop: about 5 minutes on two CPU cores
    python -m experiments beta --preset smoke       about 20 seconds: does everything work here?
    python -m experiments beta --preset gpu         60,000 digits, five networks, 10,000 to 20,000 samples per run

The primary contrast is fixed beforehand in the presets: eta = 1 against eta = 0 on the geometric schedule of 66 steps
from 30 to 0.03, by MMD. Then, within 8, 16, 32 and 66 evaluations, the best setting with fresh noise against the best
without: other networks chose both. The curves over beta, eta and evaluations show values, and are not tested.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from diffusion_core.samplers.dialects import eta_from_beta
from diffusion_core.samplers.euler import Euler
from diffusion_core.schedules.sigma import alpha_beta_ratio, alpha_beta_schedule
from experiments.candidates import Candidates
from experiments.distances.feature_spaces import default_features
from experiments.run.options import option_help
from experiments.run.pairs import Pair
from experiments.run.study import (
    EXPLORE_GPU,
    EXPLORE_SMOKE,
    GPU,
    SMOKE,
    HiddenOption,
    Presets,
    Study,
    keys_of,
    price_pair,
)
from experiments.settings import Schedule, Setting
from experiments.user.json_io import read_json
from reports.schema import CONFIRM, PRIMARY, RIVAL, WITH, WITHOUT

if TYPE_CHECKING:
    import pandas as pd

SIZES = ("train_images", "warmup_images", "seeds", "n_samples")
CURVES = ("same-alpha", "same-schedule", "pareto")  # their sections
CURVE_SAMPLES = 150  # images per setting of a curve, from one network
SHIPPED = Path(__file__).parent / "choices"  # choices.json by data set, of runs of this command


@dataclass(frozen=True)
class Beta(Candidates):
    """The options of the experiment: the noise that is put back, at equal alpha, on one schedule, and at equal cost."""

    question = "Does fresh noise in every step give better images?"
    text = (
        "Trains networks, samples with and without fresh noise, scores the samples and writes a report. Compares on "
        "one schedule, and the best settings of both kinds within equal evaluations. An interrupted run continues with "
        "the same command."
    )
    page = "beta"
    within = True
    kinds = (WITHOUT, WITH)
    presets: ClassVar[Presets] = {
        "smoke": {
            **SMOKE,
            **EXPLORE_SMOKE,
            "n_steps": 4,
            "alpha": 0.8,
            "betas": (0.0, 0.4),
            "curve_etas": (0.0, 1.0),
            "budgets": (8, 16),
            "schedules": ("linear",),
            "samplers": (),
            "etas": (0.0, 1.0),
            "last_levels": (0.03,),
        },
        "laptop": {
            "train_images": 50_000,
            "seeds": 5,
            "confirm_samples": 250,
        },  # a statement on such networks in general
        "gpu": {**GPU, **EXPLORE_GPU, "n_samples": 20_000, "confirm_samples": 10_000},
    }
    minutes = "5 minutes on two cores; 25 to explore"
    examples: ClassVar[Mapping[str, str]] = {
        "": "the main comparison, in minutes",
        "--preset smoke": "does everything work here? 20 seconds",
        "--only-primary --data mnist": "the comparison that was fixed beforehand, on 60,000 digits",
    }

    n_samples: int = 500
    """Images per network and setting of the primary contrast."""
    choices: Annotated[Path | None, option_help("FILE|none", "what ships for the data, if it suits")] = None
    """choices.json of an earlier run: what it chose is confirmed. Nothing is explored; its networks must be others.
    none: explore."""
    budgets: tuple[int, ...] = (8, 16, 32, 66)
    """Network evaluations within which the best compete. Curves have eta 0 and 1 at each."""
    only_primary: bool = False
    """Only eta 1 against eta 0."""
    n_steps: int = 66
    """Steps of the primary contrast's schedule."""
    sigma_min: Annotated[float | None, option_help("SIGMA", "0.03; 0.003 where the features see noise")] = None
    """Last level of the primary contrast. And of the curves; the settings that compete have --last-levels."""
    betas: tuple[float, ...] = (0.0, 0.2, 0.3, 0.35)
    """Betas of the curve at alpha = 0.1. Beta is the fresh noise, alpha the noise that a step removes, both as a share
    of sigma. 0 is always added."""
    curve_etas: tuple[float, ...] = (0.0, 0.5, 1.0, 1.4, 2.0)
    """Etas of the curve. On the schedule of the primary contrast; 0 and 1 are always added."""
    alpha: HiddenOption[float] = 0.1  # in section same-alpha

    @property
    def size(self) -> str:
        return f"{super().size} of the primary contrast"

    @property
    def schedule(self) -> Schedule:
        """The schedule of the primary contrast."""
        return Schedule(n_steps=self.n_steps, sigma_min=self.lowest if self.sigma_min is None else self.sigma_min)

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Adds whether the primary contrast is that of a preset, chosen before any result; what differs from that."""
        presets = [type(self)(**self.presets[name]) for name in ("laptop", "gpu")]
        named = self if self.features != default_features(self.data) else replace(self, features=None)
        differ = [{f.name for f in fields(Study) if getattr(named, f.name) != getattr(p, f.name)} for p in presets]
        last = {"last level"} if self.schedule.sigma_min != self.lowest else set()
        words = [
            sorted({"sizes" if name in SIZES else name.replace("_", " ") for name in names | last}) for names in differ
        ]
        fixed = replace(self.schedule, sigma_min=presets[0].schedule.sigma_min) == presets[0].schedule
        changed = min(words, key=len) if fixed else []
        formulas = {} if self.only_primary else super().provenance
        return {**formulas, "fixed_beforehand": fixed, "differs_from_preset": changed}

    @property
    def choices_path(self) -> Path | None:
        if self.only_primary or self.choices:
            return None if self.only_primary else super().choices_path
        return self._shipped

    @property
    def explorers(self) -> Sequence[int]:
        return () if self.only_primary else super().explorers

    @property
    def _shipped(self) -> Path | None:
        """The choices that ship for this question, if there are any."""
        path = SHIPPED / f"{self.data}.json"
        usual = Beta(data=self.data)
        names = ("network", "recipe", "features", "feature_weights", "images")
        if any(getattr(self, name) != getattr(usual, name) for name in names) or not path.is_file():
            return None
        content = read_json(path)
        suits = {*self.budgets} <= {choice["budget"] for choice in content["chosen"]}
        return path if suits and not {*self.confirmers} & {*content["seeds"]} else None

    def settings(self) -> Iterator[Setting]:
        """The primary contrast; then the curves."""
        schedule = self.schedule
        for eta in (0.0, 1.0):
            yield Setting(f"eta {eta:g}", schedule, Euler(eta), PRIMARY)
        if self.only_primary:
            return
        for beta in sorted({0.0, *self.betas}):
            *_, last = levels = alpha_beta_schedule(self.alpha, beta, schedule.sigma_max, schedule.sigma_min)
            same_alpha = replace(schedule, n_steps=len(levels) - 1, sigma_min=float(f"{last:.6g}"))
            eta = eta_from_beta(beta, alpha_beta_ratio(self.alpha, beta))
            yield Setting(f"beta {beta:g}", same_alpha, Euler(float(f"{eta:.6g}")), CURVES[0])
        for eta in sorted({0.0, 1.0, *self.curve_etas}):
            yield Setting(f"eta {eta:g}", schedule, Euler(eta), CURVES[1])
        for budget, eta in itertools.product(self.budgets, (0.0, 1.0)):
            shorter = replace(schedule, n_steps=budget)
            yield Setting(f"eta {eta:g}", shorter, Euler(eta), CURVES[2], budget=budget)

    def sizes(self, section: str) -> tuple[int, int | None]:
        return (min(CURVE_SAMPLES, self.n_samples), 1) if section in CURVES else super().sizes(section)

    def explore(self) -> Iterator[Setting]:
        yield from () if self.only_primary else super().explore()

    def kind_of(self, setting: Setting) -> str:
        return self.kinds[setting.sampler.adds_noise(setting.schedule.sigmas())]

    def pairs(self, settings: Sequence[Setting]) -> Iterator[Pair]:
        """Yields the primary contrast."""
        primary = [setting for setting in settings if setting.section == PRIMARY]
        for without, having in [primary] if len(primary) == 2 else ():
            yield Pair("Fresh noise on the geometric schedule", having, without, PRIMARY, RIVAL)

    def confirm_pairs(self, chosen: "pd.DataFrame") -> Iterator[Pair]:
        """Yields within each number of evaluations the best with noise against the best without; then their price."""
        best = {(row.within, row.kind): keys_of(row) for row in chosen.itertuples()}
        for within in dict.fromkeys(chosen["within"]):
            a, b = (best.get((within, kind)) for kind in (WITH, WITHOUT))
            if a and b:
                question = "The best with fresh noise against the best without"
                yield Pair(question, a, b, CONFIRM, RIVAL, within=within)
        yield from price_pair(chosen)
