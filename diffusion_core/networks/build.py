"""The networks by name, as denoisers: `eps = model(x, sigma)` with x (B, C, H, W) and sigma (B,)."""

import torch
from torch import nn

from diffusion_core.catalogue import PARAMETERISATIONS
from diffusion_core.networks.paper import Paper
from diffusion_core.networks.small import Small

TRUNKS: dict[str, type[Small] | type[Paper]] = {"small": Small, "paper": Paper}
NAMES = tuple(TRUNKS)


def build(name: str, channels: int = 1, parameterisation: str = "preconditioned") -> nn.Module:
    """The named network, untrained. The output F of its trunk is 0 until the first training step.

    Until then eps = x sigma / (1 + sigma^2) for `preconditioned`, the exact denoiser of N(0, 1) data. For `eps` it is 0
    (all of x is kept). For `x0` it is x / sigma (all of x is noise).

    Args:
        name: one of `NAMES`. `small` takes images of 32x32 pixels, `paper` images whose sides are multiples of 16.
        channels: channels of the images.
        parameterisation: one of `PARAMETERISATIONS`: what F means. The initial weights do not depend on it.

    Raises:
        ValueError: an unknown name or parameterisation.
    """
    if name not in TRUNKS:
        raise ValueError(f"network={name!r}: unknown network; the names are {', '.join(NAMES)}")
    if parameterisation not in PARAMETERISATIONS:
        raise ValueError(f"parameterisation={parameterisation!r}: must be one of {', '.join(PARAMETERISATIONS)}")
    model: nn.Module = PARAMETERISATIONS[parameterisation](TRUNKS[name](channels))
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
