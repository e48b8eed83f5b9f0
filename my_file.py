from dataclasses import dataclass
from itertools import pairwise

from diffusion_core.samplers import Sampler
from diffusion_core.samplers.dialects import alpha_beta


@dataclass(frozen=True)
class Mine(Sampler):
    eta: float = 1.0

    def run(self, eps, x, sigmas, noise):
        for sigma, after in pairwise(sigmas):
            alpha, beta = alpha_beta(sigma, after, self.eta)
            x = x - alpha * sigma * eps(x, sigma) + beta * sigma * noise()
            yield x
