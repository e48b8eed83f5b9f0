"""Sampling speed: the network `small` with the same weights in our loop and in the loops of other projects.

All loops sample one batch of our default size. The other loops run in fp32, as in their examples. Each result has the
share of the time outside the network (on CPUs), the FLOP/s of the run, and their ratio to those of a matrix product.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from bench.measure import SHAPE, Clocked, flop_per_image, machine_choice, network, roof
from bench.peers import PEERS, Peer
from diffusion_core.exact import GaussianDenoiser
from diffusion_core.networks.compiled import Compiled, can_compile
from diffusion_core.samplers import Euler, Model, sample
from diffusion_core.samplers.sampling import default_batch
from diffusion_core.schedules import geometric
from diffusion_core.tensors import computing_in

N_STEPS = 12
ROUNDS = 7
MODES = {"fp32": ("fp32", False), "fp32 compiled": ("fp32", True), "bf16": ("bf16", False),
         "bf16 compiled": ("bf16", True), "by default": ("", False)}  # fmt: skip


@pytest.fixture
def time_sampling(benchmark: Any, clock: Callable[..., Any], device: str) -> Callable[..., None]:
    """Times `loop(model)`, which samples one batch, and checks the samples."""

    def time(loop: Callable[[Model], torch.Tensor], model: Model, precision: str, batch: int, **notes: Any) -> None:
        clocked = Clocked(model)
        with computing_in(precision, device):
            loop(clocked)  # warm-up, and compilation
            clocked.seconds = 0.0
            x = clock(
                lambda: loop(clocked), model=clocked, rounds=ROUNDS, warmup=0,
                suite="sampling", batch=batch, n_images=batch, nfe=N_STEPS, precision=precision, **notes,
            )  # fmt: skip
        assert x.shape == (batch, *SHAPE) and torch.isfinite(x).all()
        exact = loop(GaussianDenoiser())  # the network is close to it
        assert x.std().item() == pytest.approx(exact.std().item(), rel=0.1)
        if benchmark.disabled:
            return
        rate = benchmark.extra_info["images_per_second"] * N_STEPS * flop_per_image(device)
        best = roof(device, precision)
        benchmark.extra_info |= {"flop_per_second": rate, "roof": best, "fraction_of_roof": rate / best}
        if device == "cpu":
            benchmark.extra_info["share_outside"] = 1 - clocked.seconds / benchmark.stats.stats.total

    return time


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("mode", MODES)
def bench_sampling(time_sampling: Callable[..., None], mode: str, eta: float, device: str) -> None:
    precision, compiled = MODES[mode]
    default = mode == "by default"
    if compiled and not can_compile(device):
        pytest.skip("there is no C++ compiler here")
    batch = default_batch(device)
    who = f"ours{' by default' if default else ''}, eta {eta:g}"
    model = Compiled(network(device), batch) if compiled else network(device)
    options: Any = {"n_samples": batch, "batch_size": batch, "shape": SHAPE, "device": device}
    time_sampling(
        lambda model: sample(model, geometric(N_STEPS), Euler(eta), **options), model,
        precision or machine_choice(device).sampling.precision, batch,
        who=who, ours=True, default=default, compiled=compiled,
    )  # fmt: skip


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def bench_sampling_of_peers(time_sampling: Callable[..., None], peer: Peer, device: str) -> None:
    pytest.importorskip(peer.package)
    batch = default_batch(device)
    shape = batch, *SHAPE
    time_sampling(lambda model: peer.run(model, shape, N_STEPS, device), network(device), "fp32", batch, who=peer.name)
