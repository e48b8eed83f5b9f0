"""A user's architecture, --network build:MODULE:FUNCTION: a function that makes a trunk F, which is trained here.

    def unet(in_channels: int, out_channels: int) -> nn.Module

`forward(x, c)` gives F (B, out_channels, ...) for x (B, in_channels, ...) and c (B,) = ln(sigma) / 4, as the trunks of
`diffusion_core.networks` do. A function of one number of channels can have no second input: no `mixture-input`.
"""

import hashlib
import inspect
import math
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from diffusion_core.networks import PARAMETERISATIONS, build, parameterise
from diffusion_core.networks.parameterisations import Parameterised
from experiments.user.imports import BUILD, load_object, split_name, text_hash, user_code_errors
from experiments.user.memory import halve_until_it_fits
from experiments.user.network_io import ALONE, FEW
from experiments.user.repeatable import N_INPUTS, check_repeatable

SEED = 20_263
LARGEST_C = math.log(1000) / 4  # at sigma 1,000
MOVED = 0.02  # added to all parameters as noise: a layer that starts at zero hides all that is before it
ALIKE = 1e-6  # of the size of an output


def takes_inputs(source: str) -> bool:
    """Whether the function takes two numbers, of input and output channels, and not one number for both."""
    function = load_object(source.removeprefix(BUILD), BUILD, may_be_class=True)
    parameters = inspect.signature(function).parameters.values()
    return sum(p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters) != 1


def make_trunk(source: str, inputs: int, outputs: int) -> nn.Module:
    """Calls the function with these numbers of channels. ValueError if it fails, or returns something else."""
    function = load_object(source.removeprefix(BUILD), BUILD, may_be_class=True)
    both = takes_inputs(source)
    if inputs != outputs and not both:
        rule = "mixture-input needs a function of two, in_channels and out_channels"
        raise ValueError(f"network={source!r}: it takes one number of channels; {rule}")
    with user_code_errors(f"network={source!r}", ValueError):
        trunk = function(inputs, outputs) if both else function(outputs)
    if not isinstance(trunk, nn.Module):
        raise ValueError(f"network={source!r}: it gave a {type(trunk).__name__}; it must give an nn.Module")
    return trunk


def build_network(name: str, shape: tuple[int, ...], parameterisation: str, identity: str | None) -> Parameterised:
    """The network of this name, untrained, for x (n, *shape). `identity`: that of a user's architecture when planned.

    ValueError as in `make_trunk`, and for a user's architecture that has another identity now.
    """
    if not name.startswith(BUILD):
        return build(name, shape[0], parameterisation)
    if identity != architecture_id(name, shape):
        raise ValueError(f"network={name!r}: its code or its shapes are not those that were planned or trained")
    return parameterise(partial(make_trunk, name), shape[0], math.prod(shape), parameterisation)


@lru_cache(maxsize=8)
def architecture_id(source: str, shape: tuple[int, ...]) -> str:
    """The first 12 hex digits of a SHA-256 of the code and of the shapes of the trunk's state."""
    with torch.random.fork_rng(devices=[]):
        state = make_trunk(source, shape[0], shape[0]).state_dict()
    shapes = {name: tuple(getattr(value, "shape", ())) for name, value in state.items()}
    module, _ = split_name(source.removeprefix(BUILD))
    return hashlib.sha256(f"{text_hash(module)} {shapes}".encode()).hexdigest()[:12]


@lru_cache(maxsize=8)
def check_architecture(source: str, shape: tuple[int, ...], parameterisation: str, device: str) -> list[str]:
    """Warnings about a user's architecture, tried on 16 inputs, with its parameters moved a little from their start.

    ValueError if its output has another shape, is not finite, ignores c, is random in eval mode or depends on the
    batch, for batch normalisation, and if no gradient reaches any parameter.
    """
    what = f"network={source!r}"
    trunk, x, c = _moved(source, shape, parameterisation, device)
    if norms := [name for name, module in trunk.named_modules() if isinstance(module, _BatchNorm)]:
        reason = "it mixes the noise levels of a batch, and the averaged weights have no statistics of their own"
        raise ValueError(f"{what}: {norms[0]} is a batch normalisation: {reason}; use GroupNorm")
    if numbers := [name for name, value in trunk.state_dict().items() if not getattr(value, "ndim", 0)]:  # see Compiled
        raise ValueError(f"{what}: {numbers[0]} must be a tensor with dimensions, a number of shape (1,)")

    def evaluate(x: Tensor, c: Tensor) -> Tensor:
        with user_code_errors(what, ValueError):
            out: Any = trunk(x, c)
        got, wanted = tuple(getattr(out, "shape", ())), (len(x), *shape)
        if not isinstance(out, Tensor) or got != wanted:
            raise ValueError(f"{what}: forward gave {type(out).__name__} {got}; it must be a Tensor {wanted}")
        if not out.isfinite().all():
            raise ValueError(f"{what}: its output is not finite for all c from {-LARGEST_C:.3g} to {LARGEST_C:.3g}")
        return out

    with torch.no_grad():
        rows = check_repeatable(what, lambda which: evaluate(x[which], c[which]), N_INPUTS, ALONE, FEW)
        if (rows - evaluate(x, c.flip(0))).norm() <= ALIKE * rows.norm():
            raise ValueError(f"{what}: its output does not depend on c, the second argument of forward; use it")
    if (rows := evaluate(x, c)).requires_grad:
        rows.square().sum().backward()
    parameters = {name: parameter for name, parameter in trunk.named_parameters() if parameter.requires_grad}
    unused = [name for name, parameter in parameters.items() if parameter.grad is None or not parameter.grad.any()]
    if len(unused) == len(parameters):
        raise untrained_error(source, trunk, "no gradient reaches")
    return [f"{what}: no gradient reaches {', '.join(unused)}; they stay as they start"] if unused else []


@lru_cache(maxsize=8)
def check_large_batch(source: str, shape: tuple[int, ...], parameterisation: str, device: str, n: int) -> None:
    """ValueError if the output for one of the 16 inputs differs in a batch of n, or of as many as memory holds."""
    trunk, x, c = _moved(source, shape, parameterisation, device)

    def check_up_to(most: int) -> None:
        check_repeatable(f"network={source!r}", lambda which: trunk(x[which], c[which]), N_INPUTS, ALONE, FEW, most)

    with torch.no_grad():
        halve_until_it_fits(n, check_up_to)


def _moved(source: str, shape: tuple[int, ...], parameterisation: str, device: str) -> tuple[nn.Module, Tensor, Tensor]:
    """The trunk with its parameters moved a little from their start, and 16 inputs x and c."""
    inputs = PARAMETERISATIONS[parameterisation].n_inputs * shape[0]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        trunk = make_trunk(source, inputs, shape[0]).eval()
        x = torch.randn(N_INPUTS, inputs, *shape[1:]) + torch.randn(N_INPUTS, *[1] * len(shape))  # unequally bright
        for parameter in trunk.parameters():
            parameter.data.add_(torch.randn(parameter.shape), alpha=MOVED)
    return trunk.to(device), x.to(device), torch.linspace(-LARGEST_C, LARGEST_C, N_INPUTS, device=device)


def untrained_error(source: str, trunk: nn.Module, reason: str) -> ValueError:
    """Returns the error to raise if training changes no parameter of a user's trunk."""
    names = [name for name, _ in trunk.named_parameters()]
    few = ", ".join([*names[:3], "..."][: len(names)])
    remedy = "forward must use them, without detach() or no_grad(), and requires_grad must be True"
    return ValueError(f"network={source!r}: {reason} its parameters ({few}); {remedy}")
