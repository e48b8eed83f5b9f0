"""The cached stages of a run: real images, a network (networks.py), samples, their score. Each needs the one before.

samples/     what the network decodes: `samples` uint8 (n, C, H, W) or floats (n, d); counted evaluations, seconds
references/  features of real images, sums of their kernels, their texture
scores/      each distance with what every image adds to it; precision, recall, grain
floors/      the score of real images against the others
curves/      a network's squared error as a function of sigma, on images that its training did not see
"""

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from diffusion_core.data.dataset import Images, Values
from diffusion_core.networks.compiled import Compiled
from diffusion_core.samplers import Model
from diffusion_core.samplers import sample as draw_with
from diffusion_core.samplers.sampling import bind_index
from diffusion_core.samplers.seeded_noise import block_seed
from diffusion_core.schedules import geometric
from diffusion_core.tensors import computing_in
from experiments.console import ProgressCallback, silent
from experiments.distances.distance import Distance, columns_of, pack_distances, unpack_distances
from experiments.distances.duplicates import FEWEST, memorisation, squared_nearest
from experiments.distances.kernels import Sums, mostly_equal
from experiments.distances.reference import QUALITY, FixedReference, ReferenceSet
from experiments.distances.texture import RealTexture
from experiments.run.cache import Artifact, Cache, TensorsAndFacts
from experiments.run.identity import identity
from experiments.run.image_features import batch_size, open_extractor, prepare_pixels
from experiments.run.machine import SHARED_ABOVE, Machine, busy_cores_of_others, device_name, pin_scores, read_clocks
from experiments.run.networks import ANSWERS, Advance, Network, Pretrained, Trained, check_answers, data_of
from experiments.run.runs import VALUES, Reference, Run
from experiments.user.imports import user_code_errors
from experiments.user.network_io import check_decoded, check_size
from experiments.user.noisy_batch import squared_errors
from reports.schema import Row

REPEATS = 20  # of the floor
SIGMA_RANGE = (100.0, 0.01)  # data standard deviations
LEVELS = geometric(24, *SIGMA_RANGE)
DENSITY_LEVELS = geometric(200, *SIGMA_RANGE)
MAX_IMAGES = 1024  # of an error curve
AT_ONCE = 256  # of these images, in a forward pass
log = logging.getLogger(__name__)


# --- samples ---


def sample(run: Run, cache: Cache, advance: Advance) -> Artifact:
    """The samples of a run, and its counted evaluations and seconds."""
    network = run.network.artifact(cache, advance)
    return cache.load_or_make("samples", run, lambda: _sample(run, network, advance, cache.shared_device))


def _sample(run: Run, network: Artifact | None, advance: Advance, shared_device: bool) -> TensorsAndFacts:
    run.machine.pin()
    device = run.machine.device
    loaded = run.network.load(network)
    of_user = run.network if isinstance(run.network, Trained) and run.network.architecture else None
    answers = _first_answers(of_user, network, loaded, run.batch_size) if of_user and network else None
    model = CountingModel(prepare_model(loaded, run, run.batch_size))
    _synchronise(device)
    before = read_clocks()
    x = generate(run, model, range(run.n), run.batch_size, after_batch=lambda n: advance(n * run.nfe))
    _synchronise(device)
    after = read_clocks()
    if of_user:
        check_answers(of_user, loaded, answers)
    nfe = model.images / run.n
    if nfe != run.nfe:
        log.warning(
            f"{run.setting.sampler.name}: {nfe:g} evaluations per image, not the {run.nfe} planned, so it is compared "
            "at unequal cost; give the sampler a planned_nfe"
        )
    return {"samples": decode(run, x)}, {
        "nfe": int(nfe) if nfe.is_integer() else nfe,
        "seconds": after[0] - before[0],
        "batch_size": run.batch_size,
        "shared_device": shared_device or (device == "cpu" and busy_cores_of_others(before, after) > SHARED_ABOVE),
        "device": device_name(device),
    }


def generate(
    run: Run, model: Model, samples: Sequence[int], batch_size: int, after_batch: Callable[[int], None] | None = None
) -> Tensor:
    """The samples of a run with these indices, in order (n, *shape)."""
    with (
        computing_in(run.machine.precision, run.machine.device),
        user_code_errors(f"sampler {run.setting.sampler.name}"),
    ):
        return draw_with(
            model,
            run.sigmas,
            run.setting.sampler,
            samples=samples,
            shape=run.network.shape,
            seed=run.seed,
            batch_size=batch_size,
            device=run.machine.device,
            final_denoise=run.setting.final_denoise,
            after_batch=after_batch,
        )


