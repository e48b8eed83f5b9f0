"""The settings of `why_noise`."""

from dataclasses import dataclass, field, replace

from experiments.config.config import Ladder
from experiments.config.denoisers import TrainConfig
from experiments.config.study import Study
from experiments.stages.fit_mixture import MixtureConfig


@dataclass(frozen=True)
class WhyStudy(Study):
    """What the experiment varies."""

    train: TrainConfig = field(default_factory=lambda: TrainConfig(images_seen=45_000))
    train_seeds: int = 5
    n_samples: int = 2_048  # of the main arms, see arms.py
    n_others: int = 512  # of all other arms
    lengths: tuple[int, ...] = (15_000, 45_000)  # training images of the networks
    main_steps: int = 66  # steps of the ladder on which all other things are varied
    sigma_min: float = 0.03
    n_steps: tuple[int, ...] = (16, 32, 66, 132)  # with the exact denoiser, and with the longest trained network
    etas: tuple[float, ...] = (0.0, 0.5, 1.0, 1.4)  # with whole denoisers, and with those exchanged at some levels
    bands: tuple[float, ...] = (0.09, 0.285, 0.9, 2.85, 9.0)  # ends of the bands of sigma, in data standard deviations
    split: float = 2.85  # high noise levels begin here
    dose: float = 0.5  # share of a network's error, everywhere, above `split` and in each band
    errors: tuple[float, ...] = (0.1,)  # a smooth field added to the exact denoiser, see ExactConfig
    wrong: tuple[tuple[str, float], ...] = (("weights", 1.0), ("missing", 0.2), ("wider", 0.1))  # see WrongConfig
    scaled: tuple[float, ...] = (-0.03, 0.03)  # eps times 1 + this
    fine_steps: int = 264  # steps at which a consistent error must stop mattering
    further_images: int = 20_000  # inputs that a network is trained further on
    probe_etas: tuple[float, ...] = (0.0, 0.5, 1.0, 1.4)
    probe_samples: int = 256
    residual_samples: int = 128
    mixture: MixtureConfig = field(default_factory=MixtureConfig)
    reference_draws: str = "reference"  # draws that samples are compared with, see models/exact.mixture_data
    real: bool = False  # the data themselves instead of a mixture that was fitted to them

    def of(self, main: bool) -> "WhyStudy":
        """The study with the number of samples of the main arms, or of the others. On real data all have as many."""
        return self if main or self.real else replace(self, n_samples=min(self.n_others, self.n_samples))

    def ladder(self, n_steps: int | None = None) -> Ladder:
        """The ladder of n_steps, by default the main one."""
        return Ladder(n_steps=self.main_steps if n_steps is None else n_steps, sigma_min=self.sigma_min)


SMOKE = WhyStudy(
    train=TrainConfig(images_seen=640, warmup_images=320),
    train_seeds=1,
    n_samples=132,  # just above the dimension of the features
    lengths=(320, 640),
    main_steps=6,
    n_steps=(4, 6),
    etas=(0.0, 1.0),
    bands=(0.285, 2.85),
    wrong=(("weights", 1.0),),
    scaled=(0.03,),
    fine_steps=12,
    further_images=128,
    probe_etas=(0.0, 1.0),
    probe_samples=40,
    residual_samples=40,
    mixture=MixtureConfig(n_components=3, rank=4, em_steps=1),
    reference_draws="reference=2000",
)
PRESETS = {
    "smoke": SMOKE,
    "laptop": WhyStudy(),
    "gpu": WhyStudy(
        train=TrainConfig(images_seen=50 * 60_000),
        lengths=(45_000, 50 * 60_000),
        n_samples=6_000,  # at most a third of the draws of the mixture
        n_others=2_000,
        n_steps=(16, 32, 66, 132, 264),
        etas=(0.0, 0.25, 0.5, 0.75, 1.0, 1.4, 2.0),
        further_images=200_000,
        probe_samples=2048,
        residual_samples=512,
    ),
}
