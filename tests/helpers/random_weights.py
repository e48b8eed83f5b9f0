"""The networks that are trained here, with weights that say something."""

import torch

from diffusion_core.networks import build
from diffusion_core.networks.parameterisations import Parameterised


def filled(name: str = "small", channels: int = 1, parameterisation: str = "preconditioned") -> Parameterised:
    """The named network with every weight random, also in the layers that start at zero; always the same."""
    model = build(name, channels, parameterisation)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.1)
    return model
