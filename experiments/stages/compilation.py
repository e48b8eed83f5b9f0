"""The network of a sampling run, compiled if its machine says so."""

import logging
from functools import lru_cache

from torch import nn

from diffusion_core.networks.compiled import Compiled, can_compile
from diffusion_core.samplers import Model
from experiments.config.denoisers import Machine

log = logging.getLogger(__name__)


@lru_cache(maxsize=4)
def maybe_compile(network: Model, batch_size: int, machine: Machine) -> Model:
    """The network as it is, or compiled once for all runs with the same arguments. Its first call compiles it.

    A denoiser that consists of others has `map(function)`, which gives the same of function(each). Its networks are
    compiled then; what has no parameters, such as an exact denoiser, stays as it is.

    Raises:
        RuntimeError: `machine.compiled` is set, but this node has no compiler.
    """
    if not machine.compiled:
        return network
    if hasattr(network, "map"):
        composite: Model = network.map(
            lambda part: maybe_compile(part, batch_size, machine) if _has_parameters(part) else part
        )
        return composite
    if not can_compile(machine.device):
        raise RuntimeError(f"compiled=True: there is no compiler for {machine.device} on this node; install g++")
    log.info("compiling the network for batches of %d: some seconds, not counted as the run's", batch_size)
    return Compiled(network, batch_size)


def _has_parameters(model: Model) -> bool:
    return isinstance(model, nn.Module) and next(model.parameters(), None) is not None
