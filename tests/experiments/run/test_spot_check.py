"""The spot check: stored samples that the code no longer gives, and scores, are an error; rounding is none."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from run_acting import QUIET
from run_spine import exact, imported, reference, run, silent

from diffusion_core.samplers import Euler, Heun
from experiments.run import spot_check, stages
from experiments.run.cache import Cache
from experiments.run.machine import Machine
from experiments.run.runner import Runner
from experiments.run.runs import Run
from experiments.run.spot_check import StaleError, check_same, choose_runs, sample_indices
from experiments.settings import Schedule, Setting

TABLE = """
from dataclasses import dataclass
from itertools import pairwise
from dataclasses import replace
from pathlib import Path
from diffusion_core.samplers import Sampler
@dataclass(frozen=True)
class Mine(Sampler):
    name = "mine"
    def run(self, eps, x, sigmas, noise):
        gain = float(Path(__file__).with_name("table.txt").read_text())
        for sigma, after in pairwise(sigmas):
            x = x + gain * (after - sigma) * eps(x, sigma)
            yield x
"""


def test_an_edited_table_is_an_error_and_fresh_repairs_it(folder: Path):
    """No text that is hashed changes."""
    (folder / "table.txt").write_text("1")
    setting = Setting("karras", Schedule(n_steps=2), imported(folder, table=TABLE).Mine())
    of_mine = Run(setting, exact(), 40, Machine(), reference())
    cache = Cache(folder / "store")
    for _ in range(2):
        assert not Runner(Cache(cache.root), QUIET).run([of_mine]).failed
    (folder / "table.txt").write_text("1.004")
    says = r"stored samples of karras differ from what karras gives now by .*; add --fresh, or name another --store"
    with pytest.raises(StaleError, match=says):
        Runner(Cache(cache.root), QUIET).run([of_mine])
    cache.start_fresh()
    assert not Runner(cache, QUIET).run([of_mine]).failed and not Runner(Cache(cache.root), QUIET).run([of_mine]).failed


def test_a_score_that_is_measured_otherwise_now_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As by another library of features."""
    Runner(Cache(tmp_path), QUIET).run([run()])
    honest = stages.features_of
    monkeypatch.setattr(stages, "features_of", lambda *given: honest(*given) * 1.1)
    with pytest.raises(StaleError, match=r"stored MMD of euler "):
        Runner(Cache(tmp_path), QUIET).run([run()])


def test_one_run_of_each_network_and_class_of_samplers_is_checked_once(tmp_path: Path):
    cache = Cache(tmp_path)
    seen = set[Any]()
    runs = [run(Euler(eta), exact(seed)) for seed in (0, 1) for eta in (0.0, 1.0)] + [run(Heun())]
    assert not choose_runs(runs, cache, seen)
    for one in runs:
        stages.sample(one, cache, silent)
    chosen = choose_runs(runs, cache, seen)
    assert {one.network for one in chosen} == {exact(0), exact(1)} and 2 <= len(chosen) <= 3
    assert {type(one.setting.sampler) for one in chosen} == {Euler, Heun} and not choose_runs(runs, cache, seen)


@pytest.mark.parametrize(
    "change, one, precision, stale",
    [(0.0, 0.0, "fp32", False), (1e-4, 0.0, "fp32", False), (0.01, 0.0, "fp32", True), (0.01, 0.0, "bf16", False),
     (0.0, 0.2, "fp32", True), (0.0, float("nan"), "bf16", True)],
)  # fmt: skip
def test_more_than_rounding_is_a_difference(change: float, one: float, precision: str, stale: bool):
    """Of half of the samples, or more of a single one."""
    stored = 100 + torch.randn(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    again = stored + change
    again[7] += one
    if not stale:
        check_same("samples", "x", again, stored, precision)
        return
    for other in (again, stored[..., :4]):
        with pytest.raises(StaleError):
            check_same("samples", "x", other, stored, precision)
    check_same("samples", "x", 0 * stored, 0 * stored, precision)  # black


@pytest.mark.parametrize("n, n_classes", [(40, 10), (1000, 10), (10, 1), (3, 10)])
def test_samples_are_chosen_all_over(n: int, n_classes: int):
    for _ in range(20):
        chosen = sample_indices(n, n_classes)
        assert chosen == sorted(set(chosen)) and chosen[0] >= 0 and chosen[-1] < n
        assert len(chosen) >= min(n, 6) // 2 and (n < 20 or chosen[-1] - chosen[0] > n / 2)
        assert n < 20 or len({index % n_classes for index in chosen}) > 1


def test_a_few_samples_are_drawn_on_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Several would wait for each other most of the time, and take others' time if the machine is shared."""
    on_two = replace(run(), machine=Machine(threads=2))
    stages.sample(on_two, Cache(tmp_path), silent)
    threads = list[int]()
    generate = spot_check.generate
    monkeypatch.setattr(spot_check, "generate", lambda *of: threads.append(torch.get_num_threads()) or generate(*of))
    spot_check.spot_check(on_two, Cache(tmp_path), silent)
    assert threads == [1]
