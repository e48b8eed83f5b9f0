"""`python -m reports DIR` writes the report on a finished run; other commands have names."""

import sys
from importlib import import_module

from reports.edge import guarded, importing


def run() -> int:
    """Reads the command line and writes a report. Returns the exit status."""
    with importing():
        program = import_module("reports.command_line")
    status: int = program.command(sys.argv[1:], "python -m reports")
    return status


if __name__ == "__main__":
    sys.exit(guarded(run))
