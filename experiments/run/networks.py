"""What samples are drawn from: a config that loads eps = model(x, sigma). Trained here, exact, or yours."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from diffusion_core.data import check_content, check_name, load
from diffusion_core.data_set import DataSet
from diffusion_core.exact import Empirical
from diffusion_core.fields import check_fields, check_range, one_of
from diffusion_core.networks import PARAMETERISATIONS, build
from diffusion_core.networks.build import TRUNKS
from diffusion_core.networks.parameterisations import Parameterised
from diffusion_core.noise import LogNormal, NoiseDistribution
from diffusion_core.samplers import Model
from diffusion_core.samplers.seeded_noise import block_seed
from diffusion_core.training import WEIGHTINGS, Step, train
from experiments.own import form
from experiments.own.external import WEIGHTS
from experiments.run import believe
from experiments.run.artifact import Artifact, tensors_of
from experiments.run.cache import Cache, Differs, Made
from experiments.run.identity import canonical, identity, registered
from experiments.run.machine import Machine

FIRST_STEPS = 2  # of which numbers are kept for the spot check
TRAINING_DIFFERS = 0.01  # relative
STRETCHES = 200  # equally long ones of a training; the mean loss of the last is reported
TRAIN_COST = 3.5  # network evaluations that a training image costs
Advance = Callable[[float], None]  # called with a number of network evaluations


@lru_cache(maxsize=4)
def data_of(data: str) -> DataSet:
    """The training split of a data set, loaded once per process."""
    loaded = load(data)
    check_content(loaded)
    return loaded


class Network(Protocol):
    """What samples are drawn from: a frozen dataclass with these attributes. Its identity is that of its fields."""

    @property
    def data(self) -> str:
        """The data set that samples are compared with."""

    @property
    def seed(self) -> int:
        """Of its training; it sets the seed of sampling too."""

    @property
    def machine(self) -> Machine:
        """On which it is made."""

    @property
    def cost(self) -> float:
        """Of making it, in network evaluations; 0 if it needs no file."""

    @property
    def foreign(self) -> bool:
        """Whether it is code that is not ours; then it is asked again after each use."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of x without the batch: (C, H, W) of images, (d,) of points."""

    def row(self) -> dict[str, Any]:
        """Its columns of table.csv."""

    def made(self, cache: Cache, advance: Advance) -> Artifact | None:
        """Its file, made if it is missing; None if it needs none."""

    def load(self, artifact: Artifact | None) -> Model:
        """eps = model(x, sigma), ready to sample."""

    def decode(self, x: Tensor) -> Tensor:
        """What is stored and scored of samples x (n, *shape): images uint8 (n, C, H, W), or floats (n, d)."""


class OfData:
    """A network whose x is standardised data, pixels or points."""

    data: str
    foreign: ClassVar[bool] = False

    @property
    def shape(self) -> tuple[int, ...]:
        return data_of(self.data).shape

    def decode(self, x: Tensor) -> Tensor:
        return form.decoded(None, data_of(self.data), x)


@dataclass(frozen=True)
class Exact(OfData):
    """The exact denoiser of the training images themselves: the optimum that an overfitting network approaches."""

    data: str = "mnist5k"
    held_out: int = 0  # images at the end of the data set that are not among them
    seed: int = 0  # stands in for a training seed
    machine: Machine = field(default_factory=Machine)
    cost: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        check_fields(self)
        check_name(self.data)
        check_range("held_out", self.held_out, 0)

    def row(self) -> dict[str, Any]:
        return {"network": "exact for the training images", "trained_by": "nobody"}

    def made(self, cache: Cache, advance: Advance) -> None:
        return None

    def load(self, artifact: Artifact | None) -> Model:
        return _exact(self)


@lru_cache(maxsize=2)
def _exact(network: Exact) -> Model:
    images = data_of(network.data)
    return Empirical(images.standardised()[: images.n_training(network.held_out)]).to(network.machine.device)


