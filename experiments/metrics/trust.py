"""The trust gate: no verdict on samples that are not yet images.

A comparison of two kinds of static says nothing about samplers. Samples count as images if their precision and their
recall are at least a tenth of what as many real images reach. One side of a comparison must pass: if noise turns blobs
into images, that is a result.
"""

from collections.abc import Mapping, Sequence

SHARE = 0.1  # of the precision and of the recall of real images
Quality = Mapping[str, float]  # precision and recall


def doubt(sides: Sequence[Quality], real: Quality) -> str:
    """Why the samples of all sides are not yet images; "" if at least one side passes.

    Args:
        sides: precision and recall of each side of a comparison, means over networks.
        real: precision and recall of as many real images (floor).
    """
    failed = [[name for name in ("recall", "precision") if side[name] < SHARE * real[name]] for side in sides]
    if not failed or not all(failed):
        return ""
    name = failed[0][0]
    best = max(side[name] for side in sides)
    return f"{name} is at most {best:.3f}; as many real images reach {real[name]:.3f}"
