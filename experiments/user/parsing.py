"""Names of noise distributions, noise schedules and samplers: turns text such as `karras(rho=5)` into the value.

Parameters may follow the name, positional or by keyword, as in a Python call. The text `value.name` can be read back,
to the six digits that it shows. Only restart's cannot: its intervals have a notation of their own.
"""

import ast
import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

from diffusion_core.registry import NOISE_DISTRIBUTIONS, ON_PIXELS, SAMPLERS
from diffusion_core.schedules import OWN_ENDS, SCHEDULES
from diffusion_core.validation import as_type, one_of
from experiments.user import imports

if TYPE_CHECKING:
    from diffusion_core.noise import NoiseDistribution
    from diffusion_core.samplers import Sampler

COMMA = re.compile(r",(?![^(]*\))")  # that is in no bracket
ENDS = ("sigma_max", "sigma_min", "end")  # of a schedule
OF_SCHEDULE = 5  # fields of a `Schedule`, before those of a user's subclass
Table = Mapping[str, Callable[..., Any]]
T = TypeVar("T")
SYNONYMS = {"ddim": {"eta": 0.0}, "ddpm": {"eta": 1.0}, "euler-ancestral": {"eta": 1.0}}  # of the sampler euler


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


def parse_sampler(text: str) -> "Sampler":
    """The sampler that `text` names, such as "euler(eta=1)", or a user's class. Errors as in `parse_noise`."""
    from diffusion_core.samplers.base import Sampler

    name, bracket, rest = text.strip().partition("(")
    usual = SYNONYMS.get(name, {})
    table = with_own("sampler", name, SAMPLERS, Sampler)
    name, options = parse_call("sampler", ("euler" if usual else name) + bracket + rest, table)
    return make(f"sampler={text!r}", table[name], **(usual | options))


def make(what: str, factory: Callable[..., T], *values: Any, **options: Any) -> T:
    """An instance. ValueError, which names `what`, for anything that a user's class raises."""
    with imports.user_code_errors(what):
        return factory(*values, **options)


def with_own(option: str, text: str, table: Table, base: type) -> Table:
    """The table, or one with the class that `text` names as module:Class. ValueError if it is no such dataclass."""
    name, _, _ = text.strip().partition("(")
    if ":" not in name:
        return table
    user_class = imports.load_object(name, of=f"{option}=", may_be_class=True)
    if isinstance(user_class, type) and issubclass(user_class, base) and "__dataclass_params__" in vars(user_class):
        return {name: user_class}
    remedy = imports.REMEDY.replace("BASE", base.__name__)
    raise ValueError(f"{option}={name!r}: it must be a subclass of {base.__name__}; {remedy}")


def parse_schedule(text: str, data_std: float, table: Table = SCHEDULES) -> tuple[str, dict[str, float]]:
    """Name and options of the schedule that `text` names, such as "karras(rho=5)". Errors as in `parse_noise`.

    Options may also be ENDS: sigma_max and sigma_min of the schedule, and end=0 for a last step to 0. `table`: with
    a user's class, if it is not SCHEDULES.
    """
    name, options = parse_call("schedule", text, table, skip=3 if table is SCHEDULES else OF_SCHEDULE, more=ENDS)
    if ends := sorted(set(options) & {*ENDS[:2]} if name in OWN_ENDS else ()):
        raise ValueError(f"schedule={text!r}: {name} sets its own ends, so {ends[0]} cannot be given")
    if options.get("end", 0.0) != 0:
        raise ValueError(f"schedule={text!r}: end={options['end']:g}: it must be 0, for a last step to 0")
    if "data_std" in inspect.signature(table[name]).parameters:
        options = {"data_std": data_std} | options
    return name, dict(sorted(options.items()))


def parse_call(
    option: str, text: str, table: Table, skip: int = 0, more: Sequence[str] = ()
) -> tuple[str, dict[str, Any]]:
    """The name and its parameters by keyword, as in the signature of table[name] after its first `skip`, and `more`."""
    name, bracket, rest = text.strip().partition("(")
    parameters = [*inspect.signature(table[one_of(option, name, table)]).parameters.values()][skip:]
    parameters = [p.replace(kind=p.POSITIONAL_OR_KEYWORD) for p in parameters]
    parameters += [inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY) for key in more]
    typed = [p.name for p in parameters if isinstance(p.default, int | float) or p.default is p.empty]
    if not bracket:
        return name, {}
    try:
        call = ast.parse(f"f({rest}", mode="eval").body
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
            raise SyntaxError
        values = [_number(argument) for argument in call.args]
        by_keyword = {str(word.arg): _number(word.value) for word in call.keywords}
        if len(by_keyword) < len(call.keywords):
            raise SyntaxError
    except (SyntaxError, ValueError):
        example = f"{name}({typed[0]}=1)" if typed else name
        raise ValueError(f"{option}={text!r}: it must read like {example}, with numbers") from None
    try:
        options = inspect.Signature(parameters).bind_partial(*values, **by_keyword).arguments
    except TypeError as error:
        names = ", ".join(p.name for p in parameters) or "none"
        raise ValueError(f"{option}={text!r}: {error}; the parameters of {name} are {names}") from None
    if others := sorted(set(options) - set(typed)):
        raise ValueError(f"{option}={text!r}: {others[0]} is not a number; only {', '.join(typed)} can be given here")
    whole = {p.name for p in parameters if p.annotation in (int, "int")}
    return name, {  # 1 and 1.0 must give the same identity
        key: as_type(f"{option}={text!r}: {key}", int if key in whole else float, value)
        for key, value in options.items()
    }


def _number(node: ast.expr) -> float:
    """The number in a parsed expression, which may be `inf`. Raises ValueError for anything else."""
    value = math.inf if isinstance(node, ast.Name) and node.id == "inf" else ast.literal_eval(node)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError
    return value


def format_call(name: str, options: Iterable[tuple[str, float]], own: Any = None) -> str:
    """A name with its options, in the form that `parse_call` reads. `own`: a schedule, whose own numbers follow."""
    values = ((field.name, getattr(own, field.name)) for field in (fields(own)[OF_SCHEDULE:] if own else ()))
    numbers = [*options, *(pair for pair in values if isinstance(pair[1], int | float))]
    inside = ", ".join(f"{key}={value:g}" for key, value in numbers)
    return f"{name}({inside})" if inside else name
