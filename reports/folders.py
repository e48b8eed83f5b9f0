"""Folders with a result, of an experiment (run.json) or of a check of samplers (samplers.json), and their reports."""

from pathlib import Path

from reports import figures, render
from reports.document import About, Opening
from reports.samplers import page as samplers
from reports.samplers.rows import FILE as SAMPLERS
from reports.samplers.rows import read_checks


def result_folders(folder: Path) -> list[Path]:
    """The result folders below `folder`. Raises FileNotFoundError if there is none."""
    folders = sorted(path.parent for name in ("run.json", SAMPLERS) for path in folder.rglob(name))
    if not folders:
        raise FileNotFoundError(f"{folder}: no result folder below it; a result folder has a run.json")
    return folders


def write_report(directory: Path) -> Path:
    """The path of report.html, after writing the report on the result in `directory`.

    Raises:
        FileNotFoundError, ValueError: as in `render.write_report` and `samplers.rows.read_checks`.
    """
    of_samplers = (directory / SAMPLERS).is_file()
    return samplers.write_sampler_report(directory) if of_samplers else render.write_report(directory)


def first_screen(directory: Path) -> tuple[About, Opening]:
    """What the result in `directory` is about, and the first screen of its report. Errors as in `write_report`."""
    if (directory / SAMPLERS).is_file():
        with figures.style():
            return samplers.first_screen(read_checks(directory))
    run, opening = render.read_opening(directory)
    return render.about(run), opening
