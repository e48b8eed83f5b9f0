"""`python -m experiments store`: what the store of networks, samples and scores holds, and what no result uses."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.filesize import decimal

from experiments.console import Terminal, plural
from experiments.run.options import Folder

COLUMNS = {"networks": "model_id", "samples": "samples_id", "scores": "run_id"}  # of table.csv, which name files


@dataclass(frozen=True)
class StoreOptions:
    """Shows how much of each stage a store holds.

    A store holds what runs share: networks, samples and scores, each a file named by the hash of its config. Any of
    them may be deleted: what a command needs is made again.
    """

    store: Folder = Path("runs/store")
    """The store."""
    kind: Annotated[str | None, tyro.conf.arg(metavar="KIND")] = None
    """List the files of one stage, such as samples."""
    unused: bool = False
    """List the networks, samples and scores that no result below --out uses."""
    out: Annotated[Path, tyro.conf.arg(metavar="FOLDER")] = Path("runs")
    """With --unused: folder with the result folders."""
    delete: bool = False
    """With --unused: delete them, after a question. Let no experiment run meanwhile."""
    yes: bool = False
    """With --delete: without the question."""


def command(arguments: Sequence[str], prog: str) -> int:
    """Parses the arguments and shows the store. Returns the exit status."""
    config = (tyro.conf.FlagCreatePairsOff,)
    options = tyro.cli(StoreOptions, prog=prog, args=list(arguments), config=config)
    root = options.store.expanduser()
    stage = options.kind
    if options.unused:
        return list_unused(options, root, Terminal())
    if options.delete or options.yes:
        raise ValueError("delete: it needs --unused; or delete files of the store yourself")
    files = {path.name: sorted(path.glob("*.safetensors")) for path in sorted(root.glob("*")) if path.is_dir()}
    files = {name: paths for name, paths in files.items() if paths}
    if stage is not None and stage not in files:
        raise ValueError(f"kind={stage!r}: there is none in {root}; there are {', '.join(files) or 'no files'}")
    rows = {path.stem: [path] for path in files[stage]} if stage else files
    print_sizes(rows, Terminal())
    Terminal().print(f"{plural(sum(map(len, rows.values())), 'file')} in {root}")
    return 0


def print_sizes(files: Mapping[str, Sequence[Path]], console: Terminal) -> None:
    """A line for each name: how large its files are, and how many, if it is a stage."""
    for name, paths in files.items():
        size = decimal(sum(path.stat().st_size for path in paths))
        console.print(f"{name}  {size}" + (f", {plural(len(paths), 'file')}" if len(paths) > 1 else ""))


def list_unused(options: StoreOptions, root: Path, console: Terminal) -> int:
    """Lists the files that no result uses, and deletes them if that is asked. Returns the exit status.

    ValueError without a result, or if nobody can answer the question.
    """
    from experiments.run.result_folder import read_rows

    tables = [*options.out.expanduser().rglob("table.csv*")]
    if not tables:
        raise ValueError(f"out={str(options.out)!r}: it has no result folders, so all would be unused")
    rows = [row for table in tables for row in read_rows(table.parent, "table.csv")]
    used = {(stage, row.get(column)) for row in rows for stage, column in COLUMNS.items()}
    stored = [path for stage in COLUMNS for path in sorted((root / stage).glob("*.safetensors"))]
    unused = [path for path in stored if (path.parent.name, path.stem) not in used]
    print_sizes({str(path.relative_to(root)): [path] for path in unused}, console)
    size = decimal(sum(path.stat().st_size for path in unused))
    console.print(f"{plural(len(unused), 'file')} of {len(stored):,}, {size}, used by no result below {options.out}")
    if not options.delete or not unused:
        return 0
    if not options.yes and not sys.stdin.isatty():
        raise ValueError("delete: nobody can answer here; add --yes")
    if options.yes or input("Delete them? [y/N] ").strip().lower() == "y":
        for path in unused:
            path.unlink(missing_ok=True)
        console.print(f"deleted: {plural(len(unused), 'file')}, {size}")
    return 0
