"""A sweep makes a row of every trial with its numbers, and computes nothing twice."""

import io
import re
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from short_sweep import REFERENCE, TRAIN, TRIALS, run, trial
from user_images import few_digits

from diffusion_core.samplers import Euler, Heun, KadkhodaieSimoncelli
from diffusion_core.samplers import sample as draw
from experiments.config import trained
from experiments.config.comparison import Contrast
from experiments.config.config import AlphaBetaLadder, Ladder, SampleConfig, ScoreConfig
from experiments.config.denoisers import Machine
from experiments.config.identity import identity
from experiments.config.trial import Trial
from experiments.engine.executor import SweepResult, execute
from experiments.engine.plan import Plan, Remaining
from experiments.engine.progress import Progress
from experiments.engine.tasks import Outcome, RunContext, Task, run_stage
from experiments.metrics.distances import METRICS
from experiments.results.contrasts import contrast_rows
from experiments.results.floors import floor_rows
from experiments.results.table import COLUMNS
from experiments.stages import sample, score
from experiments.stages.common import Advance, load_meta
from experiments.stages.score import score_stage
from experiments.stages.train import train_stage
from experiments.store.store import Store
from reports.edge import INTERRUPT, guarded


def test_every_cell_is_a_row_with_its_numbers(store: Store) -> None:
    ladder = AlphaBetaLadder(0.9, 0.1)
    original = Trial("test", "any", ScoreConfig(SampleConfig(TRAIN, ladder, ladder.sampler, 40), REFERENCE))
    rows = run([*TRIALS, original], store)
    assert [row["status"] for row in rows] == ["ok"] * 5
    assert set(rows[0]) == set(COLUMNS)
    assert [row["eta"] for row in rows[:4]] == pytest.approx([0, 0.9, 0, 0.9])
    assert rows[0]["nfe"] == rows[0]["n_steps"] == 2 and rows[0]["n_reference"] == 4960
    assert rows[4]["alpha"] == 0.9 and rows[4]["nfe"] == 4  # 30 * (0.01 + 0.01)^(4/2) < 0.03
    assert all(row["fd"] > 0 and row["kd_se"] > 0 and row["seconds"] > 0 for row in rows)
    assert rows[0]["kd"] != rows[1]["kd"] != rows[2]["kd"]


