"""Real images with noise at several levels, on which `check` reads a model, and what a linear predictor reaches."""

from collections.abc import Sequence

import torch
from torch import Tensor

from diffusion_core.data.dataset import DataSet
from diffusion_core.samplers import Model
from diffusion_core.samplers.checked import CheckedModel
from diffusion_core.samplers.sampling import bind_index
from diffusion_core.tensors import broadcast_like
from experiments.user.memory import halve_until_it_fits

SEED = 20_263
MOST = 2048  # images that the best linear predictor comes from
FEWEST = 20  # images without which the covariance says nothing
APART = 0.01  # share of the error that the difference of two outputs must be
LARGEST = 1024  # values of an image of which all components are used
COMPONENTS = 128  # that are used of larger images: few images show no more


def squared_errors(eps: Tensor, noise: Tensor) -> Tensor:
    """Squared errors of a model's output per pixel, float64 (B,) on the CPU: MPS has no float64."""
    return (eps.float() - noise).cpu().double().square().flatten(1).mean(dim=1)


class NoisyBatch:
    """The images `chosen` at all levels, with the same noise for every reading of the model."""

    def __init__(self, images: DataSet, chosen: Tensor, sigmas: Sequence[float], device: str) -> None:
        self.labels = images.labels[chosen]
        self.shape = (len(sigmas), len(chosen))
        self.at_once = 64
        x0 = images.standardised(chosen)
        self.x0 = x0.repeat(len(sigmas), *[1] * (x0.ndim - 1)).to(device)
        self.noise = torch.randn(self.x0.shape, generator=torch.Generator().manual_seed(SEED)).to(device)
        self.sigma = torch.tensor(sigmas, device=device).repeat_interleave(len(chosen))
        self.x = self.x0 + broadcast_like(self.x0, self.sigma) * self.noise
        self.index = self.labels.repeat(len(sigmas)).to(device)  # balanced labels of these are the images' own

    @torch.no_grad()
    def eps(self, model: Model, n: int | None = None) -> Tensor:
        """The model's output at all levels, for the first n images. ValueError for NaN, see `CheckedModel`."""

        def outputs(at_once: int) -> Tensor:
            inputs = (self.first(values, n).split(at_once) for values in (self.x, self.sigma, self.index))
            batches = zip(*inputs, strict=True)
            return torch.cat([CheckedModel(bind_index(model, index))(x, sigma) for x, sigma, index in batches])

        eps, tried = halve_until_it_fits(self.at_once, outputs)
        self.at_once = tried[-1]
        return eps

    def errors(self, eps: Tensor) -> Tensor:
        """Squared errors of an output per pixel, float64 (levels, images) on the CPU."""
        return squared_errors(eps, self.first(self.noise, len(eps) // self.shape[0])).view(self.shape[0], -1)

    def blend(self, start: Tensor, end: Tensor) -> float:
        """The c with which start + c (end - start) is nearest to the noise, the median over levels; else 1."""
        noise = self.first(self.noise, len(end) // self.shape[0])
        way, whole = (change.cpu().double().view(self.shape[0], -1) for change in (end - start, noise - start))
        squares = way.square().sum(dim=1)
        differ = squares > APART * whole.square().sum(dim=1)
        return float(((way * whole).sum(dim=1) / squares)[differ].median()) if differ.any() else 1.0

    def first(self, values: Tensor, n: int | None = 1) -> Tensor:
        """The values of the first n images of each level."""
        return values if n is None else values.unflatten(0, self.shape)[:, :n].flatten(0, 1)


def linear_errors(images: DataSet, sigmas: Sequence[float]) -> list[float]:
    """The error of the best linear predictor of eps at each level: the mean of l / (l + sigma^2) over the variances l.

    The principal components come from one half of the images and the variances along them from the other half, and the
    other way round; variances of the same images would be too small off the components. With fewer than FEWEST images
    it is the error of the predictor that knows mean and std only, 1 / (1 + sigma^2).
    """
    x0 = images.standardised(slice(MOST)).flatten(1)
    if len(x0) < FEWEST:
        return [1 / (1 + sigma**2) for sigma in sigmas]
    dim = x0.shape[1]
    x0 = x0[:, x0.amax(dim=0) > x0.amin(dim=0)]  # constant pixels, as those of a border, have no variance
    halves = x0[::2], x0[1::2]
    variances = torch.cat([_variances(half, other, dim) for half, other in (halves, halves[::-1])])
    return [(variances / (variances + sigma**2)).sum().item() / (2 * dim) for sigma in sigmas]


def _variances(half: Tensor, other: Tensor, dim: int) -> Tensor:
    """Mean squares of `other` along the principal components of `half`, float64; in all other directions their mean."""
    mean = half.mean(dim=0)
    half, other = half - mean, other - mean
    values = half.shape[1]
    n = min(len(half) - 1, values if dim <= LARGEST else COMPONENTS, values)
    if len(half) > values:
        components = torch.linalg.eigh(half.T @ half).eigenvectors[:, values - n :]
    else:  # those with an eigenvalue above 0, from the products of images
        components = torch.linalg.qr(half.T @ torch.linalg.eigh(half @ half.T).eigenvectors[:, len(half) - n :]).Q
    along = (other @ components).double().square().mean(dim=0)
    rest = (other.double().square().mean(dim=0).sum() - along.sum()).clamp(min=0)
    return torch.cat([along, (rest / max(values - n, 1)).expand(values - n)])
