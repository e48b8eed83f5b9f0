"""Weights of the training loss: factors on the squared error of eps that depend on sigma."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def min_snr(sigma: Tensor, gamma: float) -> Tensor:
    """Min-SNR factor on the squared error of eps: min(SNR, gamma) / SNR = min(1, gamma sigma^2), SNR = 1 / sigma^2.

    Above gamma the weight on the error of x0 is constant. gamma is for data of variance 1, sigma in its units: the
    paper's 5, for data of standard deviation 0.5 in [-1, 1], is 5 * 0.5^2 = 1.25 here.

    Source: Hang et al. 2023, arXiv 2303.09556 (Min-SNR-gamma, in its form for eps).
    """
    return (gamma * sigma.square()).clamp(max=1)


def soft_min_snr(sigma: Tensor, gamma: float) -> Tensor:
    """A smooth `min_snr`: gamma sigma^2 / (1 + gamma sigma^2) on the error of eps, SNR gamma / (SNR + gamma) on x0's.

    gamma is for data of variance 1: the paper's 4 = 1 / 0.5^2, for sigma_data = 0.5, is 1 here.

    Source: Crowson et al. 2024, arXiv 2401.11605 (HDiT): 1 / (sigma^2 + 1 / gamma) on the error of x0, times gamma.
    """
    scaled = gamma * sigma.square()
    return scaled / (1 + scaled)


WEIGHTINGS: dict[str, Callable[[Tensor], Tensor]] = {
    # mean squared error of eps: Ho et al. 2020, arXiv 2006.11239, eq. 14
    "unit-eps": lambda sigma: sigma.new_ones(sigma.shape),
    "karras": lambda sigma: 1 + sigma.square(),  # unit weight on F: Karras et al. 2022, arXiv 2206.00364, eq. 8
    "x0": lambda sigma: sigma.square(),  # mean squared error of x0: Salimans & Ho 2022, arXiv 2202.00512
    "min-snr-5": partial(min_snr, gamma=5.0),
    "min-snr-1.25": partial(min_snr, gamma=1.25),
    "soft-min-snr-1": partial(soft_min_snr, gamma=1.0),
}
