"""Does noise help because of errors at high noise levels? Networks trained further above sigma 2.85 only, or below.

    python -m bench.above_or_below --networks 2         two networks: about a quarter of an hour on two cores

Each network of recipe `plain` is copied twice. One copy is trained further on levels above the split, the other one on
levels below it, on as many images. All three are sampled without and with fresh noise from the same initial noise. The
gain is quality at eta 1 minus quality at eta 0, so below 0 noise helps. What counts is the difference between the gains
of the two copies. It prints a line per network, then means. The pilot showed that a copy forgets the levels that it is
not trained on (docs/predictions.md, 31), so that this comparison does not isolate errors at some levels.
"""

import argparse
import copy
import math
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import pandas as pd
import torch
from torch import Tensor, nn

from diffusion_core import LogNormal, build, load, train
from diffusion_core.samplers import Euler, sample
from experiments.config.config import Ladder
from experiments.metrics.distances import METRICS, Pool
from experiments.metrics.features import extract

SPLIT = 2.85
SHOWN = ("mmd", "fd", "root")


@dataclass(frozen=True)
class Between:
    """A noise distribution that is restricted to levels from low to high."""

    law: LogNormal
    low: float = 0.0
    high: float = math.inf

    def sample(self, n: int, generator: torch.Generator, stratified: bool = False) -> Tensor:
        parts = [torch.empty(0, device=generator.device)]
        while sum(map(len, parts)) < n:
            drawn = self.law.sample(4 * n, generator)
            parts.append(drawn[(self.low <= drawn) & (drawn < self.high)])
        return torch.cat(parts)[:n]

    def log_density(self, log_sigma: Tensor) -> Tensor:
        raise NotImplementedError("training draws levels only")


def measured(seed: int, args: argparse.Namespace) -> list[dict[str, float | str]]:
    """A row per copy and eta of one network."""
    torch.set_num_threads(1)
    data = load(args.data)
    x0 = data.standardised()
    pool = Pool.of(extract(args.features, data.pixels[:20_000])[0].double().numpy())
    real, floor = pool.reference(args.samples), pool.floor(args.samples, repeats=10)["fd"].mean()
    torch.manual_seed(seed)
    network = trained(build("small"), x0, Between(LogNormal()), args.images, seed)
    copies = {"network": network}
    for name, law in (("above", Between(LogNormal(), low=SPLIT)), ("below", Between(LogNormal(), high=SPLIT))):
        copies[name] = trained(copy.deepcopy(network), x0, law, args.more, 1000 + seed)
    rows: list[dict[str, float | str]] = []
    for name, model in copies.items():
        for eta in (0.0, 1.0):
            ladder = Ladder(n_steps=66, sigma_min=args.sigma_min).sigmas()
            x = sample(model, ladder, Euler(eta), n_samples=args.samples, shape=data.shape, seed=seed, batch_size=128)
            features = extract(args.features, data.to_pixels(x))[0].double().numpy()
            fd, mmd = (METRICS[name](features, real)[0] for name in ("fd", "mmd"))
            rows.append({"network": seed, "copy": name, "eta": eta, "fd": fd, "root": max(fd - floor, 0) ** 0.5})
            rows[-1]["mmd"] = 1000 * mmd
            print(rows[-1], flush=True)
    return rows


def trained(model: nn.Module, x0: Tensor, law: Between, n_images: int, seed: int) -> nn.Module:
    for _ in train(model, x0, law, n_images=n_images, seed=seed):  # type: ignore[arg-type]  # it has no name
        pass
    return model


def lines(rows: pd.DataFrame) -> Iterator[str]:
    """Quality and gain per copy, then the difference between the copies."""
    wide = rows.pivot_table(index=["network", "copy"], columns="eta", values=list(SHOWN))
    gains = pd.DataFrame({metric: wide[metric][1.0] - wide[metric][0.0] for metric in SHOWN})
    yield f"gain by network and copy (MMD x1000)\n{gains.unstack('copy').round(2).to_string()}"
    change = gains.unstack("copy")
    for metric in SHOWN:
        of = change[metric]
        both = (of["above"] - of["network"], of["below"] - of["network"], of["above"] - of["below"])
        means = ", ".join(f"{values.mean():.2f} (sd {values.std():.2f})" for values in both)
        yield f"{metric}: change of the gain by training above, by training below, difference: {means}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=2)
    parser.add_argument("--images", type=int, default=100_000, help="training images of each network")
    parser.add_argument("--more", type=int, default=100_000, help="further training images of each copy")
    parser.add_argument("--samples", type=int, default=1_500)
    parser.add_argument("--data", default="mnist5k")
    parser.add_argument("--features", default="digits")
    parser.add_argument("--sigma-min", type=float, default=0.03)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    with ProcessPoolExecutor(args.workers) as workers:
        rows = [row for part in workers.map(partial(measured, args=args), range(args.networks)) for row in part]
    print("\n".join(lines(pd.DataFrame(rows))))


if __name__ == "__main__":
    main()
