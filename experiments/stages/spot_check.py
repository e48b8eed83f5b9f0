"""The spot check: a part of what the store holds is made again and compared, before the rest is believed.

The identity of a run cannot foresee everything that changes a result: a file that a user's code reads, a helper that it
imports, a function of ours that it replaces, a version of a library. So of a stored run ten to 16 samples, chosen anew
at each use, are drawn again on the same noise, and their features are compared with the stored ones. Of a stored
network the first steps of its training are taken again, of a reference the features of some images.
"""

import random
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from diffusion_core.precision import computing_in
from experiments.config.config import ReferenceConfig, ScoreConfig
from experiments.config.denoisers import ModelConfig
from experiments.config.identity import identity
from experiments.own.behaviour import is_random
from experiments.own.features import extract
from experiments.own.memory import halve_until_it_fits
from experiments.run.hardware import use_threads
from experiments.stages.common import StoreLoader, images_of, load_meta, load_model
from experiments.stages.sample import draw
from experiments.stages.score import load_features
from experiments.stages.train import beginning
from experiments.store.store import Store

FEWEST, MOST, SHARE = 10, 16, 50  # samples: one of SHARE, so that a check costs a few per cent of the run
# Twice what rounding makes at least, between batches, threads, and networks compiled and not (docs/sweeps.md)
USUAL, WORST = 0.02, {"fp32": 0.02, "bf16": 0.2}  # of images' features, relative to their size: median, largest
TRAINING_DIFFERS = 0.01  # relative


class Differs(ValueError):
    """What was made again differs from what is stored."""


def spot_check(config: Any, store: Store, data_root: Path | None) -> None:
    """Raises Differs if a part of a stored score, network or reference comes out differently when it is made again."""
    if isinstance(config, ScoreConfig):
        use_threads(config.samples.machine.threads)
        _check_run(config, store, data_root)
    elif isinstance(config, ReferenceConfig):
        use_threads(1)
        _check_reference(config, store, data_root)
    else:
        use_threads(config.machine.threads)
        _check_network(config, store, data_root)


def _check_run(config: ScoreConfig, store: Store, data_root: Path | None) -> None:
    samples, images = config.samples, images_of(config.samples.model.data, data_root)
    device = samples.machine.device
    model = load_model(samples.model, store, data_root, device)
    if is_random(model):
        return
    chosen = choose(samples.n_samples, len(images.labels.unique()))
    with computing_in(samples.machine.precision, device):
        x, _ = halve_until_it_fits(len(chosen), lambda batch: draw(model, samples, images, chosen, batch))
    features = extract(config.reference.features, images.to_pixels(x).cpu(), weights=config.reference.weights)[0]
    stored = _stored_features(config, store, chosen)
    compare(f"{len(chosen)} of its samples, drawn again,", features, stored, WORST[samples.machine.precision])


def _stored_features(config: ScoreConfig, store: Store, chosen: list[int]) -> Tensor:
    """The features of these samples: of a score, or of samples that are not scored yet."""
    if store.has("scores", identity(config)):
        return load_features(config, store)[chosen]
    with store.reading("samples", identity(config.samples)) as folder:
        pixels = load_file(folder / "samples.safetensors")["pixels"][chosen]
    return extract(config.reference.features, pixels, weights=config.reference.weights)[0]


def _check_reference(config: ReferenceConfig, store: Store, data_root: Path | None) -> None:
    pixels = images_of(config.data, data_root).pixels
    chosen = choose(len(pixels), 1)
    features = extract(config.features, pixels[chosen], weights=config.weights)[0]
    with store.reading("references", identity(config)) as folder:
        stored = load_file(folder / "features.safetensors")["features"][chosen]
    compare("features of real images, computed again,", features, stored)


def _check_network(config: ModelConfig, store: Store, data_root: Path | None) -> None:
    stored = load_meta("models", config, store)
    _, numbers = beginning(*config.training(StoreLoader(store, data_root, config.machine.device)))
    if not numbers.keys() <= stored.keys():
        raise Differs("its first training steps are not stored with it")
    for name, again in numbers.items():
        for before, now in zip(stored[name], again, strict=True):
            if not abs(now - before) <= TRAINING_DIFFERS * abs(before):
                what = name.removeprefix("first_")
                raise Differs(f"its training, begun again, has other {what}: {now:.4g} instead of {before:.4g}")


def choose(n: int, n_classes: int) -> list[int]:
    """Ten to 16 of n indices: one near a random place in each part, and evenly over the labels i mod n_classes."""
    chance = random.SystemRandom()  # whatever a user's code seeds
    n_classes = n_classes if n_classes <= n else 1
    chosen, parts = set(), min(max(n // SHARE, FEWEST), MOST)
    for label, part in enumerate(chance.sample(range(parts), parts), start=chance.randrange(n_classes)):
        place = int((part + chance.random()) * n / parts)
        index = place - (place - label) % n_classes
        chosen.add(index if index >= 0 else index + n_classes)
    return sorted(index for index in chosen if index < n)


def compare(what: str, features: Tensor, stored: Tensor, worst: float = WORST["fp32"]) -> None:
    """Raises Differs if features (n, d) differ from the stored ones by more than rounding."""
    size = stored.double().square().sum(dim=1).mean().sqrt()
    difference = ((features - stored).double().square().sum(dim=1).sqrt() / size).nan_to_num(torch.inf)
    if difference.max() > worst or difference.median() > USUAL:
        raise Differs(
            f"{what} differ from what was stored, by up to {difference.max():.2g} of the size of their features "
            f"(up to {worst} is rounding)"
        )
