"""A race keeps the truly best setting as often as it says, and spends few images on the others."""

from itertools import accumulate

import numpy as np
import pytest

from experiments.metrics.best_set import best_set
from experiments.metrics.race import levels

SIZES, BLOCK, SETTINGS = (60, 120, 180, 240), 60, 8


def race(rng: np.random.Generator, means: np.ndarray, shared: float) -> tuple[set[int], int]:
    """The settings left, and the images that were drawn. Values are means over images that share part of their noise.

    Images are drawn up to each look; a setting that has left draws no more.
    """
    left, drawn, seen = np.arange(len(means)), 0, np.empty((0, len(means)))
    for level in levels(SIZES):
        noise = shared * rng.normal(size=(BLOCK, 1)) + np.sqrt(1 - shared**2) * rng.normal(size=(BLOCK, len(means)))
        seen = np.concatenate([seen, means + noise])
        drawn += BLOCK * len(left)
        here = seen[:, left]
        found = best_set(here.mean(axis=0)[None], [here - here.mean(axis=0)], level)
        left = np.array([setting for setting, one in zip(left, found, strict=True) if not one.worse])
        if len(left) == 1:
            break
    return set(left.tolist()), drawn


def test_the_looks_spend_the_error_of_one_comparison() -> None:
    spent = list(accumulate(1 - level for level in levels(SIZES)))
    assert spent[-1] == pytest.approx(0.05)
    assert spent[0] == pytest.approx(0.05 * np.log(1 + (np.e - 1) / 4))  # Lan & DeMets 1983
    assert levels((500,)) == (pytest.approx(0.95),)


@pytest.mark.slow
@pytest.mark.parametrize("shared", [0.0, 0.9])
def test_the_best_setting_rarely_leaves(shared: float) -> None:
    rng = np.random.default_rng(11)
    for means in (np.zeros(SETTINGS), 0.05 * np.arange(SETTINGS)):
        kept = [0 in race(rng, means, shared)[0] for _ in range(150)]
        assert np.mean(kept) >= 0.915  # 0.95 less two standard errors


def test_settings_that_are_far_worse_cost_a_block() -> None:
    means = np.array([0.0, 0.05, *[1.5] * (SETTINGS - 2)])
    left, drawn = race(np.random.default_rng(2), means, 0.5)
    assert left <= {0, 1}
    assert drawn <= BLOCK * SETTINGS + 3 * BLOCK * 2
