"""The command line of `python -m reports`: DIR for the report on a finished run, or the name of another command."""

from collections.abc import Callable, Sequence
from inspect import cleandoc
from pathlib import Path
from typing import Annotated, Any

import tyro

Dir = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
Folder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
Out = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]


def report(directory: Dir) -> None:
    """Write the report on a finished run: DIR/report.html, DIR/report.md and DIR/figures/*.svg.

    It reads run.json, table.csv and the other files of the run, if they exist. No run is repeated, so you can call it
    at any time. Example: python -m reports runs/beta-laptop

    `python -m reports index FOLDER` writes a page on all results in a folder, and `python -m reports publish DIR OUT`
    copies a result in few files.

    Args:
        directory: a result folder, written by an experiment.
    """
    from reports.render import write_report

    _print_report(directory, write_report(directory).text)


def index(folder: Folder) -> None:
    """Write FOLDER/index.html: verdict, effect, evidence, time and a picture of all results below FOLDER.

    Their reports get links to it, and to results that differ in one fixed choice.

    Args:
        folder: a folder with result folders in it, at any depth. Example: python -m reports index runs
    """
    from reports.index import write_index

    print(f"index: {write_index(folder)}")


def publish(directory: Dir, out: Out) -> None:
    """Copy a result to a new folder OUT in few files: report, tables, figures, the pictures of the page.

    Args:
        directory: a result folder.
        out: a folder that does not exist.
    """
    from reports.render import publish_result

    publish_result(directory, out)
    _print_report(out)


def _print_report(folder: Path, lines: Sequence[str] = ()) -> None:
    print(*lines, f"report:  {folder / 'report.html'}", f"text:    {folder / 'report.md'}", sep="\n")
    print(f"figures: {folder / 'figures'}")


def command(arguments: Sequence[str], prog: str) -> int:
    """Parses and runs: DIR, index FOLDER, or publish DIR OUT. ValueError if a file cannot be read."""
    others: dict[str, Callable[..., Any]] = {"index": index, "publish": publish}
    named = [name for name in arguments[:1] if name in others]
    function = others[named[0]] if named else report
    text = cleandoc(function.__doc__ or "").partition("\n\nArgs:")[0].replace("python -m reports", prog)
    try:
        status = tyro.cli(function, prog=" ".join([prog, *named]), description=text, args=list(arguments[len(named) :]))
    except OSError as error:
        if error.errno and error.filename is None:  # of stdout, such as a full disk
            raise
        raise ValueError(str(error)) from error
    return int(status or 0)
