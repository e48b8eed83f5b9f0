"""The trust gate: no verdict on samples that are not yet images.

A comparison of two kinds of static says nothing about samplers. Samples count as images if their precision and their
recall are at least a tenth of what as many real images reach. One side of a comparison must pass: if noise turns blobs
into images, that is a result.
"""

from collections.abc import Mapping, Sequence

MEASURES = ("recall", "precision")
SHARE = 0.1  # of the precision and of the recall of real images
Quality = Mapping[str, float]  # precision and recall


def doubt(sides: Sequence[Quality], real: Quality) -> str:
    """Why the samples of all sides are not yet images; "" if at least one side passes.

    Args:
        sides: precision and recall of each side of a comparison, means over networks; one or two.
        real: precision and recall of as many real images (floor).
    """
    failed = [[name for name in MEASURES if side[name] < SHARE * real[name]] for side in sides]
    if not failed or not all(failed):
        return ""
    for name in MEASURES:
        if all(name in names for names in failed):
            best = max(side[name] for side in sides)
            return f"{name} is at most {best:.3f}; as many real images reach {real[name]:.3f}"
    own = [f"{names[0]} is {side[names[0]]:.3f}" for side, names in zip(sides, failed, strict=True)]
    reached = " and ".join(f"{name} {real[name]:.3f}" for name in MEASURES)
    return f"{' on one side and '.join(own)} on the other; as many real images reach {reached}"
