"""`python -m experiments bench`: times sampling loops from any folder, saves the times, and compares them.

Each run is a process of pytest on the benchmarks beside this file: the same loop differs more between processes than
within one. Saved runs are OUT/NAME/1.json, 2.json and so on, as pytest-benchmark writes them.
"""

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from diffusion_core.validation import check_range, one_of
from experiments.names import parse_sampler
from experiments.run.identity import identity

HELP = """How fast is the sampling loop, beside other projects' loops? And is it slower than before?

    {prog} --sampler my_file:Mine                              time it
    {prog} --sampler my_file:Mine --runs 3 --save before       save it, then change it
    {prog} --sampler my_file:Mine --runs 3 --against before    compare it

Ratios of times have intervals from three runs on each side on."""
PARTS = ("loop", "sampling", "training", "score", "start")
OF_USERS = ("loop", "sampling")  # that time a sampler or network of the user's
LAST = "last"  # what is not saved under a name, until the next time
OPTIONS = (
    "-q", "-p", "no:cacheprovider", "--benchmark-quiet", "--import-mode=importlib", "-o", "python_files=bench_*.py",
    "-o", "python_functions=bench_*",
)  # fmt: skip


@dataclass(frozen=True)
class BenchOptions:
    parts: tyro.conf.Positional[tuple[str, ...]] = ()
    """What is timed: loop (alone), sampling, training, score or start. The default is all; with --sampler or --network
    loop and sampling."""
    sampler: str | None = None
    """Your sampler, such as my_file:Mine, or "my_file:Mine(c=0.5)"."""
    network: str | None = None
    """Your network, as in experiments, or exact."""
    data: str = "mnist5k"
    """The data that your network was trained on."""
    runs: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Processes that are timed, one after another. The default is 1, or as many as --against has."""
    save: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Adds these runs to the ones saved under NAME."""
    against: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Compares with the runs that are saved under NAME. With --runs 0 only saved ones are compared."""
    fail_if_slower: Annotated[str | None, tyro.conf.arg(metavar="PERCENT")] = None
    """With --against: exit status 1 if a loop of ours or yours is slower by more than this, such as 10%, at the low end
    of its interval."""
    out: Path = Path("runs/speed")
    """Folder of what is saved, and of the page."""


def command(arguments: Sequence[str], prog: str) -> int:
    """Times, saves and compares. ValueError for what cannot be timed or compared."""
    options = tyro.cli(BenchOptions, prog=prog, description=HELP.format(prog=prog), args=list(arguments))
    limit = read_limit(options)
    for part in options.parts:
        one_of("part", part, PARTS)
    if options.sampler:
        parse_sampler(options.sampler)
    folder = options.out / (options.save or LAST)
    against = list_runs(options.out / options.against) if options.against else []
    if options.against and not against:
        raise ValueError(f"against={options.against}: nothing is saved there; `{prog} --save {options.against}` does")
    if not options.save and options.runs != 0:
        shutil.rmtree(folder, ignore_errors=True)
    saved = list_runs(folder)
    n_runs = max(len(against) - len(saved), 1) if options.runs is None else options.runs
    check_range("runs", n_runs, 0 if saved else 1, 100)
    folder.mkdir(parents=True, exist_ok=True)
    from reports import benchmarks

    if limit is not None and min(len(against), len(saved) + n_runs) < benchmarks.ENOUGH:
        raise ValueError(f"fail_if_slower: it needs an interval, so --runs {benchmarks.ENOUGH} on each side")
    if n_runs:
        check_same_code(folder, options, saved)
    for index in range(1, n_runs + 1):
        print(f"run {index} of {n_runs}", file=sys.stderr, flush=True)
        file = folder / f"{len(saved) + index}.json"
        if status := time_once(options, file):
            file.unlink(missing_ok=True)
            return status
    return write_page(folder, list_runs(folder), against, options.against or "", limit)


def read_limit(options: BenchOptions) -> float | None:
    """The share of --fail-if-slower. ValueError if it is none, or there is nothing to compare with."""
    if options.fail_if_slower is None:
        return None
    share = options.fail_if_slower.removesuffix("%")
    if not share.replace(".", "", 1).isdecimal():
        raise ValueError(f"fail_if_slower={options.fail_if_slower!r}: it must be a number of per cent, such as 10%")
    if not options.against:
        raise ValueError("fail_if_slower: it needs --against NAME")
    return float(share) / 100


def check_same_code(folder: Path, options: BenchOptions, saved: Sequence[Path]) -> None:
    """Notes which sampler runs in a folder are of, by its text. ValueError if the saved ones are of another."""
    sampler = f"{options.sampler} {identity(parse_sampler(options.sampler))}" if options.sampler else ""
    known = folder / "sampler.txt"
    if saved and known.is_file() and known.read_text(encoding="utf-8") != sampler:
        rule = "it holds runs of another sampler, or of another text of it; name another, or remove it"
        raise ValueError(f"save={folder.name}: {rule}")
    known.write_text(sampler, encoding="utf-8")


def list_runs(folder: Path) -> list[Path]:
    """The files of saved runs, in order."""
    return sorted(folder.glob("*.json"), key=lambda path: int(path.stem))


def time_once(options: BenchOptions, file: Path) -> int:
    """Runs the benchmarks in a process of its own, which writes `file`. Its exit status; 2 if it ran none."""
    spec = importlib.util.find_spec("bench.bench_loop")
    assert spec and spec.origin
    parts = options.parts or (OF_USERS if options.sampler or options.network else PARTS)
    files = [str(Path(spec.origin).with_name(f"bench_{part}.py")) for part in parts]
    typed = {"--sampler": options.sampler, "--network": options.network, "--data": options.data}
    words = [f"{name}={value}" for name, value in typed.items() if value]
    # -P: a folder of the user's that is called experiments does not hide ours
    done = subprocess.run([sys.executable, "-P", "-m", "pytest", *files, *OPTIONS, f"--benchmark-json={file}", *words])
    return done.returncode if done.returncode in (0, 1, 130) else 2


def write_page(folder: Path, files: Sequence[Path], against: Sequence[Path], name: str, limit: float | None) -> int:
    """Writes and prints the page on the last run, or on all of them against others. 1 if a loop is too slow."""
    from reports import benchmarks, render

    too_slow = False
    if against:
        page, too_slow = benchmarks.compare_page(files, against, limit, name)
    else:
        page = benchmarks.bench_page(*benchmarks.read_benchmarks(files[-1]))
    render.write_page(folder, page)
    tables = [line for table in page.tables for line in ("", *table.text)]
    print(*page.text, *tables, "", f"report: {folder / 'report.html'}", sep="\n")
    return int(too_slow)