class CountingModel:
    """A model that counts the images it evaluates."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.images = 0

    @property
    def takes_index(self) -> bool:
        return getattr(self.model, "takes_index", False)

    def __call__(self, x: Tensor, sigma: Tensor, **index: Tensor) -> Tensor:
        self.images += len(x)
        try:
            return self.model(x, sigma, **index)
        except BaseException as error:  # it may raise anything
            error.add_note("model")
            raise


def prepare_model(loaded: Model, run: Run, batch_size: int) -> Model:
    """The model as its machine evaluates it, after one evaluation outside the clock."""
    machine = run.machine
    model = _compiled(loaded, batch_size, machine)
    with computing_in(machine.precision, machine.device), user_code_errors("network"):
        _warm(model, batch_size, run.network.shape, machine.device)
    return model


@lru_cache(maxsize=4)
def _first_answers(network: Trained, artifact: Artifact, model: Model, batch_size: int) -> Tensor:
    """`check_answers` before its first sampling, by those after its training; a file of an older version has none."""
    return check_answers(network, model, artifact.tensors.get(ANSWERS), batch_size)


@lru_cache(maxsize=4)
def _compiled(model: Model, batch_size: int, machine: Machine) -> Model:
    return Compiled(model, batch_size) if machine.compiled else model


@lru_cache(maxsize=8)
def _warm(model: Model, batch_size: int, shape: tuple[int, ...], device: str) -> None:
    x = torch.zeros(batch_size, *shape, device=device)
    with torch.no_grad():
        bind_index(model, torch.arange(batch_size, device=device))(x, torch.ones(batch_size, device=device))


def _synchronise(device: str) -> None:
    if device != "cpu":
        getattr(torch, device).synchronize()


def decode(run: Run, x: Tensor) -> Tensor:
    """Decodes x to what is stored and scored, on the CPU. ValueError as in `network_io.check_decoded`."""
    out = run.network.decode(x).cpu()
    check_decoded(out, len(x))
    return out


# --- real images ---


def reference(config: Reference, cache: Cache, after_batch: ProgressCallback = silent) -> Artifact:
    """The file of real images. `after_batch` is called after each batch of features with its number of images."""
    return cache.load_or_make("references", config, lambda: _make_reference(config, after_batch))


def features_of(config: Reference, samples: Tensor, after_batch: ProgressCallback = silent) -> Tensor:
    """Features float32 (n, d) of images uint8 (n, C, H, W), on the reference's device. Floats (n, d) are their own."""
    data = data_of(config.data)
    if samples.is_floating_point():
        if not isinstance(data, Values):
            return samples.float()
        check_size(tuple(samples.shape[1:]), data)
        return data.features(samples)
    if config.decoder is None:
        check_size(tuple(samples.shape[1:]), data)
    layers = _extractor(config)
    features = list[Tensor]()
    for pixels in samples.split(batch_size(config.features, config.computed_on)):
        prepared = prepare_pixels(pixels, config.features, config.data, from_user=False)
        features += layers(prepared)[:1]
        after_batch(len(pixels))
    return torch.cat(features)


@lru_cache(maxsize=2)
def _extractor(config: Reference) -> Callable[[Tensor], list[Tensor]]:
    """The extractor, opened once per process: its weights go to the device once."""
    return open_extractor(config.features, config.weights, config.computed_on)


def real_samples(config: Reference, which: slice | Tensor) -> Tensor:
    """The real images uint8 (n, C, H, W), or points (n, d), of a reference at some indices."""
    data = data_of(config.data)
    if config.decoder is not None:
        return config.decoder.decode(data.standardised(which).to(config.decoder.machine.device))
    if isinstance(data, Images) and config.features != VALUES:
        return data.pixels[which]
    return data.values[which] if isinstance(data, Values) else data.standardised(which).flatten(1)


def _make_reference(config: Reference, after_batch: ProgressCallback) -> TensorsAndFacts:
    pin_scores()
    data = data_of(config.data)
    samples = real_samples(config, slice(config.n))
    features = features_of(config, samples, after_batch)
    if mostly_equal(features.cpu().numpy()):
        raise ValueError(
            f"data={config.data!r}: for more than half of the pairs of images the features are equal; leave out the "
            f"copies, or take other features than {config.features}"
        )
    real = ReferenceSet.of(features.to(config.computed_on, torch.float64))
    curve = dict[str, Tensor]()
    if not samples.is_floating_point():
        std = data.std if isinstance(data, Images) else float(samples.double().std())
        texture = RealTexture.of(samples, std)
        curve = {f"texture.{name}": torch.from_numpy(values) for name, values in vars(texture).items()}
    sums = {f"sums.{name}": by_kernel.rows.cpu() for name, by_kernel in real.sums.items()}
    width = torch.tensor(real.width, dtype=torch.float32)  # float64 would change MMD in its eighth digit
    stored = {"features": features.cpu(), "labels": data.labels[: len(features)], "width": width}
    return stored | sums | curve, {}


