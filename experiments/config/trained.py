"""Networks trained here: their config, and the recipes of the option --recipe."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from diffusion_core.data import check_name
from diffusion_core.fields import check_fields, check_range, one_of
from diffusion_core.networks import NAMES as NETWORKS
from diffusion_core.networks import PARAMETERISATIONS, build
from diffusion_core.networks.build import TRUNKS
from diffusion_core.noise import LogNormal, NoiseDistribution
from diffusion_core.samplers import Model
from diffusion_core.samplers.seeded_noise import block_seed
from diffusion_core.training import WEIGHTINGS, Step, train
from experiments.config.denoisers import Loader, Machine, ModelConfig
from experiments.config.identity import UNLESS_DEFAULT, registered


@dataclass(frozen=True)
class TrainConfig(ModelConfig):
    """One training run."""

    # data and network
    data: str = "mnist5k"
    network: str = field(default="small", metadata=registered(TRUNKS))
    parameterisation: str = "preconditioned"
    held_out: int = 0  # images at the end of the data set that training does not see
    # noise levels
    noise: NoiseDistribution = field(default_factory=LogNormal)
    stratified: bool = False  # in a batch of n, one level from each of n equally probable parts of `noise`
    stable_above: float = field(default=math.inf, metadata=UNLESS_DEFAULT)  # noise level, see StableTargets
    # weight of the squared error of eps in the loss, see training.WEIGHTINGS
    weighting: str = field(default="karras", metadata=registered(WEIGHTINGS))
    # budget
    images_seen: int = 200_000  # training images seen in all, repeats counted
    batch_size: int = 64
    lr: float = 3e-3
    warmup_images: int = 10_000
    ema_decay: float = 0.999  # per step
    # randomness and machine
    seed: int = 0
    machine: Machine = field(default_factory=Machine)
    trained_by: ClassVar[str] = "sigmabench"

    def __post_init__(self) -> None:
        check_fields(self)
        check_name(self.data)
        one_of("network", self.network, NETWORKS)
        one_of("parameterisation", self.parameterisation, PARAMETERISATIONS)
        one_of("weighting", self.weighting, WEIGHTINGS)
        if not all(hasattr(self.noise, part) for part in ("name", "sample", "log_density")):
            raise ValueError(f"noise={self.noise!r}: it must be a NoiseDistribution, such as LogNormal()")
        for name in ("held_out", "warmup_images"):
            check_range(name, getattr(self, name), 0)
        for name in ("images_seen", "batch_size"):
            check_range(name, getattr(self, name), 1)
        if not 0 < self.lr < math.inf:
            raise ValueError(f"lr={self.lr}: it must be above 0, and finite")
        if not self.stable_above > 0:
            raise ValueError(f"stable_above={self.stable_above}: it must be above 0; inf for no stable targets")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay={self.ema_decay}: it must be at least 0 and below 1")

    @property
    def description(self) -> str:
        return self.network

    @property
    def networks(self) -> tuple[ModelConfig, ...]:
        return (self,)

    @property
    def timed(self) -> tuple[ModelConfig, ...]:
        return (self,)

    @property
    def speed_key(self) -> str:
        return self.network if self.parameterisation == "preconditioned" else f"{self.network} {self.parameterisation}"

    def row(self) -> dict[str, Any]:
        law = self.noise if isinstance(self.noise, LogNormal) else None
        stratified = ", stratified" if self.stratified else ""
        stable = f", stable targets above {self.stable_above:g}" if self.stable_above < math.inf else ""
        return super().row() | {
            "p_mean": law and law.p_mean,
            "p_std": law and law.p_std,
            "train_noise": self.noise.name + stratified + stable,
            "weighting": self.weighting,
            "parameterisation": self.parameterisation,
            "images_seen": self.images_seen,
        }

    def untrained(self, loader: Loader) -> nn.Module:
        channels = loader.images(self.data).shape[0]
        return build(self.network, channels, self.parameterisation).to(loader.device).eval()

    def load(self, loader: Loader) -> Model:
        return self.with_weights(loader.weights(self), loader)

    def with_weights(self, weights: dict[str, Tensor], loader: Loader) -> nn.Module:
        """The network with these weights."""
        model = self.untrained(loader)
        model.load_state_dict(weights)
        return model

    def training(self, loader: Loader) -> tuple[nn.Module, Iterator[Step]]:
        images = loader.images(self.data)
        x0 = images.standardised()[: images.n_training(self.held_out)].to(loader.device)
        with torch.random.fork_rng(devices=[]):  # torch's layers take no generator: seed the global one for them only
            torch.manual_seed(block_seed(self.seed, -1))  # not the noise's seed: weights would repeat the noise
            model = build(self.network, images.shape[0], self.parameterisation).to(loader.device)
        model.fit(x0)
        steps = train(
            model,
            x0,
            self.noise,
            n_images=self.images_seen,
            batch_size=self.batch_size,
            lr=self.lr,
            warmup_images=self.warmup_images,
            ema_decay=self.ema_decay,
            weighting=self.weighting,
            stratified=self.stratified,
            stable_above=self.stable_above,
            precision=self.machine.precision,
            seed=self.seed,
        )
        return model, steps


# How networks are trained, by name: what differs from TrainConfig's defaults, which are those of Karras et al. 2022.
RECIPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "fast": {
        "parameterisation": "mixture-input",
        "noise": LogNormal(0.2, 1.3),
        "stratified": True,
        "stable_above": 2.0,
    },
}
