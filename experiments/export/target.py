"""A setting in the units of the network that it is for: what its code writes out, whatever library runs it."""

import textwrap
from dataclasses import dataclass

import torch

from diffusion_core.adapters import Adapter, Convention, Sigma
from diffusion_core.data_set import DataSet, Images
from diffusion_core.samplers import Model, Sampler
from experiments.own.network_io import shape_of

OURS = Convention("edm", Sigma(), "eps")  # of a network that keeps the model contract by itself


class Unsupported(Exception):
    """A library has no such sampler. The message says why, in a line."""


@dataclass(frozen=True)
class Target:
    """A setting for one network."""

    title: str  # for the first line of the code
    sampler: Sampler
    ladder: tuple[float, ...]  # its levels, in standard deviations of the data
    to_zero: bool  # whether a last step goes from the last level to 0
    model: Model  # its own conventions are known if it is an adapter
    data: DataSet  # whose mean and standard deviation are our units

    @property
    def own(self) -> Adapter | None:
        return self.model if isinstance(self.model, Adapter) else None

    @property
    def convention(self) -> Convention:
        """What goes into the network and what comes out."""
        return self.own.convention if self.own else OURS

    @property
    def scale(self) -> float:
        """The standard deviation of the data in units of the network's images."""
        return self.own.scale if self.own else 1.0

    @property
    def shift(self) -> float:
        """The mean of the data there. Sampling starts around it."""
        return self.own.shift if self.own else 0.0

    @property
    def units(self) -> str:
        """The units of the network's images, for a person."""
        pixels = isinstance(self.data, Images)
        if self.own and not pixels:
            return "those of the numbers that your network was trained on"
        if self.own:
            low, high = self.convention.pixels
            return f"your network's images: black is {low:g}, white is {high:g}"
        one = f"{self.data.std:.6g} x + {self.data.mean:.6g}"
        what = "pixels from 0 to 255" if pixels else f"the numbers of {self.data.name}"
        return f"standard deviations of the data: {what} are {one}"

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what the network is given, without the batch: (C, H, W) of images."""
        channels, *sides = shape_of(self.model, self.data)
        edge = self.own.edge if self.own else 0
        return channels, *(side - 2 * edge for side in sides)

    @property
    def levels(self) -> tuple[float, ...]:
        """The ladder with its last step to 0, if there is one, in standard deviations of the data."""
        return (*self.ladder, 0.0) if self.to_zero else self.ladder

    @property
    def sigmas(self) -> tuple[float, ...]:
        """The same levels in units of the network's images."""
        return self.theirs(self.levels)

    @property
    def times(self) -> tuple[float, ...] | tuple[int, ...]:
        """What the network is told at each level above 0: floats, or whole numbers."""
        return self.told(self.levels)

    def theirs(self, levels: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(self.scale * sigma for sigma in levels)

    def told(self, levels: tuple[float, ...]) -> tuple[float, ...] | tuple[int, ...]:
        above = tuple(sigma for sigma in levels if sigma > 0)
        return tuple(self.own.times(torch.tensor(above, dtype=torch.float64)).tolist()) if self.own else above

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

    def called(self, library: str, otherwise: str) -> str:
        """What a library calls the sampler, see `Sampler.exports`. Raises Unsupported if it has none."""
        if library not in self.sampler.exports:
            raise Unsupported(otherwise)
        return self.sampler.exports[library]

    @property
    def s_noise(self) -> float:
        return float(getattr(self.sampler, "s_noise", 1.0))

    @property
    def start(self) -> str:
        """The first x, as Python."""
        return f"{self.shift!r} + SIGMAS[0] * noise()" if self.shift else "SIGMAS[0] * noise()"

    def lists(self, levels: tuple[float, ...]) -> str:
        """Levels, given in standard deviations of the data, and their times as Python."""
        return (
            "# standard deviation of the noise in x = image + sigma * noise, at each level\n"
            f"SIGMAS = {as_list(self.theirs(levels))}\n"
            f"# what the network is told at these levels\nTIMES = {as_list(self.told(levels))}"
        )


def as_list(values: tuple[float, ...] | tuple[int, ...]) -> str:
    """A list as Python, in lines of at most 100 characters."""
    lines = textwrap.wrap(", ".join(map(repr, values)), 96)
    return "[\n" + "".join(f"    {line}\n" for line in lines) + "]"
