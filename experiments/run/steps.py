"""The cached steps of a run: real images, a network (networks.py), samples, their score. Each needs the one before.

samples/     what the network decodes: `samples` uint8 (n, C, H, W) or floats (n, d); counted evaluations, seconds
references/  features of real images, sums of their kernels, their texture
scores/      each distance with what every image adds to it; precision, recall, grain
"""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from diffusion_core.data_set import Images, Values
from diffusion_core.networks.compiled import Compiled, can_compile
from diffusion_core.precision import computing_in
from diffusion_core.samplers import Model
from diffusion_core.samplers import sample as draw_with
from diffusion_core.samplers.sampling import at_samples
from experiments.distances.distance import Distance, packed, unpacked
from experiments.distances.kernels import Sums, mostly_equal
from experiments.distances.real import Against, Real, precision_recall
from experiments.distances.texture import RealTexture
from experiments.own.behaviour import is_random
from experiments.own.features import extract, usual_batch
from experiments.own.form import check_decoded, check_size
from experiments.own.user_code import of_user
from experiments.run import believe
from experiments.run.artifact import Artifact, tensors_of
from experiments.run.cache import Cache, Differs, Made
from experiments.run.foreign import Foreign
from experiments.run.hardware import SHARED_ABOVE, BusyClock, device_name
from experiments.run.identity import canonical, has_own_code, place
from experiments.run.machine import Machine, pin_scores
from experiments.run.networks import Advance, data_of, made_by
from experiments.run.plan import VALUES, Reference, Run
from experiments.terminal import Told, silent

FEATURES_ALONE = 0.01  # largest relative difference of a row of features between batches
SCORES_DIFFER = 1e-3  # of a distance and its standard error
log = logging.getLogger(__name__)


# --- samples ---


def sample(run: Run, cache: Cache, advance: Advance) -> Artifact:
    """The samples of a run, and its counted evaluations and seconds."""
    network = run.network.made(cache, advance)
    due = cache.spot is None or run.samples_id in cache.spot or has_own_code(run)
    check = partial(_check_samples, run, network, run.samples_id in cache.mixed) if due else None
    return cache.cached(
        "samples", run, lambda: _sampled(run, network, advance, cache.crowded), [network] if network else [], check
    )


def _sampled(run: Run, network: Artifact | None, advance: Advance, crowded: bool) -> Made:
    run.machine.pin()
    loaded, device, everyone = run.network.load(network), run.machine.device, range(run.n)
    model = CountingModel(_ready(loaded, run, run.batch_size))
    _synchronise(device)
    before = BusyClock.now()
    x = draw(run, model, everyone, run.batch_size, after_batch=lambda n: advance(n * run.nfe))
    _synchronise(device)
    others, seconds = BusyClock.now().others_since(before), perf_counter() - before.wall
    if has_own_code(run) and not is_random(loaded):
        again = partial(_again, run, loaded)
        believe.ask_again(_users(run), again, x, run.batch_size, believe.ALONE[run.machine.precision])
    nfe = model.images / run.n
    if nfe != run.nfe:
        log.warning(
            f"{run.setting.sampler.name}: {nfe:g} evaluations per image, not the {run.nfe} planned, so it is compared "
            "at unequal cost; give the sampler a planned_nfe"
        )
    tensors = {"samples": _decoded(run, x)}
    if has_own_code(run.network):
        believe.ask_again(
            "decode", lambda order: _decoded(run, x[order]), tensors["samples"], run.batch_size, believe.ALONE["fp32"]
        )
    return tensors, {
        "nfe": int(nfe) if nfe.is_integer() else nfe,
        "seconds": seconds,
        "batch_size": run.batch_size,
        "shared_device": crowded or (device == "cpu" and others > SHARED_ABOVE),
        "device": device_name(device),
    }


