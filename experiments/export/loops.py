"""A setting as code of its own: one file that needs only torch, and one over a scheduler of diffusers.

For torch the sampler is written out, as source.py finds it: the code that was measured.
"""

import math
import textwrap
from typing import Any

import torch

from diffusion_core.adapters import Adapter, Convention, Sigma, TableTime
from diffusion_core.data.dataset import DataSet, Images
from diffusion_core.samplers import DPMpp2M, DPMpp2MSDE, Euler, Heun, Model, Sampler
from diffusion_core.samplers.base import evaluated_levels
from diffusion_core.schedules.sigma import Sigmas
from experiments.export.source import SamplerSource, UnsupportedError
from experiments.user.diffusers_unet import Unet
from experiments.user.network_io import shape_of

OURS = Convention("edm", Sigma(), "eps")  # of a network that keeps the model contract by itself
SIGNAL = {  # the factor of the clean image in what the network is given; level: in its units
    "vp": "1 / math.sqrt(1 + level**2)",
    "edm": "1.0",
    "flow": "1 / (1 + level)",
}
SCHEDULERS: dict[Sampler, str] = {  # of diffusers; that of `Heun` has no parameter of ours
    Euler(0.0): "EulerDiscreteScheduler",
    Euler(1.0): "EulerAncestralDiscreteScheduler",
    DPMpp2M(): "DPMSolverMultistepScheduler",
    DPMpp2MSDE(0.0): "DPMSolverMultistepScheduler",
    DPMpp2MSDE(1.0): "DPMSolverMultistepScheduler",
}
PREDICTIONS = {  # the unit noise from what the network returns, as in diffusion_core/adapters/adapter.py
    "eps": "out",
    "x0": "(z - s * out) / n",
    "v": "(n * z + s * out) / (s * s + n * n)",
    "velocity": "(z + s * out) / (s + n)",
    "velocity to data": "(z - s * out) / (s + n)",
}
MULTISTEP = (
    ', algorithm_type="{algorithm}", solver_order=2, solver_type="midpoint",\n        lower_order_final=False, '
    'euler_at_final=False, final_sigmas_type="{last}", thresholding=False'
)


