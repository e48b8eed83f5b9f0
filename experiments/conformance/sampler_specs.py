"""Samplers to check, by name: ours, those of other packages, and classes and functions of the user's.

`check-sampler --help` lists the spellings.
"""

import importlib
from functools import partial
from typing import Any

from diffusion_core.registry import SAMPLERS
from diffusion_core.validation import one_of
from experiments import names
from experiments.conformance import SamplerFunction, wrappers
from experiments.user import imports
from experiments.user.diffusers_schedulers import is_scheduler, load_scheduler, split_call


def load_sampler(text: str) -> tuple[SamplerFunction, int | None]:
    """The sampler that `text` names, and the order that it declares, if any. ValueError if there is none.

    `text` may be the path of a scheduler_config.json of diffusers. Like diffusers, this ignores what its class lacks.
    """
    if text.endswith(".json") or text.startswith("diffusers:"):
        return wrappers.diffusers(load_scheduler(text)), None
    name, _, _ = text.partition("(")
    prefix, colon, rest = text.partition(":")
    if not colon:
        one_of("sampler", name, (*SAMPLERS, *names.SYNONYMS, "diffusers:NAME", "module:Class", "module:function"))
        return _ours(text)
    if prefix == "smalldiffusion":
        name, options = split_call(text, rest)
        try:
            library = importlib.import_module(prefix)
        except ImportError as error:
            raise ValueError(f"{text}: {prefix} is not installed (pip install {prefix}): {error}") from error
        if not hasattr(library, name):
            raise ValueError(f"{text}: smalldiffusion has no schedule {name}")
        return wrappers.smalldiffusion(getattr(library, name)(1000), **options), None
    wrapped: dict[str, Any] = {"k-diffusion": wrappers.k_diffusion, "flow-step": wrappers.flow_step}
    wrap = wrapped.get(prefix)
    if not wrap:
        value = imports.load_object(name.strip(), may_be_class=True)
        if isinstance(value, type) or is_scheduler(value):
            return _ours(text)
    spec, options = split_call(text, rest if wrap else text)
    function = partial(imports.load_object(spec, f"{prefix}:" if wrap else ""), **options)
    return (wrap(function) if wrap else function), None


def _ours(text: str) -> tuple[SamplerFunction, int | None]:
    sampler = names.parse_sampler(text)
    return wrappers.ours(sampler), sampler.order
