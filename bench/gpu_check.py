"""All that needs a GPU, in one call and one page: `python -m bench.gpu_check`.

Each line of the checks is the difference between two ways to the same numbers, for samples in data standard deviations.
A line that fails prints the reason, the rest still runs, and the exit status is 1. Then the card is timed: how much it
does per second, which share of the time it is busy, and its peak memory. `pytest --benchmark` times it against others.
"""

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice

import torch
import tyro
from torch import Tensor

from bench.measure import SHAPE, forget_peak, network, peak_mib, wait
from diffusion_core import load
from diffusion_core.networks.compiled import Compiled, can_compile
from diffusion_core.noise import LogNormal
from diffusion_core.samplers import Euler, Model, checked_steps, sample
from diffusion_core.samplers.sampling import default_batch
from diffusion_core.samplers.seeded_noise import BlockNoise
from diffusion_core.schedules import geometric
from diffusion_core.tensors import computing_in
from diffusion_core.training import train
from experiments.distances.reference import FixedReference, ReferenceSet
from experiments.run.image_features import open_extractor

SCHEDULE = geometric(66)
BATCHES = (512, 2048, 8192)


@torch.no_grad()
def draw(
    device: str, n: int = 100, batch_size: int | None = None, precision: str = "fp32", model: Model | None = None
) -> Tensor:
    model = model or network(device)
    with computing_in(precision, device):
        return sample(model, SCHEDULE, Euler(1.0), n_samples=n, shape=SHAPE, batch_size=batch_size, device=device)


@torch.no_grad()
def without_noise(device: str) -> Tensor:
    """64 samples at eta 0, from noise that the CPU drew."""
    start = BlockNoise(0, range(64), SHAPE, torch.device("cpu"))() * SCHEDULE[0]
    *_, x = checked_steps(network(device), Euler(), SCHEDULE, start.to(device), torch.empty)
    return x


def train_weights(device: str) -> Tensor:
    model = network(device).train()
    images = torch.randn(256, *SHAPE, generator=torch.Generator().manual_seed(0)).to(device)
    for _ in train(model, images, LogNormal(), n_images=320, batch_size=64, precision="bf16"):
        pass
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


def take_steps(device: str) -> Tensor:
    """What both loops give. RuntimeError where one of them waits for the card."""
    noise = BlockNoise(0, range(64), SHAPE, torch.device(device))
    images = noise()
    training = train(network(device).train(), images, LogNormal(), n_images=1280, stratified=True, stable_above=2.0)
    model = network(device).requires_grad_(False)
    sampling = checked_steps(model, Euler(1.0), SCHEDULE, noise() * SCHEDULE[0], noise, at_once=False)
    next(sampling), next(training)  # of the first step, libraries may wait
    set_mode: Callable[[str], object] = torch.cuda.set_sync_debug_mode if device == "cuda" else str
    set_mode("error")
    try:
        *_, (x, step) = islice(zip(sampling, training, strict=False), 10)
    finally:
        set_mode("default")
    return step.loss + x.mean()


def reference_and_samples(device: str, n: int, total: int, dimension: int) -> tuple[FixedReference, Tensor]:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(n + total, dimension, dtype=torch.float64, generator=generator).to(device)
    real = ReferenceSet.of(features[n:])
    return real.without(real.aside_mask(n, 0)), 1.1 * features[:n]


def score(device: str) -> Tensor:
    reference, samples = reference_and_samples(device, 2000, 6000, 128)
    distances, quality = reference.compare(samples)
    return torch.tensor([*(distance.value for distance in distances.values()), *quality])


