"""A sampler of your own: check-sampler "my_sampler:Midpoint(c=1)"; schedules --samplers my_sampler:Midpoint."""

from dataclasses import dataclass
from itertools import pairwise

from experiments import Sampler


@dataclass(frozen=True)
class Midpoint(Sampler):
    c: float = 0.5  # where in a step its second evaluation is; 1 is Heun's step

    def run(self, eps, x, sigmas, noise):  # x = x0 + sigma z; yields x after each step
        for sigma, after in pairwise(sigmas):
            step = after - sigma
            first = eps(x, sigma)  # eps is the network
            between = sigma + self.c * step
            second = eps(x + self.c * step * first, between) if between > 0 else first
            x = x + step * (first + (second - first) / (2 * self.c))
            yield x  # for fresh noise add std * noise(), as Euler does
