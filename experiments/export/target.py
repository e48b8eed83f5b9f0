"""A setting in the units of the network that it is for, and how exported code calls that network.

Labels, guidance and number format are those of `diffusion_core.adapters.Adapter`.
"""

import math
import textwrap
from dataclasses import dataclass
from typing import Any

import torch

from diffusion_core.adapters import Adapter, Convention, Sigma
from diffusion_core.data.dataset import DataSet, Images
from diffusion_core.samplers import Model, Sampler
from experiments.user.diffusers_unet import Unet
from experiments.user.network_io import shape_of

OURS = Convention("edm", Sigma(), "eps")  # of a network that keeps the model contract by itself


class UnsupportedError(Exception):
    """There is no code of a library for this setting. The message says why, in a line."""


@dataclass(frozen=True)
class ExportTarget:
    """A setting for one network."""

    title: str  # for the first line of the code
    sampler: Sampler
    ladder: tuple[float, ...]  # its levels, in standard deviations of the data
    to_zero: bool  # whether a last step goes from the last level to 0
    model: Model  # its own conventions are known if it is an adapter
    data: DataSet  # whose mean and standard deviation are our units

    @property
    def adapter(self) -> Adapter | None:
        return self.model if isinstance(self.model, Adapter) else None

    @property
    def convention(self) -> Convention:
        """What goes into the network and what comes out."""
        return self.adapter.convention if self.adapter else OURS

    @property
    def data_scale(self) -> float:
        """The standard deviation of the data in units of the network's images."""
        return self.adapter.scale if self.adapter else 1.0

    @property
    def data_shift(self) -> float:
        """The mean of the data there. Sampling starts around it."""
        return self.adapter.shift if self.adapter else 0.0

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what the network is given, without the batch: (C, H, W) of images."""
        channels, *sides = shape_of(self.model, self.data)
        edge = self.adapter.edge if self.adapter else 0
        return channels, *(side - 2 * edge for side in sides)

    @property
    def takes_index(self) -> bool:
        """Whether what the network is told depends on the index of the image."""
        return getattr(self.model, "takes_index", False) is True

    @property
    def number_format(self) -> str | None:
        """The network's number format, such as "float16"; None if it is not known."""
        dtype = self.adapter.dtype if self.adapter else None
        return str(dtype).removeprefix("torch.") if dtype else None

    @property
    def levels(self) -> tuple[float, ...]:
        """The ladder with its last step to 0, if there is one, in standard deviations of the data."""
        return (*self.ladder, 0.0) if self.to_zero else self.ladder

    @property
    def path(self) -> tuple[float, ...]:
        """The levels as they are visited: up wherever noise is put back before a step, which churn and restarts do."""
        path = self.sampler.path(self.ladder)
        return (*path, 0.0) if self.to_zero else path

    @property
    def etas(self) -> tuple[float, ...]:
        """eta of Euler at each step of `levels`; empty for another sampler."""
        etas = self.sampler.etas(self.ladder)
        return (*etas, *etas[-1:]) if self.to_zero else etas

    def sigmas(self, levels: tuple[float, ...]) -> tuple[float, ...]:
        """Levels in units of the network's images."""
        return tuple(self.data_scale * level for level in levels)

    def times(self, levels: tuple[float, ...]) -> tuple[float, ...] | tuple[int, ...]:
        """What the network is told at each level above 0: floats, or whole numbers."""
        above = tuple(level for level in levels if level > 0)
        return tuple(self.adapter.times(torch.tensor(above, dtype=torch.float64)).tolist()) if self.adapter else above

    @property
    def guided_levels(self) -> tuple[float, float]:
        """The lowest and the highest level with guidance, in units of the network's images."""
        low, high = self.convention.interval
        return self.data_scale * low, self.data_scale * high

    # how code calls the network, as Python

    def lists(self, levels: tuple[float, ...]) -> str:
        """Levels and their times."""
        return (
            "# standard deviation of the noise in x = image + sigma * noise, at each level\n"
            f"SIGMAS = {as_list(self.sigmas(levels))}\n"
            f"# what the network is told at these levels\nTIMES = {as_list(self.times(levels))}"
        )

    @property
    def start(self) -> str:
        """The first x."""
        return f"{self.data_shift!r} + SIGMAS[0] * noise()" if self.data_shift else "SIGMAS[0] * noise()"

    @property
    def first(self) -> str:
        """The index of the first image, as a further parameter of `sample`, if the network is told an index."""
        return ", first=0" if self.takes_index else ""

    @property
    def noise(self) -> str:
        return f"torch.randn(16, {', '.join(map(str, self.shape))})"

    def call(self, time: str, level: str = "") -> str:
        """The lines that set `out` to what the network returns for z, in the number format of x.

        z is copied, because some networks change what they are given.

        Args:
            time: the network's time for each image.
            level: the noise level, in units of the network's images; needed if not all levels are guided.
        """
        convention = self.convention
        whole = self.number_format in (None, "float32")
        z = "z.clone()" if whole else f"z.to(torch.{self.number_format}, copy=True)"
        both = "torch.cat([z, z])" if whole else f"torch.cat([z, z]).to(torch.{self.number_format})"
        full = "torch.full((len(z),), {}, device=z.device)".format
        lines = [f"time = {time}"]
        if self.takes_index:
            lines.append("index = first + torch.arange(len(z), device=z.device)")
        if convention.labels is None:
            out = f"net({z}, time{', index=index' * self.takes_index})"
        else:
            chosen = f"index % {convention.n_classes}" if self.takes_index else full(convention.labels)
            lines.append(f"labels = {chosen}")
            out = f"net({z}, time, labels)"
        if convention.guidance != 1:
            two = [
                f"none, twice = {full(convention.null_label)}, {both}",
                "both = net(twice, torch.cat([time, time]), torch.cat([labels, none]))",
                "with_label, without = both.chunk(2)",
                f"out = torch.lerp(without, with_label, {convention.guidance!r})  # classifier-free guidance",
            ]
            if convention.interval != (0, math.inf):
                ends = "{!r} <= {} <= {!r}".format(*self.guided_levels[:1], level, *self.guided_levels[1:])
                two = [f"if {ends.replace('inf', 'math.inf')}:", *textwrap.indent("\n".join(two), "    ").split("\n")]
                two += ["else:", f"    out = {out}"]
            lines, out = lines + two, "out"
        lines.append(f"out = {out}[:, : z.shape[1]].to(x.dtype)")
        return textwrap.indent("\n".join(lines), " " * 8)

    # what a person and settings.json are told

    @property
    def header(self) -> str:
        """The first lines of the code: title, units, the size of the images, labels, guidance and number format."""
        pixels, own = isinstance(self.data, Images), self.adapter is not None
        if own and pixels:
            units = "your network's images: black is {:g}, white is {:g}".format(*self.convention.pixels)
        elif own:
            units = "those of the numbers that your network was trained on"
        else:
            what = "pixels from 0 to 255" if pixels else f"the numbers of {self.data.name}"
            units = f"standard deviations of the data: {what} are {self.data.std:.6g} x + {self.data.mean:.6g}"
        lines = [self.title, f"Units: {units}", f"Noise: {' x '.join(map(str, self.shape))} per image"]
        convention = self.convention
        if not own and self.takes_index:
            lines.append("Index: the model is told the index of each image")
        if convention.labels == "balanced":
            lines.append(f"Labels: image i has label i % {convention.n_classes}")
        elif convention.labels is not None:
            lines.append(f"Labels: every image has label {convention.labels}")
        if convention.guidance != 1:
            ends = " from sigma {:.6g} to {:.6g} in these units".format(*self.guided_levels)
            where = "" if convention.interval == (0, math.inf) else ends
            scale = f"scale {convention.guidance:g}{where}"
            lines.append(f"Guidance: classifier-free, {scale}; label {convention.null_label} is no label")
        if self.number_format not in (None, "float32"):
            lines.append(f"Number format: the network gets {self.number_format}")
        return "".join(f"# {line}\n" for line in lines)

    @property
    def explanation(self) -> str:
        """What `net` and `noise` are, for the docstring of the function `sample`."""
        arguments = "x, sigma, index=..." if self.adapter is None and self.takes_index else "z, time"
        arguments += ", labels" * (self.convention.labels is not None)
        from_diffusers = self.adapter is not None and isinstance(self.adapter.net, Unet)
        what = f"unet({arguments}).sample" if from_diffusers else "your network after eval()"
        text = f"net({arguments}) is {what}; noise() draws unit noise, such as {self.noise}."
        return text + "\n\n    first is the index of the batch's first image.\n    " * self.takes_index

    def example(self, more: str = "") -> str:
        """A last line of the code, a comment: how `sample` is called, and the range of its images.

        Args:
            more: further arguments before the noise, as Python.
        """
        unit, what = "in standard deviations of the data", "images"
        if not isinstance(self.data, Images):
            unit, what = ("as in your file" if self.adapter else unit), "points" if len(self.shape) == 1 else "latents"
        elif self.adapter:
            unit = "from {:g} (black) to {:g} (white)".format(*self.convention.pixels)
        return f"\n# {what} = sample(net, {more}lambda: {self.noise}{self.first})  # {unit}\n"

    def settings(self) -> dict[str, Any]:
        """What settings.json says about the levels and what the network is told."""
        convention = self.convention if self.adapter else None
        names = ("labels", "n_classes", "guidance", "null_label")
        low, high = convention.interval if convention else (None, None)
        return {
            "model_sigmas": list(self.sigmas(self.levels)), "model_times": list(self.times(self.levels)),
            "model_shift": self.data_shift, "model_shape": list(self.shape),
            **{f"model_{name}": getattr(convention, name, None) for name in names},
            "model_guidance_from": low, "model_guidance_to": None if high == math.inf else high,  # JSON has no infinity
            "model_takes_index": self.takes_index, "model_dtype": self.number_format,
        }  # fmt: skip


def as_list(values: tuple[float, ...] | tuple[int, ...]) -> str:
    """A list as Python, in lines of at most 100 characters."""
    lines = textwrap.wrap(", ".join(map(repr, values)), 96)
    return "[\n" + "".join(f"    {line}\n" for line in lines) + "]"
