"""What `why_noise` varies, and the denoisers and corrections that it compares."""

from dataclasses import dataclass, field, replace

from diffusion_core.samplers import Euler, EulerCorrected, KadkhodaieSimoncelli, Sampler
from experiments.config.config import ExactConfig, Ladder, Model, TrainConfig
from experiments.config.study import Grid
from experiments.stages.fit_mixture import MixtureConfig


@dataclass(frozen=True)
class WhyGrid(Grid):
    """What the experiment varies."""

    train: TrainConfig = field(default_factory=lambda: TrainConfig(images_seen=150_000))
    n_steps: tuple[int, ...] = (16, 32, 66, 132)
    main_steps: int = 66  # of the ladder on which everything but the number of steps is varied
    etas: tuple[float, ...] = (0.0, 0.5, 1.0, 1.4)
    shares: tuple[float, ...] = (0.02, 0.1, 0.3)  # of the training budget, for worse networks
    errors: tuple[float, ...] = (0.05, 0.1, 0.2)  # added to the exact denoiser, see ExactConfig
    bands: tuple[float, ...] = (0.285, 2.85)  # between levels of the main ladder; noise is put back, or not
    scales: tuple[float, ...] = (0.98, 1.02, 1.05)  # corrections without noise, see EulerCorrected
    shifts: tuple[float, ...] = (1.05, 1.1)  # below sigma 1
    corrected: tuple[float, ...] = (0.1, 1.0)  # shares of the training budget of the networks that are corrected
    probe_etas: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0)
    probe_samples: int = 256
    response_samples: int = 64
    mixture: MixtureConfig = field(default_factory=MixtureConfig)
    reference_draws: str = "reference"  # of the law, that samples are compared with, see models/exact.mixture_data


PRESETS = {
    "smoke": WhyGrid(
        train=TrainConfig(images_seen=640, warmup_images=320),
        train_seeds=1,
        n_samples=132,  # just above the dimension of the features
        n_steps=(4, 8),
        main_steps=8,
        etas=(0.0, 1.0),
        shares=(0.1,),
        errors=(0.1,),
        probe_etas=(0.0, 1.0),
        scales=(1.02,),
        shifts=(1.1,),
        corrected=(1.0,),
        probe_samples=40,
        response_samples=40,
        mixture=MixtureConfig(n_components=3, rank=4, em_steps=1),
        reference_draws="reference=2000",
    ),
    "laptop": WhyGrid(),
    "gpu": WhyGrid(
        train=TrainConfig(images_seen=50 * 60_000),
        train_seeds=5,
        n_samples=5_000,
        n_steps=(16, 32, 66, 132, 264),
        etas=(0.0, 0.25, 0.5, 0.75, 1.0, 1.4, 2.0),
        shares=(0.02, 0.1, 0.3),
        probe_samples=2048,
        response_samples=512,
    ),
}


def exact_model(grid: WhyGrid, seed: int, error: float = 0.0) -> ExactConfig:
    """The exact denoiser, on the device of the networks, in fp32."""
    return ExactConfig(grid.train.data, error, seed, machine=replace(grid.train.machine, precision="fp32"))


def at_share(grid: WhyGrid, seed: int, share: float) -> TrainConfig:
    """The network trained on that share of the budget."""
    return replace(grid.train, seed=seed, images_seen=round(share * grid.train.images_seen))


def corrections(grid: WhyGrid) -> dict[str, Sampler]:
    """Ways to make up for the denoiser's error: none, without noise, and last noise itself.

    All are planned to cost the same; the one that re-estimates sigma stops when its own estimate says so.
    """
    out: dict[str, Sampler] = {"eta 0": Euler(0.0)}
    out |= {f"eps × {scale:g}": EulerCorrected(scale=scale) for scale in grid.scales}
    out |= {f"sigma × {shift:g} below 1": EulerCorrected(shift=shift, s_max=1.0) for shift in grid.shifts}
    sigmas = Ladder(n_steps=grid.main_steps).sigmas()
    return out | {"sigma re-estimated": KadkhodaieSimoncelli.taking(grid.main_steps, sigmas), "eta 1": Euler(1.0)}


def worse(grid: WhyGrid, seed: int) -> dict[str, Model]:
    """Denoisers with more error: networks trained less, and the exact one with an error added."""
    out: dict[str, Model] = {}
    for share in grid.shares:
        model = at_share(grid, seed, share)
        out[f"trained on {model.images_seen} images"] = model
    for error in grid.errors:
        out[f"exact + error {error:g}"] = exact_model(grid, seed, error)
    return out
