"""What tests of exact denoisers share: a mixture of a few Gaussians, all of whose parameters differ."""

import torch

from diffusion_core.exact import Mixture


def mixture(n_components: int, dim: int, rank: int, spread: float = 1.0) -> Mixture:
    """A seeded one in float64."""
    generator = torch.Generator().manual_seed(0)
    like = {"dtype": torch.float64, "generator": generator}
    weights = torch.rand(n_components, **like) + 0.5
    return Mixture(
        weights / weights.sum(),
        spread * torch.randn(n_components, dim, **like),
        torch.linalg.qr(torch.randn(n_components, dim, rank, **like)).Q,
        4 * torch.rand(n_components, rank, **like),
        torch.linspace(0.05, 0.4, n_components, dtype=torch.float64),
    )
