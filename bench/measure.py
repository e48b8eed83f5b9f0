"""Tools of the benchmarks."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from diffusion_core.networks import build
from diffusion_core.networks.compiled import Compiled
from diffusion_core.samplers import Model
from diffusion_core.samplers.sampling import bind_index
from experiments.run.machine import busy_cores_of_others, read_clocks
from experiments.run.networks import Network, Trained
from experiments.run.stages import CountingModel

SHAPE = (1, 32, 32)
STATUS = Path("/proc/self/status")
REFERENCES = Path("/proc/self/clear_refs")


@dataclass
class Job:
    """A job to time: run(model) makes `n_images` images. `notes`: what the report needs to know of it."""

    run: Callable[[Model], Tensor]
    n_images: int
    device: str
    notes: dict[str, Any]
    model: Model | None = None  # its evaluations are counted; without one, `notes` has `nfe`
    out: Tensor | None = None  # of the last run
    seconds: list[float] = field(default_factory=list)  # of each round


def time_alternately(prepare: Mapping[str, Callable[[], Job]], rounds: int) -> dict[str, Job | BaseException]:
    """Times all jobs once per round, so that what else the machine does hits them alike. A job that fails is its error.

    Each runs once before, as warm-up; with 0 rounds only that.
    """
    results = dict[str, Job | BaseException]()
    timed = list[tuple[Job, Callable[[], Tensor]]]()
    for name, make in prepare.items():
        try:
            results[name] = job = make()
            counted = CountingModel(job.model)
            run = partial(job.run, bind_index(counted, torch.arange(job.n_images, device=job.device)))
            job.out = run()
            nfe = math.ceil(counted.images / job.n_images)
            usual = {"device": job.device, "n_images": job.n_images, "batch": job.n_images, "nfe": nfe}
            job.notes = usual | {"threads": torch.get_num_threads()} | job.notes
            timed.append((job, run))
        except (Exception, pytest.skip.Exception) as error:
            results[name] = error
    clocks = read_clocks()
    for round_index in range(rounds):
        for job, run in timed if round_index % 2 else reversed(timed):
            forget_peak(job.device)
            start = time.perf_counter()
            job.out = run()
            wait(job.device)
            job.seconds.append(time.perf_counter() - start)
            job.notes["peak_mib"] = peak_mib(job.device) or math.nan
    for job, _ in timed:
        job.notes["busy"] = busy_cores_of_others(clocks, read_clocks())
    return results


def network(device: str) -> nn.Module:
    """`small` with the same random weights each time."""
    return randomised(lambda: build("small")).to(device).eval()


def randomised(make: Callable[[], nn.Module]) -> nn.Module:
    """A new network with random weights, also in the layers that training starts at zero: zeros would hide errors.

    They change the exact denoiser of N(0, 1) only a little, so samples keep a standard deviation near 1.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = make()
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape).to(weight), alpha=0.01)
    return model


@cache
def model_of(network: Network, compiled_batch: int = 0) -> Model:
    """The network as experiments load it; one that is trained here has random weights. Compiled for a batch, or not."""
    if compiled_batch:
        return Compiled(model_of(network), compiled_batch)
    if isinstance(network, Trained):
        return randomised(network.untrained)
    return network.load(None)


def name_of(network: Network) -> str:
    return str(network.row()["network"])


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def forget_peak(device: str) -> None:
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    elif REFERENCES.exists():
        REFERENCES.write_text("5")  # Linux: sets the peak of the resident memory to its current value


def peak_mib(device: str) -> float | None:
    """Peak memory since `forget_peak`: allocated on the GPU, or resident in the whole process (Linux; else None)."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    lines = STATUS.read_text().splitlines() if STATUS.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), None)
