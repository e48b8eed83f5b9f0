"""Samplers: algorithms that step down a schedule. `sampling.py` runs them on a model, `checked.py` checks each step."""

from typing import TYPE_CHECKING

from diffusion_core.registry import SAMPLERS, lazy_exports

if TYPE_CHECKING:
    from diffusion_core.samplers.base import Sampler
    from diffusion_core.samplers.checked import Model, checked_steps, denoise
    from diffusion_core.samplers.churn import Churn, EulerChurn, Heun
    from diffusion_core.samplers.er_sde import ERSDE
    from diffusion_core.samplers.euler import AlphaBeta, Euler, EulerInInterval, EulerTwoPart
    from diffusion_core.samplers.kadkhodaie_simoncelli import KadkhodaieSimoncelli
    from diffusion_core.samplers.multistep import Accelerated, DPMpp2M, DPMpp2MSDE
    from diffusion_core.samplers.res import RES2M, RES2S
    from diffusion_core.samplers.restart import Interval, Restart
    from diffusion_core.samplers.sampling import generate_samples, sample

__getattr__, __dir__ = lazy_exports("diffusion_core.samplers", {  # imported when asked for
    "base": "Sampler",
    "checked": "Model checked_steps denoise",
    "churn": "Churn EulerChurn Heun",
    "er_sde": "ERSDE",
    "euler": "AlphaBeta Euler EulerInInterval EulerTwoPart",
    "kadkhodaie_simoncelli": "KadkhodaieSimoncelli",
    "multistep": "Accelerated DPMpp2M DPMpp2MSDE",
    "res": "RES2M RES2S",
    "restart": "Interval Restart",
    "sampling": "generate_samples sample",
})  # fmt: skip
