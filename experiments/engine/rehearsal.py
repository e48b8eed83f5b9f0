"""Checks of users' samplers and of all noise distributions before any work.

A user's sampler must give the same samples twice. One that draws random numbers of its own, counts its calls or changes
its fields would give another result in another order of runs, and the store would keep whichever came first. The same
holds for the noise levels of a user's noise distribution.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from diffusion_core.exact import GaussianDenoiser
from diffusion_core.noise import NoiseDistribution
from diffusion_core.samplers import Sampler, follow
from diffusion_core.samplers.seeded_noise import BlockNoise
from experiments.config.identity import has_own_code, identity
from experiments.config.trial import Trial
from experiments.own.source import is_ours
from experiments.own.user_code import defaults_kept, of_user
from experiments.stages.common import images_of

N_IMAGES, N_LEVELS, N_DRAWN, SEED = 2, 64, 10_000, 20_262
SQUARABLE = (1e-18, 1e18)  # levels whose squares are float32


def rehearse(trials: Sequence[Trial], data_root: Path | None) -> None:
    """Checks the users' samplers and schedules and the noise distributions of the trials.

    Raises:
        ValueError: a sampler gives different samples for the same noise, makes a sample depend on the others of its
            batch, or changes its own fields; a schedule gives other levels if it is called twice; a noise distribution
            fails, gives no levels or densities, or different levels for the same generator.
    """
    networks = {network: network.noise for trial in trials for network in trial.model.networks}
    laws = dict.fromkeys((noise, network.stratified) for network, noise in networks.items() if noise is not None)
    for law, stratified in laws:
        _check_levels(law, stratified)
    for ladder in dict.fromkeys(trial.samples.ladder for trial in trials):
        if has_own_code(ladder) and ladder.sigmas() != ladder.sigmas():
            raise ValueError(f"ladder {ladder.name}: called twice, its schedule gave other levels")
    of_users = [trial for trial in trials if not is_ours(type(trial.samples.sampler))]
    shapes = {trial.model.data: images_of(trial.model.data, data_root).shape for trial in of_users}
    for sampler, ladder, data in dict.fromkeys((t.samples.sampler, t.samples.ladder, t.model.data) for t in of_users):
        _check_repeatable(sampler, ladder.sigmas(), shapes[data])


def _check_levels(law: NoiseDistribution, stratified: bool) -> None:
    """Raises ValueError if a noise distribution fails one of the checks that `rehearse` names."""
    needs = "it needs sample(n, generator, stratified), the levels, and log_density(log_sigma), of ln sigma"
    with of_user(f"noise {law.name}: {needs}", ValueError):
        first, second = (law.sample(N_LEVELS, torch.Generator().manual_seed(SEED), stratified) for _ in range(2))
        density = law.log_density(torch.linspace(-3, 3, N_LEVELS, dtype=torch.float64))
        many = law.sample(N_DRAWN, torch.Generator().manual_seed(SEED), stratified)
    for what, values, kind in (("sample", first, torch.float32), ("log_density", density, torch.float64)):
        if not isinstance(values, Tensor) or (values.shape, values.dtype) != ((N_LEVELS,), kind):
            form = f"{tuple(values.shape)} {values.dtype}" if isinstance(values, Tensor) else type(values).__name__
            raise ValueError(f"noise {law.name}: {what} gave {form}; it must give a tensor ({N_LEVELS},) {kind}")
    low, high = SQUARABLE
    if not ((low < many) & (many < high)).all() or density.isnan().any() or density.isposinf().any():
        raise ValueError(
            f"noise {law.name}: its levels must be finite, above {low:g} and below {high:g}, and its log density no NaN"
        )
    if not torch.equal(first, second):
        raise ValueError(f"noise {law.name}: it must draw all random numbers from the generator that it is given")


def _check_repeatable(sampler: Sampler, sigmas: tuple[float, ...], shape: tuple[int, ...]) -> None:
    """Raises ValueError if a user's sampler fails one of the checks that `rehearse` names."""
    before = identity(sampler)
    first, second = (_exact_samples(sampler, sigmas, shape, range(N_IMAGES)) for _ in range(2))
    alone = _exact_samples(sampler, sigmas, shape, range(N_IMAGES - 1, N_IMAGES))
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
    if not torch.allclose(first[-1:], alone, rtol=1e-3, atol=1e-3):
        raise ValueError(
            f"sampler {sampler.name}: a sample depends on the others of its batch, by up to "
            f"{(first[-1:] - alone).abs().max():.2g}; then results would depend on the batch size"
        )


def _exact_samples(
    sampler: Sampler, sigmas: tuple[float, ...], shape: tuple[int, ...], samples: range
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