COMPILED = "compiled against eager, bf16, same noise"
CHECKS: dict[str, tuple[float, Callable[[str], tuple[Tensor, Tensor]]]] = {  # limit of the mean difference, both ways
    # TF32 keeps ten bits
    "card against CPU, fp32, eta 0": (1e-3, lambda on: (without_noise("cpu"), without_noise(on))),
    "batches of 100 against batches of 7": (1e-3, lambda on: (draw(on, batch_size=100), draw(on, batch_size=7))),
    "bf16 against fp32, same noise": (0.02, lambda on: (draw(on), draw(on, precision="bf16"))),
    "training twice from one seed, bf16": (0.0, lambda on: (train_weights(on), train_weights(on))),
    "10 steps of both loops, no wait": (1e-6, lambda on: (take_steps(on), take_steps(on))),
    "score of 2,000 of 6,000, card against CPU": (1e-6, lambda on: (score("cpu"), score(on))),
    COMPILED: (0.02, lambda on: (draw(on, 64, None, "bf16"), draw(on, 64, None, "bf16", Compiled(network(on), 64)))),
}


def works(device: str) -> Iterator[tuple[str, int, Callable[[], object]]]:
    """What is timed: its name, how many images or scores it makes, and what makes them."""
    for precision, compiled in (("fp32", False), ("bf16", False), ("bf16", True)):
        for batch in BATCHES if can_compile(device) or not compiled else ():
            model = Compiled(network(device), batch) if compiled else network(device)
            mode = f"{precision}, compiled" if compiled else precision
            name = f"samples, {mode}, batch {batch:,}"
            yield name, batch, partial(draw, device, batch, batch, precision, model)
    images = torch.randn(3200, *SHAPE).to(device)
    model = network(device).train()
    yield "training steps, bf16", 50, lambda: [*train(model, images, LogNormal(), n_images=3200, precision="bf16")]
    pixels = load("mnist5k").pixels[:500]
    for name in ("digits", "natural"):
        yield f"features {name}", len(pixels), partial(open_extractor(name, device=device), pixels)
    for dimension in (128, 2048):
        reference, samples = reference_and_samples(device, 20_000, 60_000, dimension)
        yield f"scores of 20,000 of 60,000, {dimension} features", 1, partial(reference.compare, samples)


def time_work(device: str, n: int, work: Callable[[], object]) -> str:
    work()
    wait(device)
    forget_peak(device)
    began = time.perf_counter()
    work()
    wait(device)
    seconds = time.perf_counter() - began
    with torch.profiler.profile() as profile:
        work()
        wait(device)
    busy = sum(event.self_device_time_total for event in profile.key_averages()) / 1e6
    return f"{n / seconds:,.2f} a second, busy {busy / seconds:.0%}, peak {peak_mib(device) or 0:,.0f} MiB"


def main(device: str = "cuda") -> int:
    """Prints the checks, then the speed of a card, one line each; returns the exit status.

    Args:
        device: cuda, or cpu to test the script, without times.
    """
    if device == "cuda" and not torch.cuda.is_available():
        print("gpu_check: PyTorch sees no CUDA device here", file=sys.stderr)
        return 2
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    print(f"{name}, PyTorch {torch.__version__}, network small, images of 32x32, {len(SCHEDULE) - 1} steps, eta 1")
    print(f"batch of runs, unless --batch-size says otherwise: {default_batch(device)}")
    all_well = True
    for check, (limit, make) in CHECKS.items():
        if check == COMPILED and not can_compile(device):
            continue
        try:
            a, b = make(device)
            change = (a.cpu() - b.cpu()).abs()
            result = f"mean {change.mean():.1e}, largest {change.max():.1e} (limit of the mean {limit:g})"
            ok = bool(change.mean() <= limit)
        except Exception as error:  # one failed line must not stop the table
            result = f"{type(error).__name__}: {' '.join(str(error).split())[:80]}"
            ok = False
        print(f"{check:42} {result:>58} {'ok' if ok else 'FAILED'}", flush=True)
        all_well &= ok
    for name, n, work in works(device) if device == "cuda" else ():
        print(f"{name:42} {time_work(device, n, work)}", flush=True)
    return int(not all_well)


if __name__ == "__main__":
    sys.exit(tyro.cli(main, prog="python -m bench.gpu_check"))
