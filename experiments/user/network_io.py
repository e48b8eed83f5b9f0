"""The shape of a network's x, how x becomes what is compared with real images, and the network's fingerprint.

Shape and decoding are those of the data, unless the network says otherwise, as adapters do: `decode(x)` gives images
uint8 (n, C, H, W), and `shape` is a tuple.
"""

import hashlib
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from diffusion_core.adapters import Adapter
from diffusion_core.data.dataset import DataSet, Values
from diffusion_core.data.readers import check_pixel_range
from diffusion_core.samplers import Model
from diffusion_core.samplers.checked import CheckedModel
from diffusion_core.samplers.sampling import bind_index
from diffusion_core.schedules import geometric
from diffusion_core.tensors import broadcast_like
from experiments.user.imports import format_error, user_code_errors
from experiments.user.memory import out_of_memory
from experiments.user.repeatable import check_repeatable

AT_ONCE = 64  # samples that are decoded at a time
N_IMAGES = 8
FEW = 3
SEED = 20_261
ALONE = 0.01  # largest difference of an output between batches, relative to its size; bf16 rounds by 0.004
HINT = ". Is dropout or batch normalisation in training mode (model.eval())? If it is meant to be random: random = True"


def shape_of(model: Model, data: DataSet) -> tuple[int, ...]:
    """The shape of x without the batch: that of the data, unless a network with `decode` says otherwise."""
    if not callable(getattr(model, "decode", None)) or (shape := getattr(model, "shape", None)) is None:
        return data.shape
    return tuple(shape)


def has_decode(model: Model | None) -> bool:
    return model.decoder is not None if isinstance(model, Adapter) else callable(getattr(model, "decode", None))


@torch.no_grad()
@user_code_errors("decode")
def decode(model: Model | None, data: DataSet, x: Tensor) -> Tensor:
    """Decodes samples x (n, *shape) to images uint8 (n, C, H, W), or to points float32 (n, d), on the CPU.

    `model`: None for a network that works on the data as they are. ValueError for latents that no network decodes.
    """
    decode: Any = getattr(model, "decode") if has_decode(model) else data.decode  # noqa: B009  # mypy knows none
    return torch.cat([decode(batch).cpu() for batch in x.split(AT_ONCE)])


def check_decoded(out: Tensor, n: int) -> None:
    """Raises ValueError unless it is n images uint8 (n, C, H, W), or n finite points float32 (n, d)."""
    images = out.ndim == 4 and out.dtype == torch.uint8 and out.shape[1] in (1, 3)
    points = out.ndim == 2 and out.dtype == torch.float32 and bool(out.isfinite().all())
    if len(out) != n or not (images or points):
        must = "it must be uint8 (n, C, H, W) with C 1 or 3, or finite float32 (n, d)"
        raise ValueError(f"decode: it gave {out.dtype} {tuple(out.shape)} for {n} samples; {must}")


def check_size(shape: tuple[int, ...], data: DataSet) -> None:
    """Raises ValueError unless samples that show this, without the batch, can be compared with the data."""
    if shape != data.shape:
        grey = "images are grey, with one channel, if red, green and blue agree in all of them"
        size = "another size is --images folder256:PATH or npz256:PATH, with any number from 8 to 1024"
        hint = "" if isinstance(data, Values) else f"; {grey if shape[1:] == data.shape[1:] else size}"
        raise ValueError(f"decode: its shape is {shape}, but that of data={data.name!r} is {data.shape}{hint}")


def clean_images(model: Model, data: DataSet, which: Tensor) -> Tensor:
    """Clean x (n, *shape) from the data at these indices; zeros if the network does not work on these data."""
    shape = shape_of(model, data)
    return data.standardised(which) if shape == data.shape else torch.zeros(len(which), *shape)


def is_random(model: Model) -> bool:
    return getattr(model, "random", False) is True


@torch.no_grad()
@user_code_errors("model")
def network_fingerprint(model: Model, images: DataSet, device: str) -> str:
    """The SHA-256 of a model's parameters, buffers and outputs on eight noisy images; outputs only if it is not random.

    ValueError if the model or its decode fails, returns something other than eps, changes its input, or depends on more
    than its input, see `check_repeatable`.
    """
    digest = hashlib.sha256()
    if isinstance(model, Adapter):  # its outputs below do not show all labels, nor all levels
        digest.update(f"{asdict(model.convention)}\n".encode())
    for name, tensor in model.state_dict().items() if isinstance(model, nn.Module) else ():
        if isinstance(tensor, Tensor):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
        else:  # what get_extra_state returns
            digest.update(f"{name} {tensor!r}\n".encode())
    if is_random(model):
        _outputs(model, images, device, torch.arange(N_IMAGES), N_IMAGES)
    else:
        digest.update(check_batch(model, images, device, N_IMAGES).cpu().numpy().tobytes())
    if has_decode(model):  # weights that it loads are in no file that is hashed
        x0 = clean_images(model, images, torch.arange(N_IMAGES) % len(images)).to(device)
        check_decoded(shown := decode(model, images, x0), N_IMAGES)
        if shown.dtype == torch.uint8:
            check_pixel_range(int(shown.max()), "the images that decode gives")
        if not is_random(model):
            check_repeatable("decode", lambda which: decode(model, images, x0[which]).double(), N_IMAGES, ALONE, FEW)
        digest.update(b"" if is_random(model) else shown.numpy().tobytes())
    return digest.hexdigest()


@torch.no_grad()
def check_batch(
    model: Model, images: DataSet, device: str, n: int, most: int = 0, what: str = "model", hint: str = HINT
) -> Tensor:
    """eps of n noisy images, always the same ones, in one batch. ValueError as in `network_fingerprint`.

    `most`: as in `check_repeatable`.
    """
    return check_repeatable(what, lambda which: _outputs(model, images, device, which, n), n, ALONE, FEW, most, hint)


def _outputs(model: Model, images: DataSet, device: str, which: Tensor, n: int) -> Tensor:
    """eps of some of n noisy images, in one batch: two at each noise level from sigma 30 down to 0.03."""
    x0 = clean_images(model, images, torch.arange(n) % len(images)).to(device)
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(SEED)).to(device)
    levels = geometric(max((n + 1) // 2 - 1, 1), 30.0, 0.03)
    sigma = torch.tensor(levels, device=device).repeat_interleave(2)[:n]
    which = which.to(device)
    x = (x0 + broadcast_like(x0, sigma) * noise)[which]
    sigma = sigma[which]
    inputs = {"x": x, "sigma": sigma, "index": which.clone()}
    before = {name: value.clone() for name, value in inputs.items()}
    try:
        eps = CheckedModel(bind_index(model, inputs["index"]))(x, sigma)
    except BaseException as error:  # a user's model may raise anything
        ours = isinstance(error, ValueError) and str(error).startswith("model: ")
        if ours or isinstance(error, KeyboardInterrupt) or out_of_memory(error):  # smaller batches may fit
            raise
        where = f"{len(x)} images of shape {tuple(x.shape[1:])}"
        raise ValueError(f"model: it failed on {where}: {format_error(error)}") from error
    if changed := [name for name, value in inputs.items() if not torch.equal(value, before[name])]:
        raise ValueError(f"model: it changed {changed[0]} in place; it must leave its input as it is")
    return eps
