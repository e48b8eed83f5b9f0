"""Precision, compilation, batch and threads: chosen by time, with a margin, the same for the same command; timings are
taken once per machine, fairly, and never read from a file that is damaged or about something else."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from run_spine import data, exact, run, trained, warned

from diffusion_core.networks import build
from diffusion_core.samplers import Euler
from diffusion_core.training import Step
from experiments.run import calibration, timings
from experiments.run.experiment import answer
from experiments.run.cache import Cache
from experiments.run.calibration import Machines, best_sampling, best_training, chosen
from experiments.run.machine import Machine
from experiments.run.networks import RECIPES, Trained
from experiments.run.options import Options
from experiments.run.runs import Run
from experiments.run.timings import SAMPLING, TRAINING, Mode, Subject, Timing
from experiments.sweep import OneSetting

T = 2  # threads


def sampling(
    seconds: float, precision: str = "fp32", compiled: bool = False, batch: int = 128, once: float = 0.0
) -> Timing:
    return Timing(Mode(SAMPLING, batch, T, precision, compiled), seconds, once)


def training(seconds: float, precision: str = "fp32", threads: int = T) -> Timing:
    return Timing(Mode(TRAINING, 64, threads, precision), seconds)


PLAIN, BF16 = sampling(0.020), sampling(0.012, "bf16")
COMPILED = sampling(0.006, "bf16", True, once=4.0)  # 4 s are repaid after 4 / 0.006 batches of 128
STEP, STEP_16 = training(0.040), training(0.030, "bf16")
EAGER = [PLAIN, BF16, STEP, STEP_16, training(0.050, threads=1), training(0.032, "bf16", 1)]


@pytest.mark.parametrize(
    ("measured", "evaluations", "best"),
    [
        ((PLAIN, BF16), 1, BF16),
        ((PLAIN, sampling(0.030, "bf16")), 1, PLAIN),
        ((PLAIN, sampling(0.0191, "bf16")), 1, PLAIN),  # 4.5 % may be noise
        ((PLAIN, sampling(0.0189, "bf16")), 1, sampling(0.0189, "bf16")),
        ((PLAIN, BF16, COMPILED), 80_000, BF16),
        ((PLAIN, BF16, COMPILED), 90_000, COMPILED),
        ((PLAIN, sampling(0.030, batch=256)), 1, sampling(0.030, batch=256)),
    ],
)
def test_sampling_takes_what_needs_the_least_time(
    measured: tuple[Timing, ...], evaluations: float, best: Timing
) -> None:
    assert best_sampling(measured, evaluations) == best


@pytest.mark.parametrize(
    ("one_thread", "n_networks", "images", "threads"),
    [
        (0.060, 2, 200_000, 1),  # 0.060 * 1.25 for two networks, against 2 * 0.040
        (0.062, 2, 200_000, 2),  # a gain of 3 %
        (0.060, 5, 200_000, 1),  # adding networks changes none
        (0.060, 1, 200_000, 2),  # a single one would wait for nobody
        (0.060, 2, 30_000, 2),  # too short for processes of their own
        (0.032, 1, 200_000, 2),
    ],
)
def test_trainings_side_by_side_if_that_saves_time(
    one_thread: float, n_networks: int, images: int, threads: int
) -> None:
    measured = (STEP, training(one_thread, threads=1))
    assert best_training(measured, T, n_networks, images).mode.threads == threads


def test_the_choice_is_said_in_words() -> None:
    """Networks side by side are said to be as fast as they are together."""
    text = calibration._in_words(training(0.032, "bf16", 1), STEP)
    assert text == "training in bf16 (2 networks at a time, about 3,200 images/s together against 1,600 in plain fp32)"
    assert calibration._in_words(STEP, STEP) == "training in fp32 (1,600 images/s)"
    plain, small = (Timing(Mode(SAMPLING, batch, 2), batch / 1000) for batch in (256, 64))
    text = calibration._in_words(replace(small, seconds=0.032), plain)
    assert text == "sampling in fp32 (2,000 images/s in batches of 64 against 1,000 in plain fp32)"


# --- the choice for a plan ---


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """What was timed, eager or compiled, and of which network; on a machine with timings as above."""
    timed = list[tuple[str, Any]]()

    def known(subject: Subject, network: Any, *_: Any) -> list[Timing]:
        timed.append(("compiled" if subject.compiled else "eager", network))
        return [COMPILED] if subject.compiled else EAGER

    monkeypatch.setattr(calibration, "timings", known)
    monkeypatch.setattr(calibration, "can_compile", lambda device: True)
    monkeypatch.setattr(timings, "device_name", lambda device: device)
    return timed


def pick(runs: list[Run], alone: bool = False, device: str = "cpu", folder: Path = Path("nowhere")) -> Machines:
    return chosen(runs, Machine(device, threads=T), Cache(folder), alone, lambda text: None)


def plan(n: int, networks: int = 2, images: int = 200_000, n_steps: int = 66) -> list[Run]:
    return [run(Euler(0.0), trained(seed, images_seen=images), n_steps, n) for seed in range(networks)]


PLAINLY = Machine(threads=T)
SIDE, SHORT = replace(PLAINLY, precision="bf16", threads=1), replace(PLAINLY, precision="bf16")


def test_all_runs_of_a_command_share_one_choice(asked: list[Any]) -> None:
    both = pick(plan(50_000))
    assert (both.training, both.sampling, both.batch) == (SIDE, replace(SHORT, compiled=True), 128)
    assert both == pick(plan(50_000)) and both.why.startswith("timed on this machine: sampling in bf16, compiled (")
    assert [kind for kind, _ in asked] == ["eager", "compiled"] * 2
    asked.clear()
    few = pick(plan(132, images=640))
    assert (few.training, few.sampling) == (SHORT, SHORT) and pick(plan(500)).sampling == SHORT
    assert [kind for kind, _ in asked] == ["eager"] * 2, "a short run neither times compilation nor uses it"
    assert pick(plan(50_000), alone=True).training == SHORT, "threads or workers that were given stay"
    assert pick([run(network=exact())]) == Machines.alike(PLAINLY)


@pytest.mark.parametrize(("device", "expected"), [("cpu", ["eager", "compiled"]), ("cuda", ["eager"])])
def test_compilation_is_timed_on_cpus_only(device: str, expected: list[str], asked: list[Any]) -> None:
    assert pick(plan(50_000), device=device).sampling.compiled == (device == "cpu")
    assert [kind for kind, _ in asked] == expected


def test_the_work_counts_each_sampling_once(asked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    counted = list[float]()
    monkeypatch.setattr(calibration, "best_sampling", lambda known, n: counted.append(n) or best_sampling(known, n))
    runs = plan(500)
    pick([*runs, *(replace(one, setting=replace(one.setting, label="again")) for one in runs), run(Euler(9.0))])
    assert counted == [500 * 66]


def test_of_networks_that_are_trained_equally_long_the_first_is_timed(asked: list[Any]) -> None:
    runs = [run(network=trained(lr=lr)) for lr in (1e-3, 2e-3, 3e-3, 4e-3, 5e-3)]
    pick(runs)
    pick(runs[::-1])
    assert [network for _, network in asked] == [runs[0].network, runs[-1].network]
    longer = [*runs, run(network=trained(images_seen=256))]
    pick(longer)
    assert asked[-1][1] == longer[-1].network


def test_a_machine_that_cannot_be_timed_computes_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "timings", lambda *_: [])
    found = pick(plan(50_000))
    assert (found.training, found.sampling) == (PLAINLY, PLAINLY) and "could not be timed" in found.why


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_given_precision_is_not_timed(
    precision: Any, tmp_path: Path, asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SIGMABENCH_PRECISION", raising=False)
    study = OneSetting(data=data(), n_samples=40)
    given = Options(store=tmp_path, dry_run=True, threads=1)
    answer(study, replace(given, precision=precision))
    assert not asked and replace(given, precision=precision).machine().precision == precision
    monkeypatch.setenv("SIGMABENCH_PRECISION", precision)
    answer(study, given)
    assert not asked and given.machine().precision == precision
    monkeypatch.delenv("SIGMABENCH_PRECISION")
    answer(study, given)
    assert [kind for kind, _ in asked] == ["eager"]


def test_an_unknown_precision_of_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGMABENCH_PRECISION", "fp8")
    with pytest.raises(ValueError, match="SIGMABENCH_PRECISION='fp8': it must be one of auto, fp32, bf16"):
        Options().machine()


# --- timings ---

SUBJECT = Subject("small preconditioned", (1, 32, 32), "cpu", 1, sampling_batch=4, training_batch=4)
SMALL = Trained(batch_size=4)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is measured since."""
    done: list[str] = []
    monkeypatch.setattr(timings, "_eager", lambda *_: (done.append("eager"), EAGER)[1])
    monkeypatch.setattr(timings, "_compiled", lambda *_: (done.append("compiled"), [COMPILED])[1])
    return done


