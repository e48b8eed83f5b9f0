"""The machine: its name, the threads that a run uses, and whether other processes kept it busy during a timing."""

import os
import platform
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import psutil
import torch
from threadpoolctl import ThreadpoolController

MAX_THREADS_PER_CORE = 8
BUSY = 1.5  # load per core above which others take the time slices that threads wait for
SHARED_ABOVE = 0.25  # cores: if other processes use more than this, a run's seconds say nothing about speed


@dataclass(frozen=True)
class BusyClock:
    """Clock readings in seconds: wall time, busy time of all cores together, busy time of this process."""

    wall: float
    all_cores: float
    own: float

    @classmethod
    def now(cls) -> "BusyClock":
        times = psutil.cpu_times()
        busy = sum(getattr(times, kind, 0.0) for kind in ("user", "nice", "system", "irq", "softirq", "steal"))
        return cls(time.perf_counter(), busy, time.process_time())

    def others_since(self, before: "BusyClock") -> float:
        """The average number of cores kept busy since `before` by other processes or other guests of the host."""
        wall = self.wall - before.wall
        return max(0.0, (self.all_cores - before.all_cores) - (self.own - before.own)) / wall if wall > 0 else 0.0


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def busy(threads: int) -> str:
    """A note if others keep this machine so busy that several threads wait for each other; "" if not."""
    load, count = os.getloadavg()[0], os.cpu_count() or 1
    if threads == 1 or load < BUSY * count:
        return ""
    return f"this machine is busy (load {load:.1f} on {count} cores): --threads 1 may be several times faster"


def check_threads(threads: int | None) -> None:
    """Raises ValueError if this is not a sensible number of CPU threads here; None is one per core."""
    most = MAX_THREADS_PER_CORE * cores()
    if threads is not None and not 1 <= threads <= most:
        raise ValueError(f"threads={threads}: it must be between 1 and {most}, on {cores()} cores")


def use_threads(threads: int) -> None:
    """Makes torch and numpy use this many CPU threads. The rounding of a sum depends on its split among threads."""
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    _blas().limit(limits=threads, user_api="blas")


@lru_cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


def visible_cards() -> list[str]:
    """The names of the CUDA devices that this process may use, as CUDA_VISIBLE_DEVICES lists them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",") if named else [str(number) for number in range(torch.cuda.device_count())]


@lru_cache
def device_name(kind: str) -> str:
    """The name of the GPU ("cuda") or of the processor ("cpu")."""
    if kind == "cuda":
        return torch.cuda.get_device_name()
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def describe() -> str:
    """The machine in words, for a report's footer."""
    cores = f"{device_name('cpu')}, {os.cpu_count()} cores"
    return f"{device_name('cuda')}; {cores}" if torch.cuda.is_available() else cores