def draw(
    run: Run,
    model: Model,
    samples: Sequence[int],
    batch_size: int,
    after_batch: Callable[[int], None] | None = None,
) -> Tensor:
    """The samples of a run with these indices, in order (n, *shape)."""
    with computing_in(run.machine.precision, run.machine.device), of_user(f"sampler {run.setting.sampler.name}"):
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
        self.model, self.images = model, 0

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


def _again(run: Run, loaded: Model, samples: Tensor) -> Tensor:
    run.machine.pin()
    model = _ready(loaded, run, len(samples))
    return draw(run, _watched(model) if has_own_code(run.network) else model, samples.tolist(), len(samples))


def _watched(model: Model) -> Model:
    """A user's network. ValueError if it changes its input, be it through `.data`, which leaves no trace."""

    def eps(x: Tensor, sigma: Tensor, **index: Tensor) -> Tensor:
        before = x.clone()
        out = model(x, sigma, **index)
        if not torch.equal(before, x):
            raise ValueError(f"network: it changed x in place at sigma {float(sigma[0]):.3g}; it must leave it alone")
        return out

    eps.takes_index = getattr(model, "takes_index", False)  # type: ignore[attr-defined]  # a function made here
    return eps


def _ready(loaded: Model, run: Run, batch_size: int) -> Model:
    """The model as its machine evaluates it, after one evaluation outside the clock."""
    model, shape, machine = _compiled(loaded, batch_size, run.machine), run.network.shape, run.machine
    with computing_in(machine.precision, machine.device), of_user("network"):
        _warm(model, batch_size, shape, machine.device)
    return model


@lru_cache(maxsize=4)
def _compiled(model: Model, batch_size: int, machine: Machine) -> Model:
    if not machine.compiled:
        return model
    if not can_compile(machine.device):
        raise ValueError(f"compiled=True: there is no compiler for {machine.device} on this machine; install g++")
    return Compiled(model, batch_size)


@lru_cache(maxsize=8)
def _warm(model: Model, batch_size: int, shape: tuple[int, ...], device: str) -> None:
    x = torch.zeros(batch_size, *shape, device=device)
    with torch.no_grad():
        at_samples(model, torch.arange(batch_size, device=device))(x, torch.ones(batch_size, device=device))


def _synchronise(device: str) -> None:
    if device != "cpu":
        getattr(torch, device).synchronize()


def _decoded(run: Run, x: Tensor) -> Tensor:
    """What is stored and scored of x. ValueError as in `form.check_decoded`."""
    with of_user("decode"):
        out = run.network.decode(x).cpu()
    check_decoded(out, len(x))
    return out


def _users(run: Run) -> str:
    """The user's code in a run, in words."""
    network = "network" if has_own_code(run.network) else ""
    sampler = f"sampler {run.setting.sampler.name}" if has_own_code(run.setting) else ""
    return " or ".join(filter(None, (sampler, network)))


def _check_samples(run: Run, network: Artifact | None, mixed: bool, stored: Artifact) -> None:
    """Raises Differs if some samples of a run, drawn again, differ from the stored ones."""
    loaded, images = run.network.load(network), data_of(run.network.data)
    if is_random(loaded):  # no two runs of it can be compared
        return
    chosen = torch.tensor(believe.choose(run.n, len(images.labels.unique())))
    again = _decoded(run, _again(run, loaded, chosen))
    features = features_of(run.reference, torch.cat([again, stored.tensors["samples"][chosen]]))
    what = f"{len(chosen)} samples of {run.setting.sampler.name}, drawn again,"
    drawn, known = features.split(len(chosen))
    believe.compare(what, drawn, known, _made_by(run), run.machine.precision, mixed)


def _made_by(run: Run) -> dict[str, Any]:
    sampler = place(type(run.setting.sampler))
    return {f"sampler {sampler}": {"class": sampler}} | made_by(run.network)


# --- real images ---


@dataclass(frozen=True)
class RealImages:
    """The real images of a reference: their features, classes and texture."""

    real: Real
    labels: Tensor
    texture: RealTexture | None  # None for points