def known(folder: Path, **how: Any) -> tuple[list[Timing], list[str]]:
    """The timings as another process reads them, and what was said."""
    said: list[str] = []
    return timings.timings(replace(SUBJECT, **how), SMALL, Cache(folder), said.append), said


def test_timings_are_measured_once_and_said(measured: list[str], tmp_path: Path, monkeypatch: Any) -> None:
    name = "timing the network small preconditioned on this machine, once"
    assert known(tmp_path) == (EAGER, [name]) and known(tmp_path) == (EAGER, [])
    assert known(tmp_path, compiled=True) == ([COMPILED], [f"{name}, compiled"])
    assert known(tmp_path, compiled=True) == ([COMPILED], []) and measured == ["eager", "compiled"]
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    limited = Subject("small preconditioned", (1, 32, 32), "cpu", 1, sampling_batch=4, training_batch=4)
    others: list[dict[str, Any]] = [{"limits": limited.limits}, {"processor": "x"}, {"torch": "x"}, {"threads": 2}]
    for other in others:
        assert known(tmp_path, **other) == (EAGER, [name])
    assert len(list((tmp_path / "timings").glob("*.safetensors"))) == 2 + len(others) and limited.limits


def test_a_damaged_file_is_measured_again(
    measured: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    known(tmp_path)
    path = Cache(tmp_path).path("timings", SUBJECT)
    whole = path.read_bytes()
    for damaged in (whole.replace(b"0.012", b"0.001"), whole[:40], b"", b"{"):
        path.write_bytes(damaged)
        assert known(tmp_path)[0] == EAGER
    assert measured == ["eager"] * 5 and all("it is damaged" in text for text in warned(caplog))
    assert known(tmp_path) == (EAGER, []), "the file is whole again"


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_the_network_that_is_timed_is_the_one_that_a_recipe_trains(recipe: str) -> None:
    config = Trained(batch_size=4, **RECIPES[recipe])
    timed, same = config.untrained(), build("small", parameterisation=config.parameterisation)
    assert type(timed) is type(same) and len(timed.state_dict()) == len(same.state_dict())
    subject = Subject.of(config, Machine(threads=2))
    assert subject.network == f"small {config.parameterisation}" and subject.training_batch == 4
    assert (subject.shape, subject.threads, subject.sampling_batch) == ((1, 32, 32), 2, 128)
    assert isinstance(timings._step(config, Mode(TRAINING, 4, 1))(), Step)


def test_measuring_times_every_mode_and_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timings, "ROUNDS", 1)
    before = torch.get_rng_state()
    found = timings._eager(SUBJECT, SMALL)
    assert [timing.mode for timing in found] == SUBJECT.modes
    assert found[0].mode == Mode(SAMPLING, 4, 1) and Mode(TRAINING, 4, 1) in SUBJECT.modes
    assert all(timing.seconds > 0 and timing.once == 0 for timing in found)
    assert torch.equal(torch.get_rng_state(), before) and torch.get_num_threads() == 1


