"""Does noise help because of errors at high noise levels? Networks made better above sigma 2.85 only, or below only.

    python -m bench.above_or_below --networks 2         two networks: about 18 minutes on two cores

A network of recipe `plain` is copied twice. One copy is trained further on levels above the split, the other one on
levels below it. A copy forgets the levels that it does not see, so each is used only at its own levels, and the network
itself at the others. All are sampled without and with fresh noise, from the same initial noise. The gain is quality at
eta 1 minus quality at eta 0: below 0 noise helps. In `log`, the logarithm of FD - floor, two networks gain the same if
noise removes the same share. Prints a line per run, then means over networks with 95 % t intervals. docs/predictions.md
has the results, docs/data/above_or_below.csv their rows.
"""

import argparse
import copy
import math
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from scipy import stats
from torch import Tensor, nn

from diffusion_core import LogNormal, build, load, train
from diffusion_core.samplers import Euler, sample
from experiments.config.config import Ladder
from experiments.metrics.distances import METRICS, Pool
from experiments.metrics.features import extract
from experiments.why_noise.blend import Blend

SPLIT = 2.85
SHOWN = {"mmd": "MMD x1000", "fd": "FD", "log": "logarithm of FD above the floor"}


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
    """A row per denoiser and eta of one network."""
    torch.set_num_threads(1)
    data = load(args.data)
    x0 = data.standardised()
    pool = Pool.of(extract(args.features, data.pixels[:20_000])[0].double().numpy())
    real, floor = pool.reference(args.samples), pool.floor(args.samples, repeats=10)["fd"].mean()
    torch.manual_seed(seed)
    network = trained(build("small"), x0, Between(LogNormal()), args.images, seed)
    high = trained(copy.deepcopy(network), x0, Between(LogNormal(), low=SPLIT), args.above, 1000 + seed)
    low = trained(copy.deepcopy(network), x0, Between(LogNormal(), high=SPLIT), args.below, 1000 + seed)
    denoisers = {
        "network": network,
        "better above": Blend(high, network, SPLIT, math.inf),
        "better below": Blend(low, network, 0.0, SPLIT),
        "better everywhere": Blend(high, low, SPLIT, math.inf),
    }
    rows: list[dict[str, float | str]] = []
    ladder = Ladder(n_steps=66, sigma_min=args.sigma_min).sigmas()
    for name, model in denoisers.items():
        for eta in (0.0, 1.0):
            x = sample(model, ladder, Euler(eta), n_samples=args.samples, shape=data.shape, seed=seed, batch_size=128)
            features = extract(args.features, data.to_pixels(x))[0].double().numpy()
            fd, mmd = (METRICS[metric](features, real)[0] for metric in ("fd", "mmd"))
            values = {"mmd": 1000 * mmd, "fd": fd, "log": math.log(fd - floor)}
            rows.append({"seed": seed, "denoiser": name, "eta": eta, **values})
            print(rows[-1], flush=True)
    return rows


def trained(model: nn.Module, x0: Tensor, law: Between, n_images: int, seed: int) -> nn.Module:
    for _ in train(model, x0, law, n_images=n_images, seed=seed):  # type: ignore[arg-type]  # it has no name
        pass
    return model


def lines(rows: pd.DataFrame) -> Iterator[str]:
    """Per metric: the quality of each denoiser, its gain, and the change of the network's gain."""
    for metric, name in SHOWN.items():
        wide = rows.pivot_table(index="seed", columns=["denoiser", "eta"], values=metric)
        gains = pd.DataFrame({who: wide[who][1.0] - wide[who][0.0] for who in rows["denoiser"].unique()})
        yield f"\n{name}: quality at eta 0 and 1; gain; change of the network's gain"
        for who in gains:
            parts = [f"{wide[who][eta].mean():.2f}" for eta in (0.0, 1.0)]
            parts += [with_interval(values) for values in (gains[who], gains[who] - gains["network"])]
            yield f"{who:18} {'; '.join(parts)}"
        yield f"above minus below  {with_interval(gains['better above'] - gains['better below'])}"


def with_interval(values: pd.Series) -> str:
    """The mean over networks with its 95 % t interval."""
    half = stats.t.ppf(0.975, len(values) - 1) * values.sem() if len(values) > 1 else math.nan
    return f"{values.mean():.2f} ({values.mean() - half:.2f} to {values.mean() + half:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=2)
    parser.add_argument("--images", type=int, default=100_000, help="training images of each network")
    parser.add_argument("--above", type=int, default=100_000, help="further training images of the copy above")
    parser.add_argument("--below", type=int, default=200_000, help="further training images of the copy below")
    parser.add_argument("--samples", type=int, default=1_500)
    parser.add_argument("--data", default="mnist5k")
    parser.add_argument("--features", default="digits")
    parser.add_argument("--sigma-min", type=float, default=0.03)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, help="csv file, in which the rows of this data set are replaced")
    args = parser.parse_args()
    rows: list[dict[str, float | str]] = []
    with ProcessPoolExecutor(args.workers) as workers:
        for done in as_completed([workers.submit(measured, seed, args) for seed in range(args.networks)]):
            rows += done.result()
    frame = pd.DataFrame(rows).sort_values(["seed", "denoiser", "eta"])
    print("\n".join(lines(frame)))
    if args.out:
        known = pd.read_csv(args.out) if args.out.exists() else frame.head(0).assign(data="")
        frame = pd.concat([known[known["data"] != args.data], frame.assign(data=args.data)])
        frame.round(6).to_csv(args.out, index=False)


if __name__ == "__main__":
    main()
