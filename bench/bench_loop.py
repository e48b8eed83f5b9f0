"""Time of a sampling loop alone, with a network that costs nothing: ours, the user's and other projects' loops.

The network returns ones, so every right loop moves x by a known sum and keeps its noise.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from bench.loops import YOURS, Loop
from bench.measure import Job, name_of
from diffusion_core.samplers.dialects import alpha_beta
from diffusion_core.samplers.sampling import default_batch
from experiments.run.networks import Network

EVALUATIONS = 66


def check(x: Tensor, sigmas: Sequence[float], eta: float) -> None:
    """Asserts the mean and std of x at the end. With 65,536 pixels their standard errors are below 0.4 % of the std."""
    shift = 0.0
    variance = sigmas[0] ** 2
    for sigma, sigma_next in pairwise(sigmas):
        alpha, beta = alpha_beta(sigma, sigma_next, eta)
        shift -= alpha * sigma
        variance += (beta * sigma) ** 2
    assert x.mean().item() == pytest.approx(shift, abs=0.03 * variance**0.5)
    assert x.std().item() == pytest.approx(variance**0.5, rel=0.03)


def bench_loop_alone(clock: Callable[..., Tensor], subject: Callable[[str], Network], loop: Loop, device: str) -> None:
    def prepare(loop: Loop, device: str) -> Job:
        network = subject(device)
        shape = default_batch(device), *network.shape
        notes = {"suite": "loop", "network": name_of(network)}
        ones = torch.ones(shape, device=device)
        return Job(lambda model: loop.run(model, shape, EVALUATIONS, device), shape[0], device,
                   loop.notes | notes, lambda x, sigma: ones)  # fmt: skip

    x = clock(prepare, rounds=15)
    assert torch.isfinite(x).all()
    if loop.package != YOURS:  # ours and others' are exact for a constant slope
        check(x, loop.sigmas(EVALUATIONS), loop.eta)
