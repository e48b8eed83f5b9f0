"""Checks and warnings before the first run: set-ups that may mislead, user code that is not repeatable."""

import math
import shlex
from collections.abc import Hashable, Iterator, Sequence

import torch

from diffusion_core.adapters import Adapter
from diffusion_core.data.dataset import Images
from experiments.distances.feature_spaces import FEATURES, unsuited_features
from experiments.entrypoint import program_name
from experiments.run.cache import Cache, TensorsAndFacts
from experiments.run.identity import uses_user_code
from experiments.run.image_features import check_features_repeatable, dimension, dominant_feature
from experiments.run.machine import cores
from experiments.run.networks import Pretrained, Trained, data_of
from experiments.run.runs import VALUES, Reference, Run
from experiments.run.stages import real_samples
from experiments.user import pretrained
from experiments.user.architecture import check_architecture, check_large_batch, takes_inputs
from experiments.user.denoising_check import check_denoising
from experiments.user.memory import halve_until_it_fits
from experiments.user.network_io import check_batch, is_random
from experiments.user.repeatable import N_INPUTS, check_noise, check_user_sampler, check_weighting

FEW_IMAGES = 300  # number of distinct images
MANY_REPEATS = 0.05  # share of images that are copies of others
DROWNED = 3.0  # data standard deviations: noise alone then has 95 % of the std of noisy images
LEFT = 0.2  # noise that a schedule leaves and nobody overlooks; pages measure it, and have a limit of their own
RARE = 1e-6  # density of a noise level in training, relative to the highest density
ROUNDING = 1e-4  # of a level, relative: names show six digits


def check_setup(runs: Sequence[Run], cache: Cache) -> list[str]:
    """The warnings about possible runs, each once. ValueError for a user's code that is not repeatable."""
    reference = runs[0].reference
    warnings = [*_data_warnings(reference)]
    for network in dict.fromkeys(run.network for run in runs if isinstance(run.network, Trained)):
        check_noise(network.noise, network.stratified, network.batch_size)
        check_weighting(network.weighting, network.batch_size)
        if network.architecture:
            options = (network.shape, network.parameterisation, network.machine.device)
            warnings += check_architecture(network.network, *options)
            check_large_batch(network.network, *options, max(run.batch_size for run in runs if run.network == network))
    warnings += plan_warnings(runs)
    by_sampler = {(run.setting.sampler, run.sigmas): run for run in runs if uses_user_code(run.setting.sampler)}
    for run in by_sampler.values():
        check_user_sampler(run.setting.sampler, run.sigmas, run.network.shape)
    if reference.is_pretrained:
        features = check_features_repeatable(reference.features, real_samples(reference, slice(N_INPUTS)))
        if text := dominant_feature(features.numpy()):
            warnings.append(f"{reference.features}: {text}")
    for pretrained_network in dict.fromkeys(run.network for run in runs if isinstance(run.network, Pretrained)):
        of_network = [run for run in runs if run.network == pretrained_network]
        warnings += _network_warnings(pretrained_network, of_network, cache)
    threads = max(run.machine.threads for run in runs)
    if threads > cores() and runs[0].machine.device == "cpu":
        warnings.append(f"threads={threads} on {cores()} cores: runs are slower than with one thread per core")
    return [*dict.fromkeys(warnings)]


def plan_warnings(runs: Sequence[Run]) -> list[str]:
    """The warnings that need neither images nor a network, each once: about schedules, and settings that are equal."""
    return [*dict.fromkeys([text for run in runs for text in _schedule_warnings(run)] + _equal_settings(runs))]


def setup_notes(runs: Sequence[Run]) -> list[str]:
    """Lists notes that readers of the numbers should know, each once."""
    notes = list[str]()
    reference = runs[0].reference
    smallest = min(run.n for run in runs)
    if reference.features == VALUES:
        d = data_of(reference.data).shape[0]
    else:  # only for a user's features an image is needed, which may have to be decoded
        known = FEATURES.get(reference.features)
        d = known.dimension if known else dimension(reference.features, real_samples(reference, slice(1)))
    if smallest <= d:
        singular = f"{smallest} samples span fewer than the {d} feature dimensions: their covariance is singular"
        notes.append(f"{singular}, so FD compares only runs of equally many samples; MMD and KD have no such limit")
    if reference.decoder is not None:
        decoded = f"samples are compared with {reference.n:,} decoded latents of the data"
        notes.append(f"{decoded}, so what the autoencoder itself loses is not seen; name real images with --images")
    for trained in dict.fromkeys(run.network for run in runs if isinstance(run.network, Trained)):
        if trained.architecture and len(trained.shape) > 1 and not takes_inputs(trained.network):
            notes.append(f"{trained.network} takes one number of channels, so its recipe is plain: it has one input")
    for network in dict.fromkeys(run.network for run in runs if isinstance(run.network, Pretrained)):
        notes += [*pretrained.notes(network.source), *pretrained.network_notes(network.untrained())]
        if getattr(network.untrained(), "takes_index", False):
            notes.append("the network is given the index of each sample: intervals hold for these prompts")
    return [*dict.fromkeys(notes)]


def impossible_note(runs: Sequence[Run]) -> str:
    """How many settings cannot be run, since sampler and schedule do not suit each other, with an example; or ""."""
    infeasible = {(run.setting.section, run.setting.label, run.setting.budget): run for run in runs if run.impossible}
    if not infeasible:
        return ""
    first = next(iter(infeasible.values()))
    name = f"{first.setting.label!r} of {first.setting.section!r}"
    if len(infeasible) == 1:
        return f"1 setting is not run: {name} ({first.impossible})"
    return f"{len(infeasible)} settings are not run: {name}, ... ({first.impossible})"


