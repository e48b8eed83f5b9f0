"""Ray tasks run the same loop over the same cache."""

import importlib.util
from functools import partial
from pathlib import Path

import pytest
from run_acting import QUIET
from run_spine import exact, files, run, score

from diffusion_core.samplers import Euler
from experiments.run.cache import Cache
from experiments.run.ray_runner import run_on_ray
from experiments.run.runner import ExecutionResult, Runner

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra `cluster`")


@pytest.mark.slow(20)
@needs_ray
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_ray_gives_what_one_process_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAY_worker_niceness", "0")  # by default its workers wait until other tests leave a core
    runs = [run(Euler(eta), exact(seed)) for seed in (0, 1) for eta in (0.0, 0.5)]
    one = Cache(tmp_path / "one")
    two = Cache(tmp_path / "two")
    ended = [Runner(one, QUIET).run(runs), Runner(two, QUIET, cluster=partial(run_on_ray, "local", 1.0)).run(runs)]
    assert ended == [ExecutionResult({}, evaluations=4 * 2 * 40)] * 2
    assert files(one) == files(two) and not list(two.root.glob("*/*.lock"))
    assert [score(each, two) for each in runs] == [score(each, one) for each in runs]
