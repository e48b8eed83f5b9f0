"""How exported code calls the network: with its labels, with guidance, and in its own number format."""

import math

from diffusion_core.data.dataset import Images
from experiments.export.target import Target
from experiments.own.diffusers_unet import Unet


def call(target: Target, time: str, level: str = "") -> str:
    """The lines that set `out` to what the network returns for z, in the number format of x.

    z is copied, because some networks change what they are given. The labels and the guidance are those of
    `diffusion_core.adapters.Adapter`.

    Args:
        time: the network's time for each image, as Python.
        level: the noise level, in units of the network's images, as Python; needed if not all levels are guided.
    """
    convention, index, guided = target.convention, takes_index(target), target.convention.guidance != 1
    low, high = (target.scale * level for level in convention.interval)
    lines = [f"time = {time}"]
    if index:
        lines.append("index = first + torch.arange(len(z), device=z.device)")
    if convention.labels is None:
        out = f"net({_copied('z', target)}, time{', index=index' * index})"
    else:
        lines.append(f"labels = {f'index % {convention.n_classes}' if index else _full(convention.labels)}")
        out = f"net({_copied('z', target)}, time, labels)"
    if guided:
        two = [
            f"none, twice = {_full(convention.null_label)}, {_copied('torch.cat([z, z])', target, new=True)}",
            "both = net(twice, torch.cat([time, time]), torch.cat([labels, none]))",
            "with_label, without = both.chunk(2)",
            f"out = torch.lerp(without, with_label, {convention.guidance!r})  # classifier-free guidance",
        ]
        everywhere = convention.interval == (0, math.inf)
        ends = f"{low!r} <= {level} <= {high!r}".replace("inf", "math.inf") if not everywhere else ""
        lines += two if everywhere else [f"if {ends}:", *(f"    {line}" for line in two), "else:", f"    out = {out}"]
        out = "out"
    lines.append(f"out = {out}[:, : z.shape[1]].to(x.dtype)")
    return "\n".join(" " * 8 + line for line in lines)


def takes_index(target: Target) -> bool:
    """Whether what the network is told depends on the index of the image."""
    return getattr(target.model, "takes_index", False) is True


def first(target: Target) -> str:
    """The index of the first image, as a further parameter of `sample`, if the network is told an index."""
    return ", first=0" if takes_index(target) else ""


def explained(target: Target) -> str:
    """What `net` and `noise` are, for the docstring of the function `sample`."""
    arguments = "x, sigma, index=..." if target.own is None and takes_index(target) else "z, time"
    if target.convention.labels is not None:
        arguments += ", labels"
    from_diffusers = target.own is not None and isinstance(target.own.net, Unet)
    what = f"unet({arguments}).sample" if from_diffusers else "your network after eval()"
    text = f"net({arguments}) is {what}; noise() draws unit noise, such as torch.randn(16, {size(target)})."
    return text + "\n\n    first is the index of the batch's first image.\n    " * takes_index(target)


def example(target: Target, more: str = "") -> str:
    """A last line of the code, a comment: how `sample` is called, and the range of its images.

    Args:
        more: further arguments before the noise, as Python.
    """
    unit, what = "in standard deviations of the data", "images"
    if not isinstance(target.data, Images):
        unit, what = ("as in your file" if target.own else unit), "points" if len(target.shape) == 1 else "latents"
    elif target.own is not None:
        unit = "from {:g} (black) to {:g} (white)".format(*target.convention.pixels)
    return f"\n# {what} = sample(net, {more}lambda: torch.randn(16, {size(target)}){first(target)})  # {unit}\n"


def size(target: Target) -> str:
    return ", ".join(map(str, target.shape))


def header(target: Target) -> str:
    """Lines of the code's header: the size of the images, labels, guidance and number format."""
    return "".join(f"# {line}\n" for line in (f"Noise: {' x '.join(map(str, target.shape))} per image", *facts(target)))


def facts(target: Target) -> list[str]:
    """What the network is told besides z and its time, for a person."""
    if target.own is None:
        return ["Index: the model is told the index of each image"] if takes_index(target) else []
    convention, lines = target.convention, list[str]()
    low, high = (target.scale * level for level in convention.interval)
    if convention.labels == "balanced":
        lines.append(f"Labels: image i has label i % {convention.n_classes}")
    elif convention.labels is not None:
        lines.append(f"Labels: every image has label {convention.labels}")
    if (scale := convention.guidance) != 1:
        where = "" if convention.interval == (0, math.inf) else f" from sigma {low:.6g} to {high:.6g} in these units"
        lines.append(f"Guidance: classifier-free, scale {scale:g}{where}; label {convention.null_label} is no label")
    if number_format(target) not in (None, "float32"):
        lines.append(f"Number format: the network gets {number_format(target)}")
    return lines


def number_format(target: Target) -> str | None:
    """The network's number format, such as "float16"; None if it is not known."""
    if target.own is None or target.own.dtype is None:
        return None
    return str(target.own.dtype).removeprefix("torch.")


def settings(target: Target) -> dict[str, object]:
    """The same for settings.json."""
    convention = target.convention if target.own else None
    names = ("labels", "n_classes", "guidance", "null_label")
    low, high = convention.interval if convention else (None, None)
    return {
        "model_shape": list(target.shape),
        **{f"model_{name}": getattr(convention, name, None) for name in names},
        "model_guidance_from": low,
        "model_guidance_to": None if high == math.inf else high,  # JSON has no infinity
        "model_takes_index": takes_index(target),
        "model_dtype": number_format(target),
    }


def _copied(z: str, target: Target, *, new: bool = False) -> str:
    """A copy of z in the network's number format, as Python; `new` says that z is a copy already."""
    if number_format(target) not in (None, "float32"):
        return f"{z}.to(torch.{number_format(target)}{'' if new else ', copy=True'})"
    return z if new else f"{z}.clone()"


def _full(value: object) -> str:
    return f"torch.full((len(z),), {value}, device=z.device)"
