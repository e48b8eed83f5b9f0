"""`python -m reports DIR`: writes the report on a finished run."""

import sys
from pathlib import Path
from typing import Annotated

import tyro

from reports.render import write_report


def main(directory: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]) -> None:
    """Write the report on a finished run: DIR/report.html, DIR/report.md and DIR/figures/*.svg.

    It reads run.json and table.csv, and where they exist contrasts.csv, floors.csv, histograms.csv, losses.csv and
    images/. It computes nothing anew and can be repeated at any time. Example: python -m reports runs/beta-laptop

    Args:
        directory: a run directory, as `python -m experiments` writes it.
    """
    try:
        path = write_report(directory)
    except (FileNotFoundError, ValueError) as error:
        print(f"reports: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    print(f"report:  {path}\ntext:    {path.with_suffix('.md')}\nfigures: {path.parent / 'figures'}")


if __name__ == "__main__":
    tyro.cli(main, prog="python -m reports")
