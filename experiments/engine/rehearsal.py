"""Checks of samplers before any work: built-in ones are as they were installed, a user's gives the same samples twice.

A sampler that draws random numbers of its own, counts its calls or changes its fields would give another result in
another order of runs, and the store would keep whichever came first.
"""

from collections.abc import Sequence
from pathlib import Path
from types import FunctionType

import torch
from torch import Tensor

from diffusion_core.exact import GaussianDenoiser
from diffusion_core.samplers import Sampler
from diffusion_core.samplers.sampling import follow
from diffusion_core.samplers.seeded_noise import BlockNoise
from experiments.config.identity import identity
from experiments.config.source import OURS, is_ours
from experiments.config.trial import Trial
from experiments.stages.common import images_of

N_IMAGES = 2
SEED = 20_262


def rehearse(trials: Sequence[Trial], data_root: Path | None) -> None:
    """Checks the samplers of the trials.

    Raises:
        ValueError: a method of a built-in sampler was replaced; a user's sampler gives different samples for the same
            noise, makes a sample depend on the others of its batch, or changes its own fields.
    """
    for kind in {type(trial.samples.sampler) for trial in trials}:
        if is_ours(kind):
            _check_untouched(kind)
    of_users = [trial for trial in trials if not is_ours(type(trial.samples.sampler))]
    shapes = {trial.model.data: images_of(trial.model.data, data_root).shape for trial in of_users}
    for sampler, ladder, data in dict.fromkeys((t.samples.sampler, t.samples.ladder, t.model.data) for t in of_users):
        _check_repeatable(sampler, ladder.sigmas(), shapes[data])


def _check_repeatable(sampler: Sampler, sigmas: tuple[float, ...], shape: tuple[int, ...]) -> None:
    """Raises ValueError if a user's sampler fails one of the checks that `rehearse` names."""
    before = identity(sampler)
    first, second = (_samples(sampler, sigmas, shape, N_IMAGES) for _ in range(2))
    alone = _samples(sampler, sigmas, shape, 1)
    if identity(sampler) != before:
        raise ValueError(f"sampler {sampler.name}: it changes its own fields while it runs")
    if first is None or second is None or alone is None:
        return
    if not torch.equal(first, second):
        raise ValueError(
            f"sampler {sampler.name}: run twice with the same noise, it gave different samples, by up to "
            f"{(first - second).abs().max():.2g}. Take all random numbers from noise(), and keep nothing from one run "
            "to the next"
        )
    if not torch.allclose(first[:1], alone, rtol=1e-3, atol=1e-3):
        raise ValueError(
            f"sampler {sampler.name}: a sample depends on the others of its batch, by up to "
            f"{(first[:1] - alone).abs().max():.2g}; then results would depend on the batch size"
        )


def _samples(sampler: Sampler, sigmas: tuple[float, ...], shape: tuple[int, ...], n: int) -> Tensor | None:
    """The first n samples of an exact denoiser; None if the sampler fails. Its runs then fail with its message."""
    noise = BlockNoise(SEED, 0, n, shape, torch.device("cpu"))
    try:
        with torch.no_grad():
            *_, last = follow(GaussianDenoiser(), sampler, sigmas, noise() * sigmas[0], noise)
    except (Exception, SystemExit):  # a user's sampler may raise anything
        return None
    return last.clone()


def _check_untouched(kind: type) -> None:
    """Raises ValueError if a method of this built-in class comes from elsewhere, for example from a user's module."""
    for base in filter(is_ours, kind.__mro__):
        for name, value in vars(base).items():
            method = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
            if isinstance(method, FunctionType) and method.__module__.partition(".")[0] not in OURS:
                raise ValueError(
                    f"{kind.__name__}.{name} was replaced by {method.__module__}.{method.__qualname__}, but its "
                    "results are stored under the name of the built-in sampler; write a sampler of your own"
                )
