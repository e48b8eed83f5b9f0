"""Fixtures that all benchmarks share; the user's sampler and network; what is printed."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.loops import LOOPS, YOURS, of_sampler
from bench.measure import Job, time_alternately
from diffusion_core.data.load import resolve
from diffusion_core.samplers import Sampler
from experiments.conformance.check import check
from experiments.conformance.convergence import Verdict
from experiments.conformance.wrappers import ours
from experiments.names import parse_sampler
from experiments.run.machine import Machine
from experiments.run.networks import Network
from experiments.run.plan import make_network
from experiments.run.study import Study
from experiments.user.memory import keep_freed
from reports.benchmarks import frame_of, group_of, text_of

# diffusers 0.42 turns tensors into arrays in a way that numpy 2 deprecates
IGNORED = "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
RESULTS = pytest.StashKey[dict[str, Job | BaseException]]()  # of benchmarks by their node id
RECORDED = [0.0]  # seconds


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--sampler", metavar="FILE:CLASS", help="times your sampler beside the others")
    parser.addoption("--network", metavar="KIND:WHERE", help="your network, as in experiments, or exact")
    parser.addoption("--data", default="mnist5k", metavar="NAME", help="with --network: what it was trained on")


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    machine_info |= {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }


def recorded_time() -> float:
    """The clock of pytest-benchmark: it advances by the seconds that rounds took, which had alternated before."""
    return RECORDED[0]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "loop" not in metafunc.fixturenames:
        return
    loops = LOOPS
    if sampler := chosen_sampler(metafunc.config):
        verdict = find_verdict(sampler)
        fault = "" if verdict.outcome in ("right", "not decided") else verdict.sentence
        loops = [*(replace(loop, fault=fault) for loop in of_sampler(sampler.name, YOURS, sampler)), *LOOPS]
    if metafunc.function.__name__ == "bench_loop_alone":
        loops = [loop for loop in loops if not loop.drawn_once]
    metafunc.parametrize("loop", loops, ids=str)


def chosen_sampler(config: pytest.Config) -> Sampler | None:
    text = config.getoption("--sampler")
    try:
        return parse_sampler(text) if text else None
    except ValueError as error:
        raise pytest.UsageError(str(error)) from error


@cache
def find_verdict(sampler: Sampler) -> Verdict:
    """Checks a sampler, once for all its loops and before they are timed: a wrong sampler is not compared."""
    return check(ours(sampler), sampler.order)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Function]) -> None:
    """The user's sampler or network concerns some benchmarks only."""
    if config.getoption("--sampler") or config.getoption("--network"):
        items[:] = [item for item in items if "loop" in item.fixturenames]
    for item in items:
        item.add_marker(pytest.mark.filterwarnings(IGNORED))
        if "clock" in item.fixturenames:
            item.add_marker(pytest.mark.benchmark(timer=recorded_time))


@pytest.hookimpl(tryfirst=True)  # above the table of pytest-benchmark
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    timed = [result for result in config.stash.get(RESULTS, {}).values() if isinstance(result, Job) and result.seconds]
    if not timed:
        return
    rows = frame_of([result.notes | {"data": result.seconds} for result in timed])
    if not config.option.benchmark_quiet:  # otherwise `python -m experiments bench` prints it
        terminalreporter.section("what was timed, in rounds that alternate")
        for line in text_of(rows):
            terminalreporter.write_line(line)
    if (sampler := chosen_sampler(config)) and not rows["fault"].any():
        terminalreporter.write_line(f"{sampler.name}: {find_verdict(sampler).sentence}")


@pytest.fixture(scope="session", autouse=True)
def memory_as_in_runs() -> None:
    """Sets malloc for all loops as in our runs."""
    keep_freed()


@pytest.fixture(params=["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
def device(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def subject(request: pytest.FixtureRequest) -> Callable[[str], Network]:
    """The network that is timed on a device: --network, or `small` with random weights."""
    study = Study(
        network=request.config.getoption("--network") or "small",
        data=request.config.getoption("--data"),
        recipe="plain",
    )
    return cache(lambda device: make_network(study, resolve(study.data), Machine.resolve(device)))


@pytest.fixture
def clock(request: pytest.FixtureRequest, benchmark: Any) -> Callable[..., Tensor]:
    """`clock(prepare, rounds)` gives the result of the job prepare(**parameters) of this benchmark, once it is timed.

    The first benchmark of a function times the jobs of all, in rounds that alternate; each then tells pytest-benchmark
    its own seconds. Its notes are in extra_info, where `python -m experiments bench` reads them.
    """

    def time(prepare: Callable[..., Job], rounds: int) -> Tensor:
        results = request.config.stash.setdefault(RESULTS, {})
        if request.node.nodeid not in results:
            alike = [item for item in request.session.items if getattr(item, "function", None) is request.function]
            jobs = {item.nodeid: partial(prepare, **item.callspec.params) for item in alike}
            results |= time_alternately(jobs, 0 if benchmark.disabled else rounds)
        result = results[request.node.nodeid]
        if isinstance(result, BaseException):
            raise result
        seconds = iter(result.seconds)

        def advance() -> None:
            RECORDED[0] += next(seconds, 0.0)

        benchmark.group = f"{result.notes['suite']}: {group_of(result.notes)}"
        benchmark.extra_info |= result.notes
        benchmark.pedantic(advance, rounds=max(len(result.seconds), 1))
        return result.out

    return time