def reference(config: Reference, cache: Cache, after_batch: Told = silent) -> tuple[Artifact, RealImages]:
    """The file of real images, and what it holds. `after_batch`: of features, with its number of images."""
    check = partial(_check_reference, config)
    file = cache.cached("references", config, lambda: _described(config, after_batch), check=check)
    return file, _loaded(file.path, file.sum)


def features_of(config: Reference, samples: Tensor, after_batch: Told = silent) -> Tensor:
    """Features float32 (n, d) of images uint8 (n, C, H, W). Floats (n, d) are their own.

    ValueError if a user's function gives an image other features when it is asked again, or in another batch.
    """
    data = data_of(config.data)
    if samples.is_floating_point() != (config.features == VALUES):
        raise ValueError(f"features={config.features!r}: floats need {VALUES!r}, images a feature space of images")
    if samples.is_floating_point():
        if not isinstance(data, Values):
            return samples.float()
        check_size(tuple(samples.shape[1:]), data)
        return data.features(samples)
    if config.decoder is None:
        check_size(tuple(samples.shape[1:]), data)
    features = extract(config.features, samples, weights=config.weights, after_batch=after_batch)[0]
    if config.foreign:
        ask, batch = partial(_extracted, config, samples), usual_batch(config.features)
        believe.ask_again(f"features {config.features}", ask, features, batch, FEATURES_ALONE)
    return features


def _extracted(config: Reference, samples: Tensor, order: Tensor) -> Tensor:
    return extract(config.features, samples[order], weights=config.weights)[0]


def real_samples(config: Reference, which: slice | Tensor) -> Tensor:
    """The real images uint8 (n, C, H, W), or points (n, d), of a reference at an index."""
    data = data_of(config.data)
    if config.decoder is not None:
        return config.decoder.decode(data.standardised(which).to(config.decoder.machine.device))
    if isinstance(data, Images) and config.features != VALUES:
        return data.pixels[which]
    return data.values[which] if isinstance(data, Values) else data.standardised(which).flatten(1)


def _described(config: Reference, after_batch: Told) -> Made:
    pin_scores()
    data, samples = data_of(config.data), real_samples(config, slice(config.n))
    features = features_of(config, samples, after_batch)
    if mostly_equal(features.numpy()):
        raise ValueError(
            f"data={config.data!r}: for more than half of the pairs of images the features are equal; leave out the "
            f"copies, or take other features than {config.features}"
        )
    real, curve = Real.of(features.double().numpy()), dict[str, Tensor]()
    if not samples.is_floating_point():
        texture = RealTexture.of(samples, data.std if isinstance(data, Images) else float(samples.double().std()))
        curve = {f"texture.{name}": torch.from_numpy(values) for name, values in vars(texture).items()}
    sums = {f"sums.{name}": torch.from_numpy(each.rows) for name, each in real.sums.items()}
    totals = {f"total.{name}": torch.tensor(each.total, dtype=torch.float64) for name, each in real.sums.items()}
    width = torch.tensor(real.width, dtype=torch.float32)  # float64 would change MMD in its eighth digit
    return {"features": features, "labels": data.labels[: len(features)], "width": width} | sums | totals | curve, {}


def _check_reference(config: Reference, stored: Artifact) -> None:
    """Raises Differs if features of some real images, computed again, differ from the stored ones."""
    pin_scores()
    chosen = torch.tensor(believe.choose(config.n, 1))
    features, known = features_of(config, real_samples(config, chosen)), stored.tensors["features"][chosen]
    makers = {f"data {config.data}": {"data": config.data}} | _features_of(config)
    believe.compare(f"features of real images ({config.data}), computed again,", features, known, makers)


def _features_of(config: Reference) -> dict[str, Any]:
    used = {name: value for name, value in canonical(config).items() if name.startswith("features")}
    return {f"features {config.features} ({config.features_id})": used}


