"""What the machine is, how much of it a run uses, and whether others kept it busy while something was timed."""

import os
import platform
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import psutil
import torch
from threadpoolctl import ThreadpoolController

SHARED_ABOVE = 0.25  # cores: other processes busier than this while a run is timed make its seconds no evidence


@dataclass(frozen=True)
class BusyClock:
    """A moment, in seconds: wall time, busy time of all cores together, and of this process alone."""

    wall: float
    all_cores: float
    own: float

    @classmethod
    def now(cls) -> "BusyClock":
        times = psutil.cpu_times()
        busy = sum(getattr(times, kind, 0.0) for kind in ("user", "nice", "system", "irq", "softirq", "steal"))
        return cls(time.perf_counter(), busy, time.process_time())

    def others_since(self, before: "BusyClock") -> float:
        """Cores that other processes, or other guests of the same host, kept busy on average since `before`."""
        wall = self.wall - before.wall
        return max(0.0, (self.all_cores - before.all_cores) - (self.own - before.own)) / wall if wall > 0 else 0.0


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use_threads(threads: int) -> None:
    """Makes torch and numpy compute on that many CPU threads: how a sum is split among threads is how it is rounded."""
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    _blas().limit(limits=threads, user_api="blas")


@lru_cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


@lru_cache
def device_name(kind: str) -> str:
    """The name of the card ("cuda") or of the processor ("cpu")."""
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
