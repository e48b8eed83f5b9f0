"""Is beta > 0 really better than beta = 0? At equal alpha, on an equal ladder, and for an equal budget.

    python -m experiments beta                      laptop: about 5 minutes on two CPU cores
    python -m experiments beta --preset smoke       about 20 seconds: does everything work here?
    python -m experiments beta --preset gpu         60,000 digits, five networks, 10,000 to 20,000 samples per run

The primary contrast is fixed beforehand in the presets: eta = 1 against eta = 0 on the geometric ladder of 66 steps
from 30 to 0.03, by MMD. All other contrasts are exploratory.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar

from diffusion_core.registry import SAMPLERS
from diffusion_core.samplers.euler import Euler
from diffusion_core.schedules import SCHEDULES
from diffusion_core.validation import check_range
from experiments.export.settings_file import ladder_from
from experiments.run.compare import CONTROL, PRIMARY, BestSet, Comparison, Contrast, Side, against_first, control
from experiments.run.options import names_option, option_help
from experiments.run.setting import AlphaBetaLadder, Ladder, Setting, read_ladder
from experiments.run.study import GPU, SMOKE, HiddenOption, SidesBySection, Study
from experiments.user.parsing import SYNONYMS, parse_sampler

STEPS, LOWEST = 66, 0.03  # of the primary contrast's ladder
OTHERS = "Noise schedules on which fresh noise and DPM++ 2M without it are compared too: {names}."
OTHER = "other-levels"  # section of settings on them
OTHER_SAMPLERS = {"eta 0": "ddim", "eta 1": "ddpm", "dpm++2m": "dpm++2m"}  # the first is the baseline
SIZES = ("train_images", "warmup_images", "seeds", "n_samples")
SOLVERS = "Further samplers that eta 1 is compared with, in as many evaluations: {names}."


@dataclass(frozen=True)
class Beta(Study):
    """What the experiment varies: the noise that is put back, at equal alpha, on one ladder, and at equal cost."""

    question: ClassVar[str] = "Does fresh noise in every step give better images?"
    text: ClassVar[str] = (
        "Trains networks, samples with and without fresh noise, scores the samples and writes a report. Compares at "
        "equal alpha, on one ladder, and at equal cost. An interrupted run goes on with the same command."
    )
    page: ClassVar[str] = "beta"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "smoke": {**SMOKE, "explore_seeds": 2, "n_steps": 4, "alpha": 0.8, "betas": (0.0, 0.4), "etas": (0.0, 1.0)}
        | {"pareto_steps": (2, 4), "pareto_etas": (0.0, 1.0), "other_steps": (2, 4)},
        "laptop": {"train_images": 50_000, "seeds": 5},  # enough for a statement on such networks in general
        "gpu": {**GPU, "n_samples": 20_000, "explore_seeds": 5, "explore_samples": 10_000},
    }
    minutes: ClassVar[str] = "about 5 minutes on two cores"
    examples: ClassVar[Mapping[str, str]] = {
        "": "the main comparison, in minutes",
        "--preset smoke": "does everything work here? 20 seconds",
        "--etas 0 0.5 1 --seeds 10": "fewer values, narrower intervals",
        "--only-primary --data mnist": "the comparison that was fixed beforehand, on 60,000 digits",
        "--network python:my_model:eps --setting runs/tune-laptop/settings.json --n-steps 16": "your network, as tuned",
    }

    n_samples: int = 500
    """Images per network and setting of the primary contrast and its A/A control."""
    explore_samples: int = 250
    """Images per network for all other settings."""
    explore_seeds: int = 1
    """Networks for all other settings: the first ones."""
    solvers: Annotated[tuple[str, ...], names_option(SOLVERS, [*SAMPLERS, *SYNONYMS])] = ("heun", "dpm++2m")
    only_primary: bool = False
    """Only eta 1 against eta 0, and the A/A control."""
    n_steps: Annotated[int | None, option_help("N", f"{STEPS}; with --setting its largest budget")] = None
    """Steps of the primary contrast's ladder. With --setting: one of its budgets."""
    sigma_min: Annotated[float | None, option_help("SIGMA", f"{LOWEST}; with --setting its own")] = None
    """Last level of the ladders. Lower it where the features see the noise that is left, as those of photographs do."""
    setting: Annotated[Path | None, option_help("FILE", "none: geometric from 30 to --sigma-min")] = None
    """settings.json of a tune run: compare on the ladder that it recommends, one step per evaluation of its budget."""
    betas: tuple[float, ...] = (0.0, 0.2, 0.3, 0.35)
    """Values of beta at fixed alpha = 0.1. 0 is always added."""
    etas: tuple[float, ...] = (0.0, 0.5, 1.0, 1.4, 2.0)
    """Values of eta on the primary ladder. 0 and 1 are always added."""
    pareto_steps: tuple[int, ...] = (8, 16, 32, 66)
    """Lengths of the ladders on which quality is compared with cost."""
    pareto_etas: tuple[float, ...] = (0.0, 0.5, 1.0)
    """Values of eta on these ladders. 0 is always added."""
    other_ladders: Annotated[tuple[str, ...], names_option(OTHERS, SCHEDULES)] = ("linear",)
    other_steps: HiddenOption[tuple[int, ...]] = (8, 16, STEPS)  # lengths of these
    alpha: HiddenOption[float] = 0.1  # in section same-alpha

    def check(self) -> None:
        super().check()
        check_range("explore_samples", self.explore_samples, 1)
        check_range("explore_seeds", self.explore_seeds, 0)
        if self.setting and self.sigma_min is not None:
            raise ValueError("sigma_min, setting: the setting has its own ladder; give one of them")

    @property
    def size(self) -> str:
        few, most = min(self.explore_samples, self.n_samples), f"{self.n_samples:,} samples"
        return super().size.replace(most, f"{few:,} to {most}") if few < self.n_samples else super().size

    @cached_property
    def ladder(self) -> Ladder:
        if self.setting:
            return ladder_from(self.setting, self.n_steps, self)
        n_steps, sigma_min = STEPS if self.n_steps is None else self.n_steps, self.sigma_min
        return Ladder(n_steps=n_steps, sigma_min=LOWEST if sigma_min is None else sigma_min)

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Whether the primary contrast is that of a preset, chosen before any result; what else differs from that."""
        presets = [type(self)(**self.presets[name]) for name in ("laptop", "gpu")]
        differ = [[f.name for f in fields(Study) if getattr(self, f.name) != getattr(p, f.name)] for p in presets]
        words = [sorted({"sizes" if name in SIZES else name.replace("_", " ") for name in names}) for names in differ]
        fixed = not self.setting and any(self.ladder == preset.ladder for preset in presets)
        return {"fixed_beforehand": fixed, "differs_from_preset": min(words, key=len) if fixed else []}

    @property
    def notes(self) -> Sequence[str]:
        ladder = self.ladder
        return [f"the ladder is {ladder.name}, {ladder.n_steps} steps, from {self.setting}"] if self.setting else []

    def settings(self) -> Iterator[Setting]:
        ladder = self.ladder
        for eta in (0.0, 1.0):
            yield Setting(f"eta {eta:g}", ladder, Euler(eta), PRIMARY)
        yield Setting("eta 0", ladder, Euler(0.0), CONTROL, draw=1)
        if not self.only_primary:
            for text in self.solvers:
                solver, budget = parse_sampler(text), ladder.n_steps
                yield Setting(text, ladder.within(budget, solver), solver, "solvers", budget=budget)
            if self.explore_seeds:
                yield from self._exploration()

    def _exploration(self) -> Iterator[Setting]:
        """All settings with fewer images and networks: at equal alpha, on one ladder, on shorter and on other ones."""
        ladder = self.ladder
        few: dict[str, Any] = {"n": min(self.explore_samples, self.n_samples), "networks": self.explore_seeds}
        for eta in (0.0, 1.0):
            yield Setting(f"eta {eta:g}", ladder, Euler(eta), "final-denoise", final_denoise=True, **few)
        for beta in sorted({0.0, *self.betas}):
            rule = AlphaBetaLadder(self.alpha, beta, sigma_min=ladder.sigma_min)
            yield Setting(f"beta {beta:g}", rule, rule.sampler, "same-alpha", **few)
        for eta in sorted({0.0, 1.0, *self.etas}):
            yield Setting(f"eta {eta:g}", ladder, Euler(eta), "same-ladder", **few)
        for n_steps in self.pareto_steps:
            for eta in sorted({0.0, *self.pareto_etas}):
                shorter = replace(ladder, n_steps=n_steps)
                yield Setting(f"eta {eta:g}", shorter, Euler(eta), "pareto", budget=n_steps, **few)
        for n_steps in self.other_steps:
            for text in self.other_ladders:
                other, final = read_ladder(text, n_steps, self.data_std, ladder.sigma_max, ladder.sigma_min)
                for label, solver in ((label, parse_sampler(name)) for label, name in OTHER_SAMPLERS.items()):
                    within, own = other.within(n_steps - final, solver), {"budget": n_steps, **few}
                    yield Setting(f"{text}, {label}", within, solver, OTHER, final_denoise=final, **own)

    def compare(self, of: SidesBySection) -> Iterator[Comparison]:
        """The primary contrast and its A/A control, then the exploratory contrasts."""
        primary = of.get((PRIMARY, None), {})
        if len(primary) == 2:
            yield Contrast(PRIMARY, primary["eta 1"], primary["eta 0"])
            for again in of.get((CONTROL, None), {}).values():
                yield control(again, primary["eta 0"])
        for (section, _), sides in of.items():
            if section == "solvers" and "eta 1" in primary:
                yield from (Contrast(section, primary["eta 1"], solver) for solver in sides.values())
            elif section == "final-denoise" and len(sides) == 2:
                yield Contrast(section, sides["eta 1"], sides["eta 0"])
            elif section in ("same-alpha", "same-ladder", "pareto"):
                yield from against_first(section, [*sides.values()])
                yield BestSet([*sides.values()])
            elif section == OTHER:
                yield from self._on_other_levels(sides, of.get(("same-ladder", None), {}).get("eta 1"))

    def _on_other_levels(self, sides: Mapping[str, Side], noisy: Side | None) -> Iterator[Contrast]:
        """On each ladder fresh noise and DPM++ 2M against neither, and the latter against eta 1 on the primary one."""
        for text in self.other_ladders:
            own = [sides[name] for label in OTHER_SAMPLERS if (name := f"{text}, {label}") in sides]
            yield from against_first(OTHER, own)
            if noisy is not None and own:
                yield Contrast(OTHER, own[-1], noisy)
