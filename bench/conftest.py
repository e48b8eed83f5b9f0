"""What the benchmarks share."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from bench import measure
from experiments.stages.memory import keep_freed

# diffusers 0.42 turns tensors into arrays in a way that numpy 2 deprecates
IGNORED = "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.filterwarnings(IGNORED))


@pytest.fixture(scope="session", autouse=True)
def memory_as_in_runs() -> None:
    """Everybody gets the setting of malloc that runs have: it is loops that are compared."""
    keep_freed()


@pytest.fixture(params=["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
def device(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def clock(benchmark: Any, device: str) -> Callable[..., Any]:
    """Times `run`, which the device has finished when it is over, and notes what it was: `clock(run, suite=..., ...)`.

    The notes are pytest-benchmark's extra_info, which its JSON keeps and `python -m reports bench` reads: suite, who,
    ours, batch, n_images (in one run), nfe (evaluations an image), precision, compiled; and from the median of the runs
    ms per step (evaluation) and images per second, with the peak of the memory.
    """

    def time(run: Callable[[], Any], *, rounds: int = 5, warmup: int = 1, **notes: Any) -> Any:
        def finished() -> Any:
            out = run()
            measure.wait(device)
            return out

        measure.forget_peak(device)
        out = benchmark.pedantic(finished, rounds=rounds, warmup_rounds=warmup)
        seconds = benchmark.stats.stats.median
        n_batches = -(-notes["n_images"] // notes["batch"])
        benchmark.extra_info |= {
            "ours": False,
            "device": device,
            "precision": "fp32",
            "compiled": False,
            **notes,
            "ms_per_step": seconds / notes["nfe"] / n_batches * 1e3,
            "images_per_second": notes["n_images"] / seconds,
            "peak_mib": measure.peak_mib(device),
        }
        return out

    return time
