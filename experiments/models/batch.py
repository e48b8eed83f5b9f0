"""Real images with noise, on which `check` compares readings of a model."""

from collections.abc import Sequence

import torch
from torch import Tensor

from diffusion_core.data import Images
from diffusion_core.samplers import Model
from diffusion_core.samplers.sampling import at_samples

SEED = 20_263


class Batch:
    """Real images at all levels, the same images and noise for every reading of the model."""

    def __init__(self, images: Images, chosen: Tensor, sigmas: Sequence[float], device: str) -> None:
        self.labels, n = images.labels[chosen], len(chosen)
        x0 = images.standardised(chosen)
        self.shape = (len(sigmas), n)
        self.x0 = x0.repeat(len(sigmas), 1, 1, 1).to(device)
        generator = torch.Generator().manual_seed(SEED)
        self.noise = torch.randn(self.x0.shape, generator=generator).to(device)
        self.sigma = torch.tensor(sigmas, device=device).repeat_interleave(n)
        self.x = self.x0 + self.sigma.view(-1, 1, 1, 1) * self.noise
        self.index = self.labels.repeat(len(sigmas)).to(device)  # balanced labels of these are the images' own

    def eps(self, model: Model) -> Tensor:
        """The model's output at all levels, for all images."""
        return self._asked(model, slice(None))

    def errors(self, model: Model, levels: Tensor | slice = slice(None), n: int | None = None) -> Tensor:
        """Squared errors of eps per pixel, float64 (levels, images), at these levels, for the first n images."""
        which = torch.arange(len(self.x)).view(self.shape)[levels][:, :n]
        chosen = which.flatten().to(self.x.device)
        return self.squared(self._asked(model, chosen) - self.noise[chosen]).view(which.shape)

    @torch.no_grad()
    def _asked(self, model: Model, which: Tensor | slice) -> Tensor:
        parts = (part[which].split(64) for part in (self.x, self.sigma, self.index))
        return torch.cat(
            [at_samples(model, index)(x, sigma).to(x.dtype) for x, sigma, index in zip(*parts, strict=True)]
        )

    @staticmethod
    def squared(errors: Tensor) -> Tensor:
        """Mean square per image, float64, on the CPU."""
        return errors.double().square().flatten(1).mean(dim=1).cpu()