class ExportTarget:
    """A setting for one network, in the units of the network's images.

    Args:
        title: for the first line of the code.
        schedule: noise levels, in standard deviations of the data.
        to_zero: whether a last step goes from the last level to 0.
        model: its own conventions are known if it is an adapter.
        data: its mean and standard deviation are our units.
    """

    def __init__(
        self, title: str, sampler: Sampler, schedule: Sigmas, to_zero: bool, model: Model, data: DataSet
    ) -> None:
        self.title = title
        self.sampler = sampler
        self.to_zero = to_zero
        self.data = data
        self.adapter = adapter = model if isinstance(model, Adapter) else None
        self.convention = adapter.convention if adapter else OURS
        self.scale, self.shift, edge = (adapter.scale, adapter.shift, adapter.edge) if adapter else (1.0, 0.0, 0)
        channels, *size = shape_of(model, data)
        self.shape = channels, *(length - 2 * edge for length in size)  # of the network's input, without the batch
        self.takes_index = getattr(model, "takes_index", False) is True
        self.number_format = str(adapter.dtype).removeprefix("torch.") if adapter and adapter.dtype else None
        # in standard deviations of the data, as are `levels` and `evaluated`
        self.schedule = schedule
        self.levels = (*schedule, 0.0) if to_zero else schedule
        evaluated, _ = evaluated_levels(sampler, schedule)
        if to_zero:
            evaluated = (*evaluated, schedule[-1])
        self.evaluated = tuple(level for level in dict.fromkeys(evaluated) if level > 0)
        self.start = f"{self.shift!r} + SIGMAS[0] * noise()" if self.shift else "SIGMAS[0] * noise()"
        self.noise = f"torch.randn(16, {', '.join(map(str, self.shape))})"
        self.first = ", first=0" if self.takes_index else ""  # a further parameter of `sample`

    def sigmas(self, levels: Sigmas) -> Sigmas:
        """Levels in units of the network's images."""
        return tuple(self.scale * level for level in levels)

    def times(self, levels: Sigmas) -> Sigmas | tuple[int, ...]:
        """The times that the network gets, one for each level above 0: floats, or whole numbers."""
        above = tuple(level for level in levels if level > 0)
        return tuple(self.adapter.times(torch.tensor(above, dtype=torch.float64)).tolist()) if self.adapter else above

    def lists(self, levels: Sigmas) -> str:
        """Levels and their times."""
        return (
            "# standard deviation of the noise in x = image + sigma * noise, at each level\n"
            f"SIGMAS = {as_list(self.sigmas(levels))}\n"
            f"# the time that the network gets at each level\nTIMES = {as_list(self.times(levels))}"
        )

    def call(self, time: str) -> str:
        """The lines that set `out` to what the network returns for a copy of z, in the number format of x.

        `time`: of each image. Where not all levels are guided, `sigma` is the level.
        """
        convention = self.convention
        z = "z.clone()"
        twice = "torch.cat([z, z])"
        if self.number_format not in (None, "float32"):
            z = f"z.to(torch.{self.number_format}, copy=True)"
            twice += f".to(torch.{self.number_format})"
        full = "torch.full((len(z),), {}, device=z.device)".format
        lines = [f"time = {time}"]
        arguments = "time"
        if self.takes_index:
            lines.append("index = first + torch.arange(len(z), device=z.device)")
            arguments = "time, index=index"
        if convention.labels is not None:
            labels = f"index % {convention.n_classes}" if self.takes_index else full(convention.labels)
            lines.append(f"labels = {labels}")
            arguments = "time, labels"
        out = f"net({z}, {arguments})"
        if convention.guidance != 1:
            guided = [
                f"none, twice = {full(convention.null_label)}, {twice}",
                "both = net(twice, torch.cat([time, time]), torch.cat([labels, none]))",
                "with_label, without = both.chunk(2)",
                f"out = torch.lerp(without, with_label, {convention.guidance!r})  # classifier-free guidance",
            ]
            if convention.interval != (0, math.inf):
                low, high = convention.interval
                ends = f"{low!r} <= sigma <= {high!r}".replace("inf", "math.inf")
                guided = [f"if {ends}:", *(f"    {line}" for line in guided), "else:", f"    out = {out}"]
            lines += guided
            out = "out"
        lines.append(f"out = {out}[:, : z.shape[1]].to(x.dtype)")
        return as_body(lines)

    @property
    def header(self) -> str:
        """The first lines of the code: title, units, the size of the images, labels, guidance and number format."""
        convention = self.convention
        pixels = isinstance(self.data, Images)
        if self.adapter and pixels:
            units = "your network's images: black is {:g}, white is {:g}".format(*convention.pixels)
        elif self.adapter:
            units = "those of the numbers that your network was trained on"
        else:
            numbers = "pixels from 0 to 255" if pixels else f"the numbers of {self.data.name}"
            units = f"standard deviations of the data: {numbers} are {self.data.std:.6g} x + {self.data.mean:.6g}"
        low, high = (self.scale * level for level in convention.interval)
        where = "" if convention.interval == (0, math.inf) else f" from sigma {low:.6g} to {high:.6g} in these units"
        guidance = f"scale {convention.guidance:g}{where}; label {convention.null_label} is no label"
        lines = {
            self.title: True,
            f"Units: {units}": True,
            f"Noise: {' x '.join(map(str, self.shape))} per image": True,
            "Index: the model gets the index of each image": self.takes_index and not self.adapter,
            f"Labels: image i has label i % {convention.n_classes}": convention.labels == "balanced",
            f"Labels: every image has label {convention.labels}": isinstance(convention.labels, int),
            f"Guidance: classifier-free, {guidance}": convention.guidance != 1,
            f"Number format: the network gets {self.number_format}": self.number_format not in (None, "float32"),
        }
        return "".join(f"# {line}\n" for line, holds in lines.items() if holds)

    @property
    def explanation(self) -> str:
        """The text that explains `net` and `noise`, for the docstring of the function `sample`."""
        arguments = "x, sigma, index=..." if self.adapter is None and self.takes_index else "z, time"
        if self.convention.labels is not None:
            arguments += ", labels"
        from_diffusers = self.adapter is not None and isinstance(self.adapter.net, Unet)
        network = f"unet({arguments}).sample" if from_diffusers else "your network after eval()"
        text = f"net({arguments}) is {network}; noise() draws unit noise, such as {self.noise}."
        if self.takes_index:
            text += "\n\n    first is the index of the batch's first image.\n    "
        return text

    def example(self, more: str = "") -> str:
        """A last line of the code, a comment: how `sample` is called with `more` arguments, and the range of images."""
        variable = "images"
        unit = "in standard deviations of the data"
        if not isinstance(self.data, Images):
            variable = "points" if len(self.shape) == 1 else "latents"
            if self.adapter:
                unit = "as in your file"
        elif self.adapter:
            unit = "from {:g} (black) to {:g} (white)".format(*self.convention.pixels)
        return f"\n# {variable} = sample(net, {more}lambda: {self.noise}{self.first})  # {unit}\n"

    def entries(self) -> dict[str, Any]:
        """Returns entries of settings.json: the levels, and the times, labels and dtype that the network gets."""
        convention = self.convention if self.adapter else None
        names = ("labels", "n_classes", "guidance", "null_label")
        low, high = convention.interval if convention else (None, None)
        return {
            "model_sigmas": list(self.sigmas(self.levels)), "model_times": list(self.times(self.levels)),
            "model_shift": self.shift, "model_shape": list(self.shape),
            **{f"model_{name}": getattr(convention, name, None) for name in names},
            "model_guidance_from": low, "model_guidance_to": None if high == math.inf else high,  # JSON has no infinity
            "model_takes_index": self.takes_index, "model_dtype": self.number_format,
        }  # fmt: skip


