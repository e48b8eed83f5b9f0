"""The settings of `why_noise`, and the denoisers and corrections that it compares."""

from dataclasses import dataclass, field, replace

from diffusion_core.samplers import Euler, EulerCorrected, KadkhodaieSimoncelli, Sampler
from experiments.config.config import Ladder
from experiments.config.denoisers import ExactConfig, ModelConfig, TrainConfig
from experiments.config.study import Study
from experiments.stages.fit_mixture import MixtureConfig

Denoiser = tuple[str, ModelConfig]  # its kind, for the column `denoiser`, and the model


@dataclass(frozen=True)
class WhyStudy(Study):
    """What the experiment varies."""

    train: TrainConfig = field(default_factory=lambda: TrainConfig(images_seen=150_000))
    n_steps: tuple[int, ...] = (16, 32, 66, 132)
    main_steps: int = 66  # steps of the ladder on which all other things are varied
    etas: tuple[float, ...] = (0.0, 0.5, 1.0, 1.4)
    shares: tuple[float, ...] = (0.02, 0.1, 0.3)  # of the training budget, for undertrained networks
    errors: tuple[float, ...] = (0.05, 0.1, 0.2)  # added to the exact denoiser, see ExactConfig
    bands: tuple[float, ...] = (0.285, 2.85)  # ends of bands of sigma; noise is put back in one band only
    scales: tuple[float, ...] = (0.98, 1.02, 1.05)  # corrections without noise, see EulerCorrected
    shifts: tuple[float, ...] = (1.05, 1.1)  # at sigma <= 1
    corrected: tuple[float, ...] = (0.1, 1.0)  # shares of the training budget of the networks that are corrected
    probe_etas: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0)
    probe_samples: int = 256
    response_samples: int = 64
    mixture: MixtureConfig = field(default_factory=MixtureConfig)
    reference_draws: str = "reference"  # draws that samples are compared with, see models/exact.mixture_data


PRESETS = {
    "smoke": WhyStudy(
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
    "laptop": WhyStudy(),
    "gpu": WhyStudy(
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


def exact_model(study: WhyStudy, seed: int, error: float = 0.0) -> ExactConfig:
    """The exact denoiser, on the device of the networks, in fp32."""
    return ExactConfig(study.train.data, error, seed, machine=replace(study.machine, precision="fp32", compiled=False))


def at_share(study: WhyStudy, seed: int, share: float) -> TrainConfig:
    """The network trained on a share of the training budget."""
    return replace(study.train, seed=seed, images_seen=round(share * study.train.images_seen))


def corrections(study: WhyStudy) -> dict[str, Sampler]:
    """Corrections for the denoiser's error: first none, then corrections without noise, last noise.

    All have the same planned cost. `KadkhodaieSimoncelli` re-estimates sigma and stops by its own estimate.
    """
    out: dict[str, Sampler] = {"eta 0": Euler(0.0)}
    out |= {f"eps × {scale:g}": EulerCorrected(scale=scale) for scale in study.scales}
    out |= {f"sigma × {shift:g} below 1": EulerCorrected(shift=shift, s_max=1.0) for shift in study.shifts}
    sigmas = Ladder(n_steps=study.main_steps).sigmas()
    return out | {"sigma re-estimated": KadkhodaieSimoncelli.taking(study.main_steps, sigmas), "eta 1": Euler(1.0)}


def worse(study: WhyStudy, seed: int) -> dict[str, Denoiser]:
    """Denoisers with more error, by mode: undertrained networks, and the exact denoiser with an error added."""
    out: dict[str, Denoiser] = {}
    for share in study.shares:
        model = at_share(study, seed, share)
        out[f"trained on {model.images_seen} images"] = "undertrained", model
    for error in study.errors:
        out[f"exact + error {error:g}"] = "exact + error", exact_model(study, seed, error)
    return out
