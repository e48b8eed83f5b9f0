"""The scoring stages: features of the training images, and samples scored against them.

score_stage   scores/ID/      features.safetensors, shown.safetensors, meta.json
reference     references/ID/  features.safetensors: features, labels and texture of the training images, kernel width,
                              row sums

Each returns at once if its artifact exists. A score holds everything that rows and reports need from its samples, so
samples may be evicted once they are scored.
"""

import math
from functools import lru_cache
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from experiments.config.config import ReferenceConfig, ScoreConfig
from experiments.config.identity import identity
from experiments.distances.texture import RealTexture
from experiments.metrics.distances import METRICS, Pool, Reference, jackknife_se, precision_recall
from experiments.metrics.kernels import MOSTLY_EQUAL, mostly_equal
from experiments.own.features import extract
from experiments.run.hardware import use_threads
from experiments.stages.common import SAMPLED, images_of, load_meta, write_meta
from experiments.store.store import Store

N_CLASSES = 10
ROW_SUMS, TEXTURE = "row_sums_", "texture_"  # of one kernel each; mean and spread
SHOWN_IMAGES = 16  # of the samples, kept with their score for reports


def reference_stage(config: ReferenceConfig, store: Store, data_root: Path | None) -> str:
    """The identity of a reference. Computes and stores the features of its training images."""
    name = identity(config)
    if store.has("references", name):
        return name
    use_threads(1)  # so that the reference does not depend on the threads of the runs
    images = images_of(config.data, data_root)
    features = extract(config.features, images.pixels, weights=config.weights)[0]
    if mostly_equal(features.numpy()):
        raise ValueError(
            f"data={config.data!r}: {MOSTLY_EQUAL}; leave out the copies, or take other features than {config.features}"
        )
    pool = Pool.of(features.double().numpy(), config.width)
    with store.writing("references", name) as folder:
        tensors = {"features": features, "labels": images.labels, "width": torch.tensor(pool.width).double()}
        sums = {f"{ROW_SUMS}{kernel}": torch.from_numpy(values) for kernel, values in pool.row_sums.items()}
        texture = RealTexture.of(images.pixels, images.std)
        curve = {f"{TEXTURE}{part}": torch.from_numpy(values) for part, values in vars(texture).items()}
        save_file(tensors | sums | curve, folder / "features.safetensors")
    return name


def load_pool(config: ReferenceConfig, store: Store) -> tuple[Pool, Tensor, RealTexture]:
    """The real images of a reference as a Pool, their labels (T,), and their texture."""
    return _load_pool(config, _files(config, store), store)


def load_reference(config: ReferenceConfig, store: Store, n: int) -> Reference:
    """The real images that n samples are compared with."""
    return _load_reference(config, _files(config, store), store, n)


def _files(config: ReferenceConfig, store: Store) -> Path:
    """The folder of a reference's files: another one if it was made anew, so that no cache holds the earlier one."""
    return store.path("references", identity(config))


@lru_cache(maxsize=4)
def _load_pool(config: ReferenceConfig, files: Path, store: Store) -> tuple[Pool, Tensor, RealTexture]:
    with store.reading("references", identity(config)) as folder:
        tensors = load_file(folder / "features.safetensors")
        sums = {
            name.removeprefix(ROW_SUMS): each.numpy() for name, each in tensors.items() if name.startswith(ROW_SUMS)
        }
        texture = RealTexture(*(tensors[f"{TEXTURE}{part}"].numpy() for part in ("mean", "spread")))
        pool = Pool(tensors["features"].double().numpy(), tensors["width"].item(), sums)
        return pool, tensors["labels"], texture


@lru_cache(maxsize=4)
def _load_reference(config: ReferenceConfig, files: Path, store: Store, n: int) -> Reference:
    return load_pool(config, store)[0].reference(n)


def score_stage(config: ScoreConfig, store: Store, data_root: Path | None) -> str:
    """Scores samples against real images; stores features, scores, class histogram, and what reports show."""
    name = identity(config)
    if store.has("scores", name):
        return name
    store.check_writable()
    reference_stage(config.reference, store, data_root)
    use_threads(config.samples.machine.threads)  # the rounding of a sum depends on its split among threads
    with store.reading("samples", identity(config.samples)) as folder:
        sampled = load_file(folder / "samples.safetensors")
    pixels = sampled.pop("pixels")
    meta = load_meta("samples", config.samples, store)
    meta |= {name: meta[name] for name in SAMPLED}  # raises if one is missing
    features32, logits = extract(config.reference.features, pixels, weights=config.reference.weights)
    use_threads(1)  # the distances are made of many small products: each is slower on two threads
    features = features32.double().numpy()
    reference = load_reference(config.reference, store, len(features))
    precision, recall = precision_recall(features, reference.features)
    distances = {name: metric(features, reference) for name, metric in METRICS.items()}
    values = {name: value for name, (value, _) in distances.items()}
    if wrong := [f"{name}={value}" for name, value in values.items() if not math.isfinite(value)]:
        raise ValueError(f"features={config.reference.features!r}: {', '.join(wrong)}; a distance must be finite")
    replicates = {f"{name}_replicates": without for name, (_, without) in distances.items()}
    left = 0.0 if config.samples.final_denoise else float(config.samples.ladder.sigmas()[-1])
    _, _, texture = load_pool(config.reference, store)
    with store.writing("scores", name) as folder:
        save_file({"features": features32}, folder / "features.safetensors")
        shown = {"pixels": pixels[:SHOWN_IMAGES].contiguous()} | sampled  # the film, if there is one
        save_file(shown, folder / "shown.safetensors")
        write_meta(
            folder,
            **meta,
            **values,
            mmd_se=jackknife_se(replicates["mmd_replicates"]),
            kd_se=jackknife_se(replicates["kd_replicates"]),
            precision=precision,
            recall=recall,
            grain=texture.grain(pixels, left),
            grain_se=texture.grain_spread(len(pixels), left),
            n_reference=len(reference.features),
            histogram=_histogram(logits),
            **{name: values.tolist() for name, values in replicates.items()},
        )
    return name


def _histogram(logits: Tensor | None) -> list[int] | None:
    """The number of samples of each class, as the classifier that gives the features sees them; None without one."""
    return None if logits is None else logits.argmax(dim=1).bincount(minlength=N_CLASSES).tolist()


def load_shown(config: ScoreConfig, store: Store) -> dict[str, Tensor]:
    """The images of a scored run that reports show: `pixels` uint8 (n, C, H, W), and their `film` if there is one."""
    with store.reading("scores", identity(config)) as folder:
        return load_file(folder / "shown.safetensors")


def load_features(config: ScoreConfig, store: Store) -> Tensor:
    """The features float32 (n, d) of a scored run."""
    with store.reading("scores", identity(config)) as folder:
        return load_file(folder / "features.safetensors")["features"]
