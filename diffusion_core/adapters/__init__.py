"""Adapters: other people's networks behind the model contract `eps = model(x, sigma)`, in three lines.

    vp      variance-preserving: DDPM, VP-SDE, v-diffusion, diffusers        z = sqrt(abar) y + sqrt(1 - abar) noise
    edm     variance-exploding: Karras et al., k-diffusion                   z = y + sigma_theirs noise
    flow    flow matching, rectified flow                                    z = (1 - t) y + t noise

y is an image in the network's own range, or a latent or point as it is in its file. The arguments that all three share:

    net         net(z, time), or net(z, time, labels)
    data        the data set, whose mean and standard deviation are our units: `load("mnist5k")`, or
                `load("latents:FILE.npy")`
    predicts    what the network returns
    pixels      its values of black and of white: (-1, 1), (0, 1), (-0.5, 0.5), ...
    side        of its images in pixels, if smaller than the data; the border must be constant, and is denoised exactly
    labels      None, one class, or "balanced": the label is the sample index mod n_classes
    guidance    scale of classifier-free guidance; it needs null_label, the label of no class
    guidance_from, guidance_to    the lowest and the highest sigma with guidance, in standard deviations of the data
    decode      for latents: a function from latents, as they are in their file, to images uint8 (n, C, H, W)
"""

from collections.abc import Callable
from typing import Any, TypedDict, Unpack

from torch import Tensor

from diffusion_core.adapters.adapter import Adapter, Convention, Labels, Range, border_is_constant
from diffusion_core.adapters.times import (
    CosineVP,
    FlowTime,
    LinearVP,
    LogSigma,
    Sigma,
    TableTime,
    Time,
    from_abar,
    from_betas,
    linear_betas,
)
from diffusion_core.data.dataset import DataSet

DDPM = linear_betas()
SIGMA = Sigma()
Network = Callable[..., Tensor]


class Shared(TypedDict, total=False):
    """The arguments of every adapter, see the top of this file."""

    pixels: Range
    side: int | None
    labels: Labels
    n_classes: int | None
    guidance: float
    guidance_from: float
    guidance_to: float
    null_label: int | None
    decode: Callable[[Tensor], Tensor] | None


def vp(net: Network, data: DataSet, *, predicts: str = "eps", time: Time = DDPM, **shared: Unpack[Shared]) -> Adapter:
    """A network of a variance-preserving process.

    Args:
        predicts: eps, x0 or v; `epsilon`, `sample` and `v_prediction` of diffusers. A network that
            returns the score, -eps / sqrt(1 - abar), is wrapped.
        time: `linear_betas()`, `from_betas(betas)`, `from_abar(abar)`, `LinearVP()` or `CosineVP()`. A network that
            takes t / 1000 is wrapped: lambda z, t: net(z, t / 1000).

    Note: the usual arguments are `predicts` and `time`. Do not confuse it with `edm`, whose input is not scaled by
        sqrt(abar): k-diffusion's wrappers of such a network do that inside, so they go into `edm`.
    """
    return _adapter(net, data, "vp", time, predicts, **shared)


def edm(net: Network, data: DataSet, *, predicts: str = "x0", time: Time = SIGMA, **shared: Unpack[Shared]) -> Adapter:
    """A network of a variance-exploding process, such as D(x, sigma) of Karras et al. 2022 (arXiv 2206.00364).

    Args:
        predicts: x0 (the preconditioned D), or eps.
        time: `Sigma()` in the network's own units, or `LogSigma(factor)`.

    Note: usually all defaults fit. Do not confuse D, the preconditioned network, with the raw one inside, F, whose
        input and output are scaled.
    Example: edm(lambda z, sigma: D(z, sigma, None), load("cifar10"))
    """
    return _adapter(net, data, "edm", time, predicts, **shared)


def flow(
    net: Network, data: DataSet, *, predicts: str = "velocity", data_at: int = 0, **shared: Unpack[Shared]
) -> Adapter:
    """A network of a flow along straight lines between data and noise.

    Args:
        predicts: velocity, dz/dt in the network's own time; or x0 or eps.
        data_at: the time of the data: 0 if t = 1 is noise, 1 if t = 0 is noise (Lipman et al. 2023, arXiv 2210.02747).
            A network that takes 1000 t is wrapped: lambda z, t: net(z, 1000 * t).

    Note: also called rectified flow, conditional optimal transport, and the linear interpolant of SiT. Flow models of
        diffusers have data_at=0 and take 1000 t. Do not confuse the velocity with v of `vp`.
    """
    if predicts == "velocity" and data_at == 1:
        predicts = "velocity to data"
    return _adapter(net, data, "flow", FlowTime(data_at), predicts, **shared)


def _adapter(
    net: Network, data: DataSet, process: str, time: Time, predicts: str, decode: Any = None, **shared: Any
) -> Adapter:
    return Adapter(net, data, Convention(process, time, predicts, **shared), decode)
