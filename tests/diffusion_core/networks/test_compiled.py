"""The compiled network is the network: same values, whatever the batch, and none of its code is compiled twice."""

import pytest
import torch
from arrays import seeded
from refusals import refused
from torch import Tensor

from diffusion_core.networks import build
from diffusion_core.networks.compiled import Compiled, can_compile

BATCH = 6

pytestmark = [pytest.mark.slow(3), pytest.mark.skipif(not can_compile("cpu"), reason="there is no C++ compiler here")]


def inputs(n: int) -> tuple[Tensor, Tensor]:
    generator = seeded(n)
    return torch.randn(n, 1, 32, 32, generator=generator), torch.tensor(1.5).expand(n)


@torch.no_grad()
def test_compiled_gives_in_bfloat16_what_the_network_gives_for_a_whole_batch_and_a_part_of_one():
    torch.manual_seed(0)
    network = build("small").eval()
    for weight in network.parameters():
        weight.add_(torch.randn_like(weight), alpha=0.01)
    compiled = Compiled(network, BATCH)
    with torch.autocast("cpu", torch.bfloat16):
        compiled(*inputs(BATCH))
    for n in (BATCH, 4, 2):  # full, filled up, too small to fill
        exact = network(*inputs(n))
        with torch.autocast("cpu", torch.bfloat16), torch.compiler.set_stance("fail_on_recompile"):
            narrow, eager = compiled(*inputs(n)), network(*inputs(n))
        assert narrow.dtype == torch.float32
        error, usual = (narrow - exact).abs().max().item(), (eager - exact).abs().max().item()
        assert 1e-5 < error < 2 * usual


class Line(torch.nn.Module):
    """A network that is quickly compiled."""

    def __init__(self, slope: Tensor):
        super().__init__()
        self.slope = torch.nn.Parameter(slope)

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        return self.slope * x + sigma[:, None]


@torch.no_grad()
def test_every_network_of_a_long_run_is_compiled():
    """PyTorch stops to compile after eight networks of a class, here after two, and only warns."""
    from torch._dynamo import config  # takes a second, which the collection of tests need not
    from torch._dynamo.utils import counters

    before, x = counters["stats"]["unique_graphs"], torch.ones(BATCH, 4)
    with config.patch(recompile_limit=2):
        for slope in range(4):
            eps = Compiled(Line(torch.tensor([float(slope)])), BATCH)(x, torch.ones(BATCH))
            torch.testing.assert_close(eps, torch.full_like(x, slope + 1.0))
    assert counters["stats"]["unique_graphs"] == before + 4


def test_a_parameter_that_would_be_shared_between_networks_is_refused():
    with refused(r"parameter slope: a compiled network needs shape \(1,\) instead of \(\)"):
        Compiled(Line(torch.tensor(2.0)), BATCH)
