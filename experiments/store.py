"""`python -m experiments store`: what the store of networks, samples and scores holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.filesize import decimal
from rich.table import Table

from experiments.terminal import Terminal


@dataclass(frozen=True)
class Stored:
    """Shows how much of each kind a store holds.

    A store holds what runs share: networks, samples and scores, each a file named by the hash of its config. Any of
    them may be deleted: what a command needs is made again.
    """

    store: Annotated[Path, tyro.conf.arg(metavar="FOLDER")] = Path("runs/store")
    """The store."""
    kind: Annotated[str | None, tyro.conf.arg(metavar="KIND")] = None
    """List the files of one kind, such as samples."""


def command(arguments: Sequence[str], prog: str) -> int:
    """Parses the arguments and shows the store. Returns the exit status."""
    options, console = tyro.cli(Stored, prog=prog, args=list(arguments)), Terminal()
    root = options.store.expanduser()
    kinds = {folder.name: sorted(folder.glob("*.safetensors")) for folder in sorted(root.glob("*")) if folder.is_dir()}
    kinds = {name: files for name, files in kinds.items() if files}
    if options.kind is not None and options.kind not in kinds:
        there = ", ".join(kinds) or "no kinds"
        raise ValueError(f"kind={options.kind!r}: there is none in {root}; there are {there}")
    table = Table(title=f"store {root}", title_justify="left")
    table.add_column("kind" if options.kind is None else "file")
    for heading in ("number",) * (options.kind is None) + ("size",):
        table.add_column(heading, justify="right")
    if options.kind is not None:
        for path in kinds[options.kind]:
            table.add_row(path.stem, decimal(path.stat().st_size))
    for name, files in kinds.items() if options.kind is None else ():
        table.add_row(name, f"{len(files):,}", decimal(sum(path.stat().st_size for path in files)))
    console.print(table if kinds else f"store {root} holds nothing", soft_wrap=not kinds)
    return 0
