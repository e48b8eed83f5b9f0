"""How often do intervals hold and verdicts err? Simulations through the functions that make a report.

    python -m bench.simulate [sweeps|effects|protocol ...] [--runs 1000]

Prints the tables of docs/statistics.md; those of docs/score.md name their commit. In a sweep each
image adds noise of size 1, half of it the initial noise that all settings share; networks differ by `spread` standard
errors over the images of one network. With fewer than five networks the truth is that of these networks, otherwise
that of networks in general.
"""

import argparse
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np

from experiments.distances.distance import Array, Distance
from experiments.distances.intervals import ENOUGH_NETWORKS, odd_network, too_noisy
from experiments.run.choice import Candidate, pick
from experiments.run.comparisons import Contrast, Row, Side, against_first
from experiments.run.contrasts import Verdicts, depends_on_limit
from experiments.run.grid import find_effects
from experiments.scoring.sides import best_set_rows
from reports.schema import ANY_NOISE, CONFIRM, MORE

N = 60  # images per network
IMAGES = (1 / N) ** 0.5  # standard error of a difference over the images of one network
ROW: Row = {"features": "f", "n_samples": N, "n_reference": 9, "precision": 0.6, "recall": 0.6, "run_id": "r", "fd": 1}
Rng = np.random.Generator


def settings(rng: Rng, networks: int, true: Sequence[float], spread: float, noisy: bool) -> tuple[list[Side], Array]:
    """Settings with these distances, and the mean distance of each over these networks.

    With `noisy`, networks of one setting in ten differ five times as much.
    """
    sd = np.full(len(true), spread / 2**0.5 * IMAGES)
    sd[1 : len(true) if noisy else 0 : 10] *= 5
    by_network = np.array(true)[:, None] + sd[:, None] * rng.standard_normal((len(true), networks))
    shared = rng.standard_normal((networks, N)) * 0.5**0.5
    sides = list[Side]()
    for index, values in enumerate(by_network):
        noise = shared + rng.standard_normal((networks, N)) * 0.5**0.5
        sides.append(make_side(index, values[:, None] + noise))
    return sides, by_network.mean(axis=1)


def make_side(index: int, units: Array, section: str = "g", budget: int | None = None) -> Side:
    """The setting of this index, from the distance of each unit of images (networks, N)."""
    distances = {seed: {"mmd": Distance(x.mean(), x - x.mean())} for seed, x in enumerate(units)}
    rows = {seed: ROW | {"mmd": by_metric["mmd"].value} for seed, by_metric in distances.items()}
    return Side(f"s{index}", section, budget, len(units), rows, distances)


def errors(verdicts: Verdicts, asked: Sequence[Any], truths: Array) -> tuple[float, bool]:
    """The share of intervals that hold, and whether any verdict is wrong."""
    pairs = [(verdicts.known[id(contrast)][1], truth) for contrast, truth in zip(asked, truths, strict=True)]
    wrong = any(estimate.clear and estimate.difference * truth <= 0 for estimate, truth in pairs)
    return float(np.mean([estimate.low <= truth <= estimate.high for estimate, truth in pairs])), wrong


def of_sweep(rng: Rng, networks: int, comparisons: int, spread: float, noisy: bool) -> list[float]:
    """The share of intervals that hold, whether any verdict is wrong, whether the best setting is in its set.

    All settings are equal in general.
    """
    sides, means = settings(rng, networks, [0.0] * (comparisons + 1), spread, noisy)
    true = means if networks < ENOUGH_NETWORKS else np.zeros(len(means))
    contrasts = [*against_first("setting", sides)]
    verdicts = Verdicts.of(contrasts, [])
    rows = best_set_rows(sides, verdicts)
    return [*errors(verdicts, contrasts, true[1:] - true[0]), float(rows[int(true.argmin())]["in_set"])]


