"""Sampling speed: one network in our loop, the user's, and the loops of other projects.

All loops sample one batch of our default size with the same weights, in each precision; their rounds alternate.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bench.loops import YOURS, Loop
from bench.measure import Job, model_of, name_of
from diffusion_core.exact import GaussianDenoiser
from diffusion_core.networks.compiled import can_compile
from diffusion_core.samplers.sampling import default_batch
from diffusion_core.tensors import computing_in
from experiments.run.networks import Exact, Network, Trained

EVALUATIONS = 12
MODES = {"fp32": ("fp32", False), "bf16": ("bf16", False), "bf16 compiled": ("bf16", True)}


@pytest.mark.parametrize("mode", MODES)
def bench_sampling(
    clock: Callable[..., Tensor], subject: Callable[[str], Network], mode: str, loop: Loop, device: str
) -> None:
    def prepare(mode: str, loop: Loop, device: str) -> Job:
        network = subject(device)
        precision, compiled = MODES[mode]
        if precision != "fp32" and isinstance(network, Exact):
            pytest.skip("the exact denoiser computes in fp32")
        if compiled and not (isinstance(network, Trained) and can_compile(device)):
            pytest.skip("only networks of ours are compiled, by a C++ compiler")
        shape = default_batch(device), *network.shape

        def run(model: Callable[..., Tensor]) -> Tensor:
            with computing_in(precision, device):
                return loop.run(model, shape, EVALUATIONS, device)

        notes = {"suite": "sampling", "network": name_of(network), "mode": mode}
        return Job(run, shape[0], device, loop.notes | notes, model_of(network, shape[0] if compiled else 0))

    x = clock(prepare, rounds=6)
    assert torch.isfinite(x).all()
    if isinstance(subject(device), Trained) and loop.package != YOURS and not loop.drawn_once:
        exact = loop.run(GaussianDenoiser(), tuple(x.shape), EVALUATIONS, device)  # the network is close to it
        assert x.std().item() == pytest.approx(exact.std().item(), rel=0.1)
