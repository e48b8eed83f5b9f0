"""Exact denoisers, as ground truth: for a Gaussian, for a data set itself."""

from diffusion_core.exact.empirical import Empirical
from diffusion_core.exact.gaussian import GaussianDenoiser
