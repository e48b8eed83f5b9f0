"""How often does `score --margin` err? A simulation on the digits of mnist5k, whose law is known: the 5,000 images.

    python -m bench.harm_size [REPEATS]

Each change is planted in all 5,000 images. In each repeat pairs are drawn with replacement, and the margin is the true
share, of all pairs of the 5,000: "harmless" is then an error. With prompts, a prompt is five neighbours in feature
space, drawn together; where images are destroyed, whole prompts are. Without pairs, images before and after are drawn
apart, with the margin 0.03: power is how often no change is called harmless.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFilter

from bench.harm_gates import Pixels
from diffusion_core import load
from experiments.distances.distance import Array
from experiments.distances.harm import HARMLESS, Harm, harm
from experiments.distances.kernels import Gaussian, median_distance
from experiments.own.features import extract

COUNTS, ALONE, PER_PROMPT = (300, 500, 1000), (1000, 1500, 2000), 5


def main(repeats: int) -> None:
    pixels = load("mnist5k").pixels[:, 0].numpy()
    before = _features(pixels)
    prompts = _prompts(before)
    print(f"| change | true share | {' | '.join(f'{n} pairs' for n in COUNTS)} | ", end="")
    print(f"true share of prompts | {' | '.join(f'{n} of {n // PER_PROMPT} prompts' for n in COUNTS)} |")
    print("| --- |" + " --- |" * (2 + 2 * len(COUNTS)))
    rng = np.random.default_rng(3)
    for name, (of_images, of_prompts) in _changes(pixels, prompts).items():
        cells = []
        for changed, units in ((of_images, np.arange(len(before))[:, None]), (of_prompts, prompts)):
            matrix, scale = _matrix(before, _features(changed))
            places = units.ravel()
            share = float(np.sqrt(max(matrix[np.ix_(places, places)].mean(), 0.0) / scale))  # every unit meets all
            cells.append(f"{100 * share:.2f} %")
            for n in COUNTS:
                size = n // units.shape[1]
                found = (
                    _drawn(matrix, scale, units[rng.integers(len(units), size=size)].ravel(), units.shape[1])
                    for _ in range(repeats)
                )
                cells.append(f"{np.mean([one.verdict(share) == HARMLESS for one in found]):.3f}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    print("\nWithout pairs, margin 0.03: share called harmless, where nothing changed")
    for n in ALONE:
        found = [harm(*(before[rng.integers(len(before), size=n)] for _ in range(2))) for _ in range(repeats // 10)]
        print(f"{n} images: {np.mean([one.verdict(0.03) == HARMLESS for one in found]):.3f}", flush=True)


def _features(pixels: Pixels) -> Array:
    return extract("digits", torch.from_numpy(np.ascontiguousarray(pixels))[:, None])[0].numpy().astype(np.float64)


def _prompts(features: Array) -> Any:
    """(1,000, 5) images: each of 1,000 with its four nearest neighbours."""
    squares = (features**2).sum(axis=1)
    first = features[:1000]
    distances = (first**2).sum(axis=1)[:, None] + squares - 2 * first @ features.T
    return np.argsort(distances, axis=1)[:, :PER_PROMPT]


def _changes(pixels: Pixels, prompts: Any) -> dict[str, tuple[Pixels, Pixels]]:
    """Each change, in single images and, where it destroys some, in whole prompts."""
    rng, n = np.random.default_rng(0), len(pixels)
    some = rng.permutation(n)
    whole = rng.permutation(len(prompts))
    labels = load("mnist5k").labels.numpy()

    def replaced(share: float, by: Callable[[Any], Pixels]) -> tuple[Pixels, Pixels]:
        out = []
        for places in (some[: round(share * n)], np.unique(prompts[whole[: round(share * len(prompts))]])):
            changed = pixels.copy()
            changed[places] = by(places)
            out.append(changed)
        return out[0], out[1]

    def each(change: Callable[[Image.Image], Image.Image]) -> tuple[Pixels, Pixels]:
        changed = np.stack([np.asarray(change(Image.fromarray(image))) for image in pixels])
        return changed, changed

    sevens = pixels[labels != 7]
    lost, zeros = pixels.copy(), pixels[labels == 0]
    lost[labels == 7] = sevens[rng.integers(len(sevens), size=int((labels == 7).sum()))]
    noise = rng.normal(0, 12, pixels.shape)
    noisy = (pixels + noise).round().clip(0, 255).astype(np.uint8)
    faint = (pixels * 0.92).round().astype(np.uint8)
    return {
        "2 % grey": replaced(0.02, lambda at: np.full_like(pixels[at], 128)),
        "3 % inverted": replaced(0.03, lambda at: 255 - pixels[at]),
        "3 % one image": replaced(0.03, lambda at: np.repeat(pixels[:1], len(at), axis=0)),
        "5 % of class 0": replaced(0.05, lambda at: np.resize(zeros, (len(at), *pixels.shape[1:]))),
        "class 7 lost": (lost, lost),
        "contrast x 0.92": (faint, faint),
        "blur of 0.5 pixels": each(lambda image: image.filter(ImageFilter.GaussianBlur(0.5))),
        "noise of 12 grey levels": (noisy, noisy),
        "turned by 3 degrees": each(lambda image: image.rotate(3, Image.Resampling.BICUBIC)),
    }


def _matrix(before: Array, after: Array) -> tuple[Array, float]:
    """h_ij of all pairs of pairs, and C: those of `harm`, but for the width, which is that of all images."""
    kernel = Gaussian(median_distance(before))
    within, crossed = kernel.matrix(before, before), kernel.matrix(before, after)
    n = len(before)
    return within + kernel.matrix(after, after) - crossed - crossed.T, 1 + float((within.sum() - n) / (n * (n - 1)))


def _drawn(matrix: Array, scale: float, places: Any, per_unit: int) -> Harm:
    """What `harm` finds of the pairs at these places, each `per_unit` of which are a unit."""
    part = matrix[np.ix_(places, places)]
    blocks = part.reshape(len(part) // per_unit, per_unit, len(part) // per_unit, per_unit)
    own = np.einsum("gigj->gi", blocks).ravel()
    units = np.arange(len(part)) // per_unit
    return Harm.of((part.sum(axis=1) - own) / (len(part) - per_unit), units, scale)


if __name__ == "__main__":
    began = time.time()
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
    print(f"{time.time() - began:.0f} s")