@lru_cache(maxsize=2)
def _loaded(path: Path, checksum: str) -> RealImages:
    tensors = tensors_of(path, checksum)
    names = [name.removeprefix("sums.") for name in tensors if name.startswith("sums.")]
    sums = {name: Sums(tensors[f"sums.{name}"].numpy(), float(tensors[f"total.{name}"])) for name in names}
    real = Real(tensors["features"].double().numpy(), float(tensors["width"]), sums)
    parts = [tensors[name].numpy() for part in ("mean", "spread") if (name := f"texture.{part}") in tensors]
    texture = RealTexture(*parts) if parts else None
    return RealImages(real, tensors["labels"], texture)


@lru_cache(maxsize=4)
def _against(path: Path, checksum: str, n: int) -> Against:
    """The real images that n samples are compared with."""
    real = _loaded(path, checksum).real
    return real.without(real.aside(n, draw=0))


# --- scores ---


def score(run: Run, cache: Cache, advance: Advance) -> Artifact:
    """The score of a run. Everything that it needs is made first."""
    real = reference(run.reference, cache)[0]
    samples = sample(run, cache, advance)
    config, due = run.scored, cache.spot is None or run.samples_id in cache.spot
    check = partial(_check_score, run, samples, real) if due else None
    return cache.cached("scores", config, lambda: _scored(run, samples, real), [samples, real], check)


def _scored(run: Run, samples: Artifact, real: Artifact) -> Made:
    run.machine.pin()  # the features are computed as samples are
    decoded, config = samples.tensors["samples"], run.reference
    features32 = features_of(config, decoded)
    pin_scores()
    features, against = features32.double().numpy(), _against(real.path, real.sum, run.n)
    if features.shape[1] != against.features.shape[1]:
        raise ValueError(f"samples have {features.shape[1]} features, real images {against.features.shape[1]}")
    distances = against.distances(features)
    if wrong := [f"{name}={one.value}" for name, one in distances.items() if not math.isfinite(one.value)]:
        raise ValueError(f"features={config.features!r}: {', '.join(wrong)}; a distance must be finite")
    precision, recall = precision_recall(features, against.features)
    facts: dict[str, Any] = {name: one.value for name, one in distances.items()}
    facts |= {f"{name}_se": distances[name].se for name in ("mmd", "kd")}
    facts |= {"precision": precision, "recall": recall, "n_reference": len(against.features)}
    if (texture := _loaded(real.path, real.sum).texture) is not None:
        left = 0.0 if run.setting.final_denoise else float(run.sigmas[-1])
        facts |= {"grain": texture.grain(decoded, left), "grain_se": texture.grain_spread(len(decoded), left)}
    return packed(distances), facts


def _check_score(run: Run, samples: Artifact, real: Artifact, stored: Artifact) -> None:
    """Raises Differs if the distances of a run, computed again, differ from the stored ones."""
    for name, distance in unpacked(_scored(run, samples, real)[0]).items():
        known = stored.facts.get(name, math.nan)
        if not abs(distance.value - known) <= SCORES_DIFFER * (abs(known) + distance.se):
            why = f"{name} of {run.setting.label}, computed again, is {distance.value:.6g} instead of {known:.6g}"
            raise Differs(why, _features_of(run.reference))


def of_autoencoder(network: Foreign, config: Reference, n: int, cache: Cache) -> Artifact:
    """The distances of n decoded latents of the data from real images: what the autoencoder alone costs."""
    real = reference(config, cache)[0]

    def make() -> Made:
        x = data_of(network.data).standardised(slice(n)).to(network.machine.device)
        features = features_of(config, network.decode(x))
        pin_scores()
        return packed(_against(real.path, real.sum, n).distances(features.double().numpy())), {}

    return cache.cached("floors", (network, config, n), make, [real])


def distances_of(file: Artifact) -> dict[str, Distance]:
    """The distances in a score's file."""
    return unpacked(file.tensors)
