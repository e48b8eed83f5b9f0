"""The command line of `python -m reports`: DIR for the report on a finished run, bench FILE for the report on speed."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import tyro

from reports.render import write_report
from reports.speed.page import write_bench_report


def main(directory: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]) -> None:
    """Write the report on a finished run: DIR/report.html, DIR/report.md and DIR/figures/*.svg.

    It reads run.json, table.csv and the other files of the run, if they exist. No run is repeated, so you can call it
    at any time. Example: python -m reports runs/beta-laptop

    `python -m reports bench FILE.json` writes the report on a run of the benchmarks.

    Args:
        directory: a run directory, written by `python -m experiments`.
    """
    _written(lambda: write_report(directory))


def bench(file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")], out: Path | None = None) -> None:
    """Write the report on a run of the benchmarks: OUT/report.html, OUT/report.md and OUT/figures/*.svg.

    Args:
        file: the JSON file that `pytest --benchmark --benchmark-json=FILE` wrote.
        out: folder of the report. The default is FILE without its suffix.
    """
    _written(lambda: write_bench_report(file, out or file.with_suffix("")))


def _written(write: Callable[[], Path]) -> None:
    try:
        path = write()
    except OSError as error:
        raise ValueError(str(error)) from error
    print(f"report:  {path}\ntext:    {path.with_suffix('.md')}\nfigures: {path.parent / 'figures'}")


def command(arguments: Sequence[str], prog: str) -> int:
    """Parses and runs: DIR, or bench FILE."""
    if arguments[:1] == ["bench"]:
        tyro.cli(bench, prog=f"{prog} bench", args=list(arguments[1:]))
    else:
        tyro.cli(main, prog=prog, args=list(arguments))
    return 0
