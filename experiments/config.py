"""What a run is: one frozen dataclass a stage, validated, each with an identity.

Identity = the first 12 hex digits of the SHA-256 of the canonical JSON. Same identity, same result: nothing is
computed twice. Every field that changes a result is in it; fields marked `metadata=FREE` change none.
"""

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

from diffusion_core.data import check_name
from diffusion_core.dialects import beta_from_eta, largest_eta
from diffusion_core.networks import NAMES as NETWORK_NAMES
from diffusion_core.noise import LogNormal, LogUniform
from diffusion_core.samplers import Steps, alpha_beta_steps, eta_steps
from diffusion_core.schedules import alpha_beta_ratio, check_ends, geometric
from diffusion_core.training import PRECISIONS, WEIGHTINGS
from experiments.features import FEATURES
from experiments.metrics import GROUPS

SCHEMA = 1  # raise it when the same config starts to give another result
FREE = {"identity": False}


def canonical(value: Any) -> Any:
    """`value` as plain JSON data: a dataclass becomes its class name and its fields, without those marked FREE."""
    if dataclasses.is_dataclass(value):
        fields = [f.name for f in dataclasses.fields(value) if f.metadata.get("identity", True)]
        return {"class": type(value).__name__} | {name: canonical(getattr(value, name)) for name in fields}
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    return value


def identity(config: Any) -> str:
    """The identity of a config: 12 hex digits."""
    text = json.dumps({"schema": SCHEMA, "config": canonical(config)}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name}={value!r}: it must be one of {', '.join(allowed)}")


def _at_least(name: str, value: float, least: float) -> None:
    if not least <= value < math.inf:
        raise ValueError(f"{name}={value}: it must be at least {least}")


@dataclass(frozen=True)
class Machine:
    """Where and how a stage computes, resolved: part of a result's identity, since rounding depends on it."""

    device: str = "cpu"  # kind: cpu or cuda
    precision: str = "fp32"  # fp32, or bf16 for autocast to bfloat16
    compiled: bool = False
    threads: int = 1  # CPU threads of one run
    torch_minor: str = field(default_factory=lambda: ".".join(torch.__version__.split(".")[:2]))

    def __post_init__(self) -> None:
        _one_of("device", self.device, ("cpu", "cuda"))
        _one_of("precision", self.precision, PRECISIONS)
        _at_least("threads", self.threads, 1)

    @classmethod
    def resolve(cls, device: str = "auto", precision: str = "auto", threads: int | None = None) -> "Machine":
        """The machine at hand: CUDA where there is one; bf16 where the hardware multiplies in it."""
        _one_of("device", device, ("auto", "cpu", "cuda"))
        _one_of("precision", precision, ("auto", *PRECISIONS))
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device == "cuda" and not torch.cuda.is_available():
            raise ValueError("device='cuda': PyTorch sees no CUDA device here; use --device cpu")
        if precision == "auto":
            has_bf16 = torch.cuda.is_bf16_supported() if device == "cuda" else _cpu_multiplies_bf16()
            precision = "bf16" if has_bf16 else "fp32"
        return cls(device, precision, threads=threads or torch.get_num_threads())


@dataclass(frozen=True)
class TrainConfig:
    """One training run."""

    # what
    data: str = "mnist5k"
    network: str = "small"
    # noise levels
    noise: LogNormal | LogUniform = field(default_factory=LogNormal)
    weighting: str = "karras"  # factor on the squared eps error, see training.WEIGHTINGS
    # budget
    images_seen: int = 200_000  # training images seen in all, repeats counted
    batch_size: int = 64
    lr: float = 3e-3
    warmup_images: int = 10_000
    ema_decay: float = 0.999  # a step
    # randomness and machine
    seed: int = 0
    machine: Machine = Machine()

    def __post_init__(self) -> None:
        check_name(self.data)
        _one_of("network", self.network, NETWORK_NAMES)
        _one_of("weighting", self.weighting, tuple(WEIGHTINGS))
        for name in ("images_seen", "batch_size"):
            _at_least(name, getattr(self, name), 1)
        if not self.lr > 0:
            raise ValueError(f"lr={self.lr}: it must be above 0")


@dataclass(frozen=True)
class GeometricRule:
    """A geometric ladder of exactly n_steps with exact ends; alpha and beta follow from eta."""

    n_steps: int
    eta: float
    sigma_max: float = 30.0
    sigma_min: float = 0.03
    schedule: ClassVar[str] = "geometric"

    def __post_init__(self) -> None:
        _at_least("n_steps", self.n_steps, 1)
        check_ends(self.sigma_max, self.sigma_min)
        beta_from_eta(self.eta, self.ratio)

    @property
    def ratio(self) -> float:
        """sigma' / sigma of every step."""
        return (self.sigma_min / self.sigma_max) ** (1 / self.n_steps)

    @property
    def largest_eta(self) -> float:
        return largest_eta(self.ratio)

    def steps(self) -> Steps:
        return eta_steps(geometric(self.n_steps, self.sigma_max, self.sigma_min), self.eta)


@dataclass(frozen=True)
class AlphaBetaRule:
    """The original rule: alpha and beta fixed, stop at the first level at or below sigma_min."""

    alpha: float
    beta: float
    sigma_max: float = 30.0
    sigma_min: float = 0.03
    schedule: ClassVar[str] = "alpha-beta"

    def __post_init__(self) -> None:
        check_ends(self.sigma_max, self.sigma_min)
        alpha_beta_ratio(self.alpha, self.beta)

    def steps(self) -> Steps:
        return alpha_beta_steps(self.alpha, self.beta, self.sigma_max, self.sigma_min)


@dataclass(frozen=True)
class SampleConfig:
    """One sampling run from one trained network."""

    model: TrainConfig
    rule: GeometricRule | AlphaBetaRule
    n_samples: int
    seed: int = 0  # runs that share it share their initial noise
    final_denoise: bool = False
    machine: Machine = Machine()
    batch_size: int = field(default=256, metadata=FREE)

    def __post_init__(self) -> None:
        _at_least("n_samples", self.n_samples, 2 * GROUPS)  # so that half of them still fill the jackknife's groups
        _at_least("batch_size", self.batch_size, 1)

    @property
    def planned_nfe(self) -> int:
        """Network evaluations an image that the rule asks for; what a row reports is counted, not planned."""
        return len(self.rule.steps().alphas) + self.final_denoise


@dataclass(frozen=True)
class ReferenceConfig:
    """The features of a data set's training images."""

    data: str
    features: str
    features_id: str  # hash of the extractor's weights

    def __post_init__(self) -> None:
        check_name(self.data)
        _one_of("features", self.features, FEATURES)


@dataclass(frozen=True)
class ScoreConfig:
    """One scoring run: samples against the training images, n_samples of them set aside (see metrics.Pool)."""

    samples: SampleConfig
    reference: ReferenceConfig


def _cpu_multiplies_bf16() -> bool:
    """Whether the CPU has bfloat16 dot products (AVX512-BF16 or AMX); elsewhere bf16 is emulated and slow."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
