"""Names: turns a text such as `karras(30, 0.03, rho=5)`, `my_file:Mine(2)` or `diffusers:DDIMScheduler` into its value.

Parameters may follow the name, positional or by keyword, as in a Python call. What is printed, `value.name`, reads back
as the same value. Nothing that is typed is evaluated.
"""

import ast
import inspect
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from diffusion_core.registry import NOISE_DISTRIBUTIONS, ON_PIXELS, SAMPLERS
from diffusion_core.validation import as_type, one_of
from experiments.user import imports

if TYPE_CHECKING:
    from diffusion_core.noise import NoiseDistribution
    from diffusion_core.samplers import Sampler

Table = Mapping[str, Callable[..., Any]]
T = TypeVar("T")
DIFFUSERS = "diffusers:"
SYNONYMS = {"ddim": {"eta": 0.0}, "ddpm": {"eta": 1.0}, "euler-ancestral": {"eta": 1.0}}  # of the sampler euler


def split(text: str, mark: str = ",") -> list[str]:
    """The parts of a text between marks that stand in no bracket."""
    parts = [""]
    depth = 0
    for letter in text:
        depth += (letter in "([") - (letter in ")]")
        if letter == mark and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def parse_noise(text: str, data_std: float) -> "NoiseDistribution":
    """The noise distribution that `text` names, such as "log-uniform(0.03, 100)", or a user's class, "my_file:Mine(2)".

    `data_std`: of the data scaled to [-1, 1], on which vp and ddpm are defined. ValueError for an unknown name,
    parameters that do not suit it, and for a user's class that is no `NoiseDistribution` or raises an error.
    """
    from diffusion_core.noise import NoiseDistribution

    table = with_own("train_noise", text, NOISE_DISTRIBUTIONS, NoiseDistribution)
    name, options = parse_call("train_noise", text, table)
    if name in ON_PIXELS:
        options = {"data_std": data_std} | options
    return make(f"train_noise={text!r}", table[name], **options)


def parse_sampler(text: str, data_std: float = 0.5) -> "Sampler":
    """The sampler that `text` names, such as "euler(eta=1)", a user's class, or a scheduler of diffusers.

    Errors as in `parse_noise`; so is `data_std`, for diffusers.
    """
    from diffusion_core.samplers.base import Sampler

    if (scheduler := load_diffusers(text, data_std)) is not None:
        return scheduler
    name, bracket, rest = text.strip().partition("(")
    usual = SYNONYMS.get(name, {})
    table = with_own("sampler", name, SAMPLERS, Sampler)
    name, options = parse_call("sampler", ("euler" if usual else name) + bracket + rest, table)
    return make(f"sampler={text!r}", table[name], **(usual | options))


def load_diffusers(text: str, data_std: float) -> "Sampler | None":
    """The scheduler of diffusers that a text names, as diffusers:NAME(...) or my_file:scheduler; otherwise None."""
    name = text.strip().partition("(")[0]
    if not name.startswith(DIFFUSERS):
        value = imports.load_object(name, of="sampler=", may_be_class=True) if ":" in name else None
        if not hasattr(value, "set_timesteps"):
            return None
    from experiments.user.diffusers_schedulers import load_scheduler

    return load_scheduler(text.strip(), data_std)


def make(what: str, factory: Callable[..., T], *values: Any, **options: Any) -> T:
    """An instance. ValueError, which names `what`, for anything that a user's class raises."""
    with imports.user_code_errors(what, *(() if imports.is_ours(factory) else (ValueError,))):
        return factory(*values, **options)


def with_own(option: str, text: str, table: Table, base: type) -> Table:
    """The table, or one with the class that `text` names as module:Class, or as Class of the sweep file in use.

    ValueError if it is no such dataclass.
    """
    name = text.strip().partition("(")[0]
    user_class = getattr(sys.modules.get(imports.OWN), name, None) if name not in table else None
    if ":" in name:
        user_class = imports.load_object(name, of=f"{option}=", may_be_class=True)
    if user_class is None:
        return table
    if isinstance(user_class, type) and issubclass(user_class, base) and "__dataclass_params__" in vars(user_class):
        return {name: user_class}
    remedy = imports.REMEDY.replace("BASE", base.__name__)
    raise ValueError(f"{option}={name!r}: it must be a subclass of {base.__name__}; {remedy}")


def parse_call(
    option: str, text: str, table: Table, skip: Sequence[str] = (), first: Sequence[str] = ()
) -> tuple[str, dict[str, Any]]:
    """The name and its parameters by keyword, as in the signature of table[name] without those of `skip`.

    `first`: parameters that may come first, all or none of them by position; then others need their keyword.
    """
    name, bracket, rest = text.strip().partition("(")
    parameters = inspect.signature(table[one_of(option, name, table)]).parameters
    ends = [inspect.Parameter(key, inspect.Parameter.POSITIONAL_OR_KEYWORD) for key in first]
    own = [p.replace(kind=p.KEYWORD_ONLY if first else p.kind) for key, p in parameters.items() if key not in skip]
    own += [inspect.Parameter("end", inspect.Parameter.KEYWORD_ONLY)] if first else []
    typed = [*first, *(p.name for p in own if isinstance(p.default, int | float | tuple) or p.default is p.empty)]
    if not bracket:
        return name, {}
    try:
        call = ast.parse(f"f({rest}", mode="eval").body
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
            raise SyntaxError
        values = [_number(argument) for argument in call.args]
        by_keyword = {str(word.arg): _number(word.value) for word in call.keywords}
        if len(by_keyword) < len(call.keywords) or (first and len(values) not in (0, len(first))):
            raise SyntaxError
    except (SyntaxError, ValueError):
        example = f"{name}({typed[0]}=1)" if typed else name
        example = f"{name}(30, 0.03, end=0)" if first else example
        raise ValueError(f"{option}={text!r}: it must read like {example}, with numbers") from None
    try:
        options = inspect.Signature([*ends, *own]).bind_partial(*values, **by_keyword).arguments
    except TypeError as error:
        names = ", ".join(p.name for p in (*ends, *own)) or "none"
        raise ValueError(f"{option}={text!r}: {error}; the parameters of {name} are {names}") from None
    if others := sorted(set(options) - set(typed)):
        raise ValueError(f"{option}={text!r}: {others[0]} is not a number; only {', '.join(typed)} can be given here")
    whole = {p.name for p in own if p.annotation in (int, "int")}
    return name, {  # 1 and 1.0 must give the same identity
        key: value
        if isinstance(value, tuple)
        else as_type(f"{option}={text!r}: {key}", int if key in whole else float, value)
        for key, value in options.items()
    }


def _number(node: ast.expr) -> Any:
    """The number in a parsed expression, which may be `inf`, or a tuple of such. ValueError for anything else."""
    if isinstance(node, ast.Tuple):
        return tuple(map(_number, node.elts))
    value = math.inf if isinstance(node, ast.Name) and node.id == "inf" else ast.literal_eval(node)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError
    return value
