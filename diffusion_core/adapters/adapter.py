"""`Adapter`: a network of other conventions behind `eps = model(x, sigma)`; `Convention`: what these conventions are.

A network gets z = s y + n noise, where y is the clean image in the network's own range. In standard deviations of the
data x = x0 + sigma noise, and y = a x0 + b, so

    sigma_theirs = a sigma      z = s (a x + b)      n = s sigma_theirs

The unit noise is the same in both. s is 1 / sqrt(1 + sigma_theirs^2) for a variance-preserving process, 1 for an
exploding one, and 1 / (1 + sigma_theirs) for a flow.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from diffusion_core.adapters.times import FlowTime, Time
from diffusion_core.data.dataset import DataSet, Images, Values
from diffusion_core.tensors import broadcast_like
from diffusion_core.validation import check_fields, check_range

Range = tuple[float, float]
Labels = int | Literal["balanced"] | None

SIGNAL: dict[str, Callable[[Tensor], Tensor]] = {  # s as a function of sigma_theirs
    "vp": lambda sigma: (1 + sigma.square()).rsqrt(),
    "edm": torch.ones_like,
    "flow": lambda sigma: 1 / (1 + sigma),
}
# The unit noise in z = s y + n noise, from the network's output:
PREDICTIONS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "eps": lambda out, z, s, n: out,
    "x0": lambda out, z, s, n: (z - s * out) / n,
    # v = s noise - n y: Salimans & Ho 2022, arXiv 2202.00512, Section 4 and Appendix D
    "v": lambda out, z, s, n: (n * z + s * out) / (s * s + n * n),
    # u = noise - y: Lipman et al. 2023, arXiv 2210.02747, Eq. 23; Liu et al. 2023, arXiv 2209.03003, Eq. 1
    "velocity": lambda out, z, s, n: (z + s * out) / (s + n),
    "velocity to data": lambda out, z, s, n: (z - s * out) / (s + n),
}
TIMES = (
    "linear_betas(), from_betas(betas), from_abar(abar), LinearVP(), CosineVP(), Sigma(), LogSigma(factor), "
    "FlowTime(data_at), or a dataclass of your own with span and time"
)
OF_PROCESS = {  # what networks of each process predict
    "vp": ("eps", "x0", "v"),
    "edm": ("x0", "eps"),
    "flow": ("velocity", "x0", "eps", "velocity to data"),
}


@dataclass(frozen=True)
class Convention:
    """The inputs that a network expects and the output that it returns. All of it is part of the model's identity.

    Usual are process, time and predicts, which `vp`, `edm` and `flow` set, and labels with n_classes.
    """

    process: str  # a key of SIGNAL
    time: Time
    predicts: str  # one of OF_PROCESS
    pixels: Range = (-1.0, 1.0)  # its values of pixels 0 and 255
    side: int | None = None  # of its images, in pixels; None for the side of the data
    labels: Labels = None  # class of all samples, or "balanced": sample index mod n_classes
    n_classes: int | None = None
    guidance: float = 1.0  # scale of classifier-free guidance; 1 is none
    guidance_from: float = 0.0  # the lowest level that is guided, and the highest, in standard deviations of the data:
    guidance_to: float = math.inf  # Kynkaanniemi et al. 2024, arXiv 2404.07724
    null_label: int | None = None  # the label of "no class", which none of the samples has

    def __post_init__(self) -> None:  # noqa: C901  # one rule per field
        check_fields(self)
        if self.process not in SIGNAL:
            raise ValueError(f"process={self.process!r}: it must be one of {', '.join(SIGNAL)}")
        by_value = is_dataclass(self.time) and not isinstance(self.time, type)  # others are known by an address
        if not (by_value and all(hasattr(self.time, name) for name in ("span", "time"))):
            name = getattr(self.time, "__name__", None)  # a class, or a function that makes a time
            brackets = f": it lacks its brackets, {name}()" if name else ""
            raise ValueError(f"time={name or repr(self.time)}: it must be one of {TIMES}{brackets}")
        if isinstance(self.time, FlowTime) != (self.process == "flow"):
            raise ValueError(f"time={self.time}: FlowTime() is the time of process='flow', not of {self.process!r}")
        allowed = OF_PROCESS[self.process]
        if self.predicts not in allowed:
            raise ValueError(f"predicts={self.predicts!r}: it must be one of {', '.join(allowed)} for {self.process}")
        low, high = self.pixels
        if not -math.inf < low < high < math.inf:
            raise ValueError(f"pixels={self.pixels}: they must be the values of black and of white, such as (-1, 1)")
        if self.n_classes is not None:
            check_range("n_classes", self.n_classes, 1, 2**31)
        elif self.labels == "balanced":
            raise ValueError("labels='balanced': it needs n_classes")
        if isinstance(self.labels, int):
            check_range("labels", self.labels, 0, self.n_classes - 1 if self.n_classes else math.inf)
        check_range("guidance", self.guidance, -math.inf)
        if not 0 <= self.guidance_from <= self.guidance_to:
            ends = f"guidance_from={self.guidance_from:g}, guidance_to={self.guidance_to:g}"
            raise ValueError(f"{ends}: they must be noise levels, the lower one first")
        if self.guidance == 1 and self.interval != (0, math.inf):
            raise ValueError("guidance_from, guidance_to: there is no guidance; it needs guidance, such as 2.0")
        if self.guidance != 1 and None in (self.labels, self.n_classes, self.null_label):
            needs = "labels, n_classes, and null_label, the label of no class, which is none of the n_classes"
            raise ValueError(f"guidance={self.guidance}: it needs {needs}")
        if self.null_label is not None and 0 <= self.null_label < (n := self.n_classes or 0):
            raise ValueError(
                f"null_label={self.null_label}: it must be the label of no class, but 0 to {n - 1} are the classes of "
                f"n_classes={n}. If 0 is the label of no class, give null_label=-1 and wrap the network: lambda z, t, "
                "y: net(z, t, y + 1)"
            )

    @property
    def interval(self) -> Range:
        """The levels with guidance."""
        return self.guidance_from, self.guidance_to


class Adapter(nn.Module):
    """A network as `eps = model(x, sigma)`. Make it with `vp`, `edm` or `flow`, whose usual arguments are net and data.

    k-diffusion calls such a class a wrapper, or a denoiser; its wrappers return denoised images, this one the noise.

    Args:
        net: net(z, time), or net(z, time, labels) if the convention has labels. z is float (B, C, side, side), or
            (B, ...) for latents and points, in the dtype of the network's parameters; time is float32 (B,) or int64;
            labels are int64 (B,). It returns the shape of z. Of twice the channels, the second half is a learned
            variance, which is not used.
        data: its mean and std define our units, and its border, which must be constant, lies around a smaller network.
        decoder: decoder(y) -> uint8 (B, C, H, W): images of latents y in the network's own units.

    Note: around a network of a smaller side the images are known to be constant, c: there eps = (x - c) / sigma.
    """

    def __init__(
        self,
        net: Callable[..., Tensor],
        data: DataSet,
        convention: Convention,
        decoder: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.net = net
        self.data = data
        self.convention = convention
        self.decoder = decoder
        self.takes_index = convention.labels == "balanced"
        self.scale, self.shift = data_scale(convention.pixels, data)
        self.edge, self.background = _border(data, convention.side)

    def with_convention(self, **changes: Any) -> "Adapter":
        """Returns an adapter of this network, its convention with these changes. New `guidance` holds at all levels."""
        if "guidance" in changes:
            changes = {"guidance_from": 0.0, "guidance_to": math.inf} | changes
        return Adapter(self.net, self.data, replace(self.convention, **changes), self.decoder)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of x, without the batch."""
        return self.data.shape

    def decode(self, x: Tensor) -> Tensor:
        """Decodes x (B, ...) to images uint8 (B, C, H, W), or to points. ValueError for latents without a decoder."""
        return self.data.decode(x) if self.decoder is None else self.decoder(self.scale * x + self.shift)

    @property
    def dtype(self) -> torch.dtype | None:
        """The dtype of the network's parameters, else of its buffers, now; None if it has neither or is a function."""
        if not isinstance(self.net, nn.Module):
            return None
        tensors = itertools.chain(self.net.parameters(), self.net.buffers())
        return next((tensor.dtype for tensor in tensors if tensor.is_floating_point()), None)

    @property
    def span(self) -> Range:
        """The smallest and the largest sigma that the network knows, in standard deviations of the data."""
        low, high = self.convention.time.span
        return low / self.scale, high / self.scale

    def times(self, sigma: Tensor) -> Tensor:
        """The network's time at sigma (B,), which is in standard deviations of the data."""
        return self.convention.time.time(self.scale * sigma.double())

    def forward(self, x: Tensor, sigma: Tensor, index: Tensor | None = None) -> Tensor:
        """The unit noise estimated in x (B, C, H, W) at sigma (B,), positive, in standard deviations of the data.

        Args:
            index: the samples' indices (B,), for labels = "balanced"; `sample` and `generate_samples` give them.
        """
        theirs = self.scale * sigma.double()  # float64, because neighbouring times may differ by less than float32
        signal = SIGNAL[self.convention.process](theirs)
        s, n = (broadcast_like(x, factor.to(x.dtype)) for factor in (signal, signal * theirs))
        low, high = self.convention.interval
        guided = None if (low, high) == (0, math.inf) else (low <= sigma) & (sigma <= high)
        inner = self.inner(x)
        out = self.outputs(self._scaled(inner, s), self.times(sigma), index, guided)[:, : x.shape[1]]
        z = self._scaled(inner, s)  # again, because the network may have changed the first in place
        eps = PREDICTIONS[self.convention.predicts](out.to(x.dtype), z, s, n)
        if self.edge == 0:
            return eps
        whole = (x - self.background) / broadcast_like(x, sigma.to(x.dtype))
        self.inner(whole).copy_(eps)
        return whole

    def inner(self, x: Tensor) -> Tensor:
        """The part of images (B, C, H, W) that the network is given, (B, C, side, side), as a view."""
        return x[..., self.edge : -self.edge, self.edge : -self.edge] if self.edge else x

    def _scaled(self, x: Tensor, s: Tensor) -> Tensor:
        return (self.scale * x + self.shift) * s

    def _labels(self, n: int, device: torch.device, index: Tensor | None) -> Tensor | None:
        """The labels (n,) of the samples with these indices; None for a network without labels."""
        convention = self.convention
        if convention.labels is None:
            return None
        if convention.labels != "balanced":
            return torch.full((n,), convention.labels, device=device)
        if index is None or len(index) != n:
            need = f"{n} images need {n} sample indices, got {'none' if index is None else len(index)}"
            raise ValueError(f"labels='balanced': {need}: model(x, sigma, index=index)")
        assert convention.n_classes is not None
        return index.to(device).long() % convention.n_classes

    def outputs(self, z: Tensor, time: Tensor, index: Tensor | None, guided: Tensor | None) -> Tensor:
        """Calls the network on z at its own time (B,), with labels if there are any, and returns its output, guided.

        Args:
            guided: which of them are guided, (B,); None for all.

        Source: classifier-free guidance: Ho & Salimans 2022, arXiv 2207.12598, Eq. 6; `guidance` is its w + 1. It is
            linear in eps, so it may be applied to x0, v and velocities alike.
        """
        labels = self._labels(len(z), z.device, index)
        z = z.to(self.dtype or z.dtype)
        if time.is_floating_point() and z.dtype != torch.float64:
            time = time.float()
        if labels is None:
            return self._call(z, time)
        if self.convention.guidance == 1 or not (guided is None or guided.any()):
            return self._call(z, time, labels)
        assert self.convention.null_label is not None
        none = torch.full_like(labels, self.convention.null_label)
        both = self._call(torch.cat([z, z]), torch.cat([time, time]), torch.cat([labels, none]))
        with_class, without = both.chunk(2)
        mixed = torch.lerp(without, with_class, self.convention.guidance)
        return mixed if guided is None else torch.where(broadcast_like(z, guided), mixed, with_class)

    def _call(self, *inputs: Tensor) -> Tensor:
        out = self.net(*inputs)
        n, channels, *sizes = inputs[0].shape
        if isinstance(out, Tensor):
            if not out.is_floating_point():
                raise ValueError(f"network: it returned {out.dtype}; its output must hold real numbers")
            if out.shape not in ((n, channels, *sizes), (n, 2 * channels, *sizes)):
                shape = tuple(inputs[0].shape)
                raise ValueError(f"network: it returned shape {tuple(out.shape)} for images of shape {shape}")
            return out
        names = ", ".join(("z", "t", "labels")[: len(inputs)])
        access = "[0]" if isinstance(out, tuple | list) else ".sample"  # diffusers returns objects with `sample`
        raise ValueError(
            f"network: it returned {type(out).__name__}; it must return a tensor, so wrap it: "
            f"lambda {names}: net({names}){access}"
        )


