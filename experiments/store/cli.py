"""`python -m experiments store`: what a store holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

import tyro
from rich.filesize import decimal
from rich.table import Table

from experiments.store.listing import Artifact
from experiments.store.store import Store
from reports.terminal import Terminal


@dataclass(frozen=True)
class Ls:
    """Shows how much of each kind a store holds, and when it was last used.

    A store holds what runs share: networks, samples and scores, each named by the hash of its config and verified when
    it is read. Any folder in it may be deleted: what a command needs is made again. Samples are the large ones, and
    after they are scored no table or report needs them.
    """

    store: Annotated[str | Path, tyro.conf.arg(metavar="FOLDER")] = "runs/store"
    """The store."""
    kind: Annotated[str | None, tyro.conf.arg(metavar="KIND")] = None
    """List the artifacts of one kind, such as samples, least recently used first."""

    def run(self, console: Terminal) -> int:
        store = Store(self.store)
        artifacts = store.artifacts()
        kinds = sorted({artifact.name.kind for artifact in artifacts})
        if self.kind is not None and self.kind not in kinds:
            raise ValueError(
                f"kind={self.kind!r}: there is none in {store}; there are {', '.join(kinds) or 'no kinds'}"
            )
        table = Table(title=f"store {store}", title_justify="left")
        if self.kind is None:
            for heading in ("kind", "number", "size", "oldest use", "newest use"):
                table.add_column(heading, justify="right" if heading in ("number", "size") else "left")
            for kind in kinds:
                table.add_row(kind, *_summary([artifact for artifact in artifacts if artifact.name.kind == kind]))
            table.add_section()
            table.add_row("all", *_summary(artifacts))
        else:
            table.add_column("artifact")
            table.add_column("size", justify="right")
            table.add_column("last used")
            for artifact in sorted(artifacts, key=lambda artifact: artifact.used):
                if artifact.name.kind == self.kind:
                    table.add_row(str(artifact.name), decimal(artifact.size), _date(artifact.used))
        if artifacts:
            console.print(table)
        else:
            console.print(f"store {store} holds no artifact", soft_wrap=True)
        return 0


def command(arguments: Sequence[str], prog: str) -> int:
    """Parses the arguments and shows the store; the word ls may stand before them. Returns the exit status."""
    rest = arguments[1:] if arguments and arguments[0] == "ls" else arguments
    return tyro.cli(Ls, prog=prog, args=list(rest)).run(Terminal())


def _summary(artifacts: Sequence[Artifact]) -> tuple[str, str, str, str]:
    used = [artifact.used for artifact in artifacts]
    first, last = (_date(min(used)), _date(max(used))) if used else ("", "")
    return str(len(artifacts)), decimal(sum(artifact.size for artifact in artifacts)), first, last


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")
