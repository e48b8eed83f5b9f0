"""`python -m experiments store ls|gc`: lists and cleans a store."""

import re
import time
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

EVICTED = "samples"  # the only kind that is removed: large, and can be drawn again
IN_USE = 600  # seconds after the last use in which a sweep may still score samples
SIZES = {"": 1, "B": 1} | {f"{prefix}B": 1000**power for power, prefix in enumerate("KMGT", 1)}
SIZES |= {f"{prefix}IB": 1024**power for power, prefix in enumerate("KMGT", 1)}
AGES = {"m": 60, "h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}


@dataclass(frozen=True)
class Where:
    """The options that all commands share."""

    store: Annotated[str | Path, tyro.conf.arg(metavar="FOLDER|URL")] = "runs/store"
    """The store: a folder, or a URL such as s3://BUCKET/FOLDER."""


@dataclass(frozen=True)
class Ls(Where):
    """Shows how much there is of each kind, and when it was last used.

    For a folder, reading counts as use; for a URL only writing does.
    """

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
            _print(console, f"store {store} holds no artifact")
        if leftovers := store.leftovers():
            console.print(f"{len(leftovers)} leftovers of killed runs: `store gc` removes them")
        return 0


@dataclass(frozen=True)
class Gc(Where):
    """Makes room: removes samples, least recently used first, and leftovers of killed runs.

    Networks, scores and everything else that a row of a table needs stay: a sweep that was scored gives the same rows
    and the same report without its samples, but for the copies that `why_noise --real` counts. Samples used in the last
    ten minutes stay too: a run may be about to score them.
    """

    max_bytes: Annotated[str | None, tyro.conf.arg(metavar="SIZE")] = None
    """Remove samples until the whole store is no larger than this: 500MB, 2GB, 1.5TiB, or a number of bytes."""
    older_than: Annotated[str | None, tyro.conf.arg(metavar="AGE")] = None
    """Remove samples not used for so long: 30d, 12h, 90m, 2w."""
    dry_run: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Only say what would be removed."""

    def run(self, console: Terminal) -> int:
        most = None if self.max_bytes is None else read_size("max_bytes", self.max_bytes)
        oldest = None if self.older_than is None else read_age("older_than", self.older_than)
        if "://" not in str(self.store) and not Path(self.store).is_dir():
            raise ValueError(f"store={str(self.store)!r}: there is no such folder")
        store = Store(self.store)
        artifacts, leftovers = store.artifacts(), store.leftovers()
        evicted = to_evict(artifacts, most, oldest, time.time())
        would = "would remove" if self.dry_run else "removed"
        for leftover in leftovers:
            if not self.dry_run:
                store.remove_leftover(leftover)
            _print(console, f"{would} {leftover.where}, left by a killed run, {decimal(leftover.size)}")
        for artifact in evicted:
            if not self.dry_run:
                store.discard(*artifact.name)
            _print(console, f"{would} {artifact.name}, {decimal(artifact.size)}, last used {_date(artifact.used)}")
        left = sum(artifact.size for artifact in set(artifacts) - set(evicted))
        freed = sum(leftover.size for leftover in leftovers) + sum(artifact.size for artifact in evicted)
        _print(console, f"{would} {decimal(freed)}; store {store}: {decimal(left)} left")
        if most is not None and left > most:
            _print(
                console,
                f"that is more than {decimal(most)}: what is left are samples used in the last ten minutes, and "
                "networks, scores and the like, which are never evicted",
            )
        if most is None and oldest is None:
            _print(console, "no samples were looked at: say --max-bytes 2GB or --older-than 30d")
        return 0


def main(
    command: Annotated[
        Annotated[Ls, tyro.conf.subcommand("ls")] | Annotated[Gc, tyro.conf.subcommand("gc")], tyro.conf.arg(name="")
    ],
) -> int:
    """Lists and cleans a store: `store ls`, `store gc --max-bytes 2GB --dry-run`.

    A store holds the artifacts that runs share, such as trained networks, samples and scores. Each is named by the hash
    of its config and verified when it is read. --store is the same folder or URL as for the runs.
    """
    return command.run(Terminal())


def command(arguments: Sequence[str], prog: str) -> int:
    """Parses the arguments and runs a command. Returns the exit status."""
    return tyro.cli(main, prog=prog, args=list(arguments))


def to_evict(artifacts: Sequence[Artifact], most: int | None, oldest: float | None, now: float) -> list[Artifact]:
    """The samples to remove, least recently used first: unused for `oldest` seconds, or until `most` bytes stay."""
    left = sum(artifact.size for artifact in artifacts)
    evicted = []
    for artifact in sorted(artifacts, key=lambda artifact: (artifact.used, artifact.name)):
        unused = now - artifact.used
        if artifact.name.kind != EVICTED or unused < IN_USE:
            continue
        if (oldest is not None and unused > oldest) or (most is not None and left > most):
            evicted.append(artifact)
            left -= artifact.size
    return evicted


def read_size(name: str, text: str) -> int:
    """The bytes in a text such as 500MB, 1.5GiB or 1000. Raises ValueError that names the option."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", text.strip())
    if found is None or found[2].upper() not in SIZES:
        raise ValueError(f"{name}={text!r}: it must be a size such as 500MB, 2GB, 1.5GiB or a number of bytes")
    return round(float(found[1]) * SIZES[found[2].upper()])


def read_age(name: str, text: str) -> float:
    """The seconds in a text such as 30d, 12h, 90m or 2w. Raises ValueError that names the option."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([mhdw])", text.strip())
    if found is None:
        raise ValueError(f"{name}={text!r}: it must be an age such as 30d, 12h, 90m or 2w")
    return float(found[1]) * AGES[found[2]]


def _summary(artifacts: Sequence[Artifact]) -> tuple[str, str, str, str]:
    used = [artifact.used for artifact in artifacts]
    first, last = (_date(min(used)), _date(max(used))) if used else ("", "")
    return str(len(artifacts)), decimal(sum(artifact.size for artifact in artifacts)), first, last


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")


def _print(console: Terminal, text: str) -> None:
    console.print(text, soft_wrap=True)
