"""What `why_noise` varies."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from experiments.config.study import SMOKE, Command, Hidden, Study

if TYPE_CHECKING:
    from experiments.config.config import Ladder


@dataclass(frozen=True)
class WhyStudy(Study):
    """What the experiment varies."""

    n_samples: int = 2_048
    """Images per run of what predictions are about; see --n-others. With --real the default is that of --n-others."""
    n_others: int = 512
    """Images per run of further denoisers."""
    real: bool = False
    """Use the data themselves. The exact denoiser is then that of the training images."""
    lengths: tuple[int, ...] = (15_000, 45_000)
    """Images that the networks see in training. With --real: the longest of noise_levels --map."""
    bands: tuple[float, ...] = (0.09, 0.285, 0.9, 2.85, 9.0)
    """Ends of the bands of noise levels in which denoisers are exchanged, in standard deviations of the data."""
    etas: tuple[float, ...] = (0.0, 0.5, 1.0, 1.4)
    """Amounts of noise with whole and with exchanged denoisers. 0 and 1 are always added."""
    sigma_min: float = 0.03
    """Last level of the ladders. Lower it where the features see the noise that is left, as those of photographs do."""
    n_steps: tuple[int, ...] = (16, 32, 66, 132)
    """Lengths of the geometric ladders of the exact denoiser and of the longest trained network."""
    recipe: Hidden[Literal["fast", "plain"]] = "plain"  # what is explained is what networks without help do
    main_steps: Hidden[int] = 66  # steps of the ladder on which all other things are varied
    split: Hidden[float] = 2.85  # high noise levels begin here
    dose: Hidden[float] = 0.5  # share of a network's error, everywhere, above `split` and in each band
    errors: Hidden[tuple[float, ...]] = (0.1,)  # a smooth field added to the exact denoiser, see ExactConfig
    wrong: Hidden[tuple[tuple[str, float], ...]] = (("weights", 1.0), ("missing", 0.2), ("wider", 0.1))  # WrongConfig
    scaled: Hidden[tuple[float, ...]] = (-0.03, 0.03)  # eps times 1 + this
    fine_steps: Hidden[int] = 264  # steps at which a consistent error must stop mattering
    further_images: Hidden[int] = 20_000  # inputs that a network is trained further on
    further_paths: Hidden[int] = 512  # trajectories that these are taken from
    probe_etas: Hidden[tuple[float, ...]] = (0.0, 0.5, 1.0, 1.4)
    probe_samples: Hidden[int] = 256
    residual_samples: Hidden[int] = 128
    mixture: Hidden[tuple[tuple[str, int], ...]] = ()  # of the fit, where it is not MixtureConfig's default
    reference_draws: Hidden[str] = "reference"  # draws that samples are compared with, see models/exact.mixture_data

    @property
    def size(self) -> str:
        images = " and ".join(f"{length:,}" for length in self.lengths)
        samples = f"{self.n_others:,} to {self.n_samples:,} samples per run"
        return f"{self.train_seeds} networks, {images} images each, {samples}"

    def of(self, main: bool) -> "WhyStudy":
        """The study with the number of samples of the main arms, or of the others. On real data all have as many."""
        return self if main or self.real else replace(self, n_samples=min(self.n_others, self.n_samples))

    def ladder(self, n_steps: int | None = None) -> "Ladder":
        """The ladder of n_steps, by default the main one."""
        from experiments.config.config import Ladder

        return Ladder(n_steps=self.main_steps if n_steps is None else n_steps, sigma_min=self.sigma_min)


PRESETS = {
    "smoke": WhyStudy(
        train_images=320,
        warmup_images=160,
        train_seeds=1,
        n_samples=SMOKE["n_samples"],
        lengths=(320,),
        main_steps=4,
        n_steps=(3, 4),
        etas=(0.0, 1.0),
        bands=(0.285, 2.85),
        wrong=(("weights", 1.0),),
        scaled=(0.03,),
        fine_steps=8,
        further_images=64,
        further_paths=64,
        probe_etas=(0.0, 1.0),
        probe_samples=40,
        residual_samples=40,
        mixture=(("n_components", 3), ("rank", 4), ("em_steps", 0)),
        reference_draws="reference=2000",
    ),
    "laptop": WhyStudy(train_images=45_000, train_seeds=5),
    "gpu": WhyStudy(
        train_images=50 * 60_000,
        train_seeds=5,
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
COMMAND = Command(
    module="experiments.why_noise.experiment",
    question="Why does putting noise back help?",
    text="Fits a mixture of Gaussians to the digits, whose exact denoiser is known, and trains networks on its draws. "
    "Exchanges networks for the exact denoiser at some noise levels, and compares the gains from noise. --real "
    "does so on the data themselves.",
    presets=PRESETS,
    minutes="2 to 3 hours on two cores",
    examples=("", "--preset smoke", "--real"),
)
