"""Training a network further with the exact eps as the target, on inputs of its own sampling or on ordinary ones.

further_stage   models/ID/   model.safetensors, config.json, losses.csv, meta.json (as of stages/train.py)

Only networks that were trained on a mixture can be trained like this: its exact eps is known for any x.
"""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from diffusion_core.noise.sigma import uniforms
from diffusion_core.precision import computing_in
from diffusion_core.samplers import Euler, Model
from diffusion_core.samplers.seeded_noise import BlockNoise
from diffusion_core.training import fit
from experiments.config.config import Ladder
from experiments.config.denoisers import TunedConfig
from experiments.config.identity import identity
from experiments.models.exact import mixture_images, mixture_of
from experiments.stages.common import Advance, images_of, load_model
from experiments.stages.hardware import use_threads
from experiments.stages.train import store_network
from experiments.store.store import Store

PATHS = 512  # trajectories that visited inputs are taken from
OWN_SEED = 70_000  # added to the seed of the network: of paths, draws and levels that nothing else uses


def further_stage(config: TunedConfig, store: Store, data_root: Path | None, advance: Advance) -> str:
    """The identity of a network that was trained further. Trains it and stores its averaged weights.

    Both kinds of inputs come in the same number and at the same levels, those of the sampling ladder, and have the
    exact eps as their target. So they differ in x alone.
    """
    name = identity(config)
    if store.has("models", name):
        return name
    store.check_writable()
    use_threads(config.machine.threads)
    device, shape = config.machine.device, images_of(config.data, data_root).shape
    exact = mixture_of(config.data).float().to(device)
    load_model.cache_clear()  # a network of its own, which may change
    model = load_model(config.base, store, data_root, device)
    load_model.cache_clear()
    sigmas = Ladder(n_steps=config.n_steps, sigma_min=config.sigma_min).sigmas()
    seed = OWN_SEED + config.seed
    paths = _paths(model, sigmas, seed, shape, config) if config.inputs == "visited" else None
    generator = torch.Generator(device).manual_seed(seed)

    def draw(n: int) -> tuple[Tensor, Tensor, Tensor]:
        step = (uniforms(n, generator, True) * config.n_steps).long()
        sigma = torch.tensor(sigmas, device=device)[step]
        which = torch.randint(PATHS, (n,), generator=generator, device=device)
        noise = torch.randn((n, *shape), generator=generator, device=device)
        x = clean[which] + sigma.view(-1, 1, 1, 1) * noise if paths is None else paths[step, which].to(noise)
        return x, sigma, exact(x, sigma)

    clean = mixture_images(mixture_of(config.data), shape, PATHS, seed).to(device)
    assert isinstance(model, torch.nn.Module)
    steps = fit(
        model, draw, n_images=config.images_seen, batch_size=config.base.batch_size, lr=config.lr,
        warmup_images=config.images_seen // 10, ema_decay=config.base.ema_decay, weighting=config.base.weighting,
        precision=config.machine.precision, device=torch.device(device),
    )  # fmt: skip
    return store_network(config, model, steps, store, advance, shape[0])


@torch.no_grad()
def _paths(model: Model, sigmas: tuple[float, ...], seed: int, shape: tuple[int, ...], config: TunedConfig) -> Tensor:
    """x before each step of the deterministic sampler, (n_steps, PATHS, C, H, W), float32."""
    device = torch.device(config.machine.device)
    parts = [_path(model, sigmas, seed, first, shape, device, config) for first in range(0, PATHS, 128)]
    return torch.cat(parts, dim=1)


def _path(
    model: Model, sigmas: tuple[float, ...], seed: int, first: int, shape: tuple[int, ...], device: torch.device,
    config: TunedConfig,
) -> Tensor:  # fmt: skip
    noise = BlockNoise(seed, first, min(128, PATHS - first), shape, device)
    x = noise() * sigmas[0]

    def eps(x: Tensor, sigma: float | Tensor) -> Tensor:
        with computing_in(config.machine.precision, device):
            return model(x, x.new_full((len(x),), float(sigma))).float()

    def visited() -> Iterator[Tensor]:
        yield x.clone()
        for after in Euler(0.0).run(eps, x, sigmas[:-1], noise):
            yield after.clone()

    return torch.stack(list(visited()))
