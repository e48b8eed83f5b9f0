"""Sampling speed: the network `small` with the same weights in our loop and in the loops of other projects.

All loops sample one batch of our default size. The other loops run in fp32, as in their examples. Ours runs in fp32 and
bf16, eager and compiled, and in the precision that short runs choose on this machine. Each result also has the share of
the time outside the network (on CPUs only, where a clock inside the run can measure it), the FLOP/s of the whole run,
and the ratio of these to the roof: the FLOP/s of a matrix product in the same precision and process.
"""

from collections.abc import Callable
from functools import partial
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
from diffusion_core.tensors import PRECISIONS, computing_in
from experiments.run.autotune import SAMPLING, ComputeMode, forward, interleaved

N_STEPS, ROUNDS = 12, 7
MODES = {
    "fp32": ("fp32", False),
    "fp32 compiled": ("fp32", True),
    "bf16": ("bf16", False),
    "bf16 compiled": ("bf16", True),
}


@pytest.fixture
def time_sampling(benchmark: Any, clock: Callable[..., Any], device: str) -> Callable[..., None]:
    """Times `loop(model)`, which samples one batch, and checks the samples."""

    def time(loop: Callable[[Model], torch.Tensor], model: Model, precision: str, batch: int, **notes: Any) -> None:
        clocked = Clocked(model)
        with computing_in(precision, device):
            loop(clocked)  # warm-up, and compilation
            clocked.calls, clocked.seconds = 0, 0.0
            x = clock(
                lambda: loop(clocked), rounds=ROUNDS, warmup=0,
                suite="sampling", batch=batch, n_images=batch, nfe=N_STEPS, precision=precision, **notes,
            )  # fmt: skip
        assert clocked.calls == ROUNDS * N_STEPS
        assert x.shape == (batch, *SHAPE) and torch.isfinite(x).all()
        exact = loop(GaussianDenoiser())  # the network is close to it
        assert x.std().item() == pytest.approx(exact.std().item(), rel=0.1)
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
    if compiled and not can_compile(device):
        pytest.skip("there is no C++ compiler here")
    batch = default_batch(device)
    model = Compiled(network(device), batch) if compiled else network(device)
    loop = partial(draw, eta=eta, n=batch, batch=batch, device=device)
    time_sampling(loop, model, precision, batch, who=f"ours, eta {eta:g}", ours=True, compiled=compiled)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def bench_sampling_by_default(time_sampling: Callable[..., None], eta: float, device: str) -> None:
    precision, batch = machine_choice(device).sampling.precision, default_batch(device)
    notes = {"who": f"ours by default, eta {eta:g}", "ours": True, "default": True}
    loop = partial(draw, eta=eta, n=batch, batch=batch, device=device)
    time_sampling(loop, network(device), precision, batch, **notes)


def draw(model: Model, eta: float, n: int, batch: int, device: str, n_steps: int = N_STEPS) -> torch.Tensor:
    """n samples by our loop."""
    return sample(model, geometric(n_steps), Euler(eta), n_samples=n, batch_size=batch, shape=SHAPE, device=device)


def bench_default_is_within_a_tenth_of_the_best(device: str) -> None:
    """The default against other precisions and batches, forward passes interleaved. It was chosen in an earlier run."""
    machine, usual = machine_choice(device).sampling, default_batch(device)
    modes = [ComputeMode(SAMPLING, n, machine.threads, name) for n in (usual, 2 * usual) for name in PRECISIONS]
    seconds = interleaved({mode: forward(network(device), SHAPE, device, mode) for mode in modes})
    least = {mode: seconds[mode] / mode.batch for mode in seconds}
    best = min(least, key=least.__getitem__)
    print({f"{mode.precision}, {mode.batch}": round(1 / least[mode]) for mode in least})
    default = ComputeMode(SAMPLING, usual, machine.threads, machine.precision)
    assert least[default] <= 1.1 * least[best], f"default {default}, best {best}"


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def bench_sampling_of_peers(time_sampling: Callable[..., None], peer: Peer, device: str) -> None:
    if not peer.installed:
        pytest.skip(f"{peer.package} is not installed (extra `peers`)")
    batch = default_batch(device)
    shape = (batch, *SHAPE)
    time_sampling(lambda model: peer.run(model, shape, N_STEPS, device), network(device), "fp32", batch, who=peer.name)
