"""Identifies a network from elsewhere by its parameters and its outputs on a fixed batch, in addition to its files.

Files alone do not determine a model: the files that they load, import or read may change. The outputs show such a
change.
"""

import hashlib
from dataclasses import asdict

import torch
from torch import Tensor, nn

from diffusion_core.adapters import Adapter
from diffusion_core.data import Images
from diffusion_core.samplers import Model
from diffusion_core.samplers.checked import CheckedModel
from diffusion_core.samplers.sampling import at_samples
from diffusion_core.schedules import geometric
from experiments.models.failures import of_user, reasons, told

N_IMAGES = 8
SEED = 20_261
ALONE = 0.02  # largest difference between batches, relative to the image's largest output; bf16 rounds by 0.004


def is_random(model: Model) -> bool:
    """Whether a model is meant to be random, so that no two runs can be compared."""
    return getattr(model, "random", False) is True


@torch.no_grad()
@of_user("model")
def behaviour(model: Model, images: Images, device: str) -> str:
    """The SHA-256 of a model's parameters, buffers and outputs on eight noisy images, from sigma 30 down to 0.03.

    Args:
        model: on `device`. If its attribute `random` is True, its outputs are left out, because they differ each time.
        images: the data set that is sampled.

    Raises:
        ValueError: the model fails, returns something other than eps, changes its input, returns different outputs
            for the same input, or its output for an image depends on the rest of the batch.
    """
    digest = hashlib.sha256()
    if isinstance(model, Adapter):  # its outputs below do not show all labels, nor all levels
        digest.update(f"{asdict(model.convention)}\n".encode())
    if isinstance(model, nn.Module):
        for name, tensor in model.state_dict().items():
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    every = range(min(N_IMAGES, len(images.pixels)))
    first, second = (_outputs(model, images, device, every) for _ in range(2))
    if is_random(model):
        return digest.hexdigest()
    if not torch.equal(first, second):
        raise ValueError(
            f"model: asked the same twice, it answered differently, by up to {(first - second).abs().max():.2g}. Is "
            "dropout or batch normalisation in training mode (model.eval())? If it is meant to be random, say so: "
            "give it an attribute random = True"
        )
    some = every[::-2]
    expected = first[list(some)]
    difference = (_outputs(model, images, device, some) - expected).abs().flatten(1).amax(dim=1)
    if (difference > ALONE * expected.abs().flatten(1).amax(dim=1)).any():
        raise ValueError(
            "model: its answer for an image depends on the other images of the batch, by up to "
            f"{difference.max():.2g}; then results would depend on the batch size. Is batch normalisation in training "
            "mode (model.eval()), or does it normalise over the batch?"
        )
    digest.update(first.cpu().numpy().tobytes())
    return digest.hexdigest()


@torch.no_grad()
def answers(model: Model, images: Images, device: str) -> Tensor | None:
    """eps of eight noisy images, always the same; None if the model is meant to be random."""
    if is_random(model):
        return None
    return _outputs(model, images, device, range(min(N_IMAGES, len(images.pixels))))


def _outputs(model: Model, images: Images, device: str, which: range) -> Tensor:
    """eps of these of the first eight images of the data set, in one batch, each at its own noise level."""
    x0 = images.standardised(slice(N_IMAGES)).to(device)
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(SEED)).to(device)
    sigma = torch.tensor(geometric(N_IMAGES - 1, 30.0, 0.03)[: len(x0)], device=device)
    x, sigma = (x0 + sigma.view(-1, 1, 1, 1) * noise)[list(which)], sigma[list(which)]
    inputs = {"x": x, "sigma": sigma, "index": torch.tensor(list(which), device=device)}
    before = {name: part.clone() for name, part in inputs.items()}

    def asked(model: Model) -> Tensor:
        return CheckedModel(at_samples(model, inputs["index"]))(x, sigma).clone()

    try:
        eps = asked(model)
        for name, part in inputs.items():
            if not torch.equal(part, before[name]):
                raise ValueError(f"model: it changed {name} in place; it must leave its input as it is")
        return eps
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a user's model may raise anything
        if isinstance(error, ValueError) and str(error).startswith("model: "):
            raise
        raise ValueError(
            f"model: it failed on {len(x)} images of shape {images.shape}: {told(error)}"
            f"{reasons(model, error, x, asked)}"
        ) from error
