"""Real images with noise, on which `check` compares readings of a model."""

from collections.abc import Sequence

import torch
from torch import Tensor

from diffusion_core.data.dataset import DataSet
from diffusion_core.samplers import Model
from diffusion_core.samplers.checked import CheckedModel
from diffusion_core.samplers.sampling import bind_index
from diffusion_core.tensors import broadcast_like
from experiments.own.memory import halve_until_it_fits

SEED = 20_263


class Batch:
    """Real images at all levels, the same images and noise for every reading of the model."""

    def __init__(self, images: DataSet, chosen: Tensor, sigmas: Sequence[float], device: str) -> None:
        self.sigmas, self.labels, n, self.at_once = sigmas, images.labels[chosen], len(chosen), 64
        x0 = images.standardised(chosen)
        self.shape = (len(sigmas), n)
        self.x0 = x0.repeat(len(sigmas), *[1] * (x0.ndim - 1)).to(device)
        generator = torch.Generator().manual_seed(SEED)
        self.noise = torch.randn(self.x0.shape, generator=generator).to(device)
        self.sigma = torch.tensor(sigmas, device=device).repeat_interleave(n)
        self.x = self.x0 + broadcast_like(self.x0, self.sigma) * self.noise
        self.index = self.labels.repeat(len(sigmas)).to(device)  # balanced labels of these are the images' own

    @torch.no_grad()
    def eps(self, model: Model, n: int | None = None) -> Tensor:
        """The model's output at all levels, for the first n images. ValueError for NaN, see `CheckedModel`."""

        def outputs(at_once: int) -> Tensor:
            parts = (part[self._first(n)].split(at_once) for part in (self.x, self.sigma, self.index))
            return torch.cat(
                [CheckedModel(bind_index(model, index))(x, sigma) for x, sigma, index in zip(*parts, strict=True)]
            )

        eps, tried = halve_until_it_fits(self.at_once, outputs)
        self.at_once = tried[-1]
        return eps

    def errors(self, model: Model, n: int | None = None) -> Tensor:
        """Squared errors of eps per pixel, float64 (levels, images) on the CPU, for the first n images."""
        return self.squared(self.eps(model, n), n)

    def squared(self, eps: Tensor, n: int | None = None) -> Tensor:
        """The same for an output."""
        squares = (eps - self.noise[self._first(n)]).cpu().double().square()  # MPS has no float64
        return squares.flatten(1).mean(dim=1).view(self.shape[0], -1)

    def _first(self, n: int | None) -> Tensor:
        return torch.arange(len(self.x), device=self.x.device).view(self.shape)[:, :n].flatten()
