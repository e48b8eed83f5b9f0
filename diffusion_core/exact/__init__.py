"""Exact denoisers, as ground truth: for a Gaussian, for a mixture of Gaussians, for a data set itself."""

from diffusion_core.exact.empirical import Empirical
from diffusion_core.exact.gaussian import GaussianDenoiser
from diffusion_core.exact.mixture import Mixture

__all__ = ["Empirical", "GaussianDenoiser", "Mixture"]
