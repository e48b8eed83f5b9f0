"""Do the intervals of `why_noise` on sums of gains cover as they say, on real features? By simulation.

    python -m bench.claims_check [--store runs/store] [--n 512] [--repeats 200]

Simulates many small experiments with draws of the mixture of `why_noise` and their features (128 dimensions): five
networks, n images per denoiser with and without noise. In place of a denoiser's error, a share of its images comes from
a wrong mixture. The shares differ between denoisers, by noise, and between networks. Denoisers of one network share
their random numbers, as they share their noise in the experiment. The gains are then added up as in
why_noise/gains.py, and their interval is a t interval over the networks. Prints the share of intervals that contain the
mean over all repeats: it should be 95 %.
"""

import argparse

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import track

from bench.yardsticks_check import NETWORKS, RIGHT, Known
from experiments.metrics.intervals import pooled

BANDS = [f"band {number}" for number in range(6)]
# denoiser -> shares of its images from a wrong mixture without noise and with it, and how much networks differ in them
SHARES = {
    "exact": (0.0, 0.0, 0.0),
    "network": (0.5, 0.35, 0.05),
    "above": (0.3, 0.2, 0.05),
    "half": (0.15, 0.1, 0.03),
    **dict.fromkeys(BANDS, (0.1, 0.08, 0.02)),
}
CLAIMS = {  # as in why_noise/gains.py
    "gain of the network": {"network": 1.0},
    "network above − 0.5 everywhere": {"above": 1.0, "network": -0.5},
    "half − all of the error above": {"half": 1.0, "above": -1.0},
    "sum of the bands − network": dict.fromkeys(BANDS, 1.0) | {"exact": 1.0 - len(BANDS), "network": -1.0},
}


def gains(known: Known, n: int, seed: tuple[int, int]) -> dict[str, dict[str, float]]:
    """The gains of all denoisers of one network, by yardstick."""
    out = {}
    varied = np.random.default_rng(seed)
    for denoiser, (without, with_noise, spread) in SHARES.items():
        shares = np.clip(np.array([without, with_noise]) + spread * varied.standard_normal(2), 0, 1)
        a, b = (known.values("weights", float(share), n, np.random.default_rng((*seed, eta)))
                for eta, share in ((1, shares[1]), (0, shares[0])))  # fmt: skip
        out[denoiser] = {yardstick: float(a[yardstick] - b[yardstick]) for yardstick in a}
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--store", default="runs/store")
    parser.add_argument("--n", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=200)
    given = parser.parse_args()
    known = Known.of(given.store, [RIGHT, "weights"])
    simulated: dict[tuple[str, str], list[list[float]]] = {}
    for repeat in track(range(given.repeats), "simulating experiments"):
        each = [gains(known, given.n, (repeat, network)) for network in range(NETWORKS)]
        for claim, factors in CLAIMS.items():
            for yardstick in each[0]["exact"]:
                sums = [sum(factor * one[name][yardstick] for name, factor in factors.items()) for one in each]
                simulated.setdefault((claim, yardstick), []).append(sums)
    covered = {}
    for key, experiments in simulated.items():
        truth = float(np.mean(experiments))
        found = [pooled(sums, [0.0] * NETWORKS) for sums in experiments]
        covered[key] = float(np.mean([one.low <= truth <= one.high for one in found]))
    frame = pd.Series(covered).unstack()
    Console(width=160).print(frame.reindex(list(CLAIMS))[list(each[0]["exact"])].to_string(), highlight=False)


if __name__ == "__main__":
    main()
