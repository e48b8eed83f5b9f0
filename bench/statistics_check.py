"""Are the statistics calibrated on real features? Size, power and mean sample number, by simulation.

    python -m bench.statistics_check [--store runs/store] [--pool 6000] [--repeats 1000]

Samples a large pool of images per setting from one network of the `beta` experiment (it is trained if the store lacks
it), then simulates small experiments by drawing from the pools: features are real (128 dimensions), and the truth is
known, since it is the difference of the pools. Prints three tables:

sequential  the rule of metrics/looks.py: how often it calls a difference, and how many images per network and side it
            takes, beside the fixed design that calls it as often
best set    how often the truly best setting is in the set, and how many settings are
new network how often the interval for one more network holds its true difference (normal differences)
"""

import argparse
from dataclasses import replace

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import track

from diffusion_core.samplers import Euler
from experiments.beta import PRESETS
from experiments.config.config import Ladder
from experiments.config.trial import Trial
from experiments.engine.executor import execute
from experiments.engine.options import Options
from experiments.engine.plan import Plan
from experiments.engine.tasks import RunContext
from experiments.metrics.best_set import best_set
from experiments.metrics.distances import Array, Reference, kernel, kernel_means
from experiments.metrics.intervals import ENOUGH_NETWORKS, LEVEL, Estimate, pooled, predicted
from experiments.metrics.looks import levels, why_stop
from experiments.stages.score import load_features, load_pool
from experiments.store.store import Store

SIZES = (500, 1_000, 1_500)
STEP = 100
FIXED = tuple(range(STEP, SIZES[-1] + 1, STEP))
NETWORKS = 5  # of the sequential rule, as in the preset `laptop`
SETTINGS = {"66 steps, eta 0": (66, 0.0), "66 steps, eta 1": (66, 1.0), "16 steps, eta 0": (16, 0.0),
            "16 steps, eta 0.5": (16, 0.5), "16 steps, eta 1": (16, 1.0)}  # fmt: skip


class Pools:
    """The pooled images of all settings, and every kernel value that KD needs."""

    def __init__(self, features: dict[str, Array], reference: Reference) -> None:
        self.names = list(features)
        self.size = len(features[self.names[0]])
        every = np.concatenate(list(features.values()))
        self.across = kernel_means(every, reference.features)
        self.within = kernel(every, every).astype(np.float32)
        self.real = reference.mean_kernel

    def rows(self, name: str, rng: np.random.Generator, n: int) -> np.ndarray:
        """n images of a setting, each drawn once."""
        return self.names.index(name) * self.size + rng.permutation(self.size)[:n]

    def kd(self, rows: np.ndarray) -> float:
        """KD of some images."""
        block = self.within[np.ix_(rows, rows)].astype(np.float64)
        np.fill_diagonal(block, 0)
        n = len(rows)
        return float(block.sum() / (n * (n - 1)) + self.real - 2 * self.across[rows].mean())

    def kds(self, rows: np.ndarray) -> dict[int, float]:
        """KD of the first n images, by n, for every n in FIXED."""
        block = self.within[np.ix_(rows, rows)].astype(np.float64)
        np.fill_diagonal(block, 0)
        parts = block.reshape(len(FIXED), STEP, len(FIXED), STEP).sum(axis=(1, 3))
        within, across = parts.cumsum(axis=0).cumsum(axis=1).diagonal(), self.across[rows].cumsum()
        return {n: float(within[at] / (n * (n - 1)) + self.real - 2 * across[n - 1] / n) for at, n in enumerate(FIXED)}

    def influence(self, rows: np.ndarray) -> Array:
        """What each image adds to KD (distances.kd_influence)."""
        block = self.within[np.ix_(rows, rows)].astype(np.float64)
        np.fill_diagonal(block, 0)
        within, across = block.sum(axis=1) / (len(rows) - 1), self.across[rows]
        return 2 * (within - within.mean()) - 2 * (across - across.mean())

    def truth(self, name: str) -> float:
        """The KD of a whole pool."""
        start = self.names.index(name) * self.size
        return self.kd(np.arange(start, start + self.size))