@lru_cache(maxsize=2)
def load_reference(file: Artifact, device: str) -> tuple[ReferenceSet, RealTexture | None]:
    """The real images in a file, on a device, and their texture, which is None for points."""
    tensors = file.tensors
    rows = {name: values.to(device) for name, values in tensors.items() if name.startswith("sums.")}
    sums = {name.removeprefix("sums."): Sums(values) for name, values in rows.items()}
    real = ReferenceSet(tensors["features"].to(device, torch.float64), float(tensors["width"]), sums)
    if "texture.mean" not in tensors:
        return real, None
    return real, RealTexture(tensors["texture.mean"].numpy(), tensors["texture.spread"].numpy())


@lru_cache(maxsize=4)
def _without(file: Artifact, device: str, n: int) -> FixedReference:
    """The real images that n samples are compared with."""
    real, _ = load_reference(file, device)
    return real.without(real.aside_mask(n, draw=0))


# --- scores ---

Measure = Callable[[Run, Artifact, Artifact], float]  # of a run, its samples and the real images
APART: dict[str, Measure] = {}  # columns of table.csv that are measured apart from the scores, which stay as they are


def score(run: Run, cache: Cache, advance: Advance) -> Artifact:
    """The score of a run. Everything that it needs is made first."""
    real = reference(run.reference, cache)
    samples = sample(run, cache, advance)
    for name, measure_column in APART.items():
        cache.load_or_make("columns", (run.scored, name), lambda: ({}, {name: measure_column(run, samples, real)}))  # noqa: B023  # called at once
    return cache.load_or_make("scores", run.scored, lambda: measure(run, samples, real))


def read_apart(run: Run, cache: Cache) -> Row:
    """The columns that are measured apart, as far as they are stored."""
    files = (cache.load("columns", (run.scored, name)) for name in APART)
    return {name: value for file in files if file for name, value in file.facts.items()}


def measure(run: Run, samples: Artifact, real: Artifact) -> TensorsAndFacts:
    """The distances of stored samples from real images, and their precision, recall and grain."""
    run.machine.pin()  # the features are computed as samples are
    images = samples.tensors["samples"]
    config = run.reference
    features32 = features_of(config, images)
    pin_scores()
    device = config.computed_on
    features = features32.to(device, torch.float64)
    against = _without(real, device, run.n)
    distances, quality = against.compare(features)
    values = {name: distance.value for name, distance in distances.items()}
    if wrong := [f"{name}={value}" for name, value in values.items() if not math.isfinite(value)]:
        raise ValueError(f"features={config.features!r}: {', '.join(wrong)}; a distance must be finite")
    facts: dict[str, Any] = dict(columns_of(distances))
    facts |= dict(zip(QUALITY, quality, strict=True)) | {"n_reference": len(against.features)}
    facts |= _memorisation(run, features, real)
    if (texture := load_reference(real, device)[1]) is not None:
        left = run.noise_left
        facts |= {"grain": texture.grain(images, left), "grain_se": texture.grain_spread(run.n, left)}
    return pack_distances(distances), facts


def _memorisation(run: Run, features: Tensor, real: Artifact) -> dict[str, float]:
    """How near samples lie to training images, against as many real images that training did not see.

    A training image, compared with the other training images, stands for such a real image: both have one
    distribution. Empty if the reference lacks some training images, and in few dimensions, where all are near. After
    Meehan et al. 2020, arXiv 2004.05675, Section 3.
    """
    network = run.network
    device = run.reference.computed_on
    of_data = load_reference(real, device)[0].features
    n_training = data_of(network.data).n_training(getattr(network, "held_out", 0))
    if network.data != run.reference.data or len(of_data) < n_training or of_data.shape[1] < FEWEST:
        return {}
    to_training = squared_nearest(features, of_data[:n_training])
    return memorisation(to_training, _nearest_of_real(real, device, run.n, n_training))


