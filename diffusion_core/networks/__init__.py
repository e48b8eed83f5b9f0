"""The denoisers that are trained here: `build` makes one by name; `parameterisations.py` says what its output means.

A denoiser is `eps = model(x, sigma)` with x (B, C, H, W), or (B, d), and sigma (B,).
"""

from collections.abc import Callable

import torch
from torch import nn

from diffusion_core.networks.parameterisations import Parameterised
from diffusion_core.registry import PARAMETERISATIONS, TRUNKS
from diffusion_core.validation import one_of


def build(name: str, channels: int = 1, parameterisation: str = "preconditioned") -> Parameterised:
    """The named network, untrained. The output F of its trunk is 0 until the first training step.

    Args (ValueError for unknown names):
        name: `small` takes images of 32x32 pixels, `paper` images whose sides are multiples of 16, and `mlp` vectors,
            of which `channels` is the length.
        parameterisation: one of `PARAMETERISATIONS`: what F means, or `mixture-input`, whose `fit` must be given the
            training images before training. The initial weights are the same in all but that one.
    """
    trunk = TRUNKS[one_of("network", name, TRUNKS)]
    dim = channels * trunk.positions
    return parameterise(lambda inputs, outputs: trunk(outputs, inputs), channels, dim, parameterisation)


def parameterise(
    make_trunk: Callable[[int, int], nn.Module], channels: int, dim: int, parameterisation: str
) -> Parameterised:
    """The network with the trunk that `make_trunk(input channels, output channels)` gives; `dim`: values of one x."""
    wrapper = PARAMETERISATIONS[one_of("parameterisation", parameterisation, PARAMETERISATIONS)]
    model = wrapper(make_trunk(wrapper.n_inputs * channels, channels), dim)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
