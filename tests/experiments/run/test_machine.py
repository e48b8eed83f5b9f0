"""Seconds are evidence only if nobody else used the cores; this tells."""

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from experiments.run.machine import (
    Machine,
    busy_cores_of_others,
    cores,
    double_device,
    read_clocks,
)
from experiments.run.options import Options


def test_own_work_is_not_others():
    before = (10.0, 50.0, 20.0)
    assert busy_cores_of_others(before, (14.0, 57.0, 27.0)) == 0.0
    assert busy_cores_of_others(before, (14.0, 59.0, 25.0)) == 1.0
    assert busy_cores_of_others(before, (14.0, 50.0, 21.0)) == 0.0  # coarse clocks may disagree


@pytest.mark.slow
def test_another_process_is_seen():
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        before = read_clocks()
        time.sleep(1)
        assert busy_cores_of_others(before, read_clocks()) > 0.3
    finally:
        busy.kill()
        busy.wait()


@pytest.mark.parametrize(
    "given, typed, threads",
    [("3", {}, 3), ("3,2", {"workers": 2}, 3), ("3", {"threads": 1}, 1), ("", {}, cores()), ("all", {}, cores())],
)
def test_omp_num_threads_is_the_default(
    given: str, typed: dict[str, int], threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert Options(device="cpu", store=tmp_path, **typed).machine().threads == threads  # type: ignore[arg-type]


def test_mps_refuses_at_once_what_needs_float64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    options = Options(device="mps", store=tmp_path)
    with pytest.raises(ValueError, match="device='mps': PyTorch sees no MPS device here; use --device cpu"):
        options.machine()
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert options.machine() == replace(Machine(device="mps"), threads=cores())
    assert Options().machine().device != "mps"  # auto never takes it
    assert [double_device(device) for device in ("mps", "cuda")] == ["cpu", "cuda"]
    monkeypatch.delenv("SIGMABENCH_PRECISION", raising=False)
    assert (options.chosen_precision, Options().chosen_precision) == ("fp32", "auto")
