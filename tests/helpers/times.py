"""The noise level as a function of each time, by the formulas of the papers: the inverse of `time.time`."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from diffusion_core.adapters import CosineVP, FlowTime, LinearVP, LogSigma, Sigma, TableTime, Time


def level_of(time: Time) -> Callable[[Tensor], Tensor]:
    """The function of a time (B,) that returns its sigma (B,), float64, in units of the network's own images."""

    def abar(t: Tensor | float, offset: float) -> Tensor:
        return torch.as_tensor(math.pi / 2 * (t + offset) / (1 + offset)).cos().square()

    def level(t: Tensor) -> Tensor:
        t = t.double()
        match time:
            case Sigma():
                return t
            case LogSigma(factor):
                return (t / factor).exp()
            case FlowTime(data_at):
                return (1 - t) / t if data_at else t / (1 - t)
            case LinearVP(vp_beta_d, vp_beta_min):
                return (vp_beta_d * t.square() / 2 + vp_beta_min * t).expm1().sqrt()
            case CosineVP(offset):
                return (abar(torch.zeros(()).double(), offset) / abar(t, offset) - 1).sqrt()
            case TableTime(sigmas):
                table = np.interp(t.numpy() - time.first, np.arange(len(sigmas)), np.log(sigmas))
                return torch.from_numpy(np.asarray(table)).exp()
        raise TypeError(time)

    return level