def test_nothing_is_computed_twice(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(TRIALS, store)
    for module, name in ((sample, "sample"), (trained, "train"), (score, "extract"), (score, "precision_recall")):
        monkeypatch.setattr(module, name, None)  # computed again, they would fail
    assert run(TRIALS, store) == first
    assert run([trial(3, 0.0)], store)[0]["error"] == "TypeError: 'NoneType' object is not callable"


@pytest.mark.parametrize(
    ("kind", "width", "line"),
    [
        *((kind, 80, r"[\d:]{8} 2 of 4 done; \d+ s to go; sampling: network 1 of 1, 2 steps; [\d,]+ evaluations/s")
          for kind in ("none", "dumb")),
        ("xterm", 80, r"━+.* +\d+ % 2 of 4 done; \d+ s to go; sampling: network 1 of 1, 2 steps; .*…"),
        ("xterm", 60, r"━+.* +\d+ % 2 of 4 done; \d+ s to go; sampling: .*…"),
        ("xterm", 40, r"━+.* +\d+ % 2 of 4 done; .*…"),
    ],
)  # fmt: skip
def test_progress_fits_the_terminal(kind: str, width: int, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A live line with the bar and the share, where there is a terminal that can draw one; else plain lines."""
    text = io.StringIO()
    monkeypatch.setattr("reports.terminal.PERIOD", 0.01)
    console = Console(file=text, width=width, force_terminal=kind != "none", _environ={"TERM": kind}, color_system=None)
    tasks = Plan.of(TRIALS[:1]).tasks
    with Progress(Remaining(Plan.of(TRIALS[:1]), tasks), console) as progress:
        for task in tasks:
            progress.begin(task)
            progress.advance(task.cost)
            progress.bar.refresh()
            time.sleep(0.05 if kind != "xterm" else 0)  # as a task that says nothing
            progress.finish(Outcome(task.name, "broken" if task.kind == "scores" else None))
    lines = [re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", part).rstrip() for part in re.split(r"[\r\n]+", text.getvalue())]
    assert any(re.fullmatch(line, part) for part in lines), lines
    assert max(map(len, lines)) <= width or kind != "xterm"
    assert progress.text().startswith("3 of 4 done; 1 failed; ")


def test_contrasts_pair_networks_and_pool_them(store: Store) -> None:
    rows = run(TRIALS, store)
    pairs = ((TRIALS[1], TRIALS[0]), (TRIALS[3], TRIALS[2]))
    out = contrast_rows([Contrast("explored", "any", "eta 0.9", "eta 0", pairs)], rows, store)
    assert [(row["metric"], row.get("train_seed")) for row in out] == [
        *((metric, seed) for metric in METRICS for seed in (0, 1)), *((metric, None) for metric in METRICS),
    ]  # fmt: skip
    kd = [row for row in out if row["metric"] == "kd"]
    assert kd[0]["difference"] == rows[1]["kd"] - rows[0]["kd"]
    assert kd[2]["difference"] == pytest.approx((kd[0]["difference"] + kd[1]["difference"]) / 2)
    assert kd[2]["n_networks"] == 2 and kd[2]["low"] < kd[2]["difference"] < kd[2]["high"]
    assert kd[2]["n_steps"] == 2 and kd[2]["eta_a"] == pytest.approx(0.9)
    lone = contrast_rows([Contrast("explored", "any", "a", "b", pairs)], rows[:2], store)
    assert lone[-1]["n_networks"] == 1  # the pair whose runs are missing is left out
    assert contrast_rows([Contrast("explored", "any", "a", "b", pairs)], [], store) == []


def test_the_floor_has_the_sizes_of_the_rows(store: Store) -> None:
    rows = run(TRIALS, store)
    floors = floor_rows(TRIALS, rows, store)
    assert [row["metric"] for row in floors] == [*METRICS, "precision", "recall"]
    for row in floors:
        assert (row["n_samples"], row["n_reference"], row["repeats"]) == (40, 4960, 20)
        assert row["low"] < row["mean"] < row["high"] and row["sd"] > 0
    assert floors[0]["mean"] < min(row["fd"] for row in rows)


@pytest.mark.slow
def test_features_are_computed_on_the_threads_of_their_run_and_distances_on_one(tmp_path: Path) -> None:
    """Also where the reference, which is always computed on one thread, is made on the way."""
    machine, data = Machine(threads=2), few_digits(tmp_path)
    train = replace(TRAIN, data=data, machine=machine)
    samples = SampleConfig(train, Ladder(n_steps=2), Euler(0.0), 40, machine=machine)
    store = Store(tmp_path)
    train_stage(train, store, None, lambda n: None)
    sample.sample_stage(samples, store, None, lambda n: None)
    threads: list[int] = []

    def noted(function: Callable[..., Any]) -> Callable[..., Any]:
        def noting(*args: Any, **options: Any) -> Any:
            threads.append(torch.get_num_threads())
            return function(*args, **options)

        return noting

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(METRICS, "kd", noted(METRICS["kd"]))
        patch.setattr(score, "extract", noted(score.extract))
        score_stage(ScoreConfig(samples, replace(REFERENCE, data=data)), store, None)
    assert threads == [1, 2, 1]  # the reference's features, the samples' features, their distance


def test_a_film_shows_the_way_down_the_ladder_of_whoever_follows_it(store: Store) -> None:
    run([trial(2, 0.9)], store)
    samples = trial(2, 0.9).samples
    stored = load_file(store.path("samples", identity(samples)) / "samples.safetensors")
    levels = load_meta("samples", samples, store)["film_sigmas"]
    assert levels == list(samples.ladder.sigmas()) and stored["film"].shape == (3, 4, 1, 32, 32)
    assert (stored["film"][-1].int() - stored["pixels"][:4].int()).abs().max() <= 1  # at unit variance for sigma 0.03
    own = replace(samples, sampler=KadkhodaieSimoncelli())
    sample.sample_stage(own, store, None, lambda n: None)
    assert "film" not in load_file(store.path("samples", identity(own)) / "samples.safetensors")
    assert load_meta("samples", own, store)["film_sigmas"] == []


def test_a_film_has_the_denoised_estimate_of_each_level() -> None:
    """This denoiser's estimate is sigma itself. Heun evaluates at the last level too, Euler only before it."""
    sigmas = Ladder(n_steps=25).sigmas()
    for sampler, last in ((Euler(0.9), sigmas[-2]), (Heun(), sigmas[-1])):
        film = sample.TrajectoryRecorder(sigmas)
        model = sample.CountingModel(lambda x, sigma: x / sigma[:, None, None, None] - 1)
        model.watch = film.evaluated
        draw(model, sigmas, sampler, n_samples=7, shape=(1, 2, 2), batch_size=3, watch=film)
        assert model.images == 7 * sampler.planned_nfe(sigmas)
        levels = torch.tensor([*list(film.levels.values())[:-1], last])
        expected = levels[:, None, None, None, None].expand(10, 3, 1, 2, 2)
        torch.testing.assert_close(torch.stack(film.denoised), expected, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("swallowed", [False, True], ids=["as another error", "without a trace"])
def test_an_interrupt_that_a_library_swallows_is_one(swallowed: bool, tmp_path: Path) -> None:
    """As C++ code does that calls Python. It makes no failed row."""

    def work(task: Task, context: RunContext, advance: Advance) -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            if not swallowed:
                raise SystemError("returned a result with an exception set") from None
        run_stage(task, context, advance)

    ended: list[SweepResult] = []

    def sweep() -> int:
        ended.append(execute(Plan.of(TRIALS[:1]), RunContext(Store(tmp_path), work=work), Console(quiet=True)))
        return 0

    assert guarded(sweep) == 0 and not INTERRUPT.is_set()
    assert ended[0].interrupted and ended[0].rows == []