def sequential(pools: Pools, share: float, repeats: int, rng: np.random.Generator) -> dict[str, float]:
    """How the sequential rule ends if a share of side a's images come from eta 1, the rest and side b from eta 0."""
    a, b, smallest = "66 steps, eta 1", "66 steps, eta 0", 0.1 * pools.truth("66 steps, eta 0")
    shares = levels(tuple(size / SIZES[-1] for size in SIZES))
    why, images, fixed = list[str](), list[int](), dict.fromkeys(FIXED, 0)
    for _ in track(range(repeats), f"share {share:g}"):
        differences = []  # one per network, by number of images
        for _ in range(NETWORKS):
            base, other = np.split(pools.rows(b, rng, 2 * SIZES[-1]), 2)
            mixed = np.where(rng.random(SIZES[-1]) < share, pools.rows(a, rng, SIZES[-1]), other)
            one, two = pools.kds(mixed), pools.kds(base)
            differences.append({size: one[size] - two[size] for size in FIXED})

        def estimate(size: int, level: float, differences: list[dict[int, float]] = differences) -> Estimate:
            assert NETWORKS >= ENOUGH_NETWORKS  # then the interval needs no standard errors over images
            return pooled([one[size] for one in differences], [0.0] * NETWORKS, level=level)

        for look, size in enumerate(SIZES):
            if stopped := why_stop(estimate(size, shares[look]), smallest, look == len(SIZES) - 1):
                why.append(stopped)
                images.append(size)
                break
        for size in FIXED:
            fixed[size] += estimate(size, LEVEL).clear
    said = pd.Series(why).value_counts(normalize=True)
    clear = said.get("clear", 0.0)
    as_often = next((size for size, count in fixed.items() if count >= clear * repeats), None)
    return {
        "share of eta 1": share,
        "clear": clear,
        "equal": said.get("equal", 0.0),
        "no decision": said.get("maximum", 0.0),
        "mean images": float(np.mean(images)),
        "fixed design as often clear: images": as_often if share > 0 else None,
        f"fixed design of {SIZES[-1]}: clear": fixed[SIZES[-1]] / repeats,
    }


def sets(pools: Pools, names: list[str], repeats: int, rng: np.random.Generator) -> dict[str, float]:
    """How often the truly best of some settings is in the set of the best; equal names are equally good."""
    best = min(range(len(names)), key=lambda number: pools.truth(names[number]))
    inside, members = list[bool](), list[int]()
    for _ in track(range(repeats), f"set of {len(names)}"):
        drawn = [[pools.rows(name, rng, SIZES[0]) for name in names] for _ in range(2)]
        values = np.array([[pools.kd(rows) for rows in network] for network in drawn])
        influences = [np.stack([pools.influence(rows) for rows in network], axis=1) for network in drawn]
        found = best_set(values, influences)
        inside.append(not found[best].worse)
        members.append(sum(not standing.worse for standing in found))
    return {
        "settings": len(set(names)) if len(set(names)) > 1 else f"{len(names)} times the same",
        "best is inside": float(np.mean(inside)),
        "mean size of the set": float(np.mean(members)),
    }


def new_network(between: float, n_networks: int, repeats: int, rng: np.random.Generator) -> dict[str, float]:
    """Coverage of the interval for a new network, if networks differ by `between` standard errors over images."""
    held = []
    for _ in range(repeats):
        d = rng.normal(0, between, n_networks) + rng.normal(0, 1, n_networks)
        interval = predicted(list(d))
        assert interval is not None
        held.append(interval[0] <= rng.normal(0, between) + rng.normal() <= interval[1])
    return {"networks": n_networks, "spread between networks": between, "coverage": float(np.mean(held))}


def pools(store: Store, size: int, console: Console) -> Pools:
    """The pools of all settings, sampled from the first network of the preset `laptop`."""
    study = replace(Options().apply(PRESETS["laptop"]), n_samples=size)
    trials = []
    for name, (n_steps, eta) in SETTINGS.items():
        trial = study.trial("beta", "pool", name, study.model(0), Ladder(n_steps=n_steps), Euler(eta))
        assert isinstance(trial, Trial)
        trials.append(trial)
    rows = execute(Plan.of(trials), RunContext(store), console).rows
    if failed := [row["error"] for row in rows if row["status"] != "ok"]:
        raise SystemExit(f"error: {failed[0]}")
    features = {trial.setting: load_features(trial.score, store).double().numpy() for trial in trials}
    return Pools(features, load_pool(trials[0].score.reference, store)[0].reference(SIZES[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", default="runs/store")
    parser.add_argument("--pool", type=int, default=6_000, help="images per setting")
    parser.add_argument("--repeats", type=int, default=1_000, help="simulated experiments per line")
    given = parser.parse_args()
    console, rng = Console(), np.random.default_rng(1)
    pool = pools(Store(given.store), given.pool, console)
    for name in pool.names:
        console.print(f"KD x1000 of the pool {name}: {1000 * pool.truth(name):.1f}", highlight=False)
    lines = [sequential(pool, share, given.repeats, rng) for share in (0.0, 0.25, 0.5, 1.0)]
    print(pd.DataFrame(lines).round(3).to_string(index=False))
    same = ["16 steps, eta 0"] * 8
    print(
        pd.DataFrame([sets(pool, names, given.repeats, rng) for names in (pool.names, same)])
        .round(3)
        .to_string(index=False)
    )
    grid = [(between, n) for n in (3, 5, 10) for between in (0.0, 0.5, 1.0, 3.0)]
    print(pd.DataFrame([new_network(*one, 20_000, rng) for one in grid]).round(3).to_string(index=False))


if __name__ == "__main__":
    main()
