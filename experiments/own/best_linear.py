"""The error of the best linear predictor of eps on a data set: what a trained network should reach at least."""

from collections.abc import Sequence

import torch
from torch import Tensor

from diffusion_core.data.dataset import DataSet

MOST = 2048  # images that it comes from
FEWEST = 20  # images without which the covariance says nothing
LARGEST, COMPONENTS = 1024, 128  # see `_variances`
WORSE, SLACK = 1.5, 0.02  # an error is doubtful above WORSE times the best linear predictor's (or 1), plus SLACK


def linear_errors(images: DataSet, sigmas: Sequence[float]) -> list[float]:
    """The error of the best linear predictor of eps at each level: the mean of l / (l + sigma^2) over the variances l.

    The principal components come from one half of the images and the variances along them from the other half, and the
    other way round. Variances of the same images that the components come from would be too small off the components,
    and 0 beyond as many components as there are images.

    With fewer than FEWEST images it is the error of the predictor that knows mean and std only, 1 / (1 + sigma^2).
    """
    x0 = images.standardised(slice(MOST)).flatten(1)
    if len(x0) < FEWEST:
        return [1 / (1 + sigma**2) for sigma in sigmas]
    dim = x0.shape[1]
    x0 = x0[:, x0.amax(dim=0) > x0.amin(dim=0)]  # constant pixels, as those of a border, have no variance
    halves = x0[::2], x0[1::2]
    variances = torch.cat([_variances(one, other, dim) for one, other in (halves, halves[::-1])])
    return [(variances / (variances + sigma**2)).sum().item() / (2 * dim) for sigma in sigmas]


def limit(linear: float) -> float:
    """The largest error that is not doubtful, given the best linear predictor's. Without denoising it is 1."""
    return min(WORSE * linear, 1) + SLACK


def _variances(one: Tensor, other: Tensor, dim: int) -> Tensor:
    """Mean squares of `other` along the principal components of `one`, float64, and alike in all other directions.

    Of images with more than LARGEST values only the first COMPONENTS are used, because so few images show no more.
    """
    mean, values = one.mean(dim=0), one.shape[1]
    one, other = one - mean, other - mean
    n = min(len(one) - 1, values if dim <= LARGEST else COMPONENTS, values)
    if len(one) > values:
        components = torch.linalg.eigh(one.T @ one).eigenvectors[:, values - n :]
    else:  # those with an eigenvalue above 0, from the products of images
        components = torch.linalg.qr(one.T @ torch.linalg.eigh(one @ one.T).eigenvectors[:, len(one) - n :]).Q
    along = (other @ components).double().square().mean(dim=0)
    rest = (other.double().square().mean(dim=0).sum() - along.sum()).clamp(min=0)
    return torch.cat([along, (rest / max(values - n, 1)).expand(values - n)])
