"""Precision and threads: chosen by one timing, with a margin, the same for the same command; compiled where it pays."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from run_spine import data, trained

from diffusion_core.training import TrainingStep
from experiments.questions import OneSetting
from experiments.run import autotune, plan
from experiments.run.autotune import SAMPLING, TRAINING, BenchmarkKey, ComputeMode, TimedMachines
from experiments.run.cache import Cache
from experiments.run.machine import Machine
from experiments.run.networks import RECIPES, Trained
from experiments.run.options import Options
from experiments.run.plan import Planner

T = 2  # threads
PLAIN = Machine(threads=T)
BF16 = replace(PLAIN, precision="bf16")
SIDE = replace(PLAIN, precision="bf16", threads=1)


def measured(
    bf16: float = 0.012, step16: float = 0.030, one_thread: float = 0.032, step: float = 0.040
) -> dict[ComputeMode, float]:
    return {
        ComputeMode(SAMPLING, 128, T): 0.020, ComputeMode(SAMPLING, 128, T, "bf16"): bf16,
        ComputeMode(TRAINING, 64, T): step, ComputeMode(TRAINING, 64, T, "bf16"): step16,
        ComputeMode(TRAINING, 64, 1): 0.080, ComputeMode(TRAINING, 64, 1, "bf16"): one_thread,
    }  # fmt: skip


@pytest.mark.parametrize(
    "seconds, sampling, training, networks",
    [
        (measured(), BF16, SIDE, 5),  # 0.032 * 1.25 for two networks, against 2 * 0.030
        (measured(bf16=0.0191), PLAIN, SIDE, 5),  # 4.5 % may be noise
        (measured(bf16=0.030), PLAIN, SIDE, 5),
        (measured(one_thread=0.049), BF16, BF16, 5),
        (measured(), BF16, BF16, 1),  # a single one would wait for nobody
        (measured(step=0.004, step16=0.003, one_thread=0.0032), BF16, BF16, 5),  # too short for processes of their own
    ],
)
def test_what_needs_clearly_less_time_is_taken(
    seconds: Any, sampling: Machine, training: Machine, networks: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(autotune, "timings", lambda *_: seconds)
    network = trained(images_seen=200_000)
    chosen = autotune.autotune(network, PLAIN, Cache(Path("nowhere")), networks, print)
    assert (chosen.sampling, chosen.training) == (sampling, training)
    assert chosen.why.startswith("timed on this machine: ")
    assert chosen.seconds == (0.012 if sampling is BF16 else 0.020) / 128, "of an image"


@pytest.mark.parametrize(
    "minutes, typed, compiler, compiled",
    [(11, {}, True, True), (9, {}, True, False), (11, {}, False, False), (11, {"no_compile": True}, True, False),
     (1, {"compile": True}, True, True), (11, {"precision": "fp32"}, True, False)],
)  # fmt: skip
def test_networks_are_compiled_where_sampling_takes_more_than_ten_minutes(
    minutes: float, typed: dict[str, Any], compiler: bool, compiled: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("SIGMABENCH_PRECISION", raising=False)
    choice_of_minutes = TimedMachines(PLAIN, PLAIN, "timed", seconds=minutes * 60 / (2 * 40 * 8))
    monkeypatch.setattr(plan, "autotune", lambda *_: choice_of_minutes)
    monkeypatch.setattr(plan, "can_compile", lambda device: compiler)
    study = OneSetting(data=data(), n_samples=40, seeds=2, setting="karras, euler, 8", recipe="plain")
    planner = Planner.of(study, Options(device="cpu", **{"threads": 1} | typed), Cache(Path("nowhere")), print)
    planner = planner.compiled_if_long(planner.plan(study.settings()))
    assert planner.machine.compiled == compiled and ("compiled" in planner.note) == (compiled and not typed)


def test_a_chosen_precision_is_not_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(plan, "autotune", lambda *_: pytest.fail("it was timed"))
    study = OneSetting(data=data(), n_samples=40, recipe="plain")
    monkeypatch.setenv("SIGMABENCH_PRECISION", "fp32")
    for precision, typed in (("fp32", {}), ("bf16", {"precision": "bf16"})):
        options = Options(store=tmp_path, threads=1, **typed)  # type: ignore[arg-type]
        assert Planner.of(study, options, Cache(tmp_path), print).machine.precision == precision
    monkeypatch.setenv("SIGMABENCH_PRECISION", "fp8")
    with pytest.raises(ValueError, match="SIGMABENCH_PRECISION='fp8': it must be one of auto, fp32, bf16"):
        Options().machine()


def test_measure_times_the_machine_again_and_is_refused_where_nothing_is_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(autotune, "time_interleaved", lambda runs: dict.fromkeys(runs, 0.5))
    monkeypatch.delenv("SIGMABENCH_PRECISION")
    said = list[str]()
    for measure in (False, False, True):
        Planner.of(OneSetting(), Options(measure=measure), Cache(tmp_path), said.append)
    assert len(said) == 2
    with pytest.raises(ValueError, match="measure: a given precision is not timed"):
        Planner.of(OneSetting(), Options(measure=True, precision="fp32"), Cache(tmp_path), print)
    with pytest.raises(ValueError, match=r"measure: network=.* is not timed"):
        Planner.of(OneSetting(network="exact"), Options(measure=True), Cache(tmp_path), print)


def test_a_machine_is_timed_once_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(autotune, "time_interleaved", lambda runs: dict.fromkeys(runs, 0.5))
    network = trained(batch_size=4)
    said = list[str]()
    for machine in (Machine(), Machine(), Machine(threads=2)):
        seconds = autotune.timings(network, machine, Cache(tmp_path), said.append)
        assert set(seconds.values()) == {0.5} and len(seconds) == 4 * machine.threads - 2 * (machine.threads - 1)
    assert said == ["timing the network small preconditioned on this machine, once"] * 2
    key = BenchmarkKey.of(network, Machine())
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert BenchmarkKey.of(network, Machine()) != key
    product = autotune.forward_call(lambda x, sigma: x @ x, (1,), "cpu", ComputeMode(SAMPLING, 1, 1, "bf16"))
    assert product().dtype == torch.bfloat16  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_every_mode_is_timed_as_it_is_used_and_leaves_no_trace(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(autotune, "ROUNDS", 1)
    config = Trained(data(), batch_size=4, **RECIPES[recipe])
    before = torch.get_rng_state()
    key = BenchmarkKey.of(config, Machine())
    seconds = autotune.timings(config, Machine(), Cache(tmp_path), print)
    assert [*seconds] == [*key.modes(SAMPLING), *key.modes(TRAINING)] and all(time > 0 for time in seconds.values())
    assert torch.equal(torch.get_rng_state(), before) and torch.get_num_threads() == 1
    assert isinstance(autotune._training_call(config, ComputeMode(TRAINING, 4, 1))(), TrainingStep)


def test_rounds_give_up_hopeless_modes_and_leave_out_modes_that_fail(monkeypatch: pytest.MonkeyPatch):
    """Hopeless is told by thread seconds per image: one thread may take longer, if others have one of their own."""
    seconds = {"plain": 1.0, "slow": 1.4, "hopeless": 9.0, "fails": 0.1, "fails later": 1.1, "one thread": 6.0}
    modes = {name: ComputeMode(SAMPLING, batch, 4) for batch, name in enumerate(seconds, start=1)}
    modes["one thread"] = ComputeMode(SAMPLING, 1, 1)
    calls = dict.fromkeys(modes, 0)

    class Clock:
        def __init__(self, stmt: str, globals: dict[str, Any], num_threads: int):
            self.name = globals["run"]()
            assert num_threads == modes[self.name].threads

        def timeit(self, number: int) -> Any:
            calls[self.name] += 1
            if self.name == "fails" or (self.name == "fails later" and calls[self.name] > 3):
                raise RuntimeError("out of memory")
            return SimpleNamespace(median=seconds[self.name] + 0.1 * abs(calls[self.name] - 3))

    monkeypatch.setattr(autotune, "Timer", Clock)
    measured_seconds = autotune.time_interleaved({mode: (lambda name=name: name) for name, mode in modes.items()})
    times = dict.fromkeys(("plain", "slow", "one thread"), autotune.ROUNDS) | {"hopeless": 1}
    assert calls == times | {"fails": 1, "fails later": 4}
    assert measured_seconds == {modes[name]: seconds[name] + 0.1 * max(3 - calls[name], 0) for name in times}
