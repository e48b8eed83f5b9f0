"""The network of a sampling run, compiled where its machine says so and a compiler is there."""

import logging
from functools import lru_cache

from diffusion_core.compiled import Compiled, can_compile
from diffusion_core.samplers import Model
from experiments.config import Machine

log = logging.getLogger(__name__)


@lru_cache(maxsize=2)
def prepared(network: Model, batch_size: int, machine: Machine) -> Model:
    """The network as it is, or compiled once for all runs that share all this; the first call of it does the work."""
    if not machine.compiled:
        return network
    if not can_compile(machine.device):
        log.warning("there is no compiler for %s here: the network is used as it is", machine.device)
        return network
    log.info("compiling the network for batches of %d: some seconds, not counted as the run's", batch_size)
    return Compiled(network, batch_size)
