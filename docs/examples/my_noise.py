"""A noise distribution of your own: noise_levels --train-noise edm "my_noise:Inverse(2)"; see ../sweeps.md."""

from dataclasses import dataclass
from math import log

from diffusion_core.noise import NoiseDistribution


@dataclass(frozen=True)
class Inverse(NoiseDistribution):
    """scale / sigma is exponential."""

    scale: float = 1.0  # its parameters are fields with defaults

    def quantile(self, u):  # the level that a share u of the draws lies below
        return -self.scale / u.log()

    def log_density(self, log_sigma):  # ln of the density of ln sigma
        x = log(self.scale) - log_sigma
        return x - x.exp()
