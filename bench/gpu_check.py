"""All checks that need a GPU, in one call and one table: `python -m bench.gpu_check`.

Each line is the difference between two ways to the same samples, in data standard deviations. A line that fails prints
the reason, the rest still runs, and the exit status is 1. `pytest --benchmark` times the card.
"""

import sys
from collections.abc import Callable

import torch
import tyro
from torch import Tensor

from bench.measure import SHAPE, network
from diffusion_core.networks.compiled import Compiled, can_compile
from diffusion_core.noise import LogNormal
from diffusion_core.samplers import Euler, checked_steps, sample
from diffusion_core.samplers.sampling import default_batch
from diffusion_core.samplers.seeded_noise import BlockNoise
from diffusion_core.schedules import geometric
from diffusion_core.tensors import computing_in
from diffusion_core.training import train

LADDER = geometric(66)


@torch.no_grad()
def draw(
    device: str, n: int = 100, batch_size: int | None = None, precision: str = "fp32", compiled: bool = False
) -> Tensor:
    model = Compiled(network(device), n) if compiled else network(device)
    with computing_in(precision, device):
        return sample(model, LADDER, Euler(1.0), n_samples=n, shape=SHAPE, batch_size=batch_size, device=device)


@torch.no_grad()
def without_noise(device: str) -> Tensor:
    """64 samples at eta 0, from noise that the CPU drew."""
    start = BlockNoise(0, range(64), SHAPE, torch.device("cpu"))() * LADDER[0]
    *_, x = checked_steps(network(device), Euler(), LADDER, start.to(device), torch.empty)
    return x


def train_weights(device: str) -> Tensor:
    model = network(device).train()
    images = torch.randn(256, *SHAPE, generator=torch.Generator().manual_seed(0)).to(device)
    for _ in train(model, images, LogNormal(), n_images=320, batch_size=64, precision="bf16"):
        pass
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


COMPILED = "compiled against eager, bf16, same noise"
CHECKS: dict[str, tuple[float, Callable[[str], tuple[Tensor, Tensor]]]] = {  # limit of the mean difference, both ways
    # TF32 keeps ten bits
    "card against CPU, fp32, eta 0": (1e-3, lambda on: (without_noise("cpu"), without_noise(on))),
    "batches of 100 against batches of 7": (1e-3, lambda on: (draw(on, batch_size=100), draw(on, batch_size=7))),
    "bf16 against fp32, same noise": (0.02, lambda on: (draw(on), draw(on, precision="bf16"))),
    "training twice from one seed, bf16": (0.0, lambda on: (train_weights(on), train_weights(on))),
    COMPILED: (0.02, lambda on: (draw(on, 64, None, "bf16"), draw(on, 64, None, "bf16", compiled=True))),
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
    for what, (limit, make) in CHECKS.items():
        if what == COMPILED and not can_compile(device):
            continue
        try:
            a, b = make(device)
            change = (a.cpu() - b.cpu()).abs()
            result = f"mean {change.mean():.1e}, largest {change.max():.1e} (limit of the mean {limit:g})"
            ok = bool(change.mean() <= limit)
        except Exception as error:  # one failed line must not stop the table
            result, ok = f"{type(error).__name__}: {' '.join(str(error).split())[:80]}", False
        print(f"{what:42} {result:>58} {'ok' if ok else 'FAILED'}", flush=True)
        all_well &= ok
    return int(not all_well)


if __name__ == "__main__":
    sys.exit(tyro.cli(main, prog="python -m bench.gpu_check"))
