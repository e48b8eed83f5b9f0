"""How often does `score --margin` err? A simulation on the digits of mnist5k, whose law is known: the 5,000 images.

    python -m bench.harm_size [REPEATS]

Each change is planted in all 5,000 images. In each repeat pairs are drawn with replacement, and the margin is the true
share, of all pairs of the 5,000: "harmless" is then an error. It would happen in 2.5 % of all repeats if the law of the
estimate were Student's, and happens more often, since that is skewed. With prompts, a prompt is five neighbours in
feature space, drawn together; where images are destroyed, whole prompts are. Without pairs, images before and after are
drawn apart, with the margin 0.03: power is how often no change is called harmless.
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
Draw = Callable[[np.random.Generator, int], tuple[Array, Array, Any]]


def main(repeats: int) -> None:
    pixels = load("mnist5k").pixels[:, 0].numpy()
    before = _features(pixels)
    prompts = _prompts(before)
    print(f"| change | true share | {' | '.join(f'{n} pairs' for n in COUNTS)} | ", end="")
    print(f"true share of prompts | {' | '.join(f'{n} of {n // PER_PROMPT} prompts' for n in COUNTS)} |")
    print("| --- |" + " --- |" * (2 + 2 * len(COUNTS)))
    for name, (of_images, of_prompts) in _changes(pixels, prompts).items():
        cells = []
        for after, units in ((_features(of_images), None), (_features(of_prompts), prompts)):
            share = _true_share(before, after, units)
            cells += [f"{100 * share:.2f} %"] + [
                f"{_size(before, after, units, share, n, repeats):.3f}" for n in COUNTS
            ]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    print("\nWithout pairs, margin 0.03: share called harmless, where nothing changed")
    rng = np.random.default_rng(3)
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


def _true_share(before: Array, after: Array, prompts: Any) -> float:
    """The share of the law that pairs, or prompts of pairs, are drawn from: every pair meets all, and itself."""
    places = np.arange(len(before)) if prompts is None else prompts.ravel()
    a, b = before[places], after[places]
    kernel = Gaussian(median_distance(a))
    within = kernel.matrix(a, a)
    value = (within + kernel.matrix(b, b) - 2 * kernel.matrix(a, b)).mean()
    return float(np.sqrt(max(value, 0.0) / (1 + within.mean())))


def _size(before: Array, after: Array, prompts: Any, share: float, n: int, repeats: int) -> float:
    """How often n pairs are called harmless with the true share as the margin."""
    rng = np.random.default_rng([n, prompts is None])

    def drawn() -> Harm:
        if prompts is None:
            places = rng.integers(len(before), size=n)
            return harm(before[places], after[places])
        units = rng.integers(len(prompts), size=n // PER_PROMPT)
        places = prompts[units].ravel()
        return harm(before[places], after[places], np.arange(len(units)).repeat(PER_PROMPT))

    return float(np.mean([drawn().verdict(share) == HARMLESS for _ in range(repeats)]))


if __name__ == "__main__":
    began = time.time()
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
    print(f"{time.time() - began:.0f} s")
