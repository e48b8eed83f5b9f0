"""The part of a study that all experiments share: networks, number of images, feature space."""

from dataclasses import dataclass, field, replace
from typing import Any

from diffusion_core.samplers import Sampler
from diffusion_core.samplers.counting import planned_nfe
from experiments.config.config import AlphaBetaLadder, Ladder, ReferenceConfig, SampleConfig, ScoreConfig
from experiments.config.denoisers import ForeignConfig, Machine, ModelConfig, TrainConfig
from experiments.config.trial import Infeasible, Trial

CONTROL = 10_000  # added to the seed of an A/A control


@dataclass(frozen=True)
class Study:
    """The networks of an experiment and how their samples are scored."""

    train: TrainConfig = field(default_factory=TrainConfig)
    train_seeds: int = 2  # number of networks
    n_samples: int = 500  # images per run
    foreign: ForeignConfig | None = None  # a network trained elsewhere; then none is trained here
    reference: ReferenceConfig = field(default_factory=lambda: ReferenceConfig("mnist5k", "digits", ""))
    sampling: Machine | None = None  # the machine of sampling, if it differs from that of training
    batch_size: int | None = None  # samples per network evaluation; None for the machine's default

    @property
    def seeds(self) -> range:
        """The training seeds; one network trained elsewhere counts as seed 0."""
        return range(1 if self.foreign else self.train_seeds)

    @property
    def machine(self) -> Machine:
        """The machine of everything but training."""
        return self.sampling or self.train.machine

    def model(self, seed: int) -> ModelConfig:
        """The network of a seed."""
        return self.foreign or replace(self.train, seed=seed)

    def trial(
        self,
        experiment: str,
        mode: str,
        setting: str,
        model: ModelConfig,
        ladder: Ladder | AlphaBetaLadder,
        sampler: Sampler,
        *,
        budget: int | None = None,
        denoiser: str = "",
        **how: Any,
    ) -> Trial | Infeasible:
        """A planned run, or `Infeasible` if sampler and ladder do not suit each other. `how` is for `score`."""
        try:
            score = self.score(model, ladder, sampler, **how)
        except ValueError as error:
            return self.infeasible(experiment, mode, setting, model, ladder, sampler, budget=budget, why=str(error))
        return Trial(experiment, mode, score, setting, budget, denoiser)

    def score(
        self,
        model: ModelConfig,
        ladder: Ladder | AlphaBetaLadder,
        sampler: Sampler,
        *,
        control: bool = False,
        final_denoise: bool = False,
        earlier: tuple[int, ...] = (),
        fresh_start: bool = False,
    ) -> ScoreConfig:
        """The config of such a run. Raises ValueError if sampler and ladder do not suit each other."""
        seed = model.seed + (CONTROL if control else 0)
        samples = SampleConfig(
            model,
            ladder,
            sampler,
            self.n_samples,
            seed=seed,
            final_denoise=final_denoise,
            machine=model.sampling_machine(self.machine),
            fresh_start=fresh_start,
            batch_size=self.batch_size,
            earlier=earlier,
        )
        return ScoreConfig(samples, self.reference)

    def infeasible(
        self,
        experiment: str,
        mode: str,
        setting: str,
        model: ModelConfig,
        ladder: Ladder | AlphaBetaLadder,
        sampler: Sampler,
        *,
        budget: int | None = None,
        why: str | None = None,
    ) -> Infeasible:
        """A note that a run is impossible, by default because no ladder meets the budget."""
        values = {"schedule": ladder.name, "sampler": sampler.name, "train_seed": model.seed, "budget": budget}
        values |= {"n_steps": len(ladder.sigmas()) - 1, "eta": getattr(sampler, "eta", None)}
        return Infeasible(experiment, mode, setting, tuple(values.items()), why or self._cause(ladder, sampler))

    @staticmethod
    def _cause(ladder: Ladder | AlphaBetaLadder, sampler: Sampler) -> str:
        """The sampler's error for the ladder; else a text that it takes too many evaluations."""
        try:
            planned = planned_nfe(sampler, ladder.sigmas())
        except ValueError as error:
            return str(error)
        return f"{sampler.name} takes {planned} evaluations here, and no shorter ladder meets the budget"
