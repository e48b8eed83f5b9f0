"""Fits a mixture of Gaussians to a data set: a distribution that resembles the data and is known exactly.

Covariances are low-rank plus isotropic. The method is expectation maximisation of a mixture of probabilistic principal
component analysers (Tipping & Bishop 1999, Neural Computation 11(2), Section 3), started from k-means.
"""

import torch
from torch import Tensor

from diffusion_core.exact.mixture import Mixture
from diffusion_core.fields import check_positive, check_range

LLOYD_STEPS = 30
ROWS = 256  # images at a time, so that temporaries stay in the cache


def fit_mixture(
    x0: Tensor, n_components: int = 20, rank: int = 32, seed: int = 0, *, min_std: float = 0.05, em_steps: int = 5
) -> Mixture:
    """The mixture fitted to the images x0, in float64. The same arguments give the same mixture up to rounding.

    Args (ValueError outside their ranges):
        x0: (n, C, H, W) or (n, d), standardised; d is the number of values per image.
        n_components: number of Gaussians, at most n.
        rank: rank of the low-rank part of each covariance, below d.
        seed: of the first centres of k-means; nothing else is random.
        min_std: the smallest s_k allowed, in data units, above 0: pixels that are constant in the data vary by s_k.
        em_steps: steps of expectation maximisation; 0 gives the principal components of the k-means clusters.

    Returns:
        The mixture. Mean and, unless an s_k is at min_std, total variance are those of x0 after each step.
    """
    x = x0.flatten(1).double()
    n, d = x.shape
    if not 1 <= n_components <= n:
        raise ValueError(f"n_components={n_components}: it must be from 1 to the number of images, {n}")
    if not 1 <= rank < d:
        raise ValueError(f"rank={rank}: it must be from 1 to {d - 1}, below the number of values of an image")
    check_positive("min_std", min_std)
    check_range("em_steps", em_steps, 0)
    labels = _k_means(x, n_components, torch.Generator(x.device).manual_seed(seed))
    mixture = _maximise(x, torch.nn.functional.one_hot(labels, n_components).to(x), rank, min_std)
    for _ in range(em_steps):
        parts = [mixture.responsibilities(part, part.new_zeros(len(part))) for part in x.split(ROWS)]
        mixture = _maximise(x, torch.cat(parts), rank, min_std)
    return mixture


def _k_means(x: Tensor, n_clusters: int, generator: torch.Generator) -> Tensor:
    """The cluster (n,) of each row of x (n, d): Lloyd's iterations from k-means++ (Arthur & Vassilvitskii 2007)."""
    centres = x[torch.randint(len(x), (1,), generator=generator, device=x.device)]
    while len(centres) < n_clusters:
        squares = _squared_distances(x, centres).amin(dim=1)
        squares = squares if squares.max() > 0 else torch.ones_like(squares)  # all images are centres already
        centres = torch.cat([centres, x[torch.multinomial(squares, 1, generator=generator)]])
    labels = _squared_distances(x, centres).argmin(dim=1)
    for _ in range(LLOYD_STEPS):
        members = torch.nn.functional.one_hot(labels, n_clusters).to(x)
        counts = members.sum(dim=0)[:, None]
        centres = torch.where(counts > 0, members.T @ x / counts.clamp(min=1), centres)  # an empty one keeps its own
        before, labels = labels, _squared_distances(x, centres).argmin(dim=1)
        if torch.equal(labels, before):
            break
    return labels


def _squared_distances(x: Tensor, centres: Tensor) -> Tensor:
    """|x_i - c_j|^2 (n, K)."""
    inner = x @ centres.T
    return (x.square().sum(dim=1)[:, None] - 2 * inner + centres.square().sum(dim=1)).clamp_(min=0)


def _maximise(x: Tensor, responsibilities: Tensor, rank: int, min_std: float) -> Mixture:
    """The maximum-likelihood mixture given responsibilities (n, K): weighted principal components per component.

    Source: Tipping & Bishop 1999, J. R. Statist. Soc. B 61(3), Eqs. 7 and 8, with each covariance weighted by the
        responsibilities.
    Note: if s_k would be below min_std, min_std is the constrained optimum.
    """
    counts = responsibilities.sum(dim=0)
    means = responsibilities.T @ x / counts.clamp(min=torch.finfo(x.dtype).tiny)[:, None]
    bases, variances, stds = [], [], []
    for k in range(len(counts)):
        members = responsibilities[:, k].nonzero().squeeze(1)
        shares = responsibilities[members, k] / counts[k]
        centred = (x[members] - means[k]) * shares.sqrt()[:, None]
        values, basis = _principal(centred, rank)
        left_over = (centred.square().sum() - values.sum()) / (x.shape[1] - rank)
        noise = left_over.clamp(min=min_std**2)
        bases.append(basis)
        variances.append((values - noise).clamp(min=0))
        stds.append(noise.sqrt())
    return Mixture(counts / len(x), means, torch.stack(bases), torch.stack(variances), torch.stack(stds))


def _principal(rows: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The `rank` largest eigenvalues (rank,) of rows^T rows, and their eigenvectors as columns (d, rank).

    They come from the smaller of the two Gram matrices. The largest entry of each column is positive, so that signs do
    not depend on rounding. Beyond the rank of `rows`, eigenvalues are 0 and columns are only orthonormal.
    """
    n, d = rows.shape
    values, vectors = torch.linalg.eigh(rows @ rows.T if n < d else rows.T @ rows)
    values, vectors = values.flip(0)[:rank].clamp(min=0), vectors.flip(1)[:, :rank]
    columns = rows.T @ vectors if n < d else vectors
    missing = rank - len(values)
    columns = torch.cat([columns, columns.new_zeros(d, missing)], dim=1)
    basis = torch.linalg.qr(columns).Q
    largest = basis.gather(0, basis.abs().argmax(dim=0, keepdim=True))
    return torch.cat([values, values.new_zeros(missing)]), basis * largest.sign()
