"""The primary contrast gets more images until it is settled; the images of earlier looks are kept."""

from dataclasses import replace

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from diffusion_core.samplers import Euler
from experiments.config.comparison import Contrast, Looks, control, paired
from experiments.config.config import Ladder, ReferenceConfig, SampleConfig, ScoreConfig
from experiments.config.denoisers import TrainConfig
from experiments.config.identity import identity
from experiments.config.trial import Row, Trial
from experiments.engine.executor import execute
from experiments.engine.looks import Looked, look_by_look
from experiments.engine.plan import Plan
from experiments.engine.tasks import RunContext
from experiments.metrics.features import features_id
from experiments.results.contrasts import contrast_rows
from experiments.stages.common import load_meta
from experiments.store.store import Store
from reports.schema import JUDGE

pytestmark = pytest.mark.slow

TRAIN = TrainConfig(images_seen=192, batch_size=64, warmup_images=64)
REFERENCE = ReferenceConfig("mnist5k", "digits", features_id("digits"))
SIZES = (40, 80, 100)
QUIET = Console(quiet=True)


def trial(mode: str, eta: float, look: int, seed: int = 0, n_steps: int = 2) -> Trial:
    samples = SampleConfig(TRAIN, Ladder(n_steps=n_steps), Euler(eta), SIZES[look], seed, earlier=SIZES[:look])
    return Trial("test", mode, ScoreConfig(samples, REFERENCE), f"eta {eta:g}")


def looks(a: float, b: float, smallest: float, n_steps: int = 2) -> Looks:
    """eta a against eta b."""
    contrasts, controls = list[Contrast](), list[Contrast]()
    for look in range(len(SIZES)):
        sides = {f"eta {eta:g}": (trial("primary", eta, look, seed, n_steps),) for seed, eta in enumerate((b, a))}
        (name_b, side_b), (name_a, _) = sides.items()
        contrasts.append(paired("primary", "primary", name_a, name_b, sides))
        controls.append(control(name_b, (trial("control", b, look, 9, n_steps),), side_b))
    return Looks(tuple(contrasts), tuple(controls), smallest)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


def run(planned: Looks, store: Store) -> tuple[Looked, list[Row]]:
    plan = Plan.of([*planned.trials(0), trial("other", 0.5, 0)])
    looked = look_by_look(plan, planned, lambda plan: execute(plan, RunContext(store), QUIET), store, QUIET)
    return looked, contrast_rows(looked.comparisons, looked.result.rows, store)


def test_a_clear_difference_ends_the_run_at_the_first_look(store: Store) -> None:
    looked, rows = run(looks(1.0, 0.0, smallest=1e-9, n_steps=32), store)
    assert [row["look"] for row in looked.rows] == [1, 1] and looked.rows[1]["stopped"] == "clear"
    primary = next(row for row in rows if row["kind"] == "primary" and row["metric"] == JUDGE and "verdict" in row)
    assert (primary["look"], primary["n_looks"], primary["stopped"], primary["n_samples"]) == (1, 3, "clear", 40)
    assert {row["n_samples"] for row in looked.result.rows} == {40}


def test_an_unsettled_difference_gets_all_images_and_the_rest_does_not(store: Store) -> None:
    looked, rows = run(looks(0.001, 0.0, smallest=1e-9), store)
    assert [row["n_samples"] for row in looked.rows] == [40, 40, 80, 80, 100, 100]
    assert [row["stopped"] for row in looked.rows[::2]] == [None, None, "maximum"]
    by_mode = {row["mode"]: row["n_samples"] for row in looked.result.rows}
    assert by_mode == {"primary": 100, "control": 100, "other": 40}
    kd = [row for row in rows if row["metric"] == JUDGE and "verdict" in row]
    assert [row["kind"] for row in kd] == ["primary", "control"] and [row["n_samples"] for row in kd] == [100, 100]
    assert [row["stopped"] for row in kd if "stopped" in row] == ["maximum"]
    last = next(row for row in looked.rows if row["look"] == 3 and row["metric"] == JUDGE)
    assert (kd[0]["low"], kd[0]["high"]) == (last["low"], last["high"])
    assert kd[0]["high"] - kd[0]["low"] > 4.2 * kd[0]["se"]  # wider than +-1.96 (t: 2.09) standard errors


def test_a_small_difference_of_no_interest_ends_the_run_too(store: Store) -> None:
    looked, rows = run(looks(0.001, 0.0, smallest=1.0), store)
    assert looked.rows[-1]["stopped"] == "equal" and looked.rows[-1]["look"] < 3
    assert {row["verdict"] for row in rows if row["kind"] == "primary" and "verdict" in row} == {"practically equal"}


def test_a_failed_run_ends_the_looks(store: Store) -> None:
    planned = looks(0.002, 0.0, smallest=1e-9)
    plan = Plan.of(planned.trials(0))

    def broken(plan: Plan) -> object:
        result = execute(plan, RunContext(store), QUIET)
        return replace(result, rows=[result.rows[0] | {"status": "failed"}, *result.rows[1:]])

    looked = look_by_look(plan, planned, broken, store, QUIET)  # type: ignore[arg-type]
    assert looked.rows == [] and looked.comparisons[0].stop is not None and looked.comparisons[0].stop.why == "failed"


def test_a_part_of_the_plan_has_no_looks(store: Store) -> None:
    planned = looks(0.001, 0.0, smallest=1e-9)
    plan = Plan.of(planned.trials(0)[:2])
    looked = look_by_look(plan, planned, lambda plan: execute(plan, RunContext(store), QUIET), store, QUIET)
    assert looked.rows == [] and looked.comparisons[0].stop is None and len(looked.result.rows) == 2


def test_images_of_an_earlier_look_are_not_drawn_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from experiments.stages import sample as stage

    drawn = list[object]()
    honest = stage.sample

    def counted(*arguments: object, **keywords: object) -> object:
        drawn.append(keywords["samples"])
        return honest(*arguments, **keywords)  # type: ignore[arg-type]

    monkeypatch.setattr(stage, "sample", counted)
    first, second = (trial("grow", 0.7, look, seed=3) for look in (0, 1))
    whole = replace(second.score.samples, earlier=())
    assert identity(whole) == identity(second.samples)  # how a run began is no part of it
    for one in (first, second):
        execute(Plan.of([one]), RunContext(store), QUIET)
    assert drawn == [range(40), range(40, 80)]
    tensors = [
        load_file(store.path("samples", identity(one.samples)) / "samples.safetensors") for one in (first, second)
    ]
    assert torch.equal(tensors[1]["pixels"][:40], tensors[0]["pixels"]) and len(tensors[1]["pixels"]) == 80
    assert torch.equal(tensors[1]["film"], tensors[0]["film"])
    metas = [load_meta("samples", one.samples, store) for one in (first, second)]
    assert metas[1]["seconds"] > metas[0]["seconds"] and metas[1]["nfe"] == metas[0]["nfe"] == 2
