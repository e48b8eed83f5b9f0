"""How often do intervals hold and verdicts err? Simulations through the functions that make a report.

    python -m bench.simulate [sweeps|interactions|protocol|score|groups|harmless|few_units|copies ...] [--runs 1000]

Prints the tables of docs/statistics.md, docs/score.md and docs/harmless.md. In a sweep each image adds noise of size 1,
half of it the initial noise that all settings share; networks differ by `spread` standard errors over the images of one
network. With fewer than five networks the truth is that of these networks, otherwise that of networks in general.
"""

import argparse
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
import torch

from diffusion_core import load
from experiments import compare
from experiments.distances import duplicates
from experiments.distances.distance import Array, Distance
from experiments.distances.equivalence import SEEN, EquivalenceTest, compare_distributions
from experiments.distances.intervals import ENOUGH_NETWORKS
from experiments.distances.kernels import median_distance
from experiments.run.choice import Candidate, pick
from experiments.run.compare import BestSet, Contrast, Interaction, Row, Side, against_first
from experiments.run.contrasts import Judge, best_set_rows
from experiments.run.image_features import extract
from reports.schema import HARMFUL, HARMLESS

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
    for number, values in enumerate(by_network):
        noise = shared + rng.standard_normal((networks, N)) * 0.5**0.5
        distances = {seed: Distance(values[seed] + x.mean(), x - x.mean()) for seed, x in enumerate(noise)}
        rows = {seed: ROW | {"mmd": mmd.value} for seed, mmd in distances.items()}
        by_metric = {seed: {"mmd": mmd} for seed, mmd in distances.items()}
        sides.append(Side(f"s{number}", "g", None, networks, rows, by_metric))
    return sides, by_network.mean(axis=1)


def errors(judge: Judge, asked: Sequence[Any], truths: Array) -> tuple[float, bool]:
    """The share of intervals that hold, and whether any verdict is wrong."""
    pairs = [(judge.verdicts[id(contrast)][1], truth) for contrast, truth in zip(asked, truths, strict=True)]
    wrong = any(estimate.clear and estimate.difference * truth <= 0 for estimate, truth in pairs)
    return float(np.mean([estimate.low <= truth <= estimate.high for estimate, truth in pairs])), wrong


def of_sweep(rng: Rng, networks: int, comparisons: int, spread: float, noisy: bool) -> list[float]:
    """The share of intervals that hold, whether any verdict is wrong, whether the best setting is in its set.

    All settings are equal in general.
    """
    sides, means = settings(rng, networks, [0.0] * (comparisons + 1), spread, noisy)
    true = means if networks < ENOUGH_NETWORKS else np.zeros(len(means))
    contrasts = [*against_first("setting", sides)]
    judge = Judge.of(contrasts, [])
    rows = list(best_set_rows([*contrasts, BestSet(sides)], judge))
    return [*errors(judge, contrasts, true[1:] - true[0]), float(rows[int(true.argmin())]["in_set"])]


def sweeps(runs: int) -> Iterator[Sequence[Any]]:
    yield "networks", "comparisons", "spread", "intervals hold", "any wrong verdict", "best setting in its set"
    spreads = (0, False), (3, False), (3, True)
    for networks, comparisons, (spread, noisy) in product((2, 3, 5, 8), (1, 6, 30), spreads):
        rng = np.random.default_rng([networks, comparisons, spread, noisy])
        results = [of_sweep(rng, networks, comparisons, spread, noisy) for _ in range(runs)]
        name = f"{spread}, one in ten five times as much" if noisy else spread
        yield networks, comparisons, name, *100 * np.mean(results, axis=0)


def interactions(runs: int) -> Iterator[Sequence[Any]]:
    yield "networks", "interactions", "spread", "intervals hold", "any wrong verdict"
    for networks, number, spread in product((2, 5), (1, 6), (0, 3)):
        rng = np.random.default_rng([networks, number, spread])
        results = []
        for _ in range(runs):
            sides, means = settings(rng, networks, [0.0] * (2 * number + 2), spread, False)
            pairs = list(zip(sides[::2], sides[1::2], strict=True))
            asked = [Interaction(pair, pairs[0]) for pair in pairs[1:]]
            effects = means[::2] - means[1::2] if networks < ENOUGH_NETWORKS else np.zeros(len(pairs))
            results.append(errors(Judge.of(asked, []), asked, effects[1:] - effects[0]))
        yield networks, number, spread, *100 * np.mean(results, axis=0)


