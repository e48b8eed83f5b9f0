"""The denoisers that are trained here: `build` makes one by name; `parameterisations.py` says what its output means."""

from diffusion_core.catalogue import PARAMETERISATIONS
from diffusion_core.networks.build import NAMES, build

__all__ = ["NAMES", "PARAMETERISATIONS", "build"]
