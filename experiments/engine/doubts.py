"""Warnings about set-ups that run without an error but may mislead. They are made before anything is trained."""

import math
import shlex
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path

import torch

from diffusion_core.adapters import Adapter
from diffusion_core.data import Images
from diffusion_core.samplers import Sampler
from experiments.config.denoisers import ForeignConfig
from experiments.config.levels import unknown
from experiments.config.trial import Trial
from experiments.distances.spaces import DIGITS
from experiments.own.behaviour import behaviour, check_batch, is_random
from experiments.own.examine import examine
from experiments.own.external import load_foreign
from experiments.own.memory import halve_until_it_fits
from experiments.run.hardware import cores
from experiments.stages.common import images_of
from reports.edge import program

FEW_IMAGES = 300  # number of distinct images
MANY_REPEATS = 0.05  # share of images that are copies of others
DROWNED = 3.0  # data standard deviations: noise alone then has 95 % of the std of noisy images
VISIBLE = 0.2  # standard deviation of left-over noise that shows in an image
RARE = 1e-6  # density of a noise level in training, relative to the highest density


def doubts(trials: Sequence[Trial], data_root: Path | None) -> list[str]:
    """The warnings about the trials, each once."""
    return list(dict.fromkeys(_of_trials(trials, data_root)))


def _of_trials(trials: Sequence[Trial], data_root: Path | None) -> Iterator[str]:
    for reference in dict.fromkeys(trial.score.reference for trial in trials):
        if reference.features == "digits" and reference.data.partition("@")[0] not in DIGITS:
            yield (
                f"features='digits' were trained on MNIST and may not tell good images from bad ones of "
                f"data={reference.data!r}; use --features natural"
            )
    for data in dict.fromkeys(trial.model.data for trial in trials):
        yield from _of_images(images_of(data, data_root))
    for trial in trials:
        yield from _of_ladder(trial)
    yield from _of_equal_settings(trials)
    for network in dict.fromkeys(trial.model for trial in trials if isinstance(trial.model, ForeignConfig)):
        samples = [trial.samples for trial in trials if trial.model == network]
        runs = dict.fromkeys((config.sampler, config.ladder.sigmas()) for config in samples)
        yield from _of_network(network, list(runs), max(config.batch for config in samples), data_root)
    threads = max(trial.samples.machine.threads for trial in trials)
    if threads > cores() and trials[0].samples.machine.device == "cpu":
        yield f"threads={threads} on {cores()} cores: runs are slower than with one thread per core"


def _of_equal_settings(trials: Sequence[Trial]) -> Iterator[str]:
    """A warning if settings of one mode are one setting under two names, such as karras and karras(rho=7).

    They are if network, sampler and final denoising are equal, and the levels of their ladders to six digits.
    """
    levels: dict[Hashable, tuple[str, ...]] = {}
    first: dict[Hashable, Trial] = {}
    pairs: dict[tuple[str, str, str], None] = {}
    for trial in trials:
        samples = trial.samples
        if samples.ladder not in levels:
            levels[samples.ladder] = tuple(f"{sigma:.5e}" for sigma in samples.ladder.sigmas())
        run = (trial.mode, samples.model, samples.sampler, samples.final_denoise, levels[samples.ladder])
        if (other := first.setdefault(run, trial)).setting != trial.setting:
            pairs[trial.mode, other.setting, trial.setting] = None
    if pairs:
        (mode, one, two), *more = pairs
        further = f" (one of {len(pairs)} such pairs)" if more else ""
        yield (
            f"{one!r} and {two!r} of mode {mode!r} are one setting under two names{further}: network, levels and "
            "sampler are equal, so comparing them says nothing"
        )


def _of_images(images: Images) -> Iterator[str]:
    """Warnings about a data set: its range, and how many different images it holds."""
    if int(images.pixels.max()) <= 1:
        yield f"data={images.name!r}: no pixel is above 1; if they are scaled to 0..1, multiply them by 255 first"
    distinct = len({row.tobytes() for row in images.pixels.flatten(1).numpy()})
    if distinct < FEW_IMAGES:
        yield (
            f"data={images.name!r}: only {distinct} different images; networks can learn them by heart, and distances "
            "to so few say little"
        )
    elif distinct < (1 - MANY_REPEATS) * len(images.pixels):
        copies = len(images.pixels) - distinct
        yield f"data={images.name!r}: {copies} of {len(images.pixels)} images are copies of others"


def _of_network(
    config: ForeignConfig, runs: Sequence[tuple[Sampler, tuple[float, ...]]], batch: int, data_root: Path | None
) -> Iterator[str]:
    """What `check` doubts about a network from elsewhere, and levels that it does not know.

    Raises:
        ValueError: it answers differently in a batch as large as those of the runs, or after more calls.
    """
    images, device = images_of(config.data, data_root), config.machine.device
    network = load_foreign(config.source, images, config.label, device)
    before = behaviour(network, images, device)
    if not is_random(network):
        halve_until_it_fits(batch, lambda n: check_batch(network, images, device, n))
    yield from (
        f"{config.name}: {doubt}; see {check_command(config)}" for doubt in examine(network, images, device).doubts
    )
    if behaviour(network, images, device) != before:
        raise ValueError(
            f"model: {config.name} answers differently after more calls; it must not keep what it was asked"
        )
    if isinstance(network, Adapter):
        low, high = min(min(filter(None, sigmas)) for _, sigmas in runs), max(sigmas[0] for _, sigmas in runs)
        for words, level in (("goes down to", low), ("begins at", high)):
            if why := unknown(level, network.span):
                yield f"a ladder {words} sigma {level:.3g}, but {why}"
        asked = [(level, sampler.name) for sampler, sigmas in runs for level in sampler.asked(sigmas)]
        for level, name in (min(asked), max(asked)):
            if not low <= level <= high and (why := unknown(level, network.span)):
                yield f"{name} asks the network for sigma {level:.3g}, beyond its ladder, but {why}"


def check_command(config: ForeignConfig) -> str:
    """The command that shows more about a network from elsewhere."""
    words = ["--model", config.source]
    if config.label is not None:
        words += ["--model-label", str(config.label)]
    data = config.data.rpartition("@")[0] or config.data  # as typed, without the hash of the files
    if data != ForeignConfig.data:
        words += ["--data", data]
    return shlex.join([*program().split(), "check", *words])


def _of_ladder(trial: Trial) -> Iterator[str]:
    """Warnings about a ladder: a start below pure noise, noise that stays, and levels that training hardly saw."""
    samples, model = trial.samples, trial.model
    sigmas = samples.ladder.sigmas()
    if sigmas[0] < DROWNED:
        yield (
            f"a ladder begins at sigma {sigmas[0]:.3g}, where images still show in the noise, but sampling begins with "
            "noise alone; begin it higher"
        )
    if sigmas[-1] > VISIBLE and not samples.final_denoise:
        yield (
            f"a ladder ends at sigma {sigmas[-1]:.3g}, so this much noise stays in its samples; end it lower or use "
            "--final-denoise"
        )
    yield from samples.sampler.doubts(sigmas)
    if model.noise is not None:
        usual = float(model.noise.log_density(torch.linspace(-8, 8, 321, dtype=torch.float64)).max())
        for name, sigma in (("begins", sigmas[0]), ("ends", sigmas[-1])):
            if sigma <= 0:
                continue
            density = float(model.noise.log_density(torch.tensor([math.log(sigma)], dtype=torch.float64))[0])
            if density < usual + math.log(RARE):
                yield (
                    f"a ladder {name} at sigma {sigma:.3g}, a level that training under {model.noise.name} practically "
                    "never sees"
                )
