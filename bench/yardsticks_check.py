"""Are the yardsticks of `why_noise` calibrated on real features? Size and power, by simulation.

    python -m bench.yardsticks_check [--store runs/store] [--n 640] [--repeats 300]

Fits the mixture of `why_noise`, draws images from it and from wrong mixtures, and extracts their features (128
dimensions). Then it simulates experiments: five networks, n images per side. The null: both sides are draws of
the truth. The alternatives: a share of one side's images comes from a wrong mixture. Prints how often each yardstick
calls the difference clear: the size should be 5 %, and more power is better.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from rich.console import Console
from rich.progress import track

from diffusion_core.exact import Mixture
from experiments.config.denoisers import WrongConfig
from experiments.metrics.distances import Array, Reference, fast_frechet, kernel, kernel_means
from experiments.metrics.features import extract
from experiments.metrics.intervals import pooled
from experiments.metrics.yardsticks import Whitened, class_chi2, log_density_gap, whitened_kd
from experiments.models.exact import mixture_images, mixture_of
from experiments.models.wrong import changed
from experiments.stages.common import images_of
from experiments.stages.fit_mixture import MixtureConfig, mixture_stage
from experiments.store.store import Store

NETWORKS, POOL, REFERENCE, SIGMA = 5, 4_000, 20_000, 0.03
RIGHT = "truth"
WRONG = {"weights": ("weights", 1.0), "missing": ("missing", 0.2), "wider": ("wider", 0.1)}
SHARES = {"weights": 0.3, "missing": 0.5, "wider": 0.5}  # of one side's images, chosen so that power is neither 0 nor 1


class Pool:
    """Draws of one mixture: features, log density and component under the right mixture, and the sums for KD."""

    def __init__(self, law: Mixture, right: Mixture, seed: int, reference: Reference) -> None:
        images = images_of("mnist5k", None)
        x = mixture_images(law, images.shape, POOL, seed).double()
        x += SIGMA * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=x.dtype)
        self.features = extract("digits", images.to_pixels(x.float()))[0].double().numpy()
        parts = [(part.flatten(1), part.new_full((len(part),), SIGMA)) for part in x.split(500)]
        self.density = torch.cat([right.log_density(*part) for part in parts]).numpy()
        self.component = torch.cat([right.responsibilities(*part).argmax(dim=1) for part in parts]).numpy()
        self.across = kernel_means(self.features, reference.features)


@dataclass(frozen=True)
class Known:
    """What the yardsticks compare with, and draws of the right mixture and of wrong ones by name."""

    reference: Reference
    whitened: Whitened
    shares: Array
    density: Array
    pools: Mapping[str, Pool]

    @classmethod
    def of(cls, store: str, names: Sequence[str]) -> "Known":
        """Draws everything. The mixture is fitted if the store does not have it."""
        torch.set_num_threads(1)
        kept = Store(store)
        data = f"mixture:{kept.path('mixtures', mixture_stage(MixtureConfig(), kept))}"
        right, images = mixture_of(data), images_of("mnist5k", None)
        drawn = images.to_pixels(mixture_images(right, images.shape, REFERENCE, 1))
        reference = Reference.of(extract("digits", drawn)[0].double().numpy())
        pools = {}
        for number, name in enumerate(names):
            law = right if name == RIGHT else changed(right, WrongConfig(data, *WRONG[name]))
            pools[name] = Pool(law, right, 100 + number, reference)
        truth = Pool(right, right, 99, reference)
        shares = np.bincount(truth.component, minlength=right.n_components) / POOL
        return cls(reference, Whitened.of(reference), shares, truth.density, pools)

    def values(self, name: str, share: float, n: int, rng: np.random.Generator) -> dict[str, float]:
        """All yardsticks of n images, a share of them from the pool of that name and the others from the truth.

        Raises:
            ValueError: n is larger than a pool.
        """
        if n > POOL:
            raise ValueError(f"n={n}: there are {POOL:,} draws of each mixture")
        found = side((self.pools[RIGHT], self.pools[name]), share, n, rng)
        features = found["features"]
        within = kernel(features, features)
        kd = (within.sum() - np.trace(within)) / (n * (n - 1)) + self.reference.mean_kernel
        return {
            "FD": fast_frechet(features, self.reference),
            "KD": kd - 2 * found["across"].mean(),
            "whitened KD": whitened_kd(features, self.whitened)[0],
            "component mix": class_chi2(found["component"], self.shares)[0],
            "log density gap": log_density_gap(found["density"], self.density)[0],
        }


def side(pools: tuple[Pool, Pool], share: float, n: int, rng: np.random.Generator) -> dict[str, Array]:
    """n images: a share of them from the second pool."""
    many = rng.binomial(n, share)
    found = [(pools[0], rng.permutation(POOL)[: n - many]), (pools[1], rng.permutation(POOL)[:many])]
    names = ("features", "density", "component", "across")
    return {name: np.concatenate([getattr(pool, name)[rows] for pool, rows in found]) for name in names}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--store", default="runs/store")
    parser.add_argument("--n", type=int, default=640)
    parser.add_argument("--repeats", type=int, default=300)
    given = parser.parse_args()
    known = Known.of(given.store, [RIGHT, *WRONG])
    rng, lines = np.random.default_rng(0), []
    for name, share in {RIGHT: 0.0, **SHARES}.items():
        clear: dict[str, list[bool]] = {}
        for _ in track(range(given.repeats), name):
            gaps: dict[str, list[float]] = {}
            for _ in range(NETWORKS):
                a, b = (known.values(name, part, given.n, rng) for part in (share, 0.0))
                for yardstick in a:
                    gaps.setdefault(yardstick, []).append(float(a[yardstick] - b[yardstick]))
            for yardstick, differences in gaps.items():
                clear.setdefault(yardstick, []).append(pooled(differences, [0.0] * NETWORKS).clear)
        label = "null: both sides the truth" if share == 0 else f"{share:.0%} of one side from wrong {name}"
        lines.append({"images": label} | {yardstick: float(np.mean(found)) for yardstick, found in clear.items()})
    Console(width=160).print(pd.DataFrame(lines).to_string(index=False), highlight=False)


if __name__ == "__main__":
    main()