def data_scale(pixels: Range, data: DataSet) -> tuple[float, float]:
    """a and b in y = a x0 + b: a network's units per standard deviation of the data, and the data's mean in them.

    Latents and points are in the network's units already; ValueError for their `pixels`.
    """
    if isinstance(data, Values):
        if pixels != Convention.pixels:
            how = "The network gets numbers as they are in the file; scale these if it needs others"
            raise ValueError(f"pixels={pixels}: data={data.name!r} has no pixels. {how}")
        return data.std, data.mean
    low, high = pixels
    return (high - low) * data.std / 255, low + (high - low) * data.mean / 255


def _border(data: DataSet, side: int | None) -> tuple[int, float]:
    """The width of the border around a network's images, and its value in standard deviations of the data."""
    whole = data.shape[-1]
    if side is None or (side == whole and isinstance(data, Images)):
        return 0, 0.0
    if not isinstance(data, Images):
        raise ValueError(f"side={side}: data={data.name!r} has no pixels; leave it out")
    if side > whole or (whole - side) % 2 or side < 1:
        raise ValueError(
            f"side={side}: data={data.name!r} has images of {whole}x{whole}, so it must be at most {whole}, and differ "
            "by an even number. For larger images of your own, name their size: npz64:PATH or folder64:PATH"
        )
    edge = (whole - side) // 2
    if not border_is_constant(data, edge):
        where = f"the outer {edge} pixels of data={data.name!r}"
        raise ValueError(f"side={side}: {where} are not constant; use a network for {whole}x{whole}")
    return edge, (data.pixels[0, 0, 0, 0].item() - data.mean) / data.std


def border_is_constant(data: Images, edge: int) -> bool:
    """Whether the outer `edge` pixels, fewer than half of the side, have one value in all images."""
    outside = torch.ones(data.shape[1:], dtype=torch.bool)
    outside[edge:-edge, edge:-edge] = False
    values = data.pixels[:, :, outside]
    return bool(values.min() == values.max())