def as_list(values: Sigmas | tuple[int, ...]) -> str:
    """A list as Python, in lines of at most 100 characters."""
    lines = textwrap.wrap(", ".join(map(repr, values)), 96)
    return "[\n" + "".join(f"    {line}\n" for line in lines) + "]"


def as_body(lines: list[str]) -> str:
    """Lines of a function inside `sample`."""
    return textwrap.indent("\n".join(lines), "        ")


def torch_loop(target: ExportTarget) -> str:
    """The code that needs only torch: `sample(net, noise)`. UnsupportedError if there is none for this sampler."""
    if not target.sampler.follows_schedule:
        raise UnsupportedError(f"{target.sampler.name} measures its levels, so the network's times are not known")
    convention = target.convention
    source = SamplerSource(target.sampler)
    times = target.times(target.evaluated)
    listed = "".join(f"    {level!r}: {time!r},\n" for level, time in zip(target.evaluated, times, strict=True))
    dtype = ", dtype=torch.float64" if target.number_format == "float64" and isinstance(times[0], float) else ""
    # the nearest level, because another machine may round a level in another way
    nearest = "TIMES[min(TIMES, key=lambda level: abs(level - sigma))]"
    inputs = ["z = x"]  # what the network is given, and the factors s and n of image and noise in it, if needed
    image = "x"
    if (target.scale, target.shift) != (1.0, 0.0):
        image = f"{target.scale!r} * x + {target.shift!r}"
    if image != "x" or (convention.process, convention.predicts) != ("edm", "eps"):
        inputs = [f"level = {target.scale!r} * sigma", f"s = {SIGNAL[convention.process]}"]
        if convention.predicts != "eps":
            inputs.append("n = s * level")
        inputs.append(f"z = s * ({image})")
    to_zero = "\n    x = x - SIGMAS[-1] * eps(x, SIGMAS[-1])" if target.to_zero else ""
    imports = "\n".join(sorted(source.imports, key=lambda line: line.startswith("from")))
    return f'''\
{target.header}{imports}

# standard deviation of the noise at each level, in standard deviations of the data
SIGMAS = {as_list(target.schedule)}
# the time that the network gets at each level that it is evaluated at
TIMES = {{
{listed}}}


{source.text}


@torch.no_grad()
def sample(net, noise{target.first}):
    """{target.explanation}"""

    def eps(x, sigma):  # the unit noise in x
{as_body(inputs)}
{target.call(f"torch.full((len(z),), {nearest}, device=z.device{dtype})")}
        return {PREDICTIONS[convention.predicts]}

    for x in {source.name}().run(eps, SIGMAS[0] * noise(), SIGMAS, noise):
        pass{to_zero}
    return {image}
{target.example()}'''


