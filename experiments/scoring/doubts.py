"""What speaks against the numbers: copies, fine noise, few images, and sizes that differ."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from experiments.distances.intervals import BETTER, GRAINY, WORSE
from experiments.distances.real import JUDGE
from experiments.scoring.features import Described, real_texture
from experiments.scoring.inputs import ImageSet, Input
from experiments.scoring.result import Difference, Space

COPIES = 0.01  # share of images that are copies, above which a warning is given
FAR = 4  # standard errors, by which chance brings no set below 0


def grains(inputs: Sequence[Input], described: Sequence[Described], chosen: Sequence[np.ndarray]) -> list[float | None]:
    """The fine noise of each set, read on real images with noise; None where its images differ from these in size."""
    real = inputs[0]
    if not isinstance(real, ImageSet) or described[0].size is None or min(described[0].size) < 2:
        return [None] * (len(inputs) - 1)
    curve = real_texture(real, chosen[0])
    clean = curve.noise_level(float(described[0].texture.mean()))
    return [
        curve.noise_level(float(each.texture.mean())) - clean if each.size == described[0].size else None
        for each in described[1:]
    ]


def doubts(inputs: Sequence[Input], described: Sequence[Described], space: Space) -> Iterator[str]:
    """Reasons not to trust the numbers, one sentence each: copies, and fine noise that features do not see."""
    found = [space.real_copies, *(side.copies for side in space.sides)]
    rows = [Counter(row.tobytes() for row in each.features) for each in described]
    for place, (images, each) in enumerate(zip(inputs, found, strict=True)):
        n = len(each.groups)
        if each.repeats > COPIES * n:
            yield f"{images.name}: {each.repeats:,} of {n:,} images are copies of others in it; copies count as one"
        if each.of_real > COPIES * n:
            yield (
                f"{images.name}: {each.of_real:,} of {n:,} images are copies of images in {inputs[0].name}, so its "
                "distances are too small"
            )
        for other, theirs in zip(inputs[1:place], rows[1:place], strict=True):
            if rows[place] == theirs:
                yield f"{other.name} and {images.name} hold the same images"
    for side in space.sides:
        judge, copies = side.values[JUDGE], side.copies
        if judge.difference < -FAR * judge.se and copies.of_real <= COPIES * len(copies.groups):
            value, low, high = (f"{1000 * x:.3g}" for x in (judge.difference, judge.low, judge.high))
            real, size = inputs[0].name, f"MMD ×1000 {value} ({low} to {high})"
            yield f"{side.name} is nearer to {real} than other real images would be ({size}): is it made of these?"
    for difference in space.differences:
        if difference.verdict in (BETTER, WORSE):
            yield from _grainier(difference, {side.name: side.grain for side in space.sides})


def _grainier(difference: Difference, grains: Mapping[str, float | None]) -> Iterator[str]:
    """A warning if the better set has more fine noise."""
    names = (difference.a, difference.b) if difference.verdict == BETTER else (difference.b, difference.a)
    better, worse = (grains[name] for name in names)
    if better is not None and worse is not None and better > worse + GRAINY:
        yield (
            f"{names[0]} has more fine noise than {names[1]} (as real images with noise of {better:.3f} and "
            f"{worse:.3f} standard deviations), which features may not see"
        )


def remarks(inputs: Sequence[Input], described: Sequence[Described], dimension: int) -> Iterator[str]:
    """What readers of the numbers should know, one sentence each."""
    n, fewest = min((len(each.features), images.name) for images, each in zip(inputs, described, strict=True))
    if n < 2 * dimension:
        yield (
            f"{n:,} images ({fewest}) are {'fewer than' if n <= dimension else 'hardly more than'} the {dimension:,} "
            "features, so FD is far above that of many images, and its interval is rough; the other distances have no "
            "such limit"
        )
    sizes = {each.size for each in described}
    if len(sizes) > 1 or None in sizes:
        yield "images differ in size, and each was resized by itself; features see which sizes they had"
