"""What all experiments vary, and how an experiment is declared: once, as a dataclass that the command line reads.

A field of a study is an option; its comment is the help text, and its value in a preset the default. A `Hidden` field
is no option. This module and those of the studies import no torch at their top, so that --help appears at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, TypeVar

import tyro

if TYPE_CHECKING:
    from diffusion_core.samplers import Sampler
    from experiments.config.config import AlphaBetaLadder, Ladder, ReferenceConfig, ScoreConfig
    from experiments.config.denoisers import ForeignConfig, Machine, ModelConfig
    from experiments.config.trained import TrainConfig
    from experiments.config.trial import Infeasible, Trial
else:  # tyro evaluates the annotations of fields
    ForeignConfig = Machine = ReferenceConfig = Any

CONTROL = 10_000  # added to the seed of an A/A control
T = TypeVar("T")
Hidden = Annotated[T, tyro.conf.Fixed, tyro.conf.Suppress]


def shown(metavar: str, default: str) -> Any:
    """How --help shows an option that is None unless given: its placeholder and its default."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=f"(default: {default})")


def one_name(what: str, known: Sequence[str] | Mapping[str, Any], default: str | None = None) -> Any:
    """How --help shows an option that takes a name; `default` if it is None unless given."""
    hint = default and f"(default: {default})"
    return tyro.conf.arg(metavar="NAME", help=what.format(names=", ".join(known)), help_behavior_hint=hint)


def names(what: str, known: Sequence[str] | Mapping[str, Any]) -> Any:
    """How --help shows an option that takes several names."""
    return tyro.conf.arg(metavar="[NAME [NAME ...]]", help=what.format(names=", ".join(known)))


@dataclass(frozen=True)
class Study:
    """The networks of an experiment and how their samples are scored."""

    data: Annotated[str, tyro.conf.arg(metavar="NAME")] = "mnist5k"
    """mnist5k (no download), mnist, fashion-mnist, cifar10, folder:PATH (images) or npz:PATH. For a --model of another
    image size up to 64: folder64:PATH or npz64:PATH."""
    train_images: int = 200_000
    """Images that each network sees in training, repeats counted."""
    recipe: Literal["fast", "plain"] = "fast"
    """The networks and their training. fast: a second input, the image as a mixture of Gaussians denoises it, targets
    of less variance at high noise, and more training there: good after fewer images. plain: as in Karras et al.
    2022."""
    train_seeds: Annotated[int, tyro.conf.arg(aliases=["--seeds"])] = 2
    """Number of networks, each trained from its own seed. More networks give narrower intervals."""
    n_samples: int = 500
    """Images per sampling run. More images give narrower intervals."""
    first_seed: Hidden[int] = 1  # of training; recipes are tuned on seed 0
    warmup_images: Hidden[int] = 10_000
    held_out: Hidden[int] = 0  # images at the end of the data set that training does not see; at most a tenth of them
    training: Hidden[Machine | None] = None  # the machine of training
    sampling: Hidden[Machine | None] = None  # the machine of everything else, if it is another one
    batch_size: Hidden[int | None] = None  # samples per network evaluation; None for the machine's default
    foreign: Hidden[ForeignConfig | None] = None  # a network trained elsewhere; then none is trained here
    reference: Hidden[ReferenceConfig | None] = None  # what samples are compared with

    @property
    def size(self) -> str:
        """How large it is, in words."""
        return f"{self.train_seeds} networks, {self.train_images:,} images each, {self.n_samples:,} samples per run"

    @property
    def train(self) -> "TrainConfig":
        """The training of the first network. Raises ValueError for values that do not suit it."""
        from experiments.config.denoisers import Machine
        from experiments.config.trained import RECIPES, TrainConfig

        return TrainConfig(
            data=self.data,
            held_out=self.held_out,
            images_seen=self.train_images,
            warmup_images=self.warmup_images,
            machine=self.training or Machine(),
            **RECIPES[self.recipe],
        )

    @property
    def seeds(self) -> range:
        """The training seeds; one network trained elsewhere counts as seed 0."""
        return range(1) if self.foreign else range(self.first_seed, self.first_seed + self.train_seeds)

    @property
    def machine(self) -> "Machine":
        """The machine of everything but training."""
        return self.sampling or self.train.machine

    def model(self, seed: int) -> "ForeignConfig | TrainConfig":
        """The network of a seed."""
        return self.foreign or replace(self.train, seed=seed)

    def trial(
        self,
        experiment: str,
        mode: str,
        setting: str,
        model: "ModelConfig",
        ladder: "Ladder | AlphaBetaLadder",
        sampler: "Sampler",
        *,
        budget: int | None = None,
        longest: bool = False,
        **how: Any,
    ) -> "Trial | Infeasible":
        """A planned run, or `Infeasible` if sampler and ladder do not suit each other. `how` is for `score`.

        `longest`: on the longest ladder of this schedule within `budget`; `Infeasible` if there is none.
        """
        from experiments.config.config import Ladder
        from experiments.config.trial import Infeasible, Trial

        try:
            fitting = ladder
            if longest:
                assert isinstance(ladder, Ladder) and budget is not None
                fitting = ladder.within(budget, sampler)
            score = self.score(model, fitting, sampler, **how)
        except ValueError as error:
            return Infeasible(experiment, mode, setting, model, ladder, sampler, budget, str(error))
        return Trial(experiment, mode, score, setting, budget)

    def score(
        self,
        model: "ModelConfig",
        ladder: "Ladder | AlphaBetaLadder",
        sampler: "Sampler",
        *,
        control: bool = False,
        final_denoise: bool = False,
    ) -> "ScoreConfig":
        """The config of such a run. Raises ValueError if sampler and ladder do not suit each other."""
        from experiments.config.config import ReferenceConfig, SampleConfig, ScoreConfig

        seed = model.seed + (CONTROL if control else 0)
        samples = SampleConfig(
            model,
            ladder,
            sampler,
            self.n_samples,
            seed=seed,
            final_denoise=final_denoise,
            machine=self.machine if model.timed else model.machine,  # what is exact has its own, in fp32
            batch_size=self.batch_size,
        )
        return ScoreConfig(samples, self.reference or ReferenceConfig("mnist5k", "digits", ""))


# What most presets of this name share. n_samples of smoke is just above the dimension of the features.
SMOKE: dict[str, Any] = {"first_seed": 0, "train_images": 640, "warmup_images": 320, "n_samples": 132}
GPU: dict[str, Any] = {"data": "mnist", "train_images": 50 * 60_000, "train_seeds": 5, "n_samples": 10_000}
AnyStudy = TypeVar("AnyStudy", bound=Study)


@dataclass(frozen=True)
class Command(Generic[AnyStudy]):
    """An experiment on the command line.

    Args:
        module: its function main(study, options) runs the experiment and returns the table.
        question: the title of the report.
        text: what it does, for --help.
        presets: the studies smoke, laptop and gpu.
        minutes: how long the preset laptop takes.
        examples: arguments to show.
    """

    module: str
    question: str
    text: str
    presets: Mapping[str, AnyStudy]
    minutes: str
    examples: Sequence[str]
