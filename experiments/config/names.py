"""What laws, ladders and samplers are called: `karras(rho=5)` on a command line or in a table becomes the value.

A name may be followed by parameters, positional or by keyword, as in a Python call. What `value.name` prints can be
read back.
"""

import ast
import difflib
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from diffusion_core.noise import NOISE_DISTRIBUTIONS, ON_PIXELS, NoiseDistribution
from diffusion_core.samplers import SAMPLERS, Sampler
from diffusion_core.schedules import SCHEDULES

Table = Mapping[str, Callable[..., Any]]
SYNONYMS = {"ddim": {"eta": 0.0}, "ddpm": {"eta": 1.0}, "euler-ancestral": {"eta": 1.0}}  # of the sampler euler

DIGITS = ("mnist5k", "mnist")  # data sets whose classes and features the extractor `digits` knows
FEATURES = {  # feature space -> its dimension; see metrics/features.py
    "digits": 128,
    "natural": 192,
    "inception-v3-compat": 2048,
    "vgg16": 4096,
    "clip-rn50": 1024,
    "clip-rn101": 512,
    "clip-rn50x4": 640,
    "clip-rn50x16": 768,
    "clip-rn50x64": 1024,
    "clip-vit-b-32": 512,
    "clip-vit-b-16": 512,
    "clip-vit-l-14": 768,
    "clip-vit-l-14-336px": 768,
}


def law(text: str, data_std: float) -> NoiseDistribution:
    """The training law that `text` names.

    Args:
        text: such as "log-uniform(0.03, 100)".
        data_std: of the data set scaled to [-1, 1], for the laws that are defined there (vp, ddpm).

    Raises:
        ValueError: an unknown name, or parameters that do not suit it.
    """
    name, options = parsed("law", text, NOISE_DISTRIBUTIONS)
    if name in ON_PIXELS:
        options = {"data_std": data_std} | options
    return NOISE_DISTRIBUTIONS[name](**options)


def sampler(text: str) -> Sampler:
    """The sampler that `text` names, such as "euler(eta=1)" or "heun". Errors as `law`'s."""
    name, bracket, rest = text.strip().partition("(")
    usual = SYNONYMS.get(name, {})
    name, options = parsed("sampler", ("euler" if usual else name) + bracket + rest, SAMPLERS)
    return SAMPLERS[name](**(usual | options))


def schedule(text: str, data_std: float) -> tuple[str, tuple[tuple[str, float], ...]]:
    """Name and options of the schedule that `text` names, such as "karras(rho=5)". Arguments and errors as `law`'s."""
    name, options = parsed("ladder", text, SCHEDULES, skip=3)  # n_steps, sigma_max, sigma_min come from elsewhere
    if "data_std" in inspect.signature(SCHEDULES[name]).parameters:
        options = {"data_std": data_std} | options
    return name, tuple(sorted(options.items()))


def parsed(kind: str, text: str, table: Table, skip: int = 0) -> tuple[str, dict[str, Any]]:
    """Name and parameters by keyword; positional ones are given the names that the table's callable has for them."""
    name, bracket, rest = text.strip().partition("(")
    known = list(inspect.signature(table[one_of(kind, name, table)]).parameters)[skip:]
    if not bracket:
        return name, {}
    try:
        call = ast.parse(f"f({rest}", mode="eval").body
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
            raise SyntaxError
        values = [_number(argument) for argument in call.args]
        options = {str(word.arg): _number(word.value) for word in call.keywords}
    except (SyntaxError, ValueError):
        example = f"{name}({known[0]}=1)" if known else name
        raise ValueError(f"{kind}={text!r}: it must read like {example}, with numbers") from None
    options = dict(zip(known, values, strict=False)) | options
    if len(values) > len(known) or not set(options) <= set(known):
        raise ValueError(f"{kind}={text!r}: the parameters of {name} are {', '.join(known) or 'none'}")
    return name, _as_declared(table[name], options)


def _number(node: ast.expr) -> float:
    """The number that a parsed expression spells, inf included. Raises ValueError for anything else."""
    value = math.inf if isinstance(node, ast.Name) and node.id == "inf" else ast.literal_eval(node)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError
    return value


def _as_declared(make: Callable[..., Any], options: dict[str, float]) -> dict[str, float]:
    """Numbers as floats where the parameter's default is one: 1 and 1.0 are equal, and must have one identity."""
    parameters = inspect.signature(make).parameters
    return {
        name: value if isinstance(parameters[name].default, int) else float(value) for name, value in options.items()
    }


def called(name: str, options: Iterable[tuple[str, float]]) -> str:
    """A name with its options, as `parsed` reads it."""
    inside = ", ".join(f"{key}={value:g}" for key, value in options)
    return f"{name}({inside})" if inside else name


def one_of(kind: str, value: str, allowed: Iterable[str]) -> str:
    """`value`. Raises ValueError, with what is allowed and the closest of it, if it is not among that."""
    if value not in allowed:
        close = difflib.get_close_matches(value, allowed, 1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ValueError(f"{kind}={value!r}: it must be one of {', '.join(allowed)}{hint}")
    return value
