"""`python -m reports DIR` writes the report on a finished run; other commands have names."""

import sys

from experiments.entrypoint import exit_on_interrupt, reject_empty_arguments, run_main


def run() -> int:
    """Reads the command line and writes a report. Returns the exit status."""
    with exit_on_interrupt():
        from reports.cli import command
    return command([*reject_empty_arguments(sys.argv[1:])], "python -m reports")


if __name__ == "__main__":
    sys.exit(run_main(run))
