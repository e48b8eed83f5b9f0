"""Which distance judges best, and do its intervals hold? Power, size and coverage, by simulation on real features.

    python -m bench.judge_study pools DIR [--data-root ROOT]     six networks and their samples, about 50 minutes
    python -m bench.judge_study networks DIR NAME [--draws 200]  real differences between settings of a network
    python -m bench.judge_study planted DIR DATA [--draws 200]   faults planted in real images

A pool of images is the population: n images are drawn from it, each draw independent, so the true difference of two
pools is known. All distances see the same draws. A difference is detected if it is beyond its 95 % t interval (standard
error of the jackknife over 20 groups). Prints a line per difference and n: rates with their Monte-Carlo error, mean z.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from scipy import stats
from torchvision.transforms.functional import gaussian_blur

from diffusion_core import Euler, LogNormal, build, geometric, load, sample, train
from diffusion_core.data import Images
from experiments.metrics.distances import Reference, fd_replicates
from experiments.metrics.features import extract
from experiments.metrics.kernels import Array, Cubic
from experiments.metrics.texture import texture
from reports.schema import GROUPS

NETWORKS = {  # name: data, training images, training seeds, last sigma, samples per network and eta, features
    "digits-0": ("mnist5k", 100_000, (0,), 0.03, 4_500, "digits"),
    "digits-1-4": ("mnist5k", 100_000, (1, 2, 3, 4), 0.03, 500, "digits"),
    "fashion-0": ("fashion-mnist", 100_000, (0,), 0.003, 2_000, "natural"),
}
PLANTED = {"mnist": "digits", "fashion-mnist": "natural"}
SIZES, REAL = (200, 500, 2_000), 4_500
Rows = NDArray[np.int64]


def rbf(left: Array, right: Array, bandwidth: float) -> Array:
    squares = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1) - 2 * left @ right.T
    return np.asarray(np.exp(-squares.clip(min=0) / (2 * bandwidth**2)))


@dataclass
class Kernel:
    """An unbiased squared MMD to real images, with its jackknife replicates, for draws from pools."""

    k: Callable[[Array, Array], Array]
    real: Array
    known: list[tuple[Array, NDArray[np.float32], Array]] = field(default_factory=list)  # of the last two pools

    def __post_init__(self) -> None:
        n, within = len(self.real), self.k(self.real, self.real)
        self.mean = (within.sum() - np.trace(within)) / (n * (n - 1))

    def of(self, pool: Array) -> tuple[NDArray[np.float32], Array]:
        """The kernel within a pool, and its mean with the real images."""
        for other, within, across in self.known:
            if other is pool:
                return within, across
        within = np.concatenate([self.k(part, pool).astype(np.float32) for part in np.array_split(pool, 9)])
        across = np.concatenate([self.k(part, self.real).mean(axis=1) for part in np.array_split(pool, 9)])
        self.known = [*self.known[-1:], (pool, within, across)]
        return within, across

    def truth(self, pool: Array) -> float:
        within, across = self.of(pool)
        return float(within.mean(dtype=np.float64) + self.mean - 2 * across.mean())

    def __call__(self, pool: Array, rows: Rows) -> tuple[float, Array]:
        within, across = self.of(pool)
        n = len(rows)
        member = np.eye(GROUPS, dtype=np.float32)[np.arange(n) % GROUPS]
        drawn = within[np.ix_(rows, rows)]
        np.fill_diagonal(drawn, 0)
        pairs = (member.T @ (drawn @ member)).astype(np.float64)
        sums = member.T @ across[rows]
        value = pairs.sum() / (n * (n - 1)) + self.mean - 2 * sums.sum() / n
        left = n - member.sum(axis=0, dtype=np.float64)
        rest = pairs.sum() - 2 * pairs.sum(axis=1) + np.diag(pairs)
        return value, rest / (left * (left - 1)) + self.mean - 2 * (sums.sum() - sums) / left


@dataclass
class Frechet:
    reference: Reference

    def __call__(self, pool: Array, rows: Rows) -> tuple[float, Array]:
        replicates = fd_replicates(pool[rows], self.reference)
        return float(replicates.mean()), replicates  # the mean shares the bias of its groups: the same on both sides


Judge = Kernel | Frechet


def judges(real: Array) -> dict[str, Judge]:
    part = real[:1500]
    squares = (part**2).sum(axis=1)[:, None] + (part**2).sum(axis=1) - 2 * part @ part.T
    median = float(np.median(np.sqrt(squares.clip(min=0))[np.triu_indices(len(part), 1)]))
    out: dict[str, Judge] = {"KD": Kernel(Cubic().matrix, real), "FD": Frechet(Reference(real, {}, {}))}
    for factor in (0.5, 0.5**0.5, 1):
        out[f"MMD {factor:g}"] = Kernel(partial(rbf, bandwidth=factor * median), real)
    return out


def spread(replicates: Array) -> Array:
    """Squared standard errors of replicates (..., GROUPS)."""
    return (GROUPS - 1) / GROUPS * ((replicates - replicates.mean(axis=-1, keepdims=True)) ** 2).sum(axis=-1)


def repeats(n: int, draws: int) -> int:
    return draws if n < 1000 else draws * 3 // 10


Side = dict[tuple[str, int], tuple[Array, Array]]  # by distance and n: values (D,), replicates (D, GROUPS)


def side(pool: Array, distances: dict[str, Judge], which: int, draws: int, fine: Array | None = None) -> Side:
    """One side of all comparisons. Sides with the same number take the same images of pools of one size."""
    out: Side = {}
    for n in SIZES:
        rng = np.random.default_rng([which, n])
        rows = [rng.integers(len(pool), size=n) for _ in range(repeats(n, draws))]
        for name, distance in distances.items():
            values, replicates = zip(*(distance(pool, row) for row in rows), strict=True)
            out[name, n] = np.array(values), np.array(replicates)
        if fine is not None:  # the guard: a mean over images
            groups = np.arange(n) % GROUPS
            left = [[fine[row][groups != group].mean() for group in range(GROUPS)] for row in rows]
            out["texture", n] = np.array([fine[row].mean() for row in rows]), np.array(left)
    return out


def detect(label: str, a: Side, b: Side, paired: bool) -> None:
    """Prints how often a - b is detected, with the Monte-Carlo error, and the mean z."""
    critical = stats.t.ppf(0.975, GROUPS - 1 if paired else 2 * (GROUPS - 1))
    for n in SIZES:
        cells = []
        for name in (name for name, size in a if size == n):
            (x, xs), (y, ys) = a[name, n], b[name, n]
            z = (x - y) / np.sqrt(spread(xs - ys) if paired else spread(xs) + spread(ys))
            rate = np.mean(np.abs(z) > critical)
            cells.append(f"{name} {rate:.3f} ({np.sqrt(rate * (1 - rate) / len(z)):.3f}; z {z.mean():+.1f})")
        print(f"{label} | n {n} x {len(z)} | " + " | ".join(cells), flush=True)


def coverage(label: str, full: Side, half: Side, none: Side) -> None:
    """Prints how often intervals over simulated networks hold the mean of all such networks.

    A network is a draw of images: equal networks all have the true difference of `full`, others that of `full` or of
    `half`, at random. t: over five networks; image: jackknife; wider: the wider of both.
    """
    rng, trials = np.random.default_rng(5), 20_000
    for name, n in full:
        measured = [(a[name, n], none[name, n]) for a in (full, half)]
        differences = np.array([x - y for (x, _), (y, _) in measured])  # (2, D)
        variances = np.array([spread(xs - ys) for (_, xs), (_, ys) in measured])
        cells = []
        for kind, kinds in {"equal": 1, "different": 2}.items():
            for size in (1, 2, 5):
                which = (
                    rng.integers(kinds, size=(trials, size)),
                    rng.integers(differences.shape[1], size=(trials, size)),
                )
                d, v = differences[which], variances[which]
                own = differences.mean(axis=1)[which[0]].mean(axis=1)
                freedom = v.sum(axis=1) ** 2 / (v**2).sum(axis=1) * (GROUPS - 1)
                image = stats.t.ppf(0.975, freedom) * np.sqrt(v.sum(axis=1)) / size
                if size < 5:
                    cells.append(f"{kind} {size}: image, these {np.mean(np.abs(d.mean(axis=1) - own) <= image):.3f}")
                    continue
                error = np.abs(d.mean(axis=1) - differences[:kinds].mean())
                t = stats.t.ppf(0.975, size - 1) * d.std(axis=1, ddof=1) / np.sqrt(size)
                ratio = differences.mean(axis=1)[:kinds].std() / np.sqrt(variances[:kinds].mean())
                rates = {"t": t, "image": image, "wider": np.maximum(t, image)}
                cells.append(
                    f"{kind} {size} (spread/image {ratio:.2f}): "
                    + ", ".join(f"{key} {np.mean(error <= width):.3f}" for key, width in rates.items())
                )
        print(f"{label} | {name} n {n} ({differences.shape[1]} measurements) | " + " | ".join(cells), flush=True)


def features(folder: Path, space: str, name: str, pixels: torch.Tensor) -> Array:
    """Features of pixels, kept in the folder."""
    file = folder / f"{space}-{name}.npy"
    if not file.exists():
        np.save(file, extract(space, pixels)[0].double().numpy())
    return np.asarray(np.load(file))


def shuffled(data: str, root: Path | None) -> tuple[Images, torch.Tensor]:
    images = load(data, root=root)
    return images, torch.randperm(len(images.pixels), generator=torch.Generator().manual_seed(0))


def pools(folder: Path, root: Path | None) -> None:
    for name, (data, n_images, seeds, last, n, _) in NETWORKS.items():
        images, drawn = load(data, root=root), dict[float, list[torch.Tensor]]({0.0: [], 1.0: []})
        for seed in seeds:
            torch.manual_seed(seed)
            network = build("small", 1)
            for _ in train(network, images.standardised(), LogNormal(), n_images=n_images, seed=seed):
                pass
            network.eval()
            for eta, pixels in drawn.items():
                ladder, draw = geometric(66, 30.0, last), partial(sample, n_samples=n, shape=images.shape)
                with torch.no_grad():
                    pixels.append(images.to_pixels(draw(network, ladder, Euler(eta), seed=100 + seed, batch_size=256)))
        for eta, pixels in drawn.items():
            save_file({"pixels": torch.cat(pixels)}, folder / f"{name}-eta{eta:g}.safetensors")


def of_network(folder: Path, name: str, root: Path | None) -> tuple[dict[str, Array], Array]:
    """Features of the samples of a network by eta, and of real images."""
    data, space = NETWORKS[name][0], NETWORKS[name][-1]
    images, order = shuffled(data, root)
    real = features(folder, space, f"{data}-real", images.pixels[order[:REAL]])
    tensors = {eta: load_file(folder / f"{name}-eta{eta}.safetensors")["pixels"] for eta in ("0", "1")}
    return {eta: features(folder, space, f"{name}-eta{eta}", pixels) for eta, pixels in tensors.items()}, real


def networks(folder: Path, name: str, root: Path | None, draws: int) -> None:
    by_eta, real = of_network(folder, name, root)
    n = min(map(len, by_eta.values()))
    none, full = by_eta["0"][:n], by_eta["1"][:n]
    known = judges(real)
    truth = {key: judge.truth(full) - judge.truth(none) for key, judge in known.items() if isinstance(judge, Kernel)}
    print(name, n, "images; true differences", truth)
    base = side(none, known, 1, draws)
    detect(f"{name} | A/A eta 0", side(none, known, 2, draws), base, paired=False)
    every = side(full, known, 1, draws)
    detect(f"{name} | eta 1 - eta 0", every, base, paired=True)
    mixed = np.where((np.arange(n) % 2 == 0)[:, None], full, none)  # every other image is of eta 1
    half = side(mixed, known, 1, draws)
    detect(f"{name} | half of the images of eta 1 - eta 0", half, base, paired=True)
    coverage(f"{name} | coverage", every, half, base)


def planted(folder: Path, data: str, root: Path | None, draws: int) -> None:
    space = PLANTED[data]
    images, order = shuffled(data, root)
    clean, labels = images.pixels[order[REAL : 2 * REAL]], images.labels[order[REAL : 2 * REAL]]
    real = features(folder, space, f"{data}-real", images.pixels[order[:REAL]])
    pool = features(folder, space, f"{data}-pool", clean)
    known, fine = judges(real), texture(clean)
    base = side(pool, known, 1, draws, fine)
    detect(f"{data} | A/A real", side(pool, known, 2, draws, fine), base, paired=False)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(3))
    faults = {f"grain {s}": clean.float() + s * images.std * noise for s in (0.02, 0.05)}
    faults |= {f"blur {s} px": gaussian_blur(clean.float(), 7, s) for s in (0.4, 0.7)}
    for label, values in faults.items():
        pixels = values.round().clamp(0, 255).to(torch.uint8)
        bad = features(folder, space, f"{data}-{label.replace(' ', '-')}", pixels)
        detect(f"{data} | {label}", side(bad, known, 2, draws, texture(pixels)), base, paired=False)
    for digit in (4, 1):
        keep = (labels != digit).numpy()
        for label, mask in {"no": keep, "half of": keep | (np.arange(len(keep)) % 2 == 0)}.items():
            without = side(pool[mask], known, 2, draws, fine[mask])
            detect(f"{data} | {label} class {digit}", without, base, paired=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["pools", "networks", "planted"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("name", nargs="?", default="")
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--data-root", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.part == "pools":
        pools(given.folder, given.data_root)
    elif given.part == "networks":
        networks(given.folder, given.name, given.data_root, given.draws)
    elif given.part == "planted":
        planted(given.folder, given.name, given.data_root, given.draws)


if __name__ == "__main__":
    main()