def diffusers_loop(target: ExportTarget) -> str:
    """The code over a scheduler of diffusers, which gives the same images for the same noise.

    It is for a network with diffusers' conventions. Raises UnsupportedError for what diffusers cannot express.
    """
    convention = target.convention
    time = convention.time
    sampler = target.sampler
    name = "HeunDiscreteScheduler" if type(sampler) is Heun else SCHEDULERS.get(sampler, "")
    if convention.process != "vp" or not isinstance(time, TableTime) or convention.predicts not in ("eps", "v"):
        raise UnsupportedError("diffusers' schedulers need a network with a table of times that predicts eps or v")
    reasons = {
        "diffusers' schedulers need fractional times, but those of your network are rounded (whole=True)": time.whole,
        f"diffusers has no scheduler for {sampler.name} at given levels": not name,
        "diffusers evaluates the network before it adds the churn": not {*target.evaluated} <= {*target.levels},
        "diffusers' schedulers know no levels of guidance": convention.interval != (0, math.inf),
    }
    for reason, holds in reasons.items():
        if holds:
            raise UnsupportedError(f"{reason}; use the torch code")
    last, times = ("zero", "times") if target.to_zero else ("sigma_min", "times[:-1]")
    schedule = f"sigmas, {times}"
    options = before = after = ""
    if name == "DPMSolverMultistepScheduler":  # its x has unit variance
        algorithm = "sde-dpmsolver++" if getattr(sampler, "eta", 0) else "dpmsolver++"
        options = MULTISTEP.replace("{algorithm}", algorithm).replace("{last}", last)
        before = " / (1 + SIGMAS[0] ** 2) ** 0.5"
        after = " * (1 + SIGMAS[-1] ** 2) ** 0.5"
    generator = ", generator=generator"
    if name == "HeunDiscreteScheduler":  # each step has two evaluations, but a step to 0 has one
        generator = ""
        options = ", clip_sample=False"
        doubled = (
            "sigmas[1:-1].repeat_interleave(2), sigmas[-1:]" if target.to_zero else "sigmas[1:].repeat_interleave(2)"
        )
        schedule = (
            f"torch.cat([sigmas[:1], {doubled}]),\n"
            f"        torch.cat([times[:1], times[1:].repeat_interleave(2)]){times.removeprefix('times')},"
        )
    dtype = ", torch.float64" if target.number_format == "float64" else ""
    level_code = f"level.to(z.device{dtype}).expand(len(z))"
    return f'''\
{target.header}import torch
from diffusers import {name}

{target.lists(target.levels)}


@torch.no_grad()
def sample(net, scheduler_config, noise, generator=None{target.first}):
    """{target.explanation.rstrip()}

    scheduler_config is that of your pipeline.
    """
    scheduler = {name}.from_config(
        scheduler_config{options}
    )
    scheduler.set_timesteps(len(SIGMAS) - 1)
    scheduler.set_begin_index(0)
    sigmas, times = torch.tensor(SIGMAS), torch.tensor(TIMES)
    scheduler.sigmas, scheduler.timesteps = (
        {schedule}
    )
    x = ({target.start}){before}
    for level in scheduler.timesteps:
        z = scheduler.scale_model_input(x, level)
{target.call(level_code)}
        x = scheduler.step(out, level, x{generator}).prev_sample
    return x{after}
{target.example("scheduler_config, ")}'''