def _equal_settings(runs: Sequence[Run]) -> list[str]:
    """A warning if settings of one section are one setting under two names, such as karras and karras(rho=7).

    They are if network, sampler and final denoising are equal, and the levels of their schedules to six digits.
    """
    first: dict[Hashable, Run] = {}
    pairs: dict[tuple[str, str, str], None] = {}
    for run in runs:
        setting = run.setting
        rounded = tuple(f"{sigma:.5e}" for sigma in run.sigmas)
        key = (setting.section, run.network, setting.sampler, setting.final_denoise, run.draw, rounded)
        if (other := first.setdefault(key, run).setting).label != setting.label:
            pairs[setting.section, other.label, setting.label] = None
    if not pairs:
        return []
    section, a, b = next(iter(pairs))
    text = f"{a!r} and {b!r} of {section!r} are one setting under two names"
    if len(pairs) > 1:
        text += f" (one of {len(pairs)} such pairs)"
    return [f"{text}: network, levels and sampler are equal, so comparing them says nothing"]


def _data_warnings(reference: Reference) -> Iterator[str]:
    """Warnings about features that do not suit the data, its range, and how many different images it holds."""
    data = data_of(reference.data)
    if text := unsuited_features(reference.features, reference.data):
        yield text
    if isinstance(data, Images) and int(data.pixels.max()) <= 1:
        yield f"data={data.name!r}: no pixel is above 1; if they are scaled to 0..1, multiply them by 255 first"
    numbers = data.pixels if isinstance(data, Images) else data.standardised()
    distinct = len({row.tobytes() for row in numbers.flatten(1).numpy()})
    if distinct < FEW_IMAGES:
        consequence = "networks may memorise them, and distances to so few are unreliable"
        yield f"data={data.name!r}: only {distinct} different images; {consequence}"
    elif distinct < (1 - MANY_REPEATS) * len(data):
        yield f"data={data.name!r}: {len(data) - distinct} of {len(data)} images are copies of others"


def _network_warnings(config: Pretrained, runs: Sequence[Run], cache: Cache) -> Iterator[str]:
    """The doubts of `check` about a pretrained network, stored, and levels of its runs that it does not know.

    ValueError if it answers differently in a batch as large as those of the runs, or after more calls.
    """
    images = data_of(config.data)
    device = config.machine.device
    network = config.untrained()
    config.machine.pin()
    if not is_random(network):
        batch = max(run.batch_size for run in runs)
        halve_until_it_fits(batch, lambda n: check_batch(network, images, device, n))
    if config.shape == images.shape:

        def make() -> TensorsAndFacts:
            return {}, {"doubts": check_denoising(network, images, device).doubts}

        stored = cache.load_or_make("checks", config, make)
        yield from (f"{config.name}: {doubt}; see {check_command(config)}" for doubt in stored.facts["doubts"])
    else:
        yield f"{config.name}: it is not checked, since the latents that it works on are not known: --data latents:FILE"
    if not isinstance(network, Adapter):
        return
    low = min(min(filter(None, run.sigmas)) for run in runs)
    high = max(run.sigmas[0] for run in runs)
    for words, level in (("goes down to", low), ("begins at", high)):
        if reason := unknown_level(level, network.span):
            yield f"a schedule {words} sigma {level:.3g}, but {reason}"
    samplers = dict.fromkeys((run.setting.sampler, run.sigmas) for run in runs)
    levels = [(level, sampler.name) for sampler, sigmas in samplers for level in sampler.asked(sigmas)]
    for level, name in (min(levels), max(levels)):
        if not low <= level <= high and (reason := unknown_level(level, network.span)):
            yield f"{name} asks the network for sigma {level:.3g}, beyond its schedule, but {reason}"


def check_command(config: Pretrained) -> str:
    """The command that shows more about a pretrained network."""
    words = ["--network", config.source]
    if config.label is not None:
        words += ["--label", str(config.label)]
    data = config.data.rpartition("@")[0] or config.data  # as typed, without the hash of the files
    if data != Pretrained.data:
        words += ["--data", data]
    return shlex.join([*program_name().split(), "check", *words])


def _schedule_warnings(run: Run) -> Iterator[str]:
    """Warnings about a schedule: a start below pure noise, noise that stays, and levels that training hardly saw."""
    sigmas = run.sigmas
    if sigmas[0] < DROWNED:
        consequence = "where images still show in the noise, but sampling begins with noise alone; begin it higher"
        yield f"a schedule begins at sigma {sigmas[0]:.3g}, {consequence}"
    if sigmas[-1] > LEFT and not run.setting.final_denoise:
        consequence = "so this much noise stays in its samples; end it lower or denoise at its end (final_denoise)"
        yield f"a schedule ends at sigma {sigmas[-1]:.3g}, {consequence}"
    yield from run.setting.sampler.doubts(sigmas)
    if not isinstance(run.network, Trained):
        return
    noise = run.network.noise
    log_sigmas = torch.linspace(-8, 8, 321, dtype=torch.float64)
    highest = float(noise.log_density(log_sigmas).max())
    for name, sigma in (("begins", sigmas[0]), ("ends", sigmas[-1])):
        level = torch.tensor([sigma], dtype=torch.float64).log()
        if sigma > 0 and float(noise.log_density(level)[0]) < highest + math.log(RARE):
            unseen = f"a level that training under {noise.name} practically never sees"
            yield f"a schedule {name} at sigma {sigma:.3g}, {unseen}"


def unknown_level(level: float, span: tuple[float, float]) -> str:
    """Why a network that knows the levels of `span` should not be asked for this one; empty if it knows it."""
    least, most = span
    if level < least * (1 - ROUNDING):
        return f"the network knows no level below {least:.3g}"
    if level > most * (1 + ROUNDING):
        return f"the network knows no level above {most:.3g}"
    return ""
