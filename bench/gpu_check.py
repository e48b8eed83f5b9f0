"""All checks and timings that need a GPU, in one call and one table: `python -m bench.gpu_check`.

Checks come first: each prints the difference between two ways to the same samples. Timings follow. A line that fails
prints the reason, the rest still runs, and the exit status is 1. `--device cpu` tests the script without a GPU.
"""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import tyro
from torch import Tensor

from bench.measure import SHAPE, flop_per_image, forget_peak, network, peak_mib, roof, wait
from diffusion_core.networks.compiled import Compiled, can_compile
from diffusion_core.noise import LogNormal
from diffusion_core.precision import computing_in
from diffusion_core.samplers import Euler, Model, follow, sample
from diffusion_core.samplers.seeded_noise import BlockNoise
from diffusion_core.schedules import geometric
from diffusion_core.training import train

LADDER, DDPM = geometric(66), Euler(1.0)


@dataclass(frozen=True)
class Line:
    """One line of the table: what was done, and the result. `ok` is None for a timing."""

    what: str
    result: str
    ok: bool | None = None

    def __str__(self) -> str:
        return f"{self.what:62} {self.result:>58} {'' if self.ok is None else 'ok' if self.ok else 'FAILED'}"


@torch.no_grad()
def draw(model: Model, n: int, device: str, batch_size: int | None = None) -> Tensor:
    """n samples by `Euler` at eta 1."""
    return sample(model, LADDER, DDPM, n_samples=n, shape=SHAPE, batch_size=batch_size, device=device)


def difference(a: Tensor, b: Tensor, limit: float) -> tuple[str, bool]:
    """Mean and largest absolute difference in data standard deviations, and whether the mean is within the limit."""
    change = (a.cpu() - b.cpu()).abs()
    return f"mean {change.mean():.1e}, largest {change.max():.1e} (limit of the mean {limit:g})", bool(
        change.mean() <= limit
    )


@torch.no_grad()
def card_against_cpu(device: str) -> tuple[str, bool]:
    start = BlockNoise(0, 0, 64, SHAPE, torch.device("cpu"))() * LADDER[0]
    *_, on_cpu = follow(network("cpu"), Euler(), LADDER, start.clone(), torch.empty)
    *_, on_card = follow(network(device), Euler(), LADDER, start.clone().to(device), torch.empty)
    return difference(on_cpu, on_card, 1e-3)  # TF32 convolutions keep ten bits


def batches(device: str) -> tuple[str, bool]:
    model = network(device)
    return difference(draw(model, 100, device, batch_size=100), draw(model, 100, device, batch_size=7), 1e-3)


def bf16_against_fp32(device: str) -> tuple[str, bool]:
    model = network(device)
    with computing_in("bf16", device):
        narrow = draw(model, 100, device)
    return difference(draw(model, 100, device), narrow, 0.02)


def compiled_against_eager(device: str) -> tuple[str, bool]:
    with computing_in("bf16", device):
        eager, compiled = draw(network(device), 64, device), draw(Compiled(network(device), 64), 64, device)
    return difference(eager, compiled, 0.02)


def same_seed_same_weights(device: str) -> tuple[str, bool]:
    def weights() -> Tensor:
        model = network(device).train()
        images = torch.randn(256, *SHAPE, generator=torch.Generator().manual_seed(0)).to(device)
        for _ in train(model, images, LogNormal(), n_images=320, batch_size=64, precision="bf16"):
            pass
        return torch.cat([weight.detach().flatten() for weight in model.parameters()])

    return difference(weights(), weights(), 0.0)


def sampling_time(device: str, n: int, bf16: bool, compiled: bool = False) -> str:
    model = Compiled(network(device), n) if compiled else network(device)
    with computing_in("bf16" if bf16 else "fp32", device):
        draw(model, n, device, n)
        wait(device)
        forget_peak(device)
        start = time.perf_counter()
        draw(model, n, device, n)
        wait(device)
    seconds = time.perf_counter() - start
    nfe = DDPM.planned_nfe(LADDER)
    share = n * nfe / seconds * flop_per_image(device) / roof(device, "bf16" if bf16 else "fp32")
    memory = peak_mib(device)
    return (
        f"{seconds / nfe * 1e3:8.3f} ms per step, {n / seconds:8.0f} images/s, {share:5.1%} of the roof, "
        f"{'?' if memory is None else round(memory)} MiB"
    )


def training_time(device: str, batch: int, bf16: bool, n_steps: int = 20) -> str:
    images = torch.randn(1024, *SHAPE, device=device)
    name = "bf16" if bf16 else "fp32"
    steps = train(network(device).train(), images, LogNormal(), n_images=10**9, batch_size=batch, precision=name)
    for _ in range(5):
        next(steps)
    wait(device)
    start = time.perf_counter()
    for _ in range(n_steps):
        next(steps)
    wait(device)
    seconds = (time.perf_counter() - start) / n_steps
    return f"{seconds * 1e3:8.3f} ms per step, {batch / seconds:8.0f} images/s"


def lines(device: str, batch_sizes: tuple[int, ...]) -> Iterator[Line]:
    """The table, line by line."""
    checks: dict[str, Callable[[str], tuple[str, bool]]] = {
        "card against CPU, fp32, eta 0": card_against_cpu,
        "batches of 100 against batches of 7": batches,
        "bf16 against fp32, same noise": bf16_against_fp32,
        "training twice from one seed, bf16": same_seed_same_weights,
    }
    checks |= {"compiled against eager, bf16, same noise": compiled_against_eager} if can_compile(device) else {}
    for what, check in checks.items():
        yield attempt(what, partial(check, device))
    for kind in ("fp32", "bf16"):
        yield attempt(f"roof, {kind}", lambda kind=kind: f"{roof(device, kind) / 1e12:8.2f} TFLOP/s")
    for n in batch_sizes:
        ways: dict[str, dict[str, Any]] = {"fp32": {"bf16": False}, "bf16": {"bf16": True}}
        ways |= {"bf16, compiled": {"bf16": True, "compiled": True}} if can_compile(device) else {}
        for name, options in ways.items():
            yield attempt(f"sampling, batch {n}, {name}", partial(sampling_time, device, n, **options))
        for name in ("fp32", "bf16"):
            yield attempt(f"training, batch {n}, {name}", partial(training_time, device, n, name == "bf16"))


def attempt(what: str, do: Callable[[], str | tuple[str, bool]]) -> Line:
    """The line with the result of `do`, or with its error."""
    try:
        result = do()
    except Exception as error:  # one failed line must not stop the table
        return Line(what, f"{type(error).__name__}: {' '.join(str(error).split())[:80]}", False)
    return Line(what, result) if isinstance(result, str) else Line(what, *result)


def main(device: str = "cuda", batch_sizes: tuple[int, ...] = (64, 256, 1024, 4096)) -> int:
    """Prints checks and timings, one line each; returns the exit status.

    Args:
        device: cuda, or cpu to test the script.
        batch_sizes: batch sizes to time.
    """
    if device == "cuda" and not torch.cuda.is_available():
        print("gpu_check: PyTorch sees no CUDA device here", file=sys.stderr)
        return 2
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    print(f"{name}, PyTorch {torch.__version__}, network small, images of 32x32, {len(LADDER) - 1} steps, eta 1")
    failed = False
    for line in lines(device, batch_sizes):
        print(line, flush=True)
        failed |= line.ok is False
    return int(failed)


if __name__ == "__main__":
    sys.exit(tyro.cli(main, prog="python -m bench.gpu_check"))
