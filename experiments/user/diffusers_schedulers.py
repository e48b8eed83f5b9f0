"""Schedulers of the library diffusers as samplers, and the loop that runs them, with a network or an exact denoiser.

A scheduler works on x = a x0 + s z, on a scale where data have standard deviation `data_std`: a = 1 and s = sigma
(variance exploding), a^2 + s^2 = 1 (variance preserving), or a = 1 - t and s = t (flow). Its network is asked at the
level (s, a) of the time that the scheduler passes, as a real one is, and not at the level at which the scheduler is.
"""

import ast
import importlib
import inspect
import logging
import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from diffusion_core.samplers.base import Eps, Noise, Sampler
from diffusion_core.schedules.process_time import SIGNAL
from diffusion_core.schedules.sigma import Sigmas
from diffusion_core.spelling import spell
from diffusion_core.validation import check_positive
from experiments.user.imports import load_object, user_code_errors
from experiments.user.json_io import read_json

PREFIX = "diffusers:"
PURE = (1 - SIGNAL) / SIGNAL  # level s / a of pure noise, which would be infinite
ROUNDED = 1e-3  # relative difference of two levels that are not one
FAR = 0.3  # one that does not come from rounded times
FLOAT32 = 1e-6  # rounding in x after some steps, relative to its largest values
ZERO = 5e-4  # a level at the end that is rounding
NEAR = 0.02  # relative difference of an end that is the lowest level of a table: extrapolation amplifies rounding
DRAWS_PER_STEP = 4  # at most
OF_THE_LOOP = {"num_inference_steps", "device", "model_output", "timestep", "sample", "generator", "return_dict"}
OTHER_DRAWS = {"rand", "rand_like", "randint", "randperm", "normal", "normal_", "uniform_", "bernoulli", "multinomial"}
OUTPUTS = {"epsilon": "eps", "sample": "denoised", "v_prediction": "v"}  # diffusers' names and those of `Predictions`
Options = dict[str, Any]
_quiet = partial(warnings.catch_warnings, action="ignore", category=DeprecationWarning)  # np.array(tensor) in diffusers


@dataclass(frozen=True)
class Predictions:
    """What a network may predict of x = a x0 + s z, from the estimates (x0, z) of estimate(x, s, a)."""

    estimate: Callable[[Tensor, float, float], tuple[Tensor, Tensor]]

    def eps(self, x: Tensor, s: float, a: float = 1.0) -> Tensor:
        return self.estimate(x, s, a)[1]

    def denoised(self, x: Tensor, s: float, a: float = 1.0) -> Tensor:
        return self.estimate(x, s, a)[0]

    def v(self, x: Tensor, s: float, a: float) -> Tensor:
        x0, z = self.estimate(x, s, a)
        return a * z - s * x0

    def velocity(self, x: Tensor, t: float) -> Tensor:
        x0, z = self.estimate(x, t, 1 - t)
        return z - x0


class DrawnFrom(TorchFunctionMode):
    """Inside it, torch.randn returns noise(). ValueError for a draw of another shape, and for other random numbers."""

    def __init__(self, noise: Noise) -> None:
        super().__init__()
        self.noise = noise

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in OTHER_DRAWS:
            raise ValueError(f"scheduler: it draws with {func.__name__}; it must draw noise with torch.randn")
        if func not in (torch.randn, torch.randn_like):
            return func(*args, **kwargs)
        like = func(*args, **kwargs | {"device": "meta"})
        drawn = self.noise()
        if drawn.shape != like.shape:
            raise ValueError(f"scheduler: it draws {tuple(like.shape)}; it must draw noise {tuple(drawn.shape)}")
        return drawn


