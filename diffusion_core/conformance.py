"""The former place of `experiments.conformance`, for one release."""

import warnings
from importlib import import_module


def __getattr__(name: str) -> object:
    if name.startswith("__"):
        raise AttributeError(name)
    text = "diffusion_core.conformance moved to experiments.conformance; the old name goes with the next release"
    warnings.warn(text, DeprecationWarning, stacklevel=2)
    return getattr(import_module("experiments.conformance"), name)
