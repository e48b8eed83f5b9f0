"""A known distribution that resembles a data set: a mixture of Gaussians fitted to it. Its exact denoiser is known.

mixture_stage  mixtures/ID/  mixture.safetensors (float64), config.json, meta.json

`models/exact.py` reads it back, as a data set and as a denoiser.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

from diffusion_core.data import load
from diffusion_core.exact import fit_mixture
from experiments.config.identity import canonical, identity
from experiments.stages.common import write_meta
from experiments.stages.hardware import use_threads
from experiments.store.store import Store, write_json


@dataclass(frozen=True)
class MixtureConfig:
    """One fit, see diffusion_core.exact.fit_mixture, which checks the values."""

    data: str = "mnist5k"
    n_components: int = 20
    rank: int = 32  # of the low-rank part of each covariance
    min_std: float = 0.05  # smallest isotropic standard deviation, data units
    em_steps: int = 5
    seed: int = 0


def mixture_stage(config: MixtureConfig, store: Store, data_root: Path | None = None) -> str:
    """The identity of a fit. Fits a mixture to all training images of a data set and stores its parameters."""
    name = identity(config)
    if store.has("mixtures", name):
        return name
    store.check_writable()
    x0 = load(config.data, root=data_root).standardised()
    start, threads = time.perf_counter(), torch.get_num_threads()
    use_threads(1)  # so that the fit does not depend on the threads of the runs
    try:
        mixture = fit_mixture(
            x0, config.n_components, config.rank, config.seed, min_std=config.min_std, em_steps=config.em_steps
        )
    finally:
        use_threads(threads)  # and runs do not depend on whether it was fitted just now
    seconds = time.perf_counter() - start
    with store.writing("mixtures", name) as folder:
        save_file(mixture.state_dict(), folder / "mixture.safetensors")
        write_json(folder / "config.json", canonical(config))
        write_meta(folder, fit_seconds=seconds)
    return name
