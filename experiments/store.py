"""`python -m experiments store`: what the store of networks, samples and scores holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.filesize import decimal
from rich.table import Table

from experiments.console import Terminal
from experiments.run.options import Folder


@dataclass(frozen=True)
class StoreOptions:
    """Shows how much of each kind a store holds.

    A store holds what runs share: networks, samples and scores, each a file named by the hash of its config. Any of
    them may be deleted: what a command needs is made again.
    """

    store: Folder = Path("runs/store")
    """The store."""
    kind: Annotated[str | None, tyro.conf.arg(metavar="KIND")] = None
    """List the files of one kind, such as samples."""


def command(arguments: Sequence[str], prog: str) -> int:
    """Parses the arguments and shows the store. Returns the exit status."""
    options = tyro.cli(StoreOptions, prog=prog, args=list(arguments))
    root = options.store.expanduser()
    kind = options.kind
    files = {path.name: sorted(path.glob("*.safetensors")) for path in sorted(root.glob("*")) if path.is_dir()}
    files = {name: paths for name, paths in files.items() if paths}
    if kind is not None and kind not in files:
        raise ValueError(f"kind={kind!r}: there is none in {root}; there are {', '.join(files) or 'no kinds'}")
    table = Table("kind" if kind is None else "file", title=f"store {root}", title_justify="left")
    for heading in ("number", "size") if kind is None else ("size",):
        table.add_column(heading, justify="right")
    for path in files[kind] if kind is not None else ():
        table.add_row(path.stem, decimal(path.stat().st_size))
    for name, paths in files.items() if kind is None else ():
        table.add_row(name, f"{len(paths):,}", decimal(sum(path.stat().st_size for path in paths)))
    Terminal().print(table if files else f"store {root} holds nothing", soft_wrap=not files)
    return 0
