"""Two ways to the same samples agree, on the CPU and on a card: `pytest tests/test_card.py -rP` prints by how much.

All that can only be checked on a card is here. `pytest --benchmark` times it.
"""

import pytest
import torch
from torch import Tensor

from bench.measure import SHAPE, network
from diffusion_core.networks.compiled import Compiled, can_compile
from diffusion_core.noise import LogNormal
from diffusion_core.samplers import Euler, Model, checked_steps, sample
from diffusion_core.samplers.seeded_noise import BlockNoise
from diffusion_core.schedules import geometric
from diffusion_core.tensors import computing_in
from diffusion_core.training import train

NO_CARD = pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no CUDA device here")
CARD = pytest.param("cuda", marks=NO_CARD)
pytestmark = pytest.mark.slow
devices = pytest.mark.parametrize("device", ["cpu", CARD])


@torch.no_grad()
def draw(model: Model, device: str, n: int = 100, batch_size: int | None = None) -> Tensor:
    """n samples by `Euler` at eta 1; fewer steps on a CPU."""
    ladder = geometric(66 if device == "cuda" else 6)
    return sample(model, ladder, Euler(1.0), n_samples=n, shape=SHAPE, batch_size=batch_size, device=device)


def compare(a: Tensor, b: Tensor, limit: float) -> None:
    """Asserts that the mean absolute difference, in data standard deviations, is within the limit."""
    change = (a.cpu() - b.cpu()).abs()
    print(f"mean {change.mean():.1e}, largest {change.max():.1e} (limit of the mean {limit:g})")
    assert change.mean() <= limit


@pytest.mark.parametrize("device", [CARD])
@torch.no_grad()
def test_card_against_cpu_in_fp32(device: str) -> None:
    ladder = geometric(66)
    start = BlockNoise(0, range(64), SHAPE, torch.device("cpu"))() * ladder[0]
    *_, on_cpu = checked_steps(network("cpu"), Euler(), ladder, start.clone(), torch.empty)
    *_, on_card = checked_steps(network(device), Euler(), ladder, start.clone().to(device), torch.empty)
    compare(on_cpu, on_card, 1e-3)  # TF32 convolutions keep ten bits


@devices
def test_batches_of_100_against_batches_of_7(device: str) -> None:
    model = network(device)
    compare(draw(model, device, batch_size=100), draw(model, device, batch_size=7), 1e-3)


@devices
def test_bf16_against_fp32_with_the_same_noise(device: str) -> None:
    model = network(device)
    with computing_in("bf16", device):
        narrow = draw(model, device)
    compare(draw(model, device), narrow, 0.02)


@devices
def test_training_twice_from_one_seed_in_bf16(device: str) -> None:
    def weights() -> Tensor:
        model = network(device).train()
        images = torch.randn(256, *SHAPE, generator=torch.Generator().manual_seed(0)).to(device)
        for _ in train(model, images, LogNormal(), n_images=320, batch_size=64, precision="bf16"):
            pass
        return torch.cat([weight.detach().flatten() for weight in model.parameters()])

    compare(weights(), weights(), 0.0)


@pytest.mark.parametrize("device", [CARD])
def test_compiled_against_eager_in_bf16(device: str) -> None:
    if not can_compile(device):
        pytest.skip("Triton is not installed")
    with computing_in("bf16", device):
        compare(draw(network(device), device, 64), draw(Compiled(network(device), 64), device, 64), 0.02)