def sweeps(runs: int) -> Iterator[Sequence[Any]]:
    yield "networks", "comparisons", "spread", "intervals hold", "any wrong verdict", "best setting in its set"
    spreads = (0, False), (3, False), (3, True)
    for networks, comparisons, (spread, noisy) in product((2, 3, 5, 8), (1, 6, 30), spreads):
        rng = np.random.default_rng([networks, comparisons, spread, noisy])
        results = [of_sweep(rng, networks, comparisons, spread, noisy) for _ in range(runs)]
        name = f"{spread}, one in ten five times as much" if noisy else spread
        yield networks, comparisons, name, *100 * np.mean(results, axis=0)


GAINS = {  # differences from the default in MMD x1000: quantiles 0, 10, 25, 50, 75, 100 % of the 50 settings
    8: (-22.9, -15.2, -11.0, -7.8, -1.3, 10.0),  # that five networks of 100,000 digits gave in November 2026
    16: (-11.6, -10.0, -8.1, -4.9, -3.2, 10.0),
    32: (-10.8, -8.7, -6.5, -3.3, -1.9, 10.0),
    66: (-9.8, -8.8, -5.5, -2.7, -1.0, 8.6),
}
OF_IMAGES, OF_NETWORKS = 2.5, 1.5  # standard deviations of such a difference: over 250 images, and over networks
FAILURE = 10.0  # what a network that fails with a setting scores more
SMALL = 0.7  # a tenth of the lowest published score


GRID = {"a": "012", "b": "01", "c": "01"}


def of_grid(rng: Rng, networks: int, share: float) -> list[float]:
    """The share of intervals of effects that hold, and whether any verdict is wrong, in a grid of 3 x 2 x 2 cells.

    Planted is `share` of: level 2 of a, and b where c is 1, each of three standard errors over images.
    """
    cells = [*product(*GRID.values())]
    planted = [3 * IMAGES * share * ((a == "2") + (b == c == "1")) for a, b, c in cells]
    sides, means = settings(rng, networks, planted, 3, False)
    by_label = dict(zip((side.label for side in sides), means if networks < ENOUGH_NETWORKS else planted, strict=True))
    effects = [*find_effects(GRID, dict(zip(cells, sides, strict=True)))]
    truths = []
    for effect in effects:
        values = np.array([[by_label[side.label] for side in cell] for cell in effect.combinations])
        half = values.shape[1] // 2
        truths.append(values[:, :half].sum(1).mean() - values[:, half:].sum(1).mean())
    truths = np.where(np.abs(truths) < 1e-12, 0.0, truths)
    return [*errors(Verdicts.of(effects, []), effects, truths)]


def effects(runs: int) -> Iterator[Sequence[Any]]:
    yield "networks", "planted effects", "intervals hold", "any wrong verdict"
    for networks, share in product((2, 5, 8), (0.0, 1.0)):
        rng = np.random.default_rng([networks, round(share)])
        yield networks, share, *100 * np.mean([of_grid(rng, networks, share) for _ in range(runs)], axis=0)


def protocol(runs: int) -> Iterator[Sequence[Any]]:
    """Explore, choose, confirm, at four numbers of evaluations: 50 settings whose gains are a share of GAINS.

    Visible noise is even from 0.01 to 0.05 and has no part in the gains. `failing`: share of networks that fail with a
    setting.
    """
    yield ("explorers", "confirmers", "share of the gains", "failing", "wins with 8", "16", "32", "66 evaluations",
           "any wrong verdict", "intervals hold", "a network is named", "depends on visible noise",
           "lost against the best")  # fmt: skip
    cases = product(((2, 5), (3, 5), (3, 10), (1, 1)), (0.0, 0.5, 1.0), (0.0, 0.1))
    for (explorers, confirmers), share, failing in cases:
        if failing and confirmers == 1:  # then the network is what it is
            continue
        rng = np.random.default_rng([explorers, confirmers, int(10 * share), int(10 * failing)])
        results = [of_choice(rng, explorers, confirmers, share, failing) for _ in range(runs)]
        yield explorers, confirmers, share, failing, *np.mean(results, axis=0)


