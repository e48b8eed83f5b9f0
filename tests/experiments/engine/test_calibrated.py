"""The choice of precision, compilation, batch and threads: by time, with a margin, the same for the same command."""

from dataclasses import replace
from typing import Any

import pytest

from experiments import beta
from experiments.config.denoisers import Machine
from experiments.config.trained import TrainConfig
from experiments.config.trial import Trial
from experiments.engine import calibrated
from experiments.engine.calibrated import best_sampling, best_training
from experiments.engine.options import Options
from experiments.stages.calibration import SAMPLING, TRAINING, Mode, Timing
from experiments.studies.beta import PRESETS

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
ALL = (PLAIN, BF16, COMPILED, STEP, STEP_16, training(0.050, threads=1), training(0.032, "bf16", 1))


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


def test_networks_trained_side_by_side_are_said_to_be_as_fast_as_they_are_together() -> None:
    text = calibrated._in_words(training(0.032, "bf16", 1), STEP)
    assert text == "training in bf16 (2 networks at a time, about 3,200 images/s together against 1,600 in plain fp32)"
    assert calibrated._in_words(STEP, STEP) == "training in fp32 (1,600 images/s)"
    plain, small = (Timing(Mode("sampling", batch, 2), batch / 1000) for batch in (256, 64))
    text = calibrated._in_words(replace(small, seconds=0.032), plain)
    assert text == "sampling in fp32 (2,000 images/s in batches of 64 against 1,000 in plain fp32)"


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


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was timed: "eager" or "compiled"; on a machine with the timings ALL."""
    timed: list[str] = []
    monkeypatch.delenv("SIGMABENCH_PRECISION")
    monkeypatch.setattr(
        calibrated, "timings", lambda *_, compiled=False: (timed.append("compiled" if compiled else "eager"), ALL)[1]
    )
    return timed


def machines(preset: str, n_samples: int | None = None, **options: Any) -> set[tuple[Machine, Machine]]:
    """Machines of training and sampling of all trials."""
    given = Options(preset=preset, **({"threads": None} | options))
    study = PRESETS[preset] if n_samples is None else replace(PRESETS[preset], n_samples=n_samples)
    study = calibrated.calibrated(given.apply(study), beta.trials, given)
    return {(trial.model.machine, trial.samples.machine) for trial in beta.trials(study) if isinstance(trial, Trial)}


def test_all_trials_of_a_command_share_one_choice(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.get_num_threads", lambda: T)
    plain = Machine(threads=T)
    side = (replace(plain, precision="bf16", threads=1), replace(plain, precision="bf16", compiled=True))
    assert machines("laptop", 5_000) == machines("laptop", 5_000) == {side}
    short = replace(plain, precision="bf16")
    asked.clear()
    assert machines("smoke") == {(short, short)} and machines("laptop") == {(side[0], short)}
    assert asked == ["eager", "eager"], "a short run neither times compilation nor uses what a longer one found"
    assert machines("laptop", 5_000, threads=T) == {(short, side[1])}, "threads that were given stay"


@pytest.mark.parametrize(("device", "expected"), [("cpu", ["eager", "compiled"]), ("cuda", ["eager"])])
def test_compilation_is_timed_on_cpus_only(device: str, expected: list[str], asked: list[str]) -> None:
    chosen = calibrated.choose(TrainConfig(), 5, 1e6, Machine(device=device, threads=T), Options())
    assert asked == expected and chosen.sampling.compiled == (device == "cpu")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_given_precision_is_not_timed(asked: list[str], precision: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {(machine := Machine(precision=precision, threads=1), machine)}
    assert machines("laptop", precision=precision, threads=1) == expected
    monkeypatch.setenv("SIGMABENCH_PRECISION", precision)
    assert machines("laptop", threads=1) == expected
    assert asked == []


def test_an_unknown_precision_of_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGMABENCH_PRECISION", "fp8")
    with pytest.raises(ValueError, match="SIGMABENCH_PRECISION='fp8': it must be one of auto, fp32, bf16"):
        Options().machine()


def test_a_machine_that_cannot_be_timed_computes_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIGMABENCH_PRECISION")
    monkeypatch.setattr(calibrated, "timings", lambda *_: ())
    assert machines("laptop", threads=1) == {(Machine(threads=1), Machine(threads=1))}


def test_the_work_counts_each_sampling_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIGMABENCH_PRECISION")
    monkeypatch.setattr(calibrated, "choose", lambda model, n, evaluations, *_: (model.images_seen, n, evaluations))
    planned = list(beta.trials(PRESETS["smoke"]))
    runs = {trial.samples for trial in planned if isinstance(trial, Trial)}
    evaluations = sum(run.n_samples * run.planned_nfe for run in runs) / 2
    assert calibrated.chosen_for([*planned, *planned], Options()) == (640, 2, evaluations)


def test_of_networks_that_are_trained_equally_long_the_first_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIGMABENCH_PRECISION")
    monkeypatch.setattr(calibrated, "choose", lambda model, *_: model)
    (usual, *_) = [trial for trial in beta.trials(PRESETS["smoke"]) if isinstance(trial, Trial)]
    models = [TrainConfig(images_seen=640, lr=lr) for lr in (1e-3, 2e-3, 3e-3, 4e-3, 5e-3, 6e-3)]
    runs = [replace(usual.samples, model=model) for model in models]
    planned = [replace(usual, score=replace(usual.score, samples=samples)) for samples in runs]
    assert [calibrated.chosen_for(some, Options()) for some in (planned, planned[::-1])] == [models[0], models[-1]]
