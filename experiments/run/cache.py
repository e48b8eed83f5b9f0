"""The cached step: one file per artifact, what a function makes of a config, made once.

    ROOT/KIND/IDENTITY.safetensors    tensors; the header holds facts, the whole config, and what it was made from

This is all of the storage, the resuming and the sharing of work:

- A file is written aside and renamed, so it is there whole or not at all. Kill a run at any moment: the same command
  makes what is missing.
- Its maker holds a lock (flock) that ends with its process. Another process that needs the file gets `Busy`, takes
  other work and comes back. Where locks fail, two processes make one file: time is lost, never a result.
- A stored file is believed if its checksum is right, if it answers the config asked for, if it was made from the files
  it would be made from now, and if its check passes, which makes a part of it again. If the check fails, everything
  that the same code has made is discarded: stored and new values of one function never meet (`condemn`).
"""

import json
import logging
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.own.user_code import told
from experiments.run.artifact import (
    Artifact,
    Busy,
    CacheError,
    Tensors,
    content_of,
    disk_errors,
    header_of,
    locked,
    opened,
    sealed,
    stamp_of,
)  # fmt: skip
from experiments.run.identity import SCHEMA, canonical, holds, identity, plain_json

PAUSE = 0.1  # seconds between looks at a file that another process makes
Made = tuple[Tensors, Mapping[str, Any]]  # tensors, and facts as JSON
log = logging.getLogger(__name__)


