"""No verdict on samples that are no images at all.

A comparison of two kinds of static says nothing about samplers. The rule is gross: precision and recall are both at
most 1 %, where as many real images have more than 50 %. It takes static, grey and blurs of noise, but not digits under
noise of half their standard deviation. One side of a comparison must pass: if noise turns static into images, that is a
result. Samples that are merely far from real images get a warning in reports, which changes no verdict.
"""

from collections.abc import Mapping, Sequence

MEASURES = ("precision", "recall")
MOST, REAL = 0.01, 0.5
Quality = Mapping[str, float]  # precision and recall


def no_images_reason(sides: Sequence[Quality], real: Quality) -> str:
    """Why the samples of all sides are no images; "" if those of one side may be, or if the floor cannot tell.

    Args:
        sides: precision and recall of each side of a comparison, means over networks; one or two.
        real: precision and recall of as many real images (floor).
    """
    if min(real[name] for name in MEASURES) <= REAL or any(side[name] > MOST for side in sides for name in MEASURES):
        return ""
    return f"the samples are no images: precision and recall are at most {MOST:.0%}, of real images above {REAL:.0%}"
