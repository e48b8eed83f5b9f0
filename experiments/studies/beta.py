"""What `beta` varies."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from diffusion_core.catalogue import SAMPLERS
from experiments.config.study import GPU, SMOKE, Command, Hidden, Study, names, shown
from experiments.own.names import SYNONYMS

if TYPE_CHECKING:
    from experiments.config.config import Ladder
else:
    Ladder = Any


SOLVERS = "Further samplers that eta 1 is compared with, in as many evaluations: {names}."


@dataclass(frozen=True)
class BetaStudy(Study):
    """What the experiment varies: the noise that is put back, at equal alpha, on one ladder, and at equal cost."""

    n_samples: int = 500
    """Images per network and setting of the primary contrast and its A/A control."""
    explore_samples: int = 250
    """The same of all other settings, at most --n-samples."""
    explore_seeds: int = 1
    """Networks from which all settings but the primary contrast are sampled: the first ones."""
    solvers: Annotated[tuple[str, ...], names(SOLVERS, [*SAMPLERS, *SYNONYMS])] = ("heun", "dpm++2m")
    only_primary: bool = False
    """Run the primary contrast and its A/A control only."""
    n_steps: int = 66
    """Steps of the primary contrast's ladder. With --setting: one of its budgets, by default the largest."""
    sigma_min: float = 0.03
    """Last level of the ladders. Lower it where the features see the noise that is left, as those of photographs do."""
    setting: Annotated[Path | None, shown("FILE", "none: geometric from 30 to --sigma-min")] = None
    """settings.json of a tune run: compare on the ladder that it recommends, one step per evaluation of its budget."""
    betas: tuple[float, ...] = (0.0, 0.2, 0.3, 0.35)
    """Values of beta at fixed alpha = 0.1. 0 is always added."""
    etas: tuple[float, ...] = (0.0, 0.5, 1.0, 1.4, 2.0)
    """Values of eta on the primary ladder. 0 and 1 are always added."""
    pareto_steps: tuple[int, ...] = (8, 16, 32, 66)
    """Lengths of the ladders on which quality is compared with cost."""
    pareto_etas: tuple[float, ...] = (0.0, 0.5, 1.0)
    """Values of eta on these ladders. 0 is always added."""
    alpha: Hidden[float] = 0.1  # in mode same-alpha
    schedule: Hidden[Ladder | None] = None  # that of --setting, of all ladders but same-alpha's

    @property
    def size(self) -> str:
        few, most = self.explored.n_samples, f"{self.n_samples:,} samples"
        return super().size.replace(most, f"{few:,} to {most}") if few < self.n_samples else super().size

    @property
    def explored(self) -> "BetaStudy":
        """The study with as many images as all settings get but those of the primary contrast."""
        return replace(self, n_samples=min(self.explore_samples, self.n_samples))

    def ladder(self, n_steps: int | None = None) -> "Ladder":
        """The ladder of n_steps, by default that of the primary contrast."""
        from experiments.config.config import Ladder

        usual = self.schedule or Ladder(sigma_min=self.sigma_min)
        return replace(usual, n_steps=self.n_steps if n_steps is None else n_steps)


PRESETS = {
    "smoke": BetaStudy(
        **SMOKE,
        explore_seeds=2,
        n_steps=4,
        alpha=0.8,
        betas=(0.0, 0.4),
        etas=(0.0, 1.0),
        pareto_steps=(2, 4),
        pareto_etas=(0.0, 1.0),
    ),
    "laptop": BetaStudy(train_images=50_000, train_seeds=5),  # enough for a statement on such networks in general
    "gpu": BetaStudy(**GPU | {"n_samples": 20_000}, explore_seeds=5, explore_samples=10_000),
}
COMMAND = Command(
    module="experiments.beta",
    question="Is beta > 0 better than beta = 0?",
    text="Trains networks, samples with and without fresh noise, scores the samples and writes a report. Compares at "
    "equal alpha, on one ladder, and at equal cost. An interrupted run goes on with the same command.",
    presets=PRESETS,
    minutes="about 5 minutes on two cores",
    examples=(
        "",
        "--preset smoke",
        "--etas 0 0.5 1 --seeds 5",
        "--only-primary --data mnist",
        "--model python:my_model:eps --setting runs/tune-laptop/settings.json --n-steps 16",
    ),
)