@lru_cache(maxsize=4)
def _nearest_of_real(file: Artifact, device: str, n: int, n_training: int) -> Tensor:
    real, _ = load_reference(file, device)
    drawn = torch.from_numpy(real.aside_mask(n, draw=0).nonzero()[0]).to(device)
    return squared_nearest(real.features[drawn], real.features[:n_training], drawn)


def floor(config: Reference, n: int, cache: Cache) -> dict[str, Tensor]:
    """Each score of n real images against the others, REPEATS times."""

    def make() -> TensorsAndFacts:
        pin_scores()
        real, _ = load_reference(reference(config, cache), config.computed_on)
        scores = real.floor(n, range(1, REPEATS + 1))
        return {name: torch.from_numpy(values) for name, values in scores.items()}, {}

    return cache.load_or_make("floors", (config, n, REPEATS), make).tensors


def autoencoder_distances(network: Pretrained, config: Reference, n: int, cache: Cache) -> dict[str, Distance]:
    """The distances of n decoded latents of the data from real images: what the autoencoder alone costs."""

    def make() -> TensorsAndFacts:
        x = data_of(network.data).standardised(slice(n)).to(network.machine.device)
        features = features_of(config, network.decode(x))
        pin_scores()
        against = _without(reference(config, cache), config.computed_on, n)
        return pack_distances(against.distances(features.to(against.features))), {}

    return unpack_distances(cache.load_or_make("floors", (network, config, n), make).tensors)


# --- held-out errors ---


def error_rows(network: Trained, cache: Cache) -> list[Row]:
    """Rows sigma, relative_error, se, n_images on the images that training held out, from the cache or measured now.

    relative_error is the mean of (1 + sigma^2) |eps - noise|^2 per pixel: the squared error of eps over the error
    of the best denoiser that knows only the variance of the data. So 1 means that nothing else was learnt. se is
    the standard error of relative_error over images. ValueError if the network held out fewer than two images.
    """
    if network.held_out < 2:
        raise ValueError(f"held_out={network.held_out}: an error curve needs images that training did not see")
    weights = network.artifact(cache, lambda evaluations: None)

    def make() -> TensorsAndFacts:
        network.machine.pin()
        model = network.load(weights)
        return {"errors": torch.stack([_errors(network, model, *level) for level in enumerate(LEVELS)])}, {}

    by_level = cache.load_or_make("curves", (network, LEVELS), make).tensors["errors"]
    return [
        {"sigma": sigma, "relative_error": errors.mean().item(), "n_images": len(errors)}
        | {"se": (errors.std() / len(errors) ** 0.5).item()}
        for sigma, errors in zip(LEVELS, by_level, strict=True)
    ]


@torch.no_grad()
def _errors(network: Trained, model: Model, index: int, sigma: float) -> Tensor:
    """Relative errors (n,) at one level. Each image has one draw of noise, the same for all networks."""
    images = data_of(network.data)
    device = network.machine.device
    errors = list[Tensor]()
    x0 = images.standardised()[images.n_training(network.held_out) :][:MAX_IMAGES]
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(block_seed(0, index)))
    for clean, unit in zip(x0.split(AT_ONCE), noise.split(AT_ONCE), strict=True):
        clean = clean.to(device)
        unit = unit.to(device)
        with computing_in(network.machine.precision, device):
            eps = model(clean + sigma * unit, clean.new_full((len(clean),), sigma))
        errors.append(squared_errors(eps, unit))
    return torch.cat(errors) * (1 + sigma**2)


def curve_rows(networks: Iterable[Network], cache: Cache) -> list[Row]:
    """Rows of curves.csv."""
    rows = list[Row]()
    for network in networks:
        if not isinstance(network, Trained):
            continue
        shared: Row = {"model_id": identity(network), "train_noise": network.noise.name, "train_seed": network.seed}
        shared |= {name: getattr(network, name) for name in ("weighting", "parameterisation", "images_seen")}
        rows += [shared | point for point in error_rows(network, cache)]
    return rows


def density_rows(networks: Iterable[Network]) -> list[Row]:
    """Rows of densities.csv: the noise distributions of training as densities of ln sigma."""
    noises = dict.fromkeys(network.noise for network in networks if isinstance(network, Trained))
    log_sigmas = torch.tensor(DENSITY_LEVELS, dtype=torch.float64).log()
    return [
        {"train_noise": noise.name, "sigma": sigma, "density": value}
        for noise in noises
        for sigma, value in zip(DENSITY_LEVELS, noise.log_density(log_sigmas).exp().tolist(), strict=True)
    ]
