"""A setting in the units of the network that it is for: what its code writes out, whatever library runs it."""

import textwrap
from dataclasses import dataclass

import torch

from diffusion_core.adapters import Adapter
from diffusion_core.adapters.times import TableTime
from diffusion_core.data import Images
from diffusion_core.samplers import Model, Sampler


@dataclass(frozen=True)
class Target:
    """A setting for one network.

    Args:
        title: for the first line of the code.
        sampler: its sampler.
        sigmas: its levels, in units of the network's images.
        times: what the network is told at each level: floats, or whole numbers.
        shift: the mean of the data in units of the network's images. Sampling starts around it.
        process, predicts: as in `diffusion_core.adapters`: what goes into the network and what comes out.
        units: the units of its images, for a person.
        table: whether the times are indices into a table of levels, as in diffusers.
    """

    title: str
    sampler: Sampler
    sigmas: tuple[float, ...]
    times: tuple[float, ...] | tuple[int, ...]
    shift: float
    process: str
    predicts: str
    units: str
    table: bool

    @property
    def lists(self) -> str:
        """The levels and times as Python."""
        return (
            "# standard deviation of the noise in x = image + sigma * noise, at each level\n"
            f"SIGMAS = {_wrapped(self.sigmas)}\n"
            f"# what the network is told at these levels\nTIMES = {_wrapped(self.times)}"
        )

    @property
    def start(self) -> str:
        """The first x, as Python."""
        return f"{self.shift!r} + SIGMAS[0] * noise()" if self.shift else "SIGMAS[0] * noise()"

    @classmethod
    def of(cls, title: str, sampler: Sampler, sigmas: tuple[float, ...], model: Model, images: Images) -> "Target":
        """The setting for `model`, whose own conventions are known if it is an adapter.

        Args:
            sigmas: the ladder, in standard deviations of the data.
            images: the data set, whose mean and standard deviation are our units.
        """
        if not isinstance(model, Adapter):
            units = f"standard deviations of the data: pixels from 0 to 255 are {images.std:.6g} x + {images.mean:.6g}"
            return cls(title, sampler, sigmas, sigmas, 0.0, "edm", "eps", units, False)
        convention, (low, high) = model.convention, model.convention.pixels
        theirs = tuple(model.scale * sigma for sigma in sigmas)
        times = tuple(model.times(torch.tensor(sigmas, dtype=torch.float64)).tolist())
        units = f"your network's images: black is {low:g}, white is {high:g}"
        table = isinstance(convention.time, TableTime) and not convention.time.whole
        return cls(title, sampler, theirs, times, model.shift, convention.process, convention.predicts, units, table)


def _wrapped(values: tuple[float, ...] | tuple[int, ...]) -> str:
    """A list as Python, in lines of at most 100 characters."""
    lines = textwrap.wrap(", ".join(map(repr, values)), 96)
    return "[\n" + "".join(f"    {line}\n" for line in lines) + "]"
