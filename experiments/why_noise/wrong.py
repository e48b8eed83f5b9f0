"""Denoisers with one known error: the exact denoiser of a wrong mixture, or an exact eps of the wrong size.

A wrong mixture used at all levels is a *consistent* error: it is the exact denoiser of other data, so its scores at
different levels fit together. The same error at some levels only, or different ones at different levels, is
*inconsistent*: no data have these scores (see blend.py for denoisers by level).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from diffusion_core.exact import Mixture
from diffusion_core.fields import check_fields
from diffusion_core.samplers.seeded_noise import block_seed
from experiments.config.denoisers import EXACT_MACHINE, Loader, Machine, ModelConfig, check_data
from experiments.config.names import one_of
from experiments.models.exact import mixture_of

CHANGES = ("weights", "missing", "wider", "scaled")
FIRST_CHANGE = -3  # block of the seed from which change 0 is drawn; -1 and -2 are used elsewhere


@dataclass(frozen=True)
class WrongConfig(ModelConfig):
    """The exact denoiser of a mixture data set, with one change of known size."""

    data: str
    kind: str  # weights, missing, wider: of the mixture; scaled: of eps
    size: float
    change: int = 0  # number of the change, where it is random: other numbers change other components
    seed: int = 0  # stands in for a training seed: sets the sampling seed, and the change where it is random
    machine: Machine = EXACT_MACHINE

    def __post_init__(self) -> None:
        check_fields(self)
        check_data(self.data)
        one_of("kind", self.kind, CHANGES)
        if not -1 < self.size < math.inf or self.size == 0:
            raise ValueError(f"size={self.size}: it must be above -1 and not 0")

    @property
    def description(self) -> str:
        return f"exact, {self.kind} {self.size:+g}" + (f", change {self.change}" if self.change else "")

    def load(self, loader: Loader) -> nn.Module:
        return wrong_model(mixture_of(self.data), self).to(loader.device)


def wrong_model(mixture: Mixture, config: WrongConfig) -> nn.Module:
    """The denoiser of a config, given the right mixture (float64)."""
    if config.kind == "scaled":
        return Scaled(mixture.float(), 1 + config.size)
    return changed(mixture, config).float()


def changed(mixture: Mixture, config: WrongConfig) -> Mixture:
    """The mixture with one change.

    weights: each weight is multiplied by exp(size g), g a unit normal draw; then they are scaled to sum to 1.
    missing: components with a total weight of about `size`, drawn at random, are left out; at least one.
    wider: all standard deviations within components are (1 + size) times as large.

    Raises:
        ValueError: no component would be left.
    """
    generator = torch.Generator().manual_seed(block_seed(config.seed, FIRST_CHANGE - config.change))
    parts, weights = mixture.state_dict(), mixture.weights
    if config.kind == "weights":
        drawn = torch.randn(len(weights), generator=generator, dtype=weights.dtype)
        parts["weights"] = (weights.log() + config.size * drawn).softmax(dim=0)
    elif config.kind == "missing":
        order = torch.randperm(len(weights), generator=generator)
        n = 1 + int((weights[order].cumsum(dim=0) < config.size).sum())
        if n >= len(weights):
            raise ValueError(f"size={config.size}: no component is left")
        kept = order[n:].sort().values
        parts = {name: part[kept] for name, part in parts.items()}
        parts["weights"] = parts["weights"] / weights[kept].sum()
    else:
        parts["variances"] = parts["variances"] * (1 + config.size) ** 2
        parts["stds"] = parts["stds"] * (1 + config.size)
    return Mixture(**parts)


class Scaled(nn.Module):
    """factor times the eps of another denoiser."""

    def __init__(self, exact: nn.Module, factor: float) -> None:
        super().__init__()
        self.exact, self.factor = exact, factor

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """eps (B, C, H, W) for x (B, C, H, W) and sigma (B,)."""
        return self.factor * self.exact(x, sigma)
