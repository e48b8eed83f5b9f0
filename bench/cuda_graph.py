"""`Euler` for CUDA with its step as a CUDA graph: one launch per step instead of one per kernel of the network.

No default uses it. It has not been run on a GPU yet: `bench/gpu_check.py` compares it with `Euler` and times both.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from diffusion_core.samplers import Euler
from diffusion_core.samplers.base import Eps, Noise
from diffusion_core.samplers.checked import CheckedModel
from diffusion_core.samplers.dialects import alpha_beta
from diffusion_core.samplers.seeded_noise import BlockNoise


class Table:
    """A ladder and a step counter, both on the device, so that `advance` contains no number that changes."""

    def __init__(self, sigmas: tuple[float, ...], eta: float, x: Tensor) -> None:
        steps = [(sigma, *alpha_beta(sigma, sigma_next, eta)) for sigma, sigma_next in pairwise(sigmas)]
        self.noisy = [beta > 0 for _, _, beta in steps]
        rows = [(sigma, -alpha * sigma, beta * sigma) for sigma, alpha, beta in steps]
        self.rows = torch.tensor(rows, dtype=x.dtype, device=x.device)
        self.step = torch.zeros(1, dtype=torch.long, device=x.device)

    def advance(self, eps: Eps, x: Tensor, noise: Noise | None) -> None:
        """Makes the next step of `Euler` on x, in place. `noise` is None if the step adds none."""
        sigma, move, up = self.rows.index_select(0, self.step)[0]
        x.addcmul_(eps(x, sigma.expand(len(x))), move)
        if noise is not None:
            x.addcmul_(noise(), up)
        self.step += 1


@dataclass(frozen=True)
class GraphedEuler(Euler):
    """`Euler` with a captured step and the same noise. x must be on CUDA, gradients off, and eps of the shape of x.

    The step is captured again for each batch. The batch's generators are registered with the graph, so each replay
    draws the noise that the next call of `noise` would have drawn. Under autocast, stay in its context until the last
    step. A graph cannot check each step: with `CheckedModel.at_once` this sampler runs as plain `Euler`.
    """

    label: ClassVar[str] = "euler-graph"

    def run(self, eps: Eps, x: Tensor, sigmas: tuple[float, ...], noise: Noise) -> Iterator[Tensor]:
        if isinstance(eps, CheckedModel) and eps.at_once:
            yield from super().run(eps, x, sigmas, noise)
            return
        table = Table(sigmas, self.eta, x)
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # libraries choose kernels and workspaces before the capture
            for _ in range(3):
                eps(x.clone(), sigmas[0])
        torch.cuda.current_stream().wait_stream(aside)
        graphs = {noisy: _captured(table, eps, x, noise if noisy else None) for noisy in set(table.noisy)}
        for noisy in table.noisy:
            graphs[noisy].replay()
            yield x


def _captured(table: Table, eps: Eps, x: Tensor, noise: Noise | None) -> torch.cuda.CUDAGraph:
    graph = torch.cuda.CUDAGraph()
    for generator in noise.generators if isinstance(noise, BlockNoise) else ():
        graph.register_generator_state(generator)
    with torch.cuda.graph(graph):
        table.advance(eps, x, noise)
    return graph
