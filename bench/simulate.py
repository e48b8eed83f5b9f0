"""How often do intervals hold and verdicts err? Simulations through the functions that make a report.

    python -m bench.simulate [sweeps|interactions|score|groups|harmless|few_units|copies ...] [--runs 1000]

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
from experiments.run.compare import BestSet, Interaction, Row, Side, against_first
from experiments.run.contrasts import Judge, best_set_rows
from experiments.user.features import extract
from reports.schema import HARMFUL, HARMLESS

N = 60  # images per network
IMAGES = (1 / N) ** 0.5  # standard error of a difference over the images of one network
ROW: Row = {"features": "f", "n_samples": N, "n_reference": 9, "precision": 0.6, "recall": 0.6, "run_id": "r", "fd": 1}
Rng = np.random.Generator


def settings(rng: Rng, networks: int, true: Sequence[float], spread: float, noisy: bool) -> tuple[list[Side], Array]:
    """Settings with these distances, and the distance of each with these networks. `noisy`: one in ten differs more."""
    sd = np.full(len(true), spread / 2**0.5 * IMAGES)
    sd[1 : len(true) if noisy else 0 : 10] *= 5
    own = np.array(true)[:, None] + sd[:, None] * rng.standard_normal((len(true), networks))
    shared, sides = rng.standard_normal((networks, N)) * 0.5**0.5, list[Side]()
    for number, values in enumerate(own):
        noise = shared + rng.standard_normal((networks, N)) * 0.5**0.5
        each = {seed: {"mmd": Distance(values[seed] + x.mean(), x - x.mean())} for seed, x in enumerate(noise)}
        rows = {seed: ROW | {"mmd": found["mmd"].value} for seed, found in each.items()}
        sides.append(Side(f"s{number}", "g", None, networks, rows, each))
    return sides, own.mean(axis=1)


def errors(judge: Judge, asked: Sequence[Any], truths: Array) -> tuple[float, bool]:
    """The share of intervals that hold, and whether any verdict is wrong."""
    pairs = [(judge.verdicts[id(contrast)][1], truth) for contrast, truth in zip(asked, truths, strict=True)]
    wrong = any(each.clear and each.difference * truth <= 0 for each, truth in pairs)
    return float(np.mean([each.low <= truth <= each.high for each, truth in pairs])), wrong


def of_sweep(rng: Rng, networks: int, comparisons: int, spread: float, noisy: bool) -> list[float]:
    """Of settings that are equal: the share of intervals that hold, any verdict, and the best setting in its set."""
    sides, own = settings(rng, networks, [0.0] * (comparisons + 1), spread, noisy)
    true = own if networks < ENOUGH_NETWORKS else np.zeros(len(own))
    contrasts = [*against_first("setting", sides)]
    judge = Judge.of(contrasts, [])
    rows = list(best_set_rows([*contrasts, BestSet(sides)], judge))
    return [*errors(judge, contrasts, true[1:] - true[0]), float(rows[int(true.argmin())]["in_set"])]


def sweeps(runs: int) -> Iterator[Sequence[Any]]:
    yield "networks", "comparisons", "spread", "intervals hold", "any wrong verdict", "best setting in its set"
    spreads = (0, False), (3, False), (3, True)
    for networks, comparisons, (spread, noisy) in product((2, 3, 5, 8), (1, 6, 30), spreads):
        rng = np.random.default_rng([networks, comparisons, spread, noisy])
        found = [of_sweep(rng, networks, comparisons, spread, noisy) for _ in range(runs)]
        name = f"{spread}, one in ten five times as much" if noisy else spread
        yield networks, comparisons, name, *100 * np.mean(found, axis=0)


def interactions(runs: int) -> Iterator[Sequence[Any]]:
    yield "networks", "interactions", "spread", "intervals hold", "any wrong verdict"
    for networks, number, spread in product((2, 5), (1, 6), (0, 3)):
        rng, found = np.random.default_rng([networks, number, spread]), []
        for _ in range(runs):
            sides, own = settings(rng, networks, [0.0] * (2 * number + 2), spread, False)
            pairs = list(zip(sides[::2], sides[1::2], strict=True))
            asked = [Interaction(pair, pairs[0]) for pair in pairs[1:]]
            effects = own[::2] - own[1::2] if networks < ENOUGH_NETWORKS else np.zeros(len(pairs))
            found.append(errors(Judge.of(asked, []), asked, effects[1:] - effects[0]))
        yield networks, number, spread, *100 * np.mean(found, axis=0)


def score(runs: int) -> Iterator[Sequence[Any]]:
    """One pair of sets, b a little further than a; real images are drawn anew each time, or are always the same."""
    yield "real images", "sets", "MMD", "FD", "KD"
    for anew, pairs in product((True, False), ("order", "none")):
        rng, found = np.random.default_rng(anew), list[list[Any]]()
        fixed = rng.normal(size=(300, 8))
        for _ in range(runs):
            a = 1.2 * rng.normal(size=(200, 8))
            b = a + 0.2 * rng.normal(size=a.shape) if pairs == "order" else 1.22 * rng.normal(size=a.shape)
            answer = compare(rng.normal(size=fixed.shape) if anew else fixed, a, b, pairs=pairs)
            found.append([answer.differences["set 2"][name] for name in ("mmd", "fd", "kd")])
        held = []
        for each in zip(*found, strict=True):
            truth = np.mean([estimate.difference for estimate in each])
            held.append(100 * np.mean([estimate.low <= truth <= estimate.high for estimate in each]))
        yield "drawn anew" if anew else "fixed", "pairs" if pairs == "order" else "no pairs", *held


def groups(runs: int) -> Iterator[Sequence[Any]]:
    """`score --groups`: two sets with the law of the real images, whose prompts are clusters."""
    yield "prompts of 8 images", "MMD ×1000 of such a set", "its standard error", "intervals of the difference hold"
    rng = np.random.default_rng(0)

    def drawn(prompts: int, each: int) -> Array:
        return (rng.normal(size=(prompts, 1, 8)) + 0.3 * rng.normal(size=(prompts, each, 8))).reshape(-1, 8)

    real = drawn(2000, 1)
    for prompts in (20, 50):
        names, values, held = np.arange(8 * prompts) // 8, list[float](), 0
        for _ in range(runs):
            found = compare(real, drawn(prompts, 8), drawn(prompts, 8), pairs="none", groups=names.tolist())
            values.append(1000 * found.values["set 1"]["mmd"].value)
            held += found.difference.low <= 0 <= found.difference.high
        yield prompts, np.mean(values), np.std(values) / runs**0.5, 100 * held / runs


def harmless(runs: int) -> Iterator[Sequence[Any]]:
    """Changes planted in 5,000 digits, of which pairs are drawn; the margin is the true share of what is drawn."""
    yield "change", "units", "true share, %", "called harmless at it, %"
    pixels, labels = load("mnist5k").pixels[:, 0].numpy(), load("mnist5k").labels.numpy()
    rng = np.random.default_rng(0)
    order = rng.permutation(len(pixels))

    def features(images: Array) -> Array:
        made = torch.from_numpy(np.ascontiguousarray(images.clip(0, 255).astype(np.uint8)))[:, None]
        return extract("digits", made)[0].numpy().astype(np.float64)

    def replaced(share: float, value: Any) -> Array:
        changed, places = pixels.astype(float), order[: round(share * len(pixels))]
        changed[places] = value(changed[places])
        return changed

    lost = pixels.copy()
    lost[labels == 7] = pixels[labels != 7][: int((labels == 7).sum())]
    changes = {
        "2 % grey": replaced(0.02, lambda x: 128), "3 % inverted": replaced(0.03, lambda x: 255 - x),
        "3 % one image": replaced(0.03, lambda x: x[:1]), "class 7 lost": lost, "contrast x 0.92": pixels * 0.92,
        "noise of 12 grey levels": pixels + rng.normal(0, 12, pixels.shape),
    }  # fmt: skip
    before, whole = features(pixels), order.reshape(-1, 5)  # batches of five that fail together
    for name, changed in changes.items():
        after = features(changed)
        for n, batched in ((300, False), (500, False), (500, True)):
            found = list[EquivalenceTest]()
            for _ in range(runs):
                places = whole[rng.integers(len(whole), size=n // 5)].ravel() if batched else rng.integers(5000, size=n)
                units = np.arange(n) // 5 if batched else None
                first, second = (torch.from_numpy(images[places]) for images in (before, after))
                found.append(compare_distributions(first, second, units))
            share = float(np.sqrt(max(np.mean([test.distance.value for test in found]), 0) / found[0].scale))
            called = 100 * np.mean([test.verdict(share) == HARMLESS for test in found])
            unit = f"{n} pairs in batches of 5" if batched else f"{n} pairs"
            yield name, unit, 100 * share, called


def few_units(runs: int) -> Iterator[Sequence[Any]]:
    """Pairs, or clips whose frames are alike; a share of them is damaged, and all may be shifted.

    Their law is then as far as the margin, or as twice the margin. `shift`: the part of the margin that the shift alone
    reaches; `times`: the margin, in smallest margins that so many can show. Images of other seeds are judged by 0.03.
    """
    yield "units", "images of each", "damage", "shift", "times", "harmless at the margin", "at twice", "harmful at 3 %"
    far, apart, axes = 50.0, 1000.0, np.eye(8)
    damages = {
        "one far point": lambda x, rng: np.full_like(x, far), "one image": lambda x, rng: 0 * x + axes[1] / 2,
        "far apart": lambda x, rng: x + apart * rng.standard_normal(x.shape), "a shift": lambda x, rng: x + 2 * axes[0],
    }  # fmt: skip

    def drawn(rng: Rng, units: int, each: int) -> Array:
        return 0.9**0.5 * rng.standard_normal((units, 1, 8)) + 0.1**0.5 * rng.standard_normal((units, each, 8))

    def test(before: Array, after: Array) -> EquivalenceTest:
        names = np.arange(len(before)).repeat(before.shape[1])
        first, second = (torch.from_numpy(images.reshape(-1, 8)) for images in (before, after))
        return compare_distributions(first, second, names)

    rng = np.random.default_rng(0)
    many = drawn(rng, 4000, 1)
    reach = {name: test(many, damage(many, rng)).shares[0] for name, damage in damages.items()}  # if all is damaged
    width, scale = median_distance(many[:, 0]), test(many, many).scale
    cells = [
        *product((10, 32, 100, 238), (1, 4), damages, (0,), (1,)),
        *product((32, 100, 238, 500), (1,), ["one far point"], (0, 0.6, 0.8, 0.9), (1, 1.2, 1.5, 2)),
    ]
    for units, each, name, slight, times in cells:
        rng, margin = np.random.default_rng([units, each]), 1.0001 * times * SEEN / units
        square, rates = (slight * margin) ** 2, list[Any]()
        shift = axes[0] * np.sqrt(-(width**2 + 4) * np.log1p(-square * scale / (scale - 1) / 2))
        for distance in (margin, 2 * margin):
            share = (square + np.sqrt(square**2 + 4 * (distance**2 - square))) / 2 / reach[name]
            called = 0
            for _ in range(runs if share <= 1 else 0):
                before = drawn(rng, units, each)
                after, hit = before + shift, rng.random(units) < share
                after[hit] = damages[name](before[hit], rng)
                called += test(before, after).verdict(margin) == HARMLESS
            rates.append(100 * called / runs if share <= 1 else "cannot be so far")
        yield units, each, name, slight, times, *rates, ""
    for units, each in product((10, 32, 100, 238), (1, 4)):
        rng = np.random.default_rng([units, each])
        seeds = [test(drawn(rng, units, each), drawn(rng, units, each)).verdict(0.03) for _ in range(runs)]
        yield units, each, "other seeds", "", "", "", "", 100 * seeds.count(HARMFUL) / runs


def copies(runs: int) -> Iterator[Sequence[Any]]:
    """How often more copies are found: sets with an equal share of copies, and one that repeats one image."""
    yield "images", "natural share", "equal sets", "one image with 3 %", "with 5 %", "with 10 %"
    rng = np.random.default_rng(0)
    for n, natural in product((400, 1000), (0.0, 0.05, 0.2)):
        drawn = (rng.binomial(n, [natural + added, natural], (10 * runs, 2)) for added in (0.0, 0.03, 0.05, 0.1))
        found = [[duplicates.excess_share(a, n, b, n)[1] > duplicates.MAX_SHARE for a, b in pairs] for pairs in drawn]
        yield n, natural, *100 * np.mean(found, axis=1)


TABLES = {each.__name__: each for each in (sweeps, interactions, score, groups, harmless, few_units, copies)}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", metavar="TABLE")
    parser.add_argument("--runs", type=int, default=1000)
    given = parser.parse_args()
    for table in given.tables or TABLES:
        for at, cells in enumerate(TABLES[table](given.runs)):
            line = " | ".join(f"{cell:.1f}" if isinstance(cell, float) else str(cell) for cell in cells)
            print(f"| {line} |" + "\n|" * (at == 0) + " --- |" * len(cells) * (at == 0), flush=True)
