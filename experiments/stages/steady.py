"""Whether a network from elsewhere and a user's sampler answer alike before and after each run.

One that counts its calls, looks at the clock or keeps what it was asked may change in the middle of a run, or from run
to run. Then the run is not what its identity says.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from diffusion_core.exact import GaussianDenoiser
from diffusion_core.samplers import Sampler
from diffusion_core.samplers.checked import follow
from diffusion_core.samplers.seeded_noise import BlockNoise
from experiments.config.config import SampleConfig
from experiments.config.denoisers import ModelConfig
from experiments.config.source import is_ours
from experiments.config.user_code import defaults_kept
from experiments.models.behaviour import check_again, check_batch, is_random
from experiments.models.memory import halve_until_it_fits
from experiments.stages.common import images_of, load_model
from experiments.store.store import Store

N_IMAGES, FEW = 2, 16
SEED = 20_262


def check_steady(config: SampleConfig, store: Store, data_root: Path | None, *, first: bool = False) -> None:
    """Raises ValueError if a network from elsewhere or a user's sampler changed since the first call in this process.

    The network is asked for a full batch of a run, see `check_batch`, before and after its first run in this process;
    after each further run it is asked for FEW images. The sampler runs with an exact denoiser.

    Args:
        first: only take the first answers, if there are none yet.
    """
    model, device, images = config.model, config.machine.device, images_of(config.model.data, data_root)
    if model.trained_by == "others" and not is_random(network := load_model(model, store, data_root, device)):
        asked = model, config.batch, store, data_root, device
        _first_answers(*asked)
        few = _first_answers(model, min(FEW, config.batch), store, data_root, device)
        if not first:
            _check_full_batch_again(*asked)
            check_again(network, images, device, few)
    if not is_ours(type(config.sampler)):
        sampler, sigmas = config.sampler, config.ladder.sigmas()
        drawn = _first_samples(sampler, sigmas, images.shape)
        if not first and drawn is not None:
            check_same(sampler, drawn, exact_samples(sampler, sigmas, images.shape))


@lru_cache(maxsize=32)
def _first_answers(config: ModelConfig, n: int, store: Store, data_root: Path | None, device: str) -> Tensor:
    network, images = load_model(config, store, data_root, device), images_of(config.data, data_root)
    return halve_until_it_fits(n, lambda batch: check_batch(network, images, device, batch))[0]


@lru_cache(maxsize=16)
def _check_full_batch_again(config: ModelConfig, n: int, store: Store, data_root: Path | None, device: str) -> None:
    network, before = load_model(config, store, data_root, device), _first_answers(config, n, store, data_root, device)
    check_batch(network, images_of(config.data, data_root), device, len(before), before)


@lru_cache(maxsize=1024)
def _first_samples(sampler: Sampler, sigmas: tuple[float, ...], shape: tuple[int, ...]) -> Tensor | None:
    return exact_samples(sampler, sigmas, shape)


def exact_samples(
    sampler: Sampler, sigmas: tuple[float, ...], shape: tuple[int, ...], samples: Sequence[int] = range(N_IMAGES)
) -> Tensor | None:
    """Samples of an exact denoiser; None if the sampler fails. Its runs then fail with its message."""
    noise = BlockNoise(SEED, samples, shape, torch.device("cpu"))
    with torch.no_grad(), defaults_kept(f"sampler {sampler.name}"):
        try:
            *_, last = follow(GaussianDenoiser(), sampler, sigmas, noise() * sigmas[0], noise)
        except KeyboardInterrupt:
            raise
        except BaseException:  # a user's sampler may raise anything
            return None
        return last.clone()


def check_same(sampler: Sampler, first: Tensor, second: Tensor | None) -> None:
    """Raises ValueError if the samples of two runs with the same noise differ."""
    if second is None or not torch.equal(first, second):
        difference = "it failed" if second is None else f"by up to {(first - second).abs().max():.2g}"
        raise ValueError(
            f"sampler {sampler.name}: run twice with the same noise, it gave different samples, {difference}. Take all "
            "random numbers from noise(), and keep nothing from one run to the next"
        )
