"""Exact denoisers: the conditional mean in closed form, as ground truth for samplers."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class GaussianDenoiser:
    """The exact eps for data N(mean, std^2), the same and independent in every pixel: it keeps the model contract.

    E[noise | x] = sigma (x - mean) / (std^2 + sigma^2), by conditioning one Gaussian on another.

    Args:
        mean, std: of the data, in data units; std >= 0.

    Raises:
        ValueError: a negative std.
    """

    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        if self.std < 0:
            raise ValueError(f"std={self.std}: it must be at least 0")

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        sigma = sigma.view(-1, *[1] * (x.ndim - 1))
        return (x - self.mean) * (sigma / (self.std**2 + sigma**2))


def gaussian_moments(
    sigmas: list[float],
    alphas: list[float],
    betas: list[float],
    *,
    data_std: float = 1.0,
    start_var: float | None = None,
) -> list[float]:
    """Variance of x after each step of Euler with reinjection, under the exact denoiser of N(0, data_std^2).

    Every step is affine in x: v <- v (1 - alpha sigma^2 / (data_std^2 + sigma^2))^2 + beta^2 sigma^2.

    Args:
        sigmas: ladder of N + 1 levels.
        alphas, betas: N coefficients each.
        start_var: variance at sigmas[0]; by default sigmas[0]^2, as the samplers start.

    Returns:
        N + 1 variances, the first being `start_var`.
    """
    variances = [sigmas[0] ** 2 if start_var is None else start_var]
    for sigma, alpha, beta in zip(sigmas, alphas, betas, strict=False):
        shrink = 1 - alpha * sigma**2 / (data_std**2 + sigma**2)
        variances.append(variances[-1] * shrink**2 + beta**2 * sigma**2)
    return variances
