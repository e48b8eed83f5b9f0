"""Samplers: algorithms that step down a ladder. One file per family; `sampling.py` runs them on a model,
`checked.py` checks each step.

A new sampler is one class in a file of this folder (see `base.py`) and one line in `SAMPLERS` of
`catalogue.py`.
"""

from typing import TYPE_CHECKING

from diffusion_core.catalogue import SAMPLERS, lazily

if TYPE_CHECKING:
    from diffusion_core.samplers.base import Sampler
    from diffusion_core.samplers.checked import Model, denoise, follow
    from diffusion_core.samplers.churn import Churn, EulerChurn, Heun
    from diffusion_core.samplers.euler import AlphaBeta, Euler, EulerSplit, EulerWithin
    from diffusion_core.samplers.kadkhodaie_simoncelli import KadkhodaieSimoncelli
    from diffusion_core.samplers.multistep import Accelerated, DPMpp2M, DPMpp2MSDE
    from diffusion_core.samplers.restart import Interval, Restart
    from diffusion_core.samplers.sampling import generate_samples, sample

__getattr__ = lazily("diffusion_core.samplers", {  # imported when they are asked for: most of them import torch
    "Accelerated": "multistep.Accelerated",
    "AlphaBeta": "euler.AlphaBeta",
    "Churn": "churn.Churn",
    "DPMpp2M": "multistep.DPMpp2M",
    "DPMpp2MSDE": "multistep.DPMpp2MSDE",
    "Euler": "euler.Euler",
    "EulerChurn": "churn.EulerChurn",
    "EulerSplit": "euler.EulerSplit",
    "EulerWithin": "euler.EulerWithin",
    "Heun": "churn.Heun",
    "Interval": "restart.Interval",
    "KadkhodaieSimoncelli": "kadkhodaie_simoncelli.KadkhodaieSimoncelli",
    "Model": "checked.Model",
    "Restart": "restart.Restart",
    "Sampler": "base.Sampler",
    "denoise": "checked.denoise",
    "follow": "checked.follow",
    "generate_samples": "sampling.generate_samples",
    "sample": "sampling.sample",
})  # fmt: skip

__all__ = [
    "SAMPLERS",
    "Accelerated",
    "AlphaBeta",
    "Churn",
    "DPMpp2M",
    "DPMpp2MSDE",
    "Euler",
    "EulerChurn",
    "EulerSplit",
    "EulerWithin",
    "Heun",
    "Interval",
    "KadkhodaieSimoncelli",
    "Model",
    "Restart",
    "Sampler",
    "denoise",
    "follow",
    "generate_samples",
    "sample",
]
