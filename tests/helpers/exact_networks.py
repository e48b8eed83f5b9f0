"""Exact networks in the conventions of other people, made of an exact denoiser: what a trained one would return."""

import math
from collections.abc import Callable

from arrays import column
from times import level_of
from torch import Tensor

from diffusion_core.adapters import Time
from diffusion_core.data.dataset import Images

Network = Callable[..., Tensor]


def exact(
    process: str, returns: str, time: Time, denoiser: Network, data: Images, pixels: tuple[float, float] = (-1, 1)
) -> Network:
    """The network of a process whose values of black and of white are `pixels`; (1, -1) are negative images.

    The denoiser knows the data in our units, and gets the labels.
    """
    black, white = pixels
    scale = (white - black) * data.std / 255
    shift = black + (white - black) * data.mean / 255
    level = level_of(time)

    def net(z: Tensor, t: Tensor, *labels: Tensor) -> Tensor:
        sigma = column(level(t).to(z.dtype))
        s = {"vp": (1 + sigma.square()).rsqrt(), "edm": 1 + 0 * sigma, "flow": 1 / (1 + sigma)}[process]
        noise = denoiser((z / s - shift) / scale, sigma.flatten() / abs(scale), *labels) * math.copysign(1, scale)
        clean = z / s - sigma * noise
        return {
            "eps": noise,
            "x0": clean,
            "v": s * noise - s * sigma * clean,
            "velocity": noise - clean,
            "velocity to data": clean - noise,
        }[returns]

    return net