@dataclass(frozen=True)
class Trained(OfData):
    """A network trained here. The defaults are the recipe of Karras et al. 2022 (arXiv 2206.00364)."""

    # data and network
    data: str = "mnist5k"
    network: str = field(default="small", metadata=registered(TRUNKS))
    parameterisation: str = "preconditioned"
    held_out: int = 0  # images at the end of the data set that training does not see
    # noise levels
    noise: NoiseDistribution = field(default_factory=LogNormal)
    stratified: bool = False  # in a batch of n, one level from each of n equally probable parts of `noise`
    stable_above: float = math.inf  # noise level, see StableTargets
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

    def __post_init__(self) -> None:
        check_fields(self)
        check_name(self.data)
        one_of("network", self.network, TRUNKS)
        one_of("parameterisation", self.parameterisation, PARAMETERISATIONS)
        one_of("weighting", self.weighting, WEIGHTINGS)
        if not all(hasattr(self.noise, part) for part in ("name", "sample", "log_density")):
            raise ValueError(f"noise={self.noise!r}: it must be a NoiseDistribution, such as LogNormal()")
        for name, least in (("held_out", 0), ("warmup_images", 0), ("images_seen", 1), ("batch_size", 1)):
            check_range(name, getattr(self, name), least)
        if not 0 < self.lr < math.inf:
            raise ValueError(f"lr={self.lr}: it must be above 0, and finite")
        if not self.stable_above > 0:
            raise ValueError(f"stable_above={self.stable_above}: it must be above 0; inf for no stable targets")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay={self.ema_decay}: it must be at least 0 and below 1")
        if self.machine.compiled:
            raise ValueError("machine: compiled=True, but only sampling is ever compiled")

    @property
    def cost(self) -> float:
        return TRAIN_COST * self.images_seen

    def row(self) -> dict[str, Any]:
        law = self.noise if isinstance(self.noise, LogNormal) else None
        stable = f", stable targets above {self.stable_above:g}" if self.stable_above < math.inf else ""
        return {
            "network": self.network,
            "trained_by": "sigmabench",
            "p_mean": law and law.p_mean,
            "p_std": law and law.p_std,
            "train_noise": self.noise.name + (", stratified" if self.stratified else "") + stable,
            "weighting": self.weighting,
            "parameterisation": self.parameterisation,
            "images_seen": self.images_seen,
        }

    def made(self, cache: Cache, advance: Advance) -> Artifact:
        return cache.cached("networks", self, lambda: self._train(advance), check=self._check)

    def load(self, artifact: Artifact | None) -> Model:
        assert artifact is not None
        return _loaded(self, artifact.path, artifact.sum)

    def untrained(self) -> Parameterised:
        """A network as fast as this one."""
        return build(self.network, self.shape[0], self.parameterisation).to(self.machine.device).eval()

    def training(self) -> tuple[nn.Module, Iterator[Step]]:
        """The network, and the steps of its training, at whose end it has its final weights."""
        self.machine.pin()
        images = data_of(self.data)
        x0 = images.standardised()[: images.n_training(self.held_out)].to(self.machine.device)
        with torch.random.fork_rng(devices=[]):  # torch's layers take no generator: seed the global one for them only
            torch.manual_seed(block_seed(self.seed, -1))  # not the noise's seed: weights would repeat the noise
            model = build(self.network, images.shape[0], self.parameterisation).to(self.machine.device)
        model.fit(x0)
        same = ("batch_size", "lr", "warmup_images", "ema_decay", "weighting", "stratified", "stable_above", "seed")
        options = {name: getattr(self, name) for name in same}
        precision = self.machine.precision
        return model, train(model, x0, self.noise, n_images=self.images_seen, precision=precision, **options)

    def asked(self) -> tuple[Tensor, Tensor]:
        """What the noise distribution and the weighting answer, at the sizes at which training asks them."""
        last = self.images_seen % self.batch_size or self.batch_size
        levels = believe.levels_of(self.noise, self.stratified, self.batch_size, last)
        return levels, believe.weights_of(self.weighting, self.batch_size)

    def _train(self, advance: Advance) -> Made:
        before, (model, steps) = self.asked(), self.training()
        start, seen, losses = perf_counter(), 0, list[Tensor]()
        first, numbers = beginning(model, steps)
        for step in chain(first, steps):
            advance(TRAIN_COST * (step.images_seen - seen))
            seen = step.images_seen
            losses.append(step.loss)
        seconds, loss = perf_counter() - start, last_loss(torch.stack(losses).tolist())
        for what, answer, again in zip(("noise", "weighting"), before, self.asked(), strict=True):
            if not torch.equal(answer, again):
                raise ValueError(f"{what}: it gives other values after this training than before it")
        weights = {f"{WEIGHTS}{name}": value for name, value in model.state_dict().items()}
        return weights, {"train_seconds": seconds, "train_loss": loss, "first": numbers}

    def _check(self, stored: Artifact) -> None:
        """The first steps of its training, taken again."""
        _, numbers = beginning(*self.training())
        for name, again in numbers.items():
            before = stored.facts.get("first", {}).get(name, [])
            for old, new in zip(before, again, strict=False):
                if not abs(new - old) <= TRAINING_DIFFERS * abs(old):
                    why = (
                        f"the training of {named(self)}, begun again, has other {name}: {new:.4g} instead of {old:.4g}"
                    )
                    raise Differs(why, made_by(self))
            if len(before) != len(again):
                raise Differs(f"{named(self)} was stored without the {name} of its first steps", made_by(self))


def named(network: Network) -> str:
    return f"network {network.row()['network']} ({identity(network)}, seed {network.seed})"


def made_by(network: Network) -> dict[str, Any]:
    """A network as what `Differs` condemns."""
    return {named(network): canonical(network)}


@lru_cache(maxsize=4)
def _loaded(network: Trained, path: Path, checksum: str) -> Model:
    model, tensors = network.untrained(), tensors_of(path, checksum)
    weights = {key.removeprefix(WEIGHTS): value for key, value in tensors.items() if key.startswith(WEIGHTS)}
    model.load_state_dict(weights)
    return model


def beginning(model: nn.Module, steps: Iterator[Step]) -> tuple[list[Step], dict[str, list[float]]]:
    """The first steps of a training, and numbers that show a change of it.

    The losses hardly depend on the network, whose output layer starts at 0. The gradients depend on its other layers
    and their first weights, and how far the weights move depends on the optimiser and the learning rate.
    """
    weights = [weight.detach().clone() for weight in model.parameters()]
    first = list(islice(steps, FIRST_STEPS))
    with torch.no_grad():
        moved = [(now - before).norm() for now, before in zip(model.parameters(), weights, strict=True)]
    losses, gradients = [step.loss.item() for step in first], [step.gradient.item() for step in first]
    return first, {"losses": losses, "gradients": gradients, "moves": torch.stack(moved).tolist()}


def last_loss(losses: Sequence[float]) -> float:
    """The mean loss of the last stretch of a training, which may be shorter than the others."""
    steps = -(-len(losses) // STRETCHES)
    last = losses[(len(losses) - 1) // steps * steps :]
    return sum(last) / len(last)


RECIPES: dict[str, dict[str, Any]] = {  # what differs from Trained's defaults
    "plain": {},
    "fast": {
        "parameterisation": "mixture-input",
        "noise": LogNormal(0.2, 1.3),
        "stratified": True,
        "stable_above": 2.0,
    },
}
OF_POINTS: dict[str, Any] = {"noise": LogNormal(-1.2, 1.5), "stratified": True}  # the recipe fast for points