@dataclass(frozen=True)
class DiffusersScheduler(Sampler):
    """A scheduler of diffusers, on its own levels. It starts from pure noise, as pipelines do.

    Args:
        scheduler: the name of its class in diffusers, or module:Class of a user's.
        options: of its constructor, of set_timesteps or of step, such as eta, sorted by name.
        data_std: standard deviation of the data on its scale: images in [-1, 1]. A config's sigma_data takes its place.

    Raises:
        ValueError: diffusers is not installed, has no such scheduler, or that has no such option or refuses it.

    Note: its draws are noise() alone. Some schedulers draw noise at the last step too, and multiply it by 0.
    """

    scheduler: str
    options: tuple[tuple[str, Any], ...] = ()
    data_std: float = 0.5
    label: ClassVar[str] = "diffusers"
    follows_schedule: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_positive("data_std", self.data_std)
        with user_code_errors(self.name):  # an option may have no hash
            make_scheduler(self)

    @property
    def name(self) -> str:
        """As `load_scheduler` reads it, without data_std: "diffusers:DDIMScheduler(clip_sample=False, eta=1)"."""
        return spell(_spell_class(self.scheduler), dict(self.options))

    @property
    def scale(self) -> float:
        """Standard deviation of the data on its scale."""
        return float(_config(make_scheduler(self)[0]).get("sigma_data", self.data_std))

    @property
    def limits(self) -> list[str]:
        """The options in use that limit the denoised image."""
        config = _config(make_scheduler(self)[0])
        return [option for option in ("clip_sample", "thresholding") if config.get(option)]

    def own_levels(self, n_steps: int) -> Sigmas:
        """The levels at which set_timesteps(n_steps) has it ask the network, each once, then that at which it ends.

        They are in data standard deviations; that of pure noise is that of a flow at t = 0.999. ValueError for a
        number of steps that it refuses, levels that rise or are 0, and a network that receives or predicts something
        unknown.
        """
        return _trace(self, n_steps)[0]

    def doubts(self, sigmas: Sigmas) -> list[str]:
        scale = f"where data have mean 0 and standard deviation {self.scale:g}, so samples may be wrong"
        limited = [
            f"{option} limits the denoised image to about 1, {scale}; give {option}=False" for option in self.limits
        ]
        doubts = [f"{self.name}: {text}" for text in limited]
        _, _, off = _trace(self, find_n_steps(self, sigmas))
        if off > ROUNDED:
            how = (
                "its levels are rounded to whole times"
                if off < FAR
                else "its network is asked at other levels than x has"
            )
            doubts.append(f"{self.name}: {how}: {100 * off:.2g} % off")
        return doubts

    def run(self, eps: Eps, x: Tensor, sigmas: Sigmas, noise: Noise) -> Iterator[Tensor]:
        """Yields x after each step: the last one in data standard deviations, others in a scale of their own."""
        scale = self.scale

        def estimate(x: Tensor, s: float, a: float) -> tuple[Tensor, Tensor]:
            sigma = _level(s, a) / scale
            x = x * (sigma / s)
            z = eps(x, sigma)
            return (x - sigma * z) * scale, z

        n_steps = find_n_steps(self, sigmas)
        _, signal, _ = _trace(self, n_steps)
        for state in self.steps(self.prepare(n_steps), Predictions(estimate), x / sigmas[0], DrawnFrom(noise)):
            yield (state / (scale * signal)).to(x.dtype)

    def prepare(self, n_steps: int) -> Any:
        """A scheduler for one run, after set_timesteps(n_steps)."""
        made, options, _ = make_scheduler(self)
        scheduler = deepcopy(made)  # making one may take longer than its steps
        with _quiet():
            scheduler.set_timesteps(n_steps, **options)
        return scheduler

    def steps(
        self, scheduler: Any, denoiser: Any, x: Tensor, draws: AbstractContextManager[Any] | None = None, **more: Any
    ) -> Iterator[Tensor]:
        """Yields x after each step of a prepared scheduler, on its scale.

        Args:
            denoiser: has the methods of `Predictions`.
            x: unit noise (B, ...).
            draws: what draws its noise, entered during each step.
            more: options of step, such as generator.
        """
        _, _, options = make_scheduler(self)
        level, predict = _network(scheduler)
        x = x * float(getattr(scheduler, "init_noise_sigma", 1.0))
        for t in scheduler.timesteps:
            asked = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
            output = predict(denoiser, asked, *level(float(t)))
            with draws or nullcontext():
                x = scheduler.step(output, t, x, return_dict=False, **options | more)[0]
            yield x


def load_scheduler(text: str, data_std: float = 0.5) -> DiffusersScheduler:
    """The scheduler that a text names, on data of this standard deviation.

    Args:
        text: diffusers:NAME(option=value, ...); module:object, an instance of a scheduler or a user's class of one; or
            the path of a scheduler_config.json, of which, as in diffusers, it ignores what its class lacks.

    Raises:
        ValueError: as in `DiffusersScheduler`, or the text is none of these.
    """
    if text.endswith(".json"):
        config = read_json(Path(text))
        name = str(config.get("_class_name"))
        return DiffusersScheduler(name, sort_options(_changed_options(_find_class(name), config)), data_std)
    name, options = split_call(text, text.removeprefix(PREFIX))
    if not text.startswith(PREFIX):
        value = load_object(name, may_be_class=True)
        if not is_scheduler(value):
            raise ValueError(f"{text}: it must be a scheduler of diffusers, which has set_timesteps and step")
        if not isinstance(value, type):
            options = _changed_options(type(value), _config(value)) | options
            value = type(value)
        name = value.__name__ if value.__module__.startswith("diffusers.") else f"{value.__module__}:{value.__name__}"
    return DiffusersScheduler(name, sort_options(options), data_std)


def is_scheduler(value: object) -> bool:
    """Whether it is a scheduler as diffusers has them, or a class of one."""
    return hasattr(value, "set_timesteps") and hasattr(value, "step")