def test_rounds_give_up_hopeless_modes_and_leave_out_modes_that_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hopeless is told by thread seconds per image: one thread may take longer, if others have one of their own."""
    modes = {
        "plain": Mode(SAMPLING, 1, 4),
        "slow": Mode(SAMPLING, 1, 4, "bf16"),
        "one thread": Mode(SAMPLING, 1, 1),
        "hopeless": Mode(SAMPLING, 2, 4),
        "fails": Mode(SAMPLING, 3, 4),
        "fails later": Mode(SAMPLING, 4, 4),
    }
    seconds, calls = dict(zip(modes, (1.0, 1.4, 6.0, 9.0, 0.1, 1.1), strict=True)), dict.fromkeys(modes, 0)

    class Clock:
        def __init__(self, stmt: str, globals: dict[str, Any], num_threads: int) -> None:
            self.name = globals["run"]()
            assert num_threads == modes[self.name].threads

        def timeit(self, number: int) -> Any:
            calls[self.name] += 1
            if self.name == "fails" or (self.name == "fails later" and calls[self.name] > 3):
                raise RuntimeError("out of memory")
            return SimpleNamespace(median=seconds[self.name] + 0.1 / calls[self.name])

    monkeypatch.setattr(timings, "Timer", Clock)
    found = timings.interleaved({mode: (lambda name=name: name) for name, mode in modes.items()})
    times = timings.ROUNDS
    expected = {"plain": times, "slow": times, "one thread": times, "hopeless": 1, "fails": 1, "fails later": 4}
    assert calls == expected
    kept = ("plain", "slow", "one thread", "hopeless")
    assert found == {modes[name]: seconds[name] + 0.1 / calls[name] for name in kept}
