"""The denoisers that are trained here: `build` makes one by name; `parameterisations.py` says what its output means."""

from diffusion_core.networks.build import NAMES, build
from diffusion_core.networks.parameterisations import PARAMETERISATIONS

__all__ = ["NAMES", "PARAMETERISATIONS", "build"]