GAINS = {  # differences from the default in MMD x1000: quantiles 0, 10, 25, 50, 75, 100 % of the 50 settings
    8: (-22.9, -15.2, -11.0, -7.8, -1.3, 10.0),  # that five networks of 100,000 digits gave in November 2026
    16: (-11.6, -10.0, -8.1, -4.9, -3.2, 10.0),
    32: (-10.8, -8.7, -6.5, -3.3, -1.9, 10.0),
    66: (-9.8, -8.8, -5.5, -2.7, -1.0, 8.6),
}
OF_IMAGES, OF_NETWORKS = 2.5, 1.5  # standard deviations of such a difference: over 250 images, and over networks


def protocol(runs: int) -> Iterator[Sequence[Any]]:
    """Explore, choose, confirm, at four numbers of evaluations: 50 settings whose gains are a share of GAINS."""
    yield ("explorers", "confirmers", "share of the gains", "wins with 8", "16", "32", "66 evaluations",
           "any wrong verdict", "intervals hold", "lost against the best")  # fmt: skip
    for (explorers, confirmers), share in product(((2, 5), (3, 6), (1, 1)), (0.0, 0.5, 1.0)):
        rng = np.random.default_rng([explorers, confirmers, int(10 * share)])
        results = [of_choice(rng, explorers, confirmers, share) for _ in range(runs)]
        yield explorers, confirmers, share, *np.mean(results, axis=0)


def of_choice(rng: Rng, explorers: int, confirmers: int, share: float) -> list[float]:
    """Per cent of wins at each number of evaluations, of wrong verdicts, of intervals that hold; and the regret."""
    contrasts = list[Contrast]()
    true = list[float]()
    regrets = list[float]()
    for budget, quantiles in GAINS.items():
        gains = share * np.interp(np.linspace(0, 1, 50), (0, 0.1, 0.25, 0.5, 0.75, 1), quantiles)
        explored = made_sides(rng, gains, explorers, 250, budget)
        pool = [Candidate(side.label, "", budget, (side.label,), (side,), at, 0) for at, side in enumerate(explored)]
        chosen = pick(pool, 1)[0][0].order
        default, side = made_sides(rng, np.array([0.0, gains[chosen]]), confirmers, 1500, budget)
        contrasts.append(Contrast("confirm", side, default, budget))
        true.append(gains[chosen])
        regrets.append(gains[chosen] - gains.min())
    verdicts = Judge.of(contrasts, []).verdicts
    estimates = [verdicts[id(contrast)][1] for contrast in contrasts]
    wins = [100.0 * (estimate.clear and estimate.difference < 0) for estimate in estimates]
    pairs = list(zip(estimates, true, strict=True))
    wrong = any(estimate.clear and estimate.difference * truth <= 0 for estimate, truth in pairs)
    held = [estimate.low <= truth <= estimate.high for estimate, truth in pairs]
    return [*wins, 100.0 * wrong, 100 * float(np.mean(held)), float(np.mean(regrets))]


def made_sides(rng: Rng, true: Array, networks: int, n_images: int, budget: int) -> list[Side]:
    """Settings with these distances; networks and N units of images vary as in the published study.

    One network stays the same, so that only images vary.
    """
    sides = list[Side]()
    of_unit = OF_IMAGES * (N * 250 / n_images / 2) ** 0.5  # two such sides differ by OF_IMAGES with 250 images
    spread = OF_NETWORKS / 2**0.5 if networks > 1 else 0.0
    for number, value in enumerate(true):
        units = value + of_unit * rng.standard_normal((networks, N)) + spread * rng.standard_normal((networks, 1))
        distances = {seed: {"mmd": Distance(x.mean(), x - x.mean())} for seed, x in enumerate(units)}
        rows = {seed: ROW | {"mmd": by_metric["mmd"].value} for seed, by_metric in distances.items()}
        sides.append(Side(f"s{number}", "confirm", budget, networks, rows, distances))
    return sides


