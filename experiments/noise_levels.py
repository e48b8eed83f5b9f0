"""Which noise levels should a denoiser be trained on, and with which weights, at an equal training budget?

    python -m experiments noise_levels                      laptop: about 12 minutes on two CPU cores
    python -m experiments noise_levels --preset smoke       about 20 seconds: does everything work here?
    python -m experiments noise_levels --train-noise edm "log-normal(0, 1)" --weightings karras unit-eps --cross

One network per setting chooses a distribution, weights and an output. Networks that differ only in their seed differ as
much as many settings do: so five others are trained for each chosen setting, and intervals are over networks.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import tyro

from diffusion_core.registry import NOISE_DISTRIBUTIONS, PARAMETERISATIONS, TRUNKS
from diffusion_core.samplers.euler import Euler
from diffusion_core.weightings import WEIGHTINGS
from experiments.names import parse_noise
from experiments.run.options import Names, names_option
from experiments.run.study import (
    EXPLORE_GPU,
    EXPLORE_SMOKE,
    GPU,
    SMOKE,
    ExploringStudy,
    HiddenOption,
    Presets,
    read_formulas,
)
from experiments.settings import Schedule, Setting
from reports.schema import CONFIRM

if TYPE_CHECKING:
    from experiments.run.tables import RunResults, Tables

TRAIN_NOISE_HELP = (
    "Noise distributions of training: {names}; 'log-normal(-0.507, 1.2)'; your own class, 'my_file:Mine(2)'."
)
WEIGHTS = "Weights of the loss: {names}."
NAMED = ("edm", "edm2", "jit", "sd3")  # as others train; flow-uniform is near sd3
GENERAL = ("log-normal", "log-logistic", "logit-normal")  # forms of these, which need no row of their own
AXES = {  # kind -> what is asked of it
    "train_noise": "Other noise levels", "weighting": "Other weights", "parameterisation": "Another output",
    "combination": "Another combination",
}  # fmt: skip
OUTPUTS = "Meaning of the network's output: {names}."


@dataclass(frozen=True)
class NoiseLevels(ExploringStudy):
    """The trainings to compare. The first of each list is the baseline; one thing is changed at a time."""

    question = "Which noise levels should training see?"
    text = (
        "Trains networks under several noise distributions and loss weights at an equal budget, scores their samples, "
        "and measures their error on held-out images at each noise level. Networks and images are per setting."
    )
    page = "noise_levels"
    presets: ClassVar[Presets] = {
        "smoke": {
            **SMOKE,
            **EXPLORE_SMOKE,
            "train_images": 320,
            "warmup_images": 160,
            "held_out": 64,
            "n_steps": 4,
            "train_noise": ("edm", "uniform"),
            "weightings": ("karras",),
        },
        "laptop": {"train_images": 30_000, "held_out": 500, "seeds": 5},
        "gpu": {
            **GPU,
            **EXPLORE_GPU,
            "explore_networks": 1,
            "held_out": 1024,
            "train_noise": (*NAMED, *(name for name in NOISE_DISTRIBUTIONS if name not in (*NAMED, *GENERAL))),
            "weightings": ("karras", "unit-eps", "x0", "min-snr-5", "min-snr-1.25", "soft-min-snr-1"),
            "parameterisations": ("preconditioned", "eps", "x0"),
        },
    }
    minutes = "about 12 minutes on two cores"
    examples: ClassVar[Mapping[str, str]] = {
        "": "all distributions, weights and outputs, one at a time",
        '--train-noise edm "log-normal(0, 1)" "sd3(shift=3)"': "three distributions of training noise",
        "--weightings karras unit-eps --cross": "every combination",
    }

    network: Annotated[str, tyro.conf.arg(metavar="NAME|build:MODULE:FUNCTION")] = "small"
    """small (mlp for points), paper (for GPUs), or your architecture, build:MODULE:FUNCTION."""
    label: HiddenOption[int | Literal["balanced"] | None] = None
    train_noise: Annotated[Names, names_option(TRAIN_NOISE_HELP, NOISE_DISTRIBUTIONS)] = NAMED
    weightings: Annotated[Names, names_option(WEIGHTS, WEIGHTINGS)] = ("karras", "min-snr-1.25")
    parameterisations: Annotated[Names, names_option(OUTPUTS, PARAMETERISATIONS)] = ("preconditioned",)
    recipe: HiddenOption[Literal["fast", "plain"]] = "plain"  # the lists above vary what a recipe is made of
    cross: bool = False
    """Train every combination, instead of changing one thing at a time."""
    explore_networks: int = 1
    """Number of networks per setting that choose; their seeds begin at 101. 0 needs --choices."""
    n_steps: int = 32
    """Steps of the geometric schedule on which samples are drawn; then comes a last step to 0."""
    sigma_min: float = 0.03
    """Last level of the schedules. Lower it where features see the noise that is left, as those of photographs do."""
    etas: tuple[float, ...] = (0.0, 1.0)
    """Samplers that score each network: eta 0 is deterministic (beta = 0), eta 1 is DDPM."""

    def check(self) -> None:
        super().check()
        if not self.trains:
            rule = f"it must be trained here, as {', '.join(TRUNKS)} and build:MODULE:FUNCTION are"
            raise ValueError(f"network={self.network!r}: {rule}; score compares trained networks")

    @property
    def provenance(self) -> Mapping[str, Any]:
        """And the formula of each distribution, weighting and output, which is the first part of its docstring."""
        table = NOISE_DISTRIBUTIONS
        described: dict[str, Any] = {
            name: table[name] for text in self.train_noise if (name := text.partition("(")[0].strip()) in table
        }
        described |= {name: WEIGHTINGS[name] for name in self.weightings}
        described |= {name: PARAMETERISATIONS[name] for name in self.parameterisations}
        return {**super().provenance, "formulas": read_formulas(described)}

    @property
    def notes(self) -> Sequence[str]:
        why = "it scored lowest on digits and on clothes together, with a mixture as second input (bench/LOG.md)"
        return [f"these networks have the recipe plain; the recipe fast trains on log-normal(0.2, 1.3), since {why}"]

    def trainings(self) -> dict[str, tuple[str, dict[str, Any]]]:
        """Label -> the axis on which it differs from the baseline, and what is special in its training."""
        axes = {
            "train_noise": self.train_noise,
            "weighting": self.weightings,
            "parameterisation": self.parameterisations,
        }
        baseline = [names[0] for names in axes.values()]
        trainings = dict[str, tuple[str, dict[str, Any]]]()
        for values in itertools.product(*axes.values()):
            noise, weighting, parameterisation = values
            others = [value for value, usual in zip(values[1:], baseline[1:], strict=True) if value != usual]
            changed = [axis for axis, value, usual in zip(axes, values, baseline, strict=True) if value != usual]
            if self.cross or len(changed) <= 1:
                axis = "combination" if self.cross else "".join(changed)
                trainings[", ".join([noise, *others])] = (
                    axis,
                    {
                        "noise": parse_noise(noise, self.data_std),
                        "weighting": weighting,
                        "parameterisation": parameterisation,
                    },
                )
        return trainings

    def explore(self) -> Iterator[Setting]:
        schedule = Schedule(n_steps=self.n_steps, sigma_min=self.sigma_min)
        for label, (_, training) in self.trainings().items():
            for eta in self.etas:
                yield Setting(
                    f"{label}, eta {eta:g}", schedule, Euler(eta), training=training, final_denoise=True
                )  # fmt: skip

    def kind_of(self, setting: Setting) -> str:
        axis, _ = self.trainings()[self.candidate_of(setting)]
        return axis

    def candidate_of(self, setting: Setting) -> str:
        return setting.label.rpartition(", ")[0]

    def name_question(self, kind: str, label: str) -> str:
        return f"{AXES[kind]} in training, sampled with {label.rpartition(', ')[2]}"

    def extra_tables(self, results: "RunResults") -> "Tables":
        """The held-out error of each network that tests, and the noise distributions of training."""
        from experiments.run.stages import curve_rows, density_rows

        runs = [run for run in results.files if run.setting.section == CONFIRM]
        networks = dict.fromkeys(run.network for run in runs)
        return {"curves.csv": curve_rows(networks, results.cache), "densities.csv": density_rows(networks)}
