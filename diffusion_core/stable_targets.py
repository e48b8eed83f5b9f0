"""Stable targets: at high noise levels a network learns the mean of the noises that could have made x, not one draw."""

import math

from torch import Tensor

from diffusion_core.exact import Empirical

BLOCK = 5_000  # images that a target is the mean over


class StableTargets:
    """Replaces the target eps above a noise level by the expected noise given x, which varies less.

    The expectation is over all training images, equally likely, if they are at most 5,000. Of more, it is over a block:
    the 5,000 that training visits one after another, the image of x among them. Then targets have a bias towards that
    image, which falls with the number of images. A block that holds the end of one epoch and the start of the next may
    hold an image twice, which then has twice the weight. At low noise levels only one image can have made x, and the
    target would be the same.

    Args:
        images: standardised training images (n, C, H, W).
        above: the noise level, in data standard deviations; inf for no level.

    Source: Xu, Tong & Jaakkola 2023, arXiv 2302.00670 (they draw other images for every batch).
    Note: a block needs the order of its images before they are visited. So of more than 5,000 images the order of the
        second epoch is drawn earlier than without stable targets. From there on the same seed gives other images, noise
        and noise levels than without.
    """

    def __init__(self, images: Tensor, above: float) -> None:
        self.images, self.above = images, above
        self.left: float = math.inf  # images of the block that are not visited yet
        if above < math.inf and len(images) <= BLOCK:
            self.exact = Empirical(images)
        elif above < math.inf:
            self.left = 0

    def ahead(self, n: int) -> int:
        """How many images of the order must be known to visit the next n."""
        return n if n <= self.left else max(n, BLOCK)

    def __call__(self, x: Tensor, sigma: Tensor, eps: Tensor, order: Tensor) -> Tensor:
        """The targets (n, C, H, W) for x at sigma (n,), where x has the images[order[:n]] and the noise eps."""
        if self.above == math.inf:
            return eps
        n = len(x)
        if n > self.left:
            self.left = self.ahead(n)
            self.exact = Empirical(self.images[order[: int(self.left)]])
        self.left -= n
        rows = (sigma > self.above).nonzero().squeeze(1)
        return eps.index_copy(0, rows, self.exact(x[rows], sigma[rows]))