def score(runs: int) -> Iterator[Sequence[Any]]:
    """One pair of sets, b a little further than a; real images are drawn anew each time, or are always the same."""
    yield "real images", "sets", "MMD", "FD", "KD"
    for anew, pairs in product((True, False), ("order", "none")):
        rng = np.random.default_rng(anew)
        differences = list[list[Any]]()  # of each run, in each metric
        fixed = rng.normal(size=(300, 8))
        for _ in range(runs):
            a = 1.2 * rng.normal(size=(200, 8))
            b = a + 0.2 * rng.normal(size=a.shape) if pairs == "order" else 1.22 * rng.normal(size=a.shape)
            real = rng.normal(size=fixed.shape) if anew else fixed
            of_sets = compare(real, a, b, pairs=pairs).differences["set 2"]
            differences.append([of_sets[name] for name in ("mmd", "fd", "kd")])
        held = []
        for estimates in zip(*differences, strict=True):
            truth = np.mean([estimate.difference for estimate in estimates])
            held.append(100 * np.mean([estimate.low <= truth <= estimate.high for estimate in estimates]))
        yield "drawn anew" if anew else "fixed", "pairs" if pairs == "order" else "no pairs", *held


def groups(runs: int) -> Iterator[Sequence[Any]]:
    """`score --groups`: two sets with the law of the real images, whose prompts are clusters."""
    yield "prompts of 8 images", "MMD ×1000 of such a set", "its standard error", "intervals of the difference hold"
    rng = np.random.default_rng(0)

    def draw(prompts: int, n_images: int) -> Array:
        """Features of that many images of each prompt."""
        of_prompts = rng.normal(size=(prompts, 1, 8))
        return (of_prompts + 0.3 * rng.normal(size=(prompts, n_images, 8))).reshape(-1, 8)

    real = draw(2000, 1)
    for prompts in (20, 50):
        names = (np.arange(8 * prompts) // 8).tolist()
        values = list[float]()
        held = 0
        for _ in range(runs):
            scores = compare(real, draw(prompts, 8), draw(prompts, 8), pairs="none", groups=names)
            values.append(1000 * scores.values["set 1"]["mmd"].value)
            held += scores.difference.low <= 0 <= scores.difference.high
        yield prompts, np.mean(values), np.std(values) / runs**0.5, 100 * held / runs


def harmless(runs: int) -> Iterator[Sequence[Any]]:
    """Changes planted in 5,000 digits, of which pairs are drawn; the margin is the true share of what is drawn."""
    yield "change", "units", "true share, %", "called harmless at it, %"
    data = load("mnist5k")
    pixels = data.pixels[:, 0].numpy()
    sevens = data.labels.numpy() == 7
    rng = np.random.default_rng(0)
    order = rng.permutation(len(pixels))

    def features(images: Array) -> Array:
        grey = np.ascontiguousarray(images.clip(0, 255).astype(np.uint8))
        return extract("digits", torch.from_numpy(grey)[:, None])[0].numpy().astype(np.float64)

    def replace(share: float, value: Any) -> Array:
        changed = pixels.astype(float)
        places = order[: round(share * len(pixels))]
        changed[places] = value(changed[places])
        return changed

    lost = pixels.copy()
    lost[sevens] = pixels[~sevens][: int(sevens.sum())]
    changes = {
        "2 % grey": replace(0.02, lambda x: 128), "3 % inverted": replace(0.03, lambda x: 255 - x),
        "3 % one image": replace(0.03, lambda x: x[:1]), "class 7 lost": lost, "contrast x 0.92": pixels * 0.92,
        "noise of 12 grey levels": pixels + rng.normal(0, 12, pixels.shape),
    }  # fmt: skip
    before = features(pixels)
    batches = order.reshape(-1, 5)  # five images that fail together
    for name, changed in changes.items():
        after = features(changed)
        for n, batched in ((300, False), (500, False), (500, True)):
            tests = list[EquivalenceTest]()
            units = np.arange(n) // 5 if batched else None
            for _ in range(runs):
                if batched:
                    places = batches[rng.integers(len(batches), size=n // 5)].ravel()
                else:
                    places = rng.integers(5000, size=n)
                first, second = (torch.from_numpy(images[places]) for images in (before, after))
                tests.append(compare_distributions(first, second, units))
            distance = max(np.mean([test.distance.value for test in tests]), 0)
            share = float(np.sqrt(distance / tests[0].scale))
            called = 100 * np.mean([test.verdict(share) == HARMLESS for test in tests])
            unit = f"{n} pairs in batches of 5" if batched else f"{n} pairs"
            yield name, unit, 100 * share, called


def few_units(runs: int) -> Iterator[Sequence[Any]]:
    """Pairs, or clips whose frames are alike. A share of them is damaged, and all may be shifted.

    The distribution is then as far from that before as the margin, or as twice the margin. Column `shift`: the share of
    the margin that the shift alone reaches; `times`: the margin over the smallest that this number of units can show.
    Images of other seeds are judged by a margin of 0.03.
    """
    yield "units", "images of each", "damage", "shift", "times", "harmless at the margin", "at twice", "harmful at 3 %"
    axes = np.eye(8)
    damages = {
        "one far point": lambda x, rng: np.full_like(x, 50.0), "one image": lambda x, rng: 0 * x + axes[1] / 2,
        "far apart": lambda x, rng: x + 1000.0 * rng.standard_normal(x.shape),
        "a shift": lambda x, rng: x + 2 * axes[0],
    }  # fmt: skip

    def draw(rng: Rng, units: int, n_images: int) -> Array:
        """Features of that many images of each unit."""
        return 0.9**0.5 * rng.standard_normal((units, 1, 8)) + 0.1**0.5 * rng.standard_normal((units, n_images, 8))

    def test(before: Array, after: Array) -> EquivalenceTest:
        names = np.arange(len(before)).repeat(before.shape[1])
        first, second = (torch.from_numpy(images.reshape(-1, 8)) for images in (before, after))
        return compare_distributions(first, second, names)

    rng = np.random.default_rng(0)
    many = draw(rng, 4000, 1)
    reach = {name: test(many, damage(many, rng)).shares[0] for name, damage in damages.items()}  # if all is damaged
    width = median_distance(torch.from_numpy(many[:, 0]))
    scale = test(many, many).scale
    cells = [
        *product((10, 32, 100, 238), (1, 4), damages, (0,), (1,)),
        *product((32, 100, 238, 500), (1,), ["one far point"], (0, 0.6, 0.8, 0.9), (1, 1.2, 1.5, 2)),
    ]
    for units, n_images, name, slight, times in cells:
        rng = np.random.default_rng([units, n_images])
        margin = 1.0001 * times * SEEN / units
        rates = list[Any]()
        square = (slight * margin) ** 2  # the squared distance that the shift makes
        shift = axes[0] * np.sqrt(-(width**2 + 4) * np.log1p(-square * scale / (scale - 1) / 2))
        for distance in (margin, 2 * margin):
            share = (square + np.sqrt(square**2 + 4 * (distance**2 - square))) / 2 / reach[name]
            called = 0
            for _ in range(runs if share <= 1 else 0):
                before = draw(rng, units, n_images)
                after = before + shift
                hit = rng.random(units) < share
                after[hit] = damages[name](before[hit], rng)
                called += test(before, after).verdict(margin) == HARMLESS
            rates.append(100 * called / runs if share <= 1 else "cannot be so far")
        yield units, n_images, name, slight, times, *rates, ""
    for units, n_images in product((10, 32, 100, 238), (1, 4)):
        rng = np.random.default_rng([units, n_images])
        seeds = [test(draw(rng, units, n_images), draw(rng, units, n_images)).verdict(0.03) for _ in range(runs)]
        yield units, n_images, "other seeds", "", "", "", "", 100 * seeds.count(HARMFUL) / runs


def copies(runs: int) -> Iterator[Sequence[Any]]:
    """How often more copies are found: sets with an equal share of copies, and one that repeats one image."""
    yield "images", "natural share", "equal sets", "one image with 3 %", "with 5 %", "with 10 %"
    rng = np.random.default_rng(0)
    for n, natural in product((400, 1000), (0.0, 0.05, 0.2)):
        counts = (rng.binomial(n, [natural + added, natural], (10 * runs, 2)) for added in (0.0, 0.03, 0.05, 0.1))
        more = [[duplicates.excess_share(a, n, b, n)[1] > duplicates.MAX_SHARE for a, b in pairs] for pairs in counts]
        yield n, natural, *100 * np.mean(more, axis=1)


TABLES = {
    table.__name__: table for table in (sweeps, interactions, protocol, score, groups, harmless, few_units, copies)
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", metavar="TABLE")
    parser.add_argument("--runs", type=int, default=1000)
    given = parser.parse_args()
    for name in given.tables or TABLES:
        for at, cells in enumerate(TABLES[name](given.runs)):
            line = " | ".join(f"{cell:.1f}" if isinstance(cell, float) else str(cell) for cell in cells)
            print(f"| {line} |", flush=True)
            if at == 0:
                print(f"|{' --- |' * len(cells)}", flush=True)
