"""What --dry-run forecasts: the plan, and the difference that the comparison of it will be able to detect."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import run_spine as spine

from diffusion_core.samplers import Euler
from experiments.distances.distance import Distance
from experiments.distances.intervals import detectable, estimate_pairs
from experiments.run import dry_run
from experiments.run.cache import Cache
from experiments.run.dry_run import TYPICAL_SE, detectable_difference
from experiments.run.networks import TRAIN_COST
from experiments.run.runs import Run

N = 500


def runs(networks: int) -> list[Run]:
    """Of two settings, and one of them with other noise."""
    settings: list[tuple[float, dict[str, Any]]] = [(0.0, {}), (1.0, {}), (0.0, {"section": "again", "draw": 1})]
    return [
        spine.run(Euler(eta), spine.trained(seed), n=N, label=f"eta {eta:g}", **how)
        for eta, how in settings for seed in range(networks)
    ]  # fmt: skip


def forecast(planned: list[Run], folder: Path) -> tuple[float, str]:
    answer = detectable_difference(planned, Cache(folder))
    assert answer is not None
    return answer


@pytest.mark.parametrize("n", [1, 4, 5, 8])
def test_the_forecast_is_what_the_comparison_will_say_if_networks_differ_by_their_images_only(n: int, tmp_path: Path):
    rng = np.random.default_rng(0)
    spread = np.linspace(-1, 1, n) if n > 1 else np.zeros(1)
    se = TYPICAL_SE["digits"] * np.sqrt(2 / N)  # of the difference on one network
    differences = se * spread / (spread.std(ddof=1) if n > 1 else 1.0)
    pairs = []
    for difference in differences:
        terms = rng.normal(size=(2, N))
        terms -= terms.mean(axis=1, keepdims=True)
        a, b = (TYPICAL_SE["digits"] / np.sqrt(N) / Distance(0.0, term).se * term for term in terms)
        pairs.append((Distance(difference, a), Distance(0.0, b)))
    size, words = forecast(runs(n), tmp_path)
    found = estimate_pairs(pairs, paired=False)
    assert size == pytest.approx(detectable(found.se, found.freedom), rel=1e-3)
    assert words.startswith(f"{n} network") and ("at best" in words) == (n >= 5)


@pytest.mark.slow
def test_the_plan_is_counted_and_nothing_is_made(tmp_path: Path):
    """What is stored is not left; equal samples count once."""
    cache = Cache(tmp_path)
    said = list[str]()
    planned = [
        spine.run(Euler(eta), spine.trained(), label=label) for eta, label in ((0.0, "a"), (0.0, "b"), (1.0, "c"))
    ]
    planned.append(spine.run(Euler(9.0)))
    counted = dry_run.print_plan(planned, cache, 2, said.append)
    assert counted["samples"] == {"unique": 2, "left": 2} and counted["networks"] == {"unique": 1, "left": 1}
    assert counted["evaluations"] == 128 * TRAIN_COST + 2 * 2 * 40 and counted["seconds"] > 0
    assert said[0].startswith("4 runs; store:") and "for each of 2 workers, timed on this machine" in said[-2]
    assert all(f"{work} " in said[-2] for work in ("training", "sampling", "plus scoring,"))
    assert not list(tmp_path.iterdir())
    spine.score(planned[0], cache)
    counted = dry_run.print_plan(planned, cache, 1, said.append)
    assert counted["samples"] == {"unique": 2, "left": 1} and counted["networks"]["left"] == 0
    assert counted["evaluations"] == 2 * 40 and "from scores in the store" in said[-1]
