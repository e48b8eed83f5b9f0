"""Training a network further with the exact eps as the target, on inputs of its own sampling or on ordinary ones.

Only networks that were trained on a mixture can be trained like this: its exact eps is known for any x.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, ClassVar

import torch
from torch import nn

from diffusion_core.fields import check_fields, check_range
from diffusion_core.noise.sigma import uniforms
from diffusion_core.precision import computing_in
from diffusion_core.samplers import Euler, Model
from diffusion_core.samplers.sampling import sample
from diffusion_core.training import Batch, Step, optimise
from experiments.config.config import Ladder
from experiments.config.denoisers import Loader, ModelConfig
from experiments.config.identity import UNLESS_DEFAULT
from experiments.config.names import one_of
from experiments.config.trained import TrainConfig
from experiments.models.exact import mixture_images, mixture_of

AT_ONCE = 128  # trajectories
OWN_SEED = 70_000  # added to the seed of the network: of paths, draws and levels that nothing else uses


@dataclass(frozen=True)
class TunedConfig(ModelConfig):
    """A network of this package that was trained further, with the exact eps as the target.

    Args:
        base: the network.
        inputs: visited, x on the network's own trajectories without noise; or fresh, x0 + sigma * noise.
        images_seen: further inputs trained on.
        lr: the largest learning rate; it falls to 0.
        n_steps, sigma_min: of the ladder of the trajectories.
        n_paths: trajectories that visited inputs are taken from, and draws of the data that fresh ones are.
    """

    base: TrainConfig
    inputs: str
    images_seen: int = 20_000
    lr: float = 1e-3
    n_steps: int = 66
    sigma_min: float = field(default=0.03, metadata=UNLESS_DEFAULT)
    n_paths: int = field(default=512, metadata=UNLESS_DEFAULT)
    trained_by: ClassVar[str] = "sigmabench"
    data = property(attrgetter("base.data"))
    seed = property(attrgetter("base.seed"))
    machine = property(attrgetter("base.machine"))
    held_out = property(attrgetter("base.held_out"))

    def __post_init__(self) -> None:
        check_fields(self)
        one_of("inputs", self.inputs, ("visited", "fresh"))
        check_range("images_seen", self.images_seen, 1)

    @property
    def description(self) -> str:
        return f"{self.base.description}, then {self.images_seen:,} {self.inputs} inputs"

    @property
    def networks(self) -> tuple[ModelConfig, ...]:
        return self.base, self

    @property
    def timed(self) -> tuple[ModelConfig, ...]:
        return (self.base,)

    def row(self) -> dict[str, Any]:
        return self.base.row() | {"network": self.description}

    def load(self, loader: Loader) -> Model:
        return self.base.with_weights(loader.weights(self), loader)

    def training(self, loader: Loader) -> tuple[nn.Module, Iterator[Step]]:
        """See `ModelConfig`. Both kinds of inputs have the same number, levels and target: they differ in x alone."""
        shape, device = loader.images(self.data).shape, torch.device(loader.device)
        exact = mixture_of(self.data).float().to(device)
        model = self.base.with_weights(loader.weights(self.base), loader)
        sigmas = Ladder(n_steps=self.n_steps, sigma_min=self.sigma_min).sigmas()
        seed = OWN_SEED + self.seed
        paths = None
        if self.inputs == "visited":  # x before each step, (n_steps, n_paths, C, H, W)
            with computing_in(self.machine.precision, device):
                paths = sample(model, sigmas[:-1], Euler(0.0), shape=shape, n_samples=self.n_paths, seed=seed,
                               batch_size=AT_ONCE, device=device, trajectory=True)  # fmt: skip
        clean = mixture_images(mixture_of(self.data), shape, self.n_paths, seed).to(device)
        generator = torch.Generator(device).manual_seed(seed)

        def draw(n: int) -> Batch:
            step = (uniforms(n, generator, True) * self.n_steps).long()
            sigma = torch.tensor(sigmas, device=device)[step]
            which = torch.randint(self.n_paths, (n,), generator=generator, device=device)
            noise = torch.randn((n, *shape), generator=generator, device=device)
            x = clean[which] + sigma.view(-1, 1, 1, 1) * noise if paths is None else paths[step, which].to(noise)
            return x, sigma, exact(x, sigma)

        steps = optimise(
            model, draw, n_images=self.images_seen, batch_size=self.base.batch_size, lr=self.lr,
            warmup_images=self.images_seen // 10, ema_decay=self.base.ema_decay, weighting=self.base.weighting,
            precision=self.machine.precision, device=device,
        )  # fmt: skip
        return model, steps
