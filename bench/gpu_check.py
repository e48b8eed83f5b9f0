"""All checks that need a GPU, in one call and one table: `python -m bench.gpu_check`.

Each line is the difference between two ways to the same samples. A line that fails prints the reason, the rest still
runs, and the exit status is 1. `--device cpu` tests the script without a GPU. `pytest --benchmark` times the card.
"""

import sys
from collections.abc import Callable

import torch
import tyro
from torch import Tensor

from bench.measure import SHAPE, network
from diffusion_core.networks.compiled import Compiled, can_compile
from diffusion_core.noise import LogNormal
from diffusion_core.samplers import Euler, Model, checked_steps, sample
from diffusion_core.samplers.sampling import default_batch
from diffusion_core.samplers.seeded_noise import BlockNoise
from diffusion_core.schedules import geometric
from diffusion_core.tensors import computing_in
from diffusion_core.training import train

LADDER, DDPM = geometric(66), Euler(1.0)


@torch.no_grad()
def draw(model: Model, n: int, device: str, batch_size: int | None = None) -> Tensor:
    """n samples by `Euler` at eta 1."""
    return sample(model, LADDER, DDPM, n_samples=n, shape=SHAPE, batch_size=batch_size, device=device)


def difference(a: Tensor, b: Tensor, limit: float) -> tuple[str, bool]:
    """Mean and largest absolute difference in data standard deviations, and whether the mean is within the limit."""
    change = (a.cpu() - b.cpu()).abs()
    text = f"mean {change.mean():.1e}, largest {change.max():.1e} (limit of the mean {limit:g})"
    return text, bool(change.mean() <= limit)


@torch.no_grad()
def card_against_cpu(device: str) -> tuple[str, bool]:
    start = BlockNoise(0, range(64), SHAPE, torch.device("cpu"))() * LADDER[0]
    *_, on_cpu = checked_steps(network("cpu"), Euler(), LADDER, start.clone(), torch.empty)
    *_, on_card = checked_steps(network(device), Euler(), LADDER, start.clone().to(device), torch.empty)
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


CHECKS: dict[str, Callable[[str], tuple[str, bool]]] = {
    "card against CPU, fp32, eta 0": card_against_cpu,
    "batches of 100 against batches of 7": batches,
    "bf16 against fp32, same noise": bf16_against_fp32,
    "training twice from one seed, bf16": same_seed_same_weights,
    "compiled against eager, bf16, same noise": compiled_against_eager,
}


def main(device: str = "cuda") -> int:
    """Prints the checks, one line each; returns the exit status.

    Args:
        device: cuda, or cpu to test the script.
    """
    if device == "cuda" and not torch.cuda.is_available():
        print("gpu_check: PyTorch sees no CUDA device here", file=sys.stderr)
        return 2
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    print(f"{name}, PyTorch {torch.__version__}, network small, images of 32x32, {len(LADDER) - 1} steps, eta 1")
    print(f"batch of runs, unless --batch-size says otherwise: {default_batch(device)}")
    all_well = True
    for what, check in CHECKS.items():
        if check is compiled_against_eager and not can_compile(device):
            continue
        try:
            result, ok = check(device)
        except Exception as error:  # one failed line must not stop the table
            result, ok = f"{type(error).__name__}: {' '.join(str(error).split())[:80]}", False
        print(f"{what:42} {result:>58} {'ok' if ok else 'FAILED'}", flush=True)
        all_well &= ok
    return int(not all_well)


if __name__ == "__main__":
    sys.exit(tyro.cli(main, prog="python -m bench.gpu_check"))