def of_choice(rng: Rng, explorers: int, confirmers: int, share: float, failing: float) -> list[float]:
    """The columns of a row, per cent: of one study."""
    contrasts = list[Contrast]()
    true, regrets, depends = list[float](), list[float](), list[tuple[Contrast, Contrast]]()
    cheapest = (Side("", "", None, 0, {}, {}), 0.0)
    for budget, quantiles in GAINS.items():
        gains = share * np.interp(np.linspace(0, 1, 50), (0, 0.1, 0.25, 0.5, 0.75, 1), quantiles)
        explored = made_sides(rng, gains, explorers, 250, budget)
        levels = rng.uniform(0.01, 0.05, (1, 50)) + 0.004 * rng.standard_normal((explorers, 50))
        pool = [
            Candidate(side.label, "", budget, (side.label,), (side,), at, 0, too_noisy([*level], tested=False))
            for at, (side, level) in enumerate(zip(explored, levels.T, strict=True))
        ]
        chosen = [candidate.order for candidate, *_ in pick(pool, 1)]
        values = np.array([0.0, *gains[chosen]])
        default, *sides = made_sides(rng, values, confirmers, 1500, budget, failing)
        of_budget = [Contrast(kind, a, default, budget) for kind, a in zip((CONFIRM, ANY_NOISE), sides, strict=False)]
        contrasts += of_budget
        true += [*values[1:]]
        depends += zip(of_budget[1:], of_budget, strict=False)
        if contrasts[1:] and cheapest[0].rows:
            contrasts.append(Contrast(MORE, sides[0], cheapest[0], budget))
            true.append(values[1] - cheapest[1])
        cheapest = cheapest if cheapest[0].rows else (sides[0], values[1])
        regrets.append(gains[chosen[0]] - gains.min())
    verdicts = Verdicts.of(contrasts, [])
    estimates = [verdicts.known[id(c)][1] for c in contrasts if c.kind == CONFIRM]
    wins = [100.0 * (estimate.clear and estimate.difference < 0) for estimate in estimates]
    held, wrong = errors(verdicts, contrasts, np.array(true))
    named = [odd_network([a.value - b.value for a, b in c.pairs("mmd")], SMALL) is not None for c in contrasts]
    said = [depends_on_limit(of_all, limited, verdicts) for of_all, limited in depends]
    shares = [100.0 * wrong, 100 * held, 100 * float(np.mean(named)), 100.0 * any(said)]
    return [*wins, *shares, float(np.mean(regrets))]


def made_sides(rng: Rng, true: Array, networks: int, n_images: int, budget: int, failing: float = 0.0) -> list[Side]:
    """Settings with these distances; networks and N units of images vary as in the published study.

    One network stays the same, so that only images vary. Networks that fail score FAILURE more.
    """
    sides = list[Side]()
    of_unit = OF_IMAGES * (N * 250 / n_images / 2) ** 0.5  # two such sides differ by OF_IMAGES with 250 images
    spread = OF_NETWORKS / 2**0.5 if networks > 1 else 0.0
    for index, value in enumerate(true):
        units = value + of_unit * rng.standard_normal((networks, N)) + spread * rng.standard_normal((networks, 1))
        units += FAILURE * ((rng.random((networks, 1)) < failing) - failing)
        sides.append(make_side(index, units, "confirm", budget))
    return sides


TABLES = {table.__name__: table for table in (sweeps, effects, protocol)}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", metavar="TABLE")
    parser.add_argument("--runs", type=int, default=1000)
    options = parser.parse_args()
    for name in options.tables or TABLES:
        for at, cells in enumerate(TABLES[name](options.runs)):
            line = " | ".join(f"{cell:.1f}" if isinstance(cell, float) else str(cell) for cell in cells)
            print(f"| {line} |", flush=True)
            if at == 0:
                print(f"|{' --- |' * len(cells)}", flush=True)
