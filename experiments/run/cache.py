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

import errno
import fcntl
import hashlib
import json
import logging
import os
import socket
import stat
import struct
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import Field, dataclass, field, fields, is_dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor, contiguous_format

from experiments.config.source import SOURCE, check_told_apart, is_ours
from experiments.config.user_code import told

SCHEMA = 4  # raise it when the same config starts to give another result
LABEL = {"identity": False}  # metadata of a field that changes no result
TEXT = "sigmabench_text"  # attribute of a package, and of a user's class, that holds the hash of the package's text
RULE = "it must be exactly int, float, str, bool, None, a tuple or a dataclass of these, and no NaN"
Tensors = Mapping[str, Tensor]
Made = tuple[Tensors, Mapping[str, Any]]  # tensors, and facts as JSON
log = logging.getLogger(__name__)


class Busy(Exception):
    """Another process makes this file at the moment."""


class Differs(Exception):
    """What was made again differs from what is stored.

    `makers`: by name the code that may have changed, as parts of configs (see `holds`).
    """

    def __init__(self, why: str, makers: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__(why)
        self.makers = makers


class CacheError(ValueError):
    """The cache cannot be read or written. The message names the file and says what to do."""


# --- identity: where a thing is, and what it is ---


def identity(config: Any) -> str:
    """The first 12 hex digits of the SHA-256 of SCHEMA and the config. Equal configs have equal results."""
    return hashlib.sha256(_json({"schema": SCHEMA, "config": canonical(config)}).encode()).hexdigest()[:12]


def canonical(config: Any, name: str = "config") -> Any:
    """`config` as plain JSON data: a dataclass becomes its class and its fields, without those marked LABEL.

    A class of a user's is named by its module and a hash of its package's text, and so is what a user has put into a
    table under a name (`registered`).

    Raises:
        ValueError: a value of another type, named by its field; a user's class that could be taken for another one.
    """
    kind = type(config)
    if config is None or kind in (bool, int, str) or (kind is float and config == config):
        return config
    if kind is tuple:
        return [canonical(item, f"{name}[{number}]") for number, item in enumerate(config)]
    if not is_dataclass(kind) or {base.__module__ for base in kind.__mro__[:-1]} & {"builtins"}:
        shown = " ".join(f"{config!r:.80}".split())
        raise ValueError(f"{name}={shown}: its type is {kind.__name__}; {RULE}")
    out = {}
    for part in counted(config):
        value = getattr(config, part.name)
        out[part.name] = canonical(value, part.name if name == "config" else f"{name}.{part.name}")
        if (entry := _entry(part, value)) is not None:
            out[f"{part.name} is"] = place(entry)
    check_told_apart(config)
    return {"class": place(kind)} | out


def counted(config: Any) -> list[Field[Any]]:
    """The fields of a dataclass that are part of its identity."""
    return [part for part in fields(config) if part.metadata.get("identity", True)]


def registered(table: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of a field that holds a name in `table`, to which users can add or in which they can replace."""
    return {"table": table, "shipped": dict(table)}


def _entry(part: Field[Any], name: Any) -> Any:
    """What stands under this name in the table of a field, if it is not what we ship."""
    entry = part.metadata.get("table", {}).get(name)
    return None if entry is part.metadata.get("shipped", {}).get(name) else entry


def place(thing: Any) -> Any:
    """Where a class or function is, and what: its name, for a user's with module and hash of its package's text.

    ValueError if this name leads to another class, or if there is no text.
    """
    if isinstance(thing, partial):
        return [place(thing.func), canonical((thing.args, tuple(sorted(thing.keywords.items()))), "partial")]
    if not hasattr(thing, "__qualname__"):  # an instance that can be called
        return canonical(thing, "registered")
    if getattr(thing, "__closure__", None):
        raise ValueError(f"{thing.__qualname__}: what it takes from around it is not in its identity; use a partial")
    if not is_ours(thing):
        return f"{thing.__module__}:{thing.__qualname__}@{_text(thing)}"
    found: Any = sys.modules.get(thing.__module__)
    for part in thing.__qualname__.split("."):
        found = getattr(found, part, None)
    if isinstance(thing, type) and found is not thing:
        raise ValueError(f"{thing.__module__}.{thing.__qualname__}: this name leads to another class")
    line = f":{thing.__code__.co_firstlineno}" if "<lambda>" in thing.__qualname__ else ""
    return thing.__qualname__ + line


def _text(thing: Any) -> str:
    """Hash of the text of the package that defines a class or function: all its .py files, or its one file.

    It is taken once per process. A class that came without its module, as on Ray, carries it.
    """
    root, module = (sys.modules.get(name) for name in (thing.__module__.partition(".")[0], thing.__module__))
    known = (
        getattr(thing, "__dict__", {}).get(TEXT) or vars(root or object).get(TEXT) or vars(module or object).get(SOURCE)
    )
    if known is None:
        folders = [Path(folder) for folder in getattr(root, "__path__", ())]
        files = [(path, str(path.relative_to(top))) for top in folders for path in sorted(top.rglob("*.py"))]
        if not folders and (file := getattr(module, "__file__", None)) and Path(file).suffix == ".py":
            files = [(Path(file), Path(file).name)]
        if not files:
            raise ValueError(f"{thing.__module__}.{thing.__qualname__}: its text was not found, so it has no identity")
        hashed = [(name, hashlib.sha256(path.read_bytes()).hexdigest()) for path, name in files]
        known = hashlib.sha256(_json(hashed).encode()).hexdigest()[:12]
        setattr(root, TEXT, known)
    with suppress(AttributeError, TypeError):  # a function written in C
        setattr(thing, TEXT, known)
    return str(known)


def has_own_code(config: Any) -> bool:
    """Whether a config needs code that is not ours: a class, an entry of a table, or what calls itself `foreign`."""
    if is_dataclass(config) and not isinstance(config, type):
        values = [(part, getattr(config, part.name)) for part in counted(config)]
        own = not is_ours(type(config)) or getattr(config, "foreign", False)
        return own or any(_entry(part, value) is not None or has_own_code(value) for part, value in values)
    return isinstance(config, tuple) and any(map(has_own_code, config))


def check_distinct(configs: Iterable[Any]) -> None:
    """Raises ValueError if two configs that differ share an identity. For every plan."""
    known: dict[str, Any] = {}
    for config in configs:
        first = known.setdefault(identity(config), config)
        if first is not config and not _equal(first, config):
            raise ValueError(
                f"{first} and {config}: they differ, but have the same identity; rename one of the classes"
            )


def _equal(a: Any, b: Any) -> bool:
    """a == b, where fields marked LABEL do not count, and classes do."""
    if type(a) is not type(b):
        return False
    if is_dataclass(a):
        return all(_equal(getattr(a, part.name), getattr(b, part.name)) for part in counted(a))
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(_equal, a, b))
    return bool(a == b)


def holds(config: Any, maker: Mapping[str, Any]) -> bool:
    """Whether a canonical config has a part with all items of `maker`."""
    if isinstance(config, dict):
        here = all(name in config and config[name] == value for name, value in maker.items())
        return here or any(holds(value, maker) for value in config.values())
    return isinstance(config, list) and any(holds(item, maker) for item in config)


def _json(data: Any) -> str:
    return json.dumps(data, sort_keys=True, separators=(",", ":"))


# --- files ---


@dataclass(frozen=True)
class Artifact:
    """A file in the cache.

    Args:
        facts: what is known about it, such as counted evaluations, and when it was finished.
        sources: the checksums of the tensors of the files that it was made from.
        sum: the checksum of its tensors. Facts are apart from it: seconds and dates may differ, results not.
        stamp: tells whether the file is still the same.
    """

    path: Path
    facts: Mapping[str, Any]
    sources: tuple[str, ...]
    sum: str
    stamp: tuple[int, ...]

    @property
    def tensors(self) -> dict[str, Tensor]:
        return tensors_of(self.path, self.sum)


def tensors_of(path: Path, checksum: str) -> dict[str, Tensor]:
    """The tensors of a file. Busy if it does not have this checksum any more: another process makes it again."""
    whole = _bytes(path)
    try:
        if whole is None or _opened(whole)[1] != checksum:
            raise Busy(path)
    except ValueError:
        raise Busy(path) from None
    return load(whole)


def _bytes(path: Path) -> bytes | None:
    """The content of a file, None if there is none. ValueError if something else is in its place, such as a pipe."""
    with disk_errors(path):
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                raise CacheError(f"{path}: this is no file; remove it, or choose another cache")
            return path.read_bytes()
        except FileNotFoundError:
            return None


def _stamp(path: Path) -> tuple[int, ...]:
    with suppress(OSError):
        found = path.stat()
        return found.st_ino, found.st_size, found.st_mtime_ns
    return ()


def _opened(whole: bytes) -> tuple[dict[str, str], str]:
    """The metadata of a file, and the checksum of its tensors. ValueError if it is damaged."""
    try:
        index, content = _indexed(whole)
        metadata = index["__metadata__"]
        if metadata["seal"] != _seal(content, metadata):
            raise ValueError("its checksum differs")
        return metadata, content
    except (struct.error, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(told(error)) from None


def _indexed(whole: bytes) -> tuple[dict[str, Any], str]:
    """The header of a file, and the checksum of its tensors with their names, types and shapes."""
    (length,) = struct.unpack_from("<Q", whole)
    header = json.loads(whole[8 : 8 + length])
    content = hashlib.sha256(_json({name: each for name, each in header.items() if name != "__metadata__"}).encode())
    content.update(memoryview(whole)[8 + length :])
    return header, content.hexdigest()


def _seal(content: str, metadata: Mapping[str, str]) -> str:
    """The checksum of a whole file."""
    parts = [content, *(metadata[name] for name in ("config", "facts", "sources"))]
    return hashlib.sha256(_json(parts).encode()).hexdigest()


def _sealed(tensors: Tensors, facts: Mapping[str, Any], config: str, sources: Sequence[str]) -> list[bytes]:
    """The content of a file. ValueError for facts that are not JSON, such as NaN."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    text = json.dumps({**facts, "finished_at": now}, allow_nan=False)
    metadata = {"facts": text, "config": config, "sources": json.dumps(list(sources))}
    own = {name: each.detach().cpu().clone(memory_format=contiguous_format) for name, each in tensors.items()}
    whole = save(own)
    index, content = _indexed(whole)
    header = json.dumps({"__metadata__": metadata | {"seal": _seal(content, metadata)}} | index).encode()
    header += b" " * (-len(header) % 8)
    return [struct.pack("<Q", len(header)), header, whole[8 + struct.unpack_from("<Q", whole)[0] :]]


@contextmanager
def locked(path: Path) -> Iterator[Path]:
    """Holds the lock of a file; Busy if another process does. A killed process holds none.

    Yields where to write the file aside: only the holder writes there. Without locks it is a place of this process.
    """
    lock, aside = path.with_suffix(".lock"), path.with_suffix(".part")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(handle).st_ino != lock.stat().st_ino:  # removed by its holder since it was opened
                raise Busy(path)
        except (BlockingIOError, FileNotFoundError):
            raise Busy(path) from None
        except OSError:  # this file system has no locks
            aside = path.with_suffix(f".{socket.gethostname()}-{os.getpid()}.part")
        try:
            yield aside
        finally:
            lock.unlink(missing_ok=True)
    finally:
        os.close(handle)


CURES = {
    errno.ENOSPC: "no space left on device: free some space or choose another place",
    errno.EDQUOT: "the disk quota is used up: free some space or choose another place",
    errno.EFBIG: "a file is larger than this place allows: raise the limit or choose another place",
    errno.EROFS: "it is read-only: choose another place",
    errno.EACCES: "permission denied: change the permissions or choose another place",
    errno.EPERM: "permission denied: change the permissions or choose another place",
    errno.ENOTDIR: "a part of this path is no folder: choose another place",
    errno.EEXIST: "a part of this path is no folder: choose another place",
    errno.EISDIR: "this is a folder: remove it, or choose another place",
}


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turns errors such as a full disk into a CacheError that says what to do. Other errors pass through."""
    try:
        yield
    except OSError as error:
        if (cure := CURES.get(error.errno or 0)) is None:
            raise
        raise CacheError(f"{error.filename or path}: {cure}") from error


# --- the cached step ---


@dataclass
class Cache:
    """The files under `root`, and what this process knows about them.

    Args:
        spot: the identities of stored samples that get a spot check before they are believed; None for all.
        mixed: those of them whose network or sampler makes new samples too, so that stored and new ones may meet.
        notes: a folder in which the processes of one command tell each other what they made, checked or tried in vain.
        known: files that this process believes, and why others could not be made: a failure is tried once per command.
        made, checked: of these, those made here, and those made here or checked.
        condemned: the code whose files did not pass a check.
        discarded: the facts of these files.
    """

    root: Path
    spot: frozenset[str] | None = frozenset()
    mixed: frozenset[str] = frozenset()
    notes: Path | None = None
    known: "dict[Path, Artifact | Exception]" = field(default_factory=dict)
    made: set[Path] = field(default_factory=set)
    checked: set[Path] = field(default_factory=set)
    condemned: set[str] = field(default_factory=set)
    discarded: dict[Path, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.root = self.root.absolute()  # workers may have another working folder

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
            Busy: another process makes it.
            CacheError: it cannot be read or written.
            Whatever `make` or `check` raises, again at each call in this command.
        """
        path, wanted = self.path(kind, config), tuple(source.sum for source in sources)
        known = self.known.get(path)
        if isinstance(known, Exception):
            raise known
        if known and known.sources == wanted and known.stamp == _stamp(path):
            return known
        text = _json({"schema": SCHEMA, "kind": kind, "config": canonical(config)})
        stored = self._read(path, text)
        if stored is None or stored.sources != wanted or self._is_due(stored, check):
            with locked(path) as aside:
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

    def _read(self, path: Path, config: str, quiet: bool = False) -> Artifact | None:
        """The artifact at `path`; None if there is none, or a damaged one, or the answer to another question."""
        stamp = _stamp(path)
        if (whole := _bytes(path)) is None:
            return None
        try:
            metadata, content = _opened(whole)
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
        content = _sealed(tensors, facts, config, sources)
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
            config, facts = _header(path)
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


def _header(path: Path) -> tuple[Any, Mapping[str, Any]]:
    """The config and the facts in a file's header; nothing if it is damaged."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            metadata = json.loads(file.read(min(length, path.stat().st_size)))["__metadata__"]
        return json.loads(metadata["config"])["config"], json.loads(metadata["facts"])
    except (OSError, struct.error, LookupError, TypeError, ValueError):
        return None, {}


def reason(error: BaseException) -> str:
    """Why something failed, in one line."""
    return str(error) if isinstance(error, ValueError) else told(error)
