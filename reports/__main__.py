"""`python -m reports DIR` writes the report on a finished run; other commands have names."""

import sys

from experiments.edge import guarded, importing, no_empty_words


def run() -> int:
    """Reads the command line and writes a report. Returns the exit status."""
    with importing():
        from reports.cli import command
    return command([*no_empty_words(sys.argv[1:])], "python -m reports")


if __name__ == "__main__":
    sys.exit(guarded(run))
