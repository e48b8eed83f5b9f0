"""`beta` as a study of experiments/run, for the comparison of both engines."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from diffusion_core.samplers import Euler
from experiments.own import names
from experiments.run.compare import BestSet, Comparison, Contrast, against_first, control
from experiments.run.setting import AlphaBetaLadder, Ladder, Setting
from experiments.run.study import GPU, SMOKE, Of, Study

FIXED = ("data", "train_images", "recipe", "seeds", "first_seed", "n_samples", "n_steps", "sigma_min", "features")


@dataclass(frozen=True)
class Beta(Study):
    """Trains networks, samples with and without fresh noise, scores the samples and writes a report."""

    question: ClassVar[str] = "Is beta > 0 better than beta = 0?"
    page: ClassVar[str] = "beta"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "smoke": {**SMOKE, "explore_seeds": 2, "n_steps": 4, "alpha": 0.8, "betas": (0.0, 0.4), "etas": (0.0, 1.0)}
        | {"pareto_steps": (2, 4), "pareto_etas": (0.0, 1.0)},
        "laptop": {"train_images": 50_000, "seeds": 5},
        "gpu": {**GPU, "n_samples": 20_000, "explore_seeds": 5, "explore_samples": 10_000},
    }

    explore_samples: int = 250
    explore_seeds: int = 1
    solvers: tuple[str, ...] = ("heun", "dpm++2m")
    only_primary: bool = False
    n_steps: int = 66
    sigma_min: float = 0.03
    betas: tuple[float, ...] = (0.0, 0.2, 0.3, 0.35)
    etas: tuple[float, ...] = (0.0, 0.5, 1.0, 1.4, 2.0)
    pareto_steps: tuple[int, ...] = (8, 16, 32, 66)
    pareto_etas: tuple[float, ...] = (0.0, 0.5, 1.0)
    alpha: float = 0.1

    def settings(self) -> Iterator[Setting]:
        ladder = Ladder(n_steps=self.n_steps, sigma_min=self.sigma_min)
        for eta in (0.0, 1.0):
            yield Setting(f"eta {eta:g}", ladder, Euler(eta), "primary")
        yield Setting("eta 0", ladder, Euler(0.0), "control", control=True)
        if self.only_primary:
            return
        for text in self.solvers:
            solver = names.sampler(text)
            yield Setting(text, ladder.within(self.n_steps, solver), solver, "solvers", budget=self.n_steps)
        few: dict[str, Any] = {"n": min(self.explore_samples, self.n_samples), "networks": self.explore_seeds}
        for eta in (0.0, 1.0):
            yield Setting(f"eta {eta:g}", ladder, Euler(eta), "final-denoise", final_denoise=True, **few)
        for beta in sorted({0.0, *self.betas}):
            rule = AlphaBetaLadder(self.alpha, beta, sigma_min=self.sigma_min)
            yield Setting(f"beta {beta:g}", rule, rule.sampler, "same-alpha", **few)
        for eta in sorted({0.0, 1.0, *self.etas}):
            yield Setting(f"eta {eta:g}", ladder, Euler(eta), "same-ladder", **few)
        for n_steps in self.pareto_steps:
            shorter = Ladder(n_steps=n_steps, sigma_min=self.sigma_min)
            for eta in sorted({0.0, *self.pareto_etas}):
                yield Setting(f"eta {eta:g}", shorter, Euler(eta), "pareto", budget=n_steps, **few)

    def compare(self, of: Of) -> Iterator[Comparison]:
        primary = of["primary", None]
        yield Contrast("primary", primary["eta 1"], primary["eta 0"])
        yield control(of["control", None]["eta 0"], primary["eta 0"])
        for (group, _), sides in of.items():
            if group == "solvers":
                yield from (Contrast(group, primary["eta 1"], solver) for solver in sides.values())
            elif group == "final-denoise":
                yield Contrast(group, sides["eta 1"], sides["eta 0"])
            elif group not in ("primary", "control"):
                yield from against_first(group, [*sides.values()])
                yield BestSet([*sides.values()])

    @property
    def fixed_beforehand(self) -> bool:
        presets = (Beta(**self.presets[name]) for name in ("laptop", "gpu"))
        return any(all(getattr(self, name) == getattr(preset, name) for name in FIXED) for preset in presets)
