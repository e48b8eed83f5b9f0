"""Measures the numbers of my-fid.md and writes data/my_fid.csv: `python docs/my_fid.py [FEATURES ...]`.

Features are digits and natural (pip install -e '.[natural]'). Takes three minutes of one core, with natural about 15.
"""

import io
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from diffusion_core import Euler, LogNormal, build, generate_samples, load, sample, train
from diffusion_core.schedules import geometric, linear
from experiments import compare, score

Images = NDArray[np.uint8]
N_SAMPLES = 500
SHAPE = (1, 32, 32)

data = load("mnist5k")
real, images = data.pixels[2000:, 0].numpy(), data.pixels[:2000, 0].numpy()
labels = data.labels[: len(images)].numpy()


def by_pillow(size: int, way: Image.Resampling) -> Images:
    small = [Image.fromarray(image).resize((size, size), way) for image in images]
    return np.stack([np.asarray(image.resize((32, 32), way)) for image in small])


def by_torch(size: int) -> Images:
    small = interpolate(torch.tensor(images)[:, None].float(), size=size, mode="bilinear").round()
    return interpolate(small, size=32, mode="bilinear").round()[:, 0].byte().numpy()


def jpeg(image: Images, quality: int) -> Images:
    Image.fromarray(image).save(file := io.BytesIO(), "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def changed_digits() -> dict[str, Images]:
    """The 2,000 digits, each set with one change."""
    noise = np.random.default_rng(0).normal(0, data.std, images.shape)
    sets = {}
    for size in (28, 16):
        for way in ("Pillow bilinear", "Pillow box", "nearest"):
            sets[f"{size}, {way}"] = by_pillow(size, Image.Resampling[way.split()[-1].upper()])
        sets[f"{size}, PyTorch bilinear"] = by_torch(size)
    for quality in (95, 75):
        sets[f"JPEG {quality}"] = np.stack([jpeg(image, quality) for image in images])
    for sigma in (0.03, 0.05):
        sets[f"noise {sigma}"] = (images + sigma * noise).round().clip(0, 255).astype(np.uint8)
    sets["bf16"] = ((torch.tensor(images) / 127.5 - 1).bfloat16().float() * 127.5 + 127.5).round().byte().numpy()
    return sets | {"contrast 0.9": (images * 0.9).round().astype(np.uint8)}


def changed_samples() -> dict[str, Images]:
    """Samples of the README's network, the first set without a change, all from the same noise."""
    torch.manual_seed(0)
    model = build("small", parameterisation="mixture-input")
    model.fit(data.standardised())
    for _ in train(model, data.standardised(), LogNormal(0.2, 1.3), n_images=60_000, stable_above=2):
        pass

    def draw(**options: float) -> Tensor:
        return generate_samples(model, beta=0.0, n_samples=N_SAMPLES, seed=0, **options)

    sets = {
        "samples": draw(),
        "final_denoise": draw(final_denoise=True),
        "sigma=10": draw(sigma=10.0),
        "alpha=0.4": draw(alpha=0.4),
    }
    for schedule in (geometric, linear):
        x = sample(model, schedule(16), Euler(0.0), shape=SHAPE, n_samples=N_SAMPLES)
        sets[f"{schedule.__name__}, 16 steps"] = x
    with torch.autocast("cpu", torch.bfloat16):
        sets["autocast"] = draw().float()
    return {name: data.to_pixels(x)[:, 0].numpy() for name, x in sets.items()}


def measure(features: str) -> list[tuple[str, str, float, float, float]]:
    """Rows (features, what, FD or its change, low, high)."""
    rows = []
    digits = data.pixels[:, 0].numpy()

    def add_scores(real: Images, sets: dict[str, Images]) -> None:
        for what, images in sets.items():
            fd = score(real, images, features=features).values["set 1"]["fd"]
            rows.append((features, what, fd.value, fd.low, fd.high))

    def add_changes(real: Images, sets: dict[str, Images]) -> None:
        """The first set is the unchanged one."""
        result = compare(real, *sets.values(), features=features, pairs="order")
        for what, difference in zip([*sets][1:], result.differences.values(), strict=True):
            fd = difference["fd"]
            rows.append((features, what, fd.difference, fd.low, fd.high))

    add_scores(real, {f"{n} digits": images[:n] for n in (250, 500, 1_000, 2_000)})
    add_scores(real[:500], {"500 digits of 500": images[:500]})
    add_scores(digits, {"2000 digits that are in the reference": images})
    add_scores(real, {"without 8": images[labels != 8][:1_500], "with 8": images[:1_500]})
    add_changes(real, {"unchanged": images} | changed_digits())
    samples = changed_samples()
    add_scores(digits, {"samples": samples["samples"]})
    steps = {name: samples.pop(name) for name in ("geometric, 16 steps", "linear, 16 steps")}
    add_changes(digits, samples)
    add_changes(digits, steps)
    return rows


if __name__ == "__main__":
    rows = [row for features in sys.argv[1:] or ["digits", "natural"] for row in measure(features)]
    folder = Path(__file__).parent / "data"
    folder.mkdir(exist_ok=True)
    table = pd.DataFrame(rows, columns=["features", "what", "fd", "low", "high"]).round(4)
    table.to_csv(folder / "my_fid.csv", index=False)
    print(table.to_string())
