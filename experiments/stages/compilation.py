"""The network of a sampling run, compiled if its machine says so."""

import logging
from functools import lru_cache

from diffusion_core.networks.compiled import Compiled, can_compile
from diffusion_core.samplers import Model
from experiments.config.denoisers import Machine

log = logging.getLogger(__name__)


@lru_cache(maxsize=4)
def maybe_compile(network: Model, batch_size: int, machine: Machine) -> Model:
    """The network as it is, or compiled once for all runs with the same arguments. Its first call compiles it.

    Raises:
        RuntimeError: `machine.compiled` is set, but this node has no compiler.
    """
    if not machine.compiled:
        return network
    if not can_compile(machine.device):
        raise RuntimeError(f"compiled=True: there is no compiler for {machine.device} on this node; install g++")
    log.info("compiling the network for batches of %d: some seconds, not counted as the run's", batch_size)
    return Compiled(network, batch_size)
