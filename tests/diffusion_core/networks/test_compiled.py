"""The compiled network is the network: same values, whatever the batch, and none of its code is compiled twice."""

import pytest
import torch
from torch import Tensor
from torch._dynamo.utils import counters

from diffusion_core.networks import build
from diffusion_core.networks.compiled import Compiled, can_compile

BATCH = 6

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not can_compile("cpu"), reason="there is no C++ compiler here"),
]


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    model = build("small").eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.01)
    return model


@pytest.fixture(scope="module")
def compiled(network: torch.nn.Module) -> Compiled:
    return Compiled(network, BATCH)


def inputs(n: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(n)
    return torch.randn(n, 1, 32, 32, generator=generator), torch.tensor(1.5).expand(n)


@pytest.mark.parametrize("n", [BATCH, 4, 2], ids=["full", "filled up", "too small to fill"])
@torch.no_grad()
def test_compiled_gives_what_the_network_gives(network: torch.nn.Module, compiled: Compiled, n: int) -> None:
    x, sigma = inputs(n)
    compiled(*inputs(BATCH))
    with torch.compiler.set_stance("fail_on_recompile"):
        eps = compiled(x, sigma)
    torch.testing.assert_close(eps, network(x, sigma), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_compiled_multiplies_in_bfloat16_under_autocast(network: torch.nn.Module) -> None:
    x, sigma = inputs(BATCH)
    exact = network(x, sigma)
    with torch.autocast("cpu", torch.bfloat16):
        narrow, eager = Compiled(network, BATCH)(x, sigma), network(x, sigma)
    assert narrow.dtype == torch.float32
    error, usual = (narrow - exact).abs().max().item(), (eager - exact).abs().max().item()
    assert 1e-5 < error < 2 * usual


class Line(torch.nn.Module):
    """A network that is quickly compiled."""

    def __init__(self, slope: Tensor) -> None:
        super().__init__()
        self.slope = torch.nn.Parameter(slope)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        return self.slope * x + sigma[:, None]


@torch.no_grad()
def test_every_network_of_a_long_run_is_compiled() -> None:
    """PyTorch stops to compile after eight networks of a class, and only warns."""
    before, x = counters["stats"]["unique_graphs"], torch.ones(BATCH, 4)
    for slope in range(10):
        eps = Compiled(Line(torch.tensor([float(slope)])), BATCH)(x, torch.ones(BATCH))
        torch.testing.assert_close(eps, torch.full_like(x, slope + 1.0))
    assert counters["stats"]["unique_graphs"] == before + 10


def test_a_parameter_that_would_be_shared_between_networks_is_refused() -> None:
    with pytest.raises(ValueError, match=r"parameter slope: a compiled network needs shape \(1,\) instead of \(\)"):
        Compiled(Line(torch.tensor(2.0)), BATCH)
