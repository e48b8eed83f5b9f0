"""Samplers to check, by name: ours, those of other packages, and classes and functions of the user's.

`check-sampler --help` lists the spellings.
"""

import ast
import importlib
import inspect
import json
import logging
import re
from functools import partial
from pathlib import Path
from typing import Any

from diffusion_core.registry import SAMPLERS
from diffusion_core.validation import one_of
from experiments.conformance import SamplerFunction, wrappers
from experiments.user import imports, parsing


def load_sampler(text: str) -> tuple[SamplerFunction, int | None]:
    """The sampler that `text` names, and the order that it declares, if any. ValueError if there is none.

    `text` may be the path of a scheduler_config.json of diffusers. Like diffusers, this ignores what its class lacks.
    """
    if text.endswith(".json"):
        config = json.loads(Path(text).read_text(encoding="utf-8"))
        scheduler_class = getattr(importlib.import_module("diffusers"), config["_class_name"])
        options = {
            name: config[name] for name in inspect.signature(scheduler_class.__init__).parameters if name in config
        }
        return wrappers.diffusers(scheduler_class, **options), None
    name, _, _ = text.partition("(")
    prefix, colon, rest = text.partition(":")
    if not colon:
        one_of("sampler", name, (*SAMPLERS, *parsing.SYNONYMS, "diffusers:NAME", "module:Class", "module:function"))
        return _ours(text)
    if prefix in ("diffusers", "smalldiffusion"):
        name, options = _split_call(text, rest)
        try:
            library = importlib.import_module(prefix)
        except ImportError as error:
            raise ValueError(f"{text}: {prefix} is not installed (pip install {prefix}): {error}") from error
        if prefix == "diffusers":
            logging.getLogger("diffusers").setLevel(logging.ERROR)  # it says at each run what it adjusts
            return wrappers.diffusers(name, **options), None
        if not hasattr(library, name):
            raise ValueError(f"{text}: smalldiffusion has no schedule {name}")
        return wrappers.smalldiffusion(getattr(library, name)(1000), **options), None
    wrapped: dict[str, Any] = {"k-diffusion": wrappers.k_diffusion, "flow-step": wrappers.flow_step}
    wrap = wrapped.get(prefix)
    if not wrap and isinstance(imports.load_object(name.strip(), may_be_class=True), type):
        return _ours(text)
    spec, options = _split_call(text, rest if wrap else text)
    function = partial(imports.load_object(spec, f"{prefix}:" if wrap else ""), **options)
    return (wrap(function) if wrap else function), None


def _ours(text: str) -> tuple[SamplerFunction, int | None]:
    sampler = parsing.parse_sampler(text)
    return wrappers.ours(sampler), sampler.order


def _split_call(text: str, call: str) -> tuple[str, dict[str, Any]]:
    """The name and the options of NAME(option=value, ...); a value that is not a Python literal is a text."""
    name, bracket, rest = call.strip().partition("(")
    if not bracket:
        return name, {}
    options = [option.partition("=") for option in re.split(r",\s*(?=\w+=)", rest.removesuffix(")"))]
    if not rest.endswith(")") or not all(key.strip().isidentifier() and value for key, _, value in options):
        raise ValueError(f"{text}: its options must read like {name}(option=value, option=value)")
    return name, {key.strip(): _value(value.strip()) for key, _, value in options}


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
