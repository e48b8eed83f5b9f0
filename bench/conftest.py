"""Fixtures that all benchmarks share."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from bench import measure
from experiments.user.memory import keep_freed

# diffusers 0.42 turns tensors into arrays in a way that numpy 2 deprecates
IGNORED = "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.filterwarnings(IGNORED))


@pytest.fixture(scope="session", autouse=True)
def memory_as_in_runs() -> None:
    """Sets malloc for all loops as in our runs."""
    keep_freed()


@pytest.fixture(params=["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
def device(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def clock(benchmark: Any, device: str) -> Callable[..., Any]:
    """`clock(run, suite=..., ...)` times `run` until the device has finished, and stores notes in extra_info.

    `python -m reports bench` reads these notes: suite, who, ours, default (whether runs compute so by default on this
    machine), batch, n_images (per run), nfe (evaluations per image), precision, compiled; and from the median of the
    runs ms per step (evaluation), images per second and the peak memory.
    """

    def time(
        run: Callable[[], Any], *, model: measure.Clocked | None = None, rounds: int = 5, warmup: int = 1, **notes: Any
    ) -> Any:
        def finished() -> Any:
            if model is not None:
                model.calls = 0
            out = run()
            measure.wait(device)
            return out

        measure.forget_peak(device)
        out = benchmark.pedantic(finished, rounds=rounds, warmup_rounds=warmup)
        assert model is None or model.calls == notes["nfe"]
        if benchmark.disabled:  # --benchmark-disable: it ran once, without a clock
            return out
        seconds = benchmark.stats.stats.median
        n_batches = -(-notes["n_images"] // notes["batch"])
        usual = {"ours": False, "default": False, "device": device, "precision": "fp32", "compiled": False}
        benchmark.extra_info |= usual | notes | {
            "ms_per_step": seconds / notes["nfe"] / n_batches * 1e3,
            "images_per_second": notes["n_images"] / seconds,
            "peak_mib": measure.peak_mib(device),
        }  # fmt: skip
        return out

    return time