def split_call(text: str, call: str) -> tuple[str, Options]:
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


def sort_options(options: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """As a `DiffusersScheduler` has them."""
    return tuple((key, _freeze(value)) for key, value in sorted(options.items()))


def _freeze(value: Any) -> Any:
    """The value, with tuples in place of lists and arrays."""
    return tuple(map(_freeze, value)) if isinstance(value, list | tuple | np.ndarray) else value


def _changed_options(scheduler_class: type, config: Mapping[str, Any]) -> Options:
    """The options of the constructor that a config has, without defaults."""
    parameters = inspect.signature(scheduler_class).parameters
    values = {key: _freeze(config[key]) for key in parameters if key in config}
    return {key: value for key, value in values.items() if value != _freeze(parameters[key].default)}


def _config(scheduler: Any) -> Mapping[str, Any]:
    return getattr(scheduler, "config", {})


def _spell_class(name: str) -> str:
    return name if ":" in name else PREFIX + name


def _find_class(name: str) -> Any:
    """The class of a scheduler, by its name in diffusers or as module:Class. ValueError if there is none."""
    if ":" in name:
        found = load_object(name, may_be_class=True)
    else:
        try:
            diffusers = importlib.import_module("diffusers")
        except ImportError as error:
            how = 'pip install "sigmabench[diffusers]"'
            raise ValueError(f"{PREFIX}{name}: diffusers is not installed ({error}); {how}") from error
        logging.getLogger("diffusers").setLevel(logging.ERROR)  # it says at each run what it adjusts
        found = getattr(diffusers, name, None)
    with user_code_errors(_spell_class(name)):  # a class whose requirements are not installed raises ImportError
        if not isinstance(found, type) or not is_scheduler(found):
            raise ValueError(f"{_spell_class(name)}: there is no such scheduler")
    return found


@lru_cache(maxsize=1000)
def make_scheduler(sampler: DiffusersScheduler) -> tuple[Any, Options, Options]:
    """The scheduler, and the options of its set_timesteps and of its step. Errors as in `DiffusersScheduler`."""
    scheduler_class = _find_class(sampler.scheduler)
    methods = (scheduler_class, scheduler_class.set_timesteps, scheduler_class.step)
    accepted = [inspect.signature(method).parameters.keys() - OF_THE_LOOP for method in methods]
    shares: list[Options] = [{}, {}, {}]
    for key, value in sampler.options:
        share = next((share for share, names in zip(shares, accepted, strict=True) if key in names), None)
        if share is None:
            raise ValueError(f"{_spell_class(sampler.scheduler)}: {key}: it has no such option")
        share[key] = value
    init, times, step = shares
    with user_code_errors(sampler.name, ValueError), _quiet():
        return scheduler_class(**init), times, step


@lru_cache(maxsize=1000)
def find_n_steps(sampler: DiffusersScheduler, sigmas: Sigmas) -> int:
    """The n for which sigmas are own_levels(n); for other levels the number of their intervals.

    Evaluations between levels are more levels than n; with rounded times, some levels are one.
    """
    guess = len(sigmas) - 1
    for n_steps in sorted(range(1, 2 * guess + 2), key=lambda n: min(abs(n - guess), abs(2 * n - guess))):
        with suppress(Exception):  # a scheduler may refuse a number of steps
            levels = _above(sigmas[-1], _asked_levels(sampler, sampler.prepare(n_steps)))
            if np.allclose(levels, sigmas[:-1], rtol=ROUNDED, atol=0):  # ValueError for another number of levels
                return n_steps
    return guess


def _asked_levels(sampler: DiffusersScheduler, scheduler: Any) -> list[float]:
    """The levels of its evaluations, each once, decreasing, in data standard deviations. Errors as in `own_levels`."""
    level, _ = _network(scheduler)
    levels = [_level(*level(float(t))) / sampler.scale for t in scheduler.timesteps]
    if levels[0] < max(levels) or min(levels) <= 0:
        raise ValueError("its levels rise, or its network is asked at a level of 0")
    falling = pairwise([math.inf, *sorted(levels, reverse=True)])
    return [level for before, level in falling if before > level * (1 + ROUNDED)]


def _above(end: float, levels: list[float]) -> list[float]:
    return [level for level in levels if level > end * (1 + ROUNDED)]


@lru_cache(maxsize=1000)
@torch.no_grad()
def _trace(sampler: DiffusersScheduler, n_steps: int) -> tuple[Sigmas, float, float]:
    """`own_levels`, the signal a of x at the end, and by how much x differs from the levels that the network is told.

    Its network knows x0 and z of each row of x: row 0 is x0 = 1 without noise, each other row is one draw alone. So
    row 0 shows the signal a of x, and the norm of all others its noise s.
    """
    seen = list[tuple[Tensor, float, float]]()  # what the network receives

    def estimate(x: Tensor, s: float, a: float) -> tuple[Tensor, Tensor]:
        seen.append((x, s, a))
        return x0, (x - x0 * x) / x[1:].norm()

    with user_code_errors(sampler.name, ValueError):
        scheduler = sampler.prepare(n_steps)
        levels = _asked_levels(sampler, scheduler)
        x0 = torch.zeros(2 + DRAWS_PER_STEP * len(scheduler.timesteps), 1, 1, 1, dtype=torch.float64)
        x0[0] = 1.0
        draws = (x0.roll(row, 0) for row in range(1, len(x0)))
        next(sampler.steps(scheduler, Predictions(estimate), torch.ones_like(x0), DrawnFrom(lambda: x0)))
        start, s, a = seen.pop()  # 1 is seen as `start`, where a x0 + s z should be
        x = (a * x0 + s * next(draws)) / start[0]
        *_, x = sampler.steps(sampler.prepare(n_steps), Predictions(estimate), x, DrawnFrom(lambda: next(draws)))
    rounding = FLOAT32 * max(1.0, float(getattr(scheduler, "init_noise_sigma", 1.0)))
    off = 0.0
    for inside, s, a in seen:
        told, own = _level(s, a), _level(float(inside[1:].norm()), float(inside[0]))
        off = max(off, (abs(own - told) - rounding) / told)
    signal = float(x[0])
    end = float(x[1:].norm()) / signal / sampler.scale
    lowest = _level(*_network(scheduler)[0](0.0)) / sampler.scale
    end = lowest if math.isclose(end, lowest, rel_tol=NEAR) else end
    if end < ZERO or end > levels[-1] * (1 + ROUNDED):  # the second is an error, which `off` shows
        return (*levels, 0.0), 1.0, off
    return (*_above(end, levels), end), signal, off


def _level(s: float, a: float) -> float:
    """s / a, at most PURE."""
    return s / max(a, s / PURE)


def _network(
    scheduler: Any,
) -> tuple[Callable[[float], tuple[float, float]], Callable[[Any, Tensor, float, float], Tensor]]:
    """What its network receives and predicts: level(t) = (s, a), and predict(denoiser, x, s, a).

    The network knows nothing of the scheduler but t. ValueError if it receives or predicts something unknown.
    """
    config = _config(scheduler)
    name = type(scheduler).__name__
    unknown = ValueError(
        f"what the network of {name} receives or predicts is unknown here; to check it, write a function "
        "sampler(denoiser, n_steps, noise) that loops over its timesteps as `steps` in "
        "experiments/user/diffusers_schedulers.py does, with the right method of the denoiser"
    )
    if "sigma_data" in config:  # EDM: the input is c_in x, t = ln(sigma) / 4, the output is F; -F if it is called v
        if name not in ("EDMEulerScheduler", "EDMDPMSolverMultistepScheduler"):
            raise unknown
        data = config["sigma_data"]
        sign = -1 if config["prediction_type"] == "v_prediction" else 1

        def edm(denoiser: Any, x: Tensor, sigma: float, a: float) -> Tensor:
            size = math.hypot(sigma, data)
            x = x * size
            return sign * (denoiser.denoised(x, sigma) - x * (data / size) ** 2) * (size / (sigma * data))

        return lambda t: (math.exp(4 * t), 1.0), edm
    n_times = config.get("num_train_timesteps")
    predicts = config.get("prediction_type", "flow_prediction" if "shift" in config else None)
    if predicts == "flow_prediction" or name.startswith("LTX"):
        return lambda t: (t / n_times, 1 - t / n_times), lambda denoiser, x, s, a: denoiser.velocity(x, s)
    if predicts not in OUTPUTS or not hasattr(scheduler, "alphas_cumprod"):
        raise unknown
    abar = scheduler.alphas_cumprod.double()
    log_sigmas = ((1 - abar) / abar).log() / 2

    def level(t: float) -> tuple[float, float]:
        low, share = divmod(min(max(t, 0.0), len(abar) - 1.0), 1)
        value = abar[int(low)]
        if predicts == "v_prediction" and config.get("timestep_type") == "continuous":  # t = ln(sigma) / 4
            value = torch.tensor(-8 * t, dtype=torch.float64).sigmoid()
        elif share > 0:  # between two times, ln sigma is linear, as in the schedulers with such times
            value = torch.lerp(log_sigmas[int(low)], log_sigmas[int(low) + 1], share).mul(-2).sigmoid()
        return float((1 - value).sqrt()), float(value.sqrt())

    def vp(denoiser: Any, x: Tensor, s: float, a: float) -> Tensor:
        output: Tensor = getattr(denoiser, OUTPUTS[predicts])(x, s, a)
        return output

    return level, vp
