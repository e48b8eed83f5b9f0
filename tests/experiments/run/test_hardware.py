"""Seconds are evidence only if nobody else used the cores; this tells."""

import subprocess
import sys
import time

import pytest

from experiments.run.hardware import BusyClock, describe, device_name


def test_own_work_is_not_others() -> None:
    clock = BusyClock(wall=10.0, all_cores=50.0, own=20.0)
    assert BusyClock(wall=14.0, all_cores=57.0, own=27.0).others_since(clock) == 0.0
    assert BusyClock(wall=14.0, all_cores=59.0, own=25.0).others_since(clock) == 1.0
    assert BusyClock(wall=14.0, all_cores=50.0, own=21.0).others_since(clock) == 0.0  # coarse clocks may disagree


@pytest.mark.slow
def test_another_process_is_seen() -> None:
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        before = BusyClock.now()
        time.sleep(1)
        assert BusyClock.now().others_since(before) > 0.3
    finally:
        busy.kill()
        busy.wait()


def test_the_machine_has_a_name() -> None:
    assert device_name("cpu") and device_name("cpu") in describe() and "cores" in describe()
