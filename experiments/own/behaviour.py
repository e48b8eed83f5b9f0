"""Identifies a network from elsewhere by its parameters and its outputs on a fixed batch, in addition to its files.

Files alone do not determine a model: the files that they load, import or read may change. The outputs show such a
change.
"""

import hashlib
from dataclasses import asdict

import torch
from torch import Tensor, nn

from diffusion_core.adapters import Adapter
from diffusion_core.broadcast import along
from diffusion_core.data_set import DataSet
from diffusion_core.samplers import Model
from diffusion_core.samplers.checked import CheckedModel
from diffusion_core.samplers.sampling import at_samples
from diffusion_core.schedules import geometric
from experiments.own.form import check_decoded, clean, decoded, has_decode
from experiments.own.memory import out_of_memory
from experiments.own.user_code import of_user, told

N_IMAGES, FEW = 8, 3
SEED = 20_261
GREY = 2  # largest difference of a pixel between batches, by rounding
ALONE = 0.02  # largest difference between batches, relative to the image's largest output; bf16 rounds by 0.004


def is_random(model: Model) -> bool:
    """Whether a model is meant to be random, so that no two runs can be compared."""
    return getattr(model, "random", False) is True


@torch.no_grad()
@of_user("model")
def behaviour(model: Model, images: DataSet, device: str) -> str:
    """The SHA-256 of a model's parameters, buffers and outputs on eight noisy images, from sigma 30 down to 0.03.

    Args:
        model: on `device`. If its attribute `random` is True, its outputs are left out, because they differ each time.
        images: the data set that is sampled.

    Raises:
        ValueError: the model or its decode fails, returns something other than eps, changes its input, returns
            different outputs for the same input, or its output for an image depends on the rest of the batch.
    """
    digest = hashlib.sha256()
    if isinstance(model, Adapter):  # its outputs below do not show all labels, nor all levels
        digest.update(f"{asdict(model.convention)}\n".encode())
    if isinstance(model, nn.Module):
        for name, tensor in model.state_dict().items():
            if not isinstance(tensor, Tensor):  # what get_extra_state returns
                digest.update(f"{name} {tensor!r}\n".encode())
                continue
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    if is_random(model):
        _outputs(model, images, device, torch.arange(N_IMAGES), N_IMAGES)
    else:
        digest.update(check_batch(model, images, device, N_IMAGES).cpu().numpy().tobytes())
    if has_decode(model):  # weights that it loads are in no file that is hashed
        x0 = clean(model, images, torch.arange(N_IMAGES) % len(images)).to(device)
        check_decoded(shown := decoded(model, images, x0), N_IMAGES)
        few = torch.arange(N_IMAGES).flip(0)[:FEW]
        change = (decoded(model, images, x0[few]).double() - shown[few].double()).abs().max()
        if not is_random(model) and change > (GREY if shown.dtype == torch.uint8 else ALONE * shown.abs().max()):
            raise ValueError(
                f"decode: asked again for some of them, it gives other results, by up to {change:.3g}; what a sample "
                "shows must depend on that sample only, not on chance, the batch or earlier calls"
            )
        digest.update(b"" if is_random(model) else shown.numpy().tobytes())
    return digest.hexdigest()


@torch.no_grad()
def check_batch(model: Model, images: DataSet, device: str, n: int) -> Tensor:
    """eps of n noisy images in one batch, always the same ones, two at each noise level from sigma 30 down to 0.03.

    ValueError as in `behaviour`; also if the model remembers its answers by the noise level.
    """
    every = torch.arange(n)
    answers, again = (_outputs(model, images, device, every, n) for _ in range(2))
    if not torch.equal(answers, again):
        raise ValueError(
            f"model: asked the same twice, it answered differently, by up to {(answers - again).abs().max():.2g}; its "
            "answer must depend on x and sigma only, not on earlier calls. Is dropout or batch normalisation in "
            "training mode (model.eval())? If it is meant to be random, say so: give it an attribute random = True"
        )
    swapped, some = (every ^ 1).clamp(max=n - 1), every[:: max(n // FEW, 1)][:FEW]
    for order in (swapped, some):  # the same images in another batch
        difference = (_outputs(model, images, device, order, n) - answers[order]).abs().flatten(1).amax(dim=1)
        if (difference > ALONE * answers[order].abs().flatten(1).amax(dim=1)).any():
            raise ValueError(
                "model: its answer for an image depends on the other images of the batch, by up to "
                f"{difference.max():.2g}; then results would depend on the batch size. Is batch normalisation in "
                "training mode (model.eval()), does it normalise over the batch, or does it keep answers to earlier "
                "questions?"
            )
    return answers


def _outputs(model: Model, images: DataSet, device: str, which: Tensor, n: int) -> Tensor:
    """eps of some of n noisy images, in one batch; two of the n have the same noise level."""
    x0 = clean(model, images, torch.arange(n) % len(images)).to(device)
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(SEED)).to(device)
    levels = geometric(max((n + 1) // 2 - 1, 1), 30.0, 0.03)
    sigma = torch.tensor(levels, device=device).repeat_interleave(2)[:n]
    which = which.to(device)
    x, sigma = (x0 + along(x0, sigma) * noise)[which], sigma[which]
    inputs = {"x": x, "sigma": sigma, "index": which.clone()}
    before = {name: part.clone() for name, part in inputs.items()}

    try:
        eps = CheckedModel(at_samples(model, inputs["index"]))(x, sigma)
        for name, part in inputs.items():
            if not torch.equal(part, before[name]):
                raise ValueError(f"model: it changed {name} in place; it must leave its input as it is")
        return eps
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a user's model may raise anything
        ours = isinstance(error, ValueError) and str(error).startswith("model: ")
        if ours or out_of_memory(error):  # smaller batches may fit
            raise
        shape = tuple(x.shape[1:])
        raise ValueError(f"model: it failed on {len(x)} images of shape {shape}: {told(error)}") from error
