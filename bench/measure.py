"""Tools of the benchmarks."""

import time
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from diffusion_core.networks import build
from diffusion_core.samplers import Model
from diffusion_core.tensors import computing_in
from experiments.run.autotune import MachineChoice, autotune
from experiments.run.cache import Cache
from experiments.run.machine import Machine
from experiments.run.networks import Trained

SHAPE = (1, 32, 32)
TRAINING_BATCH = 64
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
STATUS = Path("/proc/self/status")
REFERENCES = Path("/proc/self/clear_refs")


class Clocked:
    """A network that counts its evaluations and their seconds, which hold on CPUs only: it does not wait for a GPU."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.calls = 0
        self.seconds = 0.0

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        start = time.perf_counter()
        eps = self.model(x, sigma)
        self.seconds += time.perf_counter() - start
        self.calls += 1
        return eps


def network(device: str, seed: int = 0) -> nn.Module:
    """`small` with random weights, also in the layers that training starts at zero: zeros would hide errors.

    The weights change the exact denoiser of N(0, 1) only a little, so samples keep a standard deviation near 1.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build("small")
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(torch.randn_like(weight), alpha=0.01)
    return model.to(device).eval()


@cache
def machine_choice(device: str) -> MachineChoice:
    """The machines on which a run of one network is sampled and trained by default here."""
    machine = Machine.resolve(device)
    return autotune(Trained(batch_size=TRAINING_BATCH, machine=machine), machine, Cache(Path("runs/store")), 1, print)


@cache
def flop_per_image(device: str) -> float:
    """Floating-point operations of one evaluation of `small` for one image, as torch counts them."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(device)(torch.zeros(1, *SHAPE, device=device), torch.ones(1, device=device))
    return float(counter.get_total_flops())


@cache
def roof(device: str, precision: str) -> float:
    """FLOP/s of a square matrix product, best of ten: the rate of the device for the work that suits it best."""
    size = 8192 if device == "cuda" else 1024
    a, b = (torch.randn(size, size, device=device, dtype=DTYPES[precision]) for _ in range(2))
    seconds = []
    with computing_in("fp32", device):
        for _ in range(12):
            start = time.perf_counter()
            torch.mm(a, b)
            wait(device)
            seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds[2:])


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def forget_peak(device: str) -> None:
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    elif REFERENCES.exists():
        REFERENCES.write_text("5")  # Linux: sets the peak of the resident memory to its current value


def peak_mib(device: str) -> float | None:
    """Peak memory since `forget_peak`: allocated on the GPU, or resident in the whole process (Linux; else None)."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    lines = STATUS.read_text().splitlines() if STATUS.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), None)
