"""The model contract, for the small network in every parameterisation and the others in that with most inputs."""

import hashlib

import pytest
import torch
from arrays import normal
from random_weights import filled
from refusals import refused
from torch import Tensor, nn
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from diffusion_core.networks import PARAMETERISATIONS, TRUNKS, build
from diffusion_core.networks.small import PATCH, unpatch
from diffusion_core.tensors import broadcast_like

every_network = pytest.mark.parametrize("name", TRUNKS)
MODELS = dict.fromkeys(
    [
        *(("small", parameterisation) for parameterisation in PARAMETERISATIONS),
        *((name, "mixture-input") for name in TRUNKS),
    ]
)
every_model = pytest.mark.parametrize("name, parameterisation", MODELS)


def inputs(n: int, channels: int = 1, name: str = "small") -> tuple[Tensor, Tensor]:
    sigma = torch.logspace(-2, 2, n)
    x = normal(n, channels, *[] if name == "mlp" else [32, 32], seed=1)
    return x * broadcast_like(x, sigma), sigma


@pytest.mark.slow
@every_model
def test_the_output_of_an_untrained_trunk_is_0(name: str, parameterisation: str):
    model, (x, sigma) = build(name, 3, parameterisation), inputs(4, 3, name)
    assert not model.trunk_output(x, broadcast_like(x, sigma)).any() and model(x, sigma).dtype == torch.float32


@every_model
def test_each_image_is_denoised_by_itself_at_its_own_sigma(name: str, parameterisation: str):
    model = filled(name, 2, parameterisation)
    x, sigma = inputs(3, 2, name)
    with torch.no_grad():
        together = model(x, sigma)
        alone = torch.cat([model(x[i : i + 1], sigma[i : i + 1]) for i in range(3)])
        out, at_twice_the_sigma = (
            model.trunk(torch.cat([x] * model.n_inputs, dim=1), (factor * sigma).log() / 4) for factor in (1, 2)
        )
    assert together.shape == x.shape
    rounding = broadcast_like(x, sigma).clamp(max=1) if parameterisation == "x0" else 1  # of F, amplified by 1 / sigma
    assert_close(rounding * together, rounding * alone, rtol=1e-4, atol=1e-5)
    assert ((at_twice_the_sigma - out).abs().flatten(1).amax(dim=1) > 1e-3).all()


@every_model
def test_every_parameter_gets_a_gradient(name: str, parameterisation: str):
    model = filled(name, 2, parameterisation)
    model(*inputs(3, 2, name)).square().sum().backward()
    assert [key for key, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()] == []


@pytest.mark.slow
@every_model
def test_autocast_to_bf16_changes_little_and_returns_float32(name: str, parameterisation: str):
    model, (x, sigma) = filled(name, 2, parameterisation), inputs(8, 2, name)
    with torch.no_grad():
        wide = model(x, sigma)
        with torch.autocast("cpu", torch.bfloat16):
            narrow = model(x, sigma)
    assert narrow.dtype == torch.float32
    assert 0 < ((narrow - wide).square().sum() / wide.square().sum()).sqrt() < 0.02


@pytest.mark.parametrize(
    "name, parameters, mflop", [("small", 2_470_788, 17.0), ("paper", 6_480_289, 434.9), ("mlp", 549_250, 1.1)]
)
def test_sizes_are_the_published_ones(name: str, parameters: int, mflop: float):
    model = build(name, channels := 2 if name == "mlp" else 1)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(*inputs(1, channels, name))
    assert sum(weight.numel() for weight in model.parameters()) == parameters
    assert counter.get_total_flops() / 1e6 == pytest.approx(mflop, abs=0.05)


def test_small_keeps_the_keys_that_stored_weights_have():
    """A store holds weights by name: renaming one orphans every network trained so far."""
    shapes = "".join(f"{key} {list(weight.shape)}\n" for key, weight in build("small").state_dict().items())
    assert hashlib.sha256(shapes.encode()).hexdigest()[:12] == "65bad463f9e8"


@every_network
def test_a_seed_draws_the_same_weights_in_every_parameterisation(name: str):
    states = []
    for parameterisation in (key for key, wrap in PARAMETERISATIONS.items() if wrap.n_inputs == 1):
        torch.manual_seed(4)
        states.append(build(name, parameterisation=parameterisation).state_dict())
    for state in states[1:]:
        assert_close(state, states[0], rtol=0, atol=0)


def test_an_unknown_name_is_named():
    with refused(r"network='big': it must be one of small, paper, mlp$"):
        build("big")
    with refused("parameterisation='v': it must be one of preconditioned, eps, x0"):
        build("small", parameterisation="v")


def test_unpatch_puts_every_patch_where_it_was():
    """It undoes `pixel_unshuffle` once the channels of each pixel are moved behind it."""
    pixels = torch.randn(2, 3, 8, 12)
    patches = nn.functional.pixel_unshuffle(pixels, PATCH)  # channel c, then row and column within the patch
    by_pixel = patches.unflatten(1, (3, PATCH**2)).transpose(1, 2).flatten(1, 2)
    assert torch.equal(unpatch(by_pixel), pixels)


@pytest.mark.parametrize("name, expected", [("small", 0.63086), ("paper", 0.065202), ("mlp", 0.153049)])
def test_outputs_of_trunks_are_known(name: str, expected: float):
    x, sigma = inputs(4, name=name)
    with torch.no_grad():
        out = filled(name).trunk_output(x, broadcast_like(x, sigma))
    assert out.std().item() == pytest.approx(expected, rel=1e-3)
