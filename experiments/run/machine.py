"""Pinned computing: on one machine the same identity gives the same values, bit for bit."""

from dataclasses import dataclass, field

import torch

from diffusion_core.fields import check_fields, check_range, one_of
from diffusion_core.precision import PRECISIONS
from experiments.own.memory import keep_freed
from experiments.run.hardware import check_threads, cores, use_threads


@dataclass(frozen=True)
class Machine:
    """Where and how a step computes. It is part of a result's identity, because rounding depends on it."""

    device: str = "cpu"  # cpu, cuda or mps
    precision: str = "fp32"  # fp32, or bf16 for autocast to bfloat16
    compiled: bool = False  # whether sampling uses a network compiled by TorchInductor
    threads: int = 1  # CPU threads of one run
    torch_minor: str = field(default_factory=lambda: ".".join(torch.__version__.split(".")[:2]))

    def __post_init__(self) -> None:
        check_fields(self)
        one_of("device", self.device, ("cpu", "cuda", "mps"))
        one_of("precision", self.precision, PRECISIONS)
        check_range("threads", self.threads, 1)

    @classmethod
    def resolve(cls, device: str, precision: str = "fp32", threads: int | None = None, workers: int = 1) -> "Machine":
        """This machine, whose cores `workers` share. ValueError for a device or a number of threads that it lacks."""
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        if not here.get(device, True):
            raise ValueError(f"device={device!r}: PyTorch sees no {device.upper()} device here; use --device cpu")
        check_range("workers", workers, 1)
        check_threads(threads)
        return cls(device, precision, threads=max(cores() // workers, 1) if threads is None else threads)

    def pin(self) -> None:
        """Makes this process compute in this way: threads split sums, cuDNN chooses kernels, TF32 drops digits."""
        keep_freed()
        use_threads(self.threads)
        torch.set_float32_matmul_precision("highest")  # else a CPU may multiply in bfloat16
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False


def pin_scores() -> None:
    """Scores are computed on one thread: their many small products are slower on two, and round otherwise."""
    use_threads(1)
    torch.set_float32_matmul_precision("highest")  # of features