class Differs(Exception):
    """What was made again differs from what is stored.

    `makers`: by name the code that may have changed, as parts of configs (see `holds`).
    """

    def __init__(self, why: str, makers: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__(why)
        self.makers = makers


@dataclass
class Cache:
    """The files under `root`, and what this process knows about them.

    Args:
        spot: the identities of stored samples that get a spot check before they are believed; None for all.
        mixed: those of them whose network or sampler makes new samples too, so that stored and new ones may meet.
        notes: a folder in which the processes of one command tell each other what they made, checked or tried in vain.
        logs: a folder for the traceback of each run that fails.
        crowded: whether several runs of this command share a device at a time, so that their seconds say little.
        waits: for a file that another process makes; else there is other work meanwhile, and that is Busy.
        known: files that this process believes, and why others could not be made: a failure is tried once per command.
        made, checked: of these, those made here, and those made here or checked.
        condemned: the code whose files did not pass a check.
        discarded: the facts of these files.
    """

    root: Path
    spot: frozenset[str] | None = frozenset()
    mixed: frozenset[str] = frozenset()
    notes: Path | None = None
    logs: Path | None = None
    crowded: bool = False
    waits: bool = True
    known: "dict[Path, Artifact | Exception]" = field(default_factory=dict)
    made: set[Path] = field(default_factory=set)
    checked: set[Path] = field(default_factory=set)
    condemned: set[str] = field(default_factory=set)
    discarded: dict[Path, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.root = self.root.absolute()  # workers may have another working folder

    @property
    def shared(self) -> tuple[Any, ...]:
        """What the processes of a command share, for `Cache(*shared)`."""
        return self.root, self.spot, self.mixed, self.notes, self.logs, self.crowded

    def log(self, name: str) -> None:
        """Writes the traceback of the current error."""
        with suppress(OSError):  # a log is no result
            if self.logs:
                (self.logs / f"{name}.log").write_text(traceback.format_exc(), encoding="utf-8")

    def path(self, kind: str, config: Any) -> Path:
        return self.root / kind / f"{identity(config)}.safetensors"

    def cached(
        self,
        kind: str,
        config: Any,
        make: Callable[[], Made],
        sources: Sequence[Artifact] = (),
        check: Callable[[Artifact], None] | None = None,
    ) -> Artifact:
        """The file of a config: stored and believed, or made now.

        Args:
            make: its tensors and facts. It is deterministic: the same config gives the same values.
            sources: the files that `make` reads. If one of them has changed, the stored file is stale.
            check: raises Differs unless a part of a stored file comes out the same again; None where none is due.

        Raises:
            Busy: another process makes it, and this one does not wait.
            CacheError: it cannot be read or written.
            Whatever `make` or `check` raises, again at each call in this command.
        """
        path, wanted = self.path(kind, config), tuple(source.sum for source in sources)
        known = self.known.get(path)
        if isinstance(known, Exception):
            raise known
        if known and known.sources == wanted and known.stamp == stamp_of(path):
            return known
        text = plain_json({"schema": SCHEMA, "kind": kind, "config": canonical(config)})
        stored = self._read(path, text)
        if stored is None or stored.sources != wanted or self._is_due(stored, check):
            with self._locked(path) as aside:
                stored = self._read(path, text, quiet=True)  # as the process has left it that held the lock before
                try:
                    if stored is None or stored.sources != wanted or not self._passes(stored, check):
                        stored = self._make(path, aside, text, make, wanted)
                except (Busy, CacheError):
                    raise
                except Exception as error:
                    self.known[path] = error
                    self._note(path, failed=reason(error))
                    raise
        self.known[path] = stored
        return stored

    @contextmanager
    def _locked(self, path: Path) -> Iterator[Path]:
        with ExitStack() as stack:
            while True:
                try:
                    aside = stack.enter_context(locked(path))
                    break
                except Busy:
                    if not self.waits:
                        raise
                time.sleep(PAUSE)
            yield aside

    def _read(self, path: Path, config: str, quiet: bool = False) -> Artifact | None:
        """The artifact at `path`; None if there is none, or a damaged one, or the answer to another question."""
        stamp = stamp_of(path)
        if (whole := content_of(path)) is None:
            return None
        try:
            metadata, content = opened(whole)
            if metadata["config"] != config:
                raise ValueError("it answers another config")
            return Artifact(path, json.loads(metadata["facts"]), tuple(json.loads(metadata["sources"])), content, stamp)
        except ValueError as error:
            if not quiet:
                log.warning("%s: it is damaged (%s); it is made again", path, error)
            return None

    def _make(
        self, path: Path, aside: Path, config: str, make: Callable[[], Made], sources: tuple[str, ...]
    ) -> Artifact:
        if why := self._noted(path).get("failed"):
            raise ValueError(why)
        tensors, facts = make()
        content = sealed(tensors, facts, config, sources)
        with disk_errors(path):
            try:
                with aside.open("wb") as file:
                    file.writelines(content)
                aside.replace(path)
            except OSError:
                aside.unlink(missing_ok=True)
                raise
        made = self._read(path, config)
        if made is None:
            raise CacheError(f"{path}: it was written, but cannot be read; is the disk failing?")
        self.made.add(path)
        self.checked.add(path)
        self._note(path, made=made.sum)
        return made

    def _is_due(self, stored: Artifact, check: Callable[[Artifact], None] | None) -> bool:
        if check is None or stored.path in self.checked:
            return False
        noted = self._noted(stored.path)  # by another process of this command
        return stored.sum not in (noted.get("made"), noted.get("passed"))

    def _passes(self, stored: Artifact, check: Callable[[Artifact], None] | None) -> bool:
        if check is None or not self._is_due(stored, check):
            return True
        try:
            check(stored)
        except Differs as found:
            self.condemn(found, stored)
            return False
        self.checked.add(stored.path)
        self._note(stored.path, passed=stored.sum)
        return True

    def condemn(self, found: Differs, stored: Artifact) -> None:
        """Discards everything that the same code has made before this command, and says so.

        ValueError if what was made instead differs again: such code has no results.
        """
        if self.condemned & found.makers.keys():
            raise ValueError(f"{found}, though it was made again in this command; it must not depend on earlier calls")
        self.condemned |= found.makers.keys()
        gone = Counter[str]()
        for path in sorted(self.root.glob("*/*.safetensors")):
            if path in self.made or "made" in self._noted(path):
                continue
            config, facts = header_of(path)
            if path == stored.path or any(holds(config, maker) for maker in found.makers.values()):
                with disk_errors(path):
                    path.unlink(missing_ok=True)
                self.discarded[path] = facts
                self.checked.discard(path)
                gone[path.parent.name] += 1
        counts = ", ".join(f"{count} {kind}" for kind, count in gone.items())
        log.warning("%s. All that the %s made is made again: %s", found, " or the ".join(found.makers), counts)

    def check_all(self) -> None:
        """From now on every stored file is checked: what was only read is forgotten."""
        self.spot = None
        kept = {path for path, known in self.known.items() if path in self.checked or isinstance(known, Exception)}
        self.known = {path: self.known[path] for path in kept}

    def _noted(self, path: Path) -> dict[str, str]:
        with suppress(OSError, ValueError):
            if self.notes:
                return dict(json.loads((self.notes / f"{path.parent.name}-{path.stem}").read_text()))
        return {}

    def _note(self, path: Path, **what: str) -> None:
        with suppress(OSError):  # a note saves work, and nothing else
            if self.notes:
                (self.notes / f"{path.parent.name}-{path.stem}").write_text(json.dumps(what))


def reason(error: BaseException) -> str:
    """Why something failed, in one line."""
    return str(error) if isinstance(error, ValueError) else told(error)
