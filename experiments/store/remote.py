"""Artifacts behind a URL that fsspec knows (s3://, gs://, ...), read through a cache in a local folder.

The layout is that of a local folder with one more level, because buckets have no rename. Each attempt to write an
artifact uploads into its own folder KIND/IDENTITY/ATTEMPT/. Then it creates KIND/IDENTITY/checksums.json, which names
the files by that path, if there is none yet. So if two attempts race, one of them counts, and files are never mixed.
(If a server cannot create conditionally, the later manifest counts.)
"""

import errno
import hashlib
import json
import logging
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from fsspec.core import url_to_fs

from experiments.store.cache import cache_root
from experiments.store.checksums import (
    MANIFEST,
    Artifact,
    CheckResult,
    Name,
    StaleTemp,
    StoreError,
    Sums,
    inspect,
    read_sums,
    write_json,
)
from experiments.store.local import ABANDONED, PROBE, LocalFolder

LOG = logging.getLogger(__name__)
OURS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)  # errors of the cache's disk, not of the bucket
PACKAGES = "s3:// needs pip install -e '.[remote]', gs:// needs gcsfs, az:// needs adlfs"
Files = dict[str, dict[str, Any]]  # path in an artifact's folder -> its entry in the listing


def cache_folder(url: str) -> Path:
    """The local cache folder of a remote store."""
    return cache_root() / f"store-{hashlib.sha256(url.rstrip('/').encode()).hexdigest()[:12]}"


class Bucket:
    """A remote folder of artifacts. Every method raises StoreError if the bucket cannot be reached.

    Args:
        url: a URL for fsspec, whose packages find credentials and endpoint in their usual places.
        cache: the folder from which artifacts are read, after they were fetched and verified.
    """

    def __init__(self, url: str, cache: LocalFolder) -> None:
        self.url, self.cache = url.rstrip("/"), cache
        self._writable = False
        try:
            self.files, self.root = url_to_fs(self.url, use_listings_cache=False)  # others write there too
        except (ImportError, ValueError) as error:  # its package is missing; an unknown protocol
            raise StoreError(f"store {url}: {error}; {PACKAGES}") from error

    def __str__(self) -> str:
        return self.url

    def manifest(self, name: Name) -> bytes | None:
        """The text of an artifact's manifest; None if there is no such artifact."""
        with self._reached():
            try:
                text: bytes = self.files.cat_file(self._path(name, MANIFEST))
            except FileNotFoundError:
                return None
            return text

    def inspect(self, name: Name) -> CheckResult | None:
        """Compares the remote files, not the cache, with their checksums; None if there is no such artifact."""
        manifest = self.manifest(name)
        if manifest is None:
            return None
        with self._reached():
            result = inspect(manifest, lambda file: self.files.open(self._path(name, file), "rb"))
        return result if not result.faults or self.manifest(name) == manifest else self.inspect(name)

    def fetch(self, name: Name) -> CheckResult | None:
        """Fetches an artifact into the cache and returns its faults; None if there is no such artifact."""
        manifest = self.manifest(name)
        if manifest is None:
            return None
        try:
            sums = read_sums(manifest)
        except ValueError as error:
            return CheckResult(manifest, [str(error)])
        cached = self.cache.inspect(name)
        if cached is not None:
            if not cached.faults and read_sums(cached.manifest) == _flat(sums):
                return CheckResult(manifest, [])
            if cached.faults:
                LOG.warning(f"cache {self.cache}: {name} is damaged: {', '.join(cached.faults)}; it is fetched again")
            self.cache.remove(name, cached.manifest)
        faults = self._download(name, sums)
        if faults:  # retry: a fault of the connection must not remove a sound artifact
            faults = self._download(name, sums)
        if faults and self.manifest(name) != manifest:
            return self.fetch(name)  # another process removed or replaced it meanwhile
        return CheckResult(manifest, faults)

    def _download(self, name: Name, sums: Sums) -> list[str]:
        """Downloads an artifact and returns its faults. A sound artifact goes into the cache."""
        temporary = self.cache.temporary(name.identity)
        try:
            with self._reached():
                for file in sums:
                    with suppress(FileNotFoundError):
                        self.files.get_file(self._path(name, file), str(temporary / PurePosixPath(file).name))
            write_json(temporary / MANIFEST, _flat(sums))
            found = inspect((temporary / MANIFEST).read_bytes(), lambda file: (temporary / file).open("rb"))
            if not found.faults:
                self.cache.publish(temporary, name)
            return found.faults
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def publish(self, folder: Path, name: Name) -> bool:
        """Uploads a folder with checksums, manifest last. Returns False if another run was first."""
        if self.manifest(name) is not None:
            return False
        attempt = uuid.uuid4().hex[:8]
        sums = {f"{attempt}/{file}": sum for file, sum in read_sums((folder / MANIFEST).read_bytes()).items()}
        with self._reached():
            for file in sums:
                self.files.put_file(str(folder / PurePosixPath(file).name), self._path(name, file))
            if not self._create_marker(name, sums):
                self.files.rm([self._path(name, file) for file in sums])
                return False
        if (old := self.cache.manifest(name)) is not None:
            self.cache.remove(name, old)  # it belongs to a copy that is gone from the store
        self.cache.publish(folder, name)
        return True

    def _create_marker(self, name: Name, sums: Sums) -> bool:
        """Creates the manifest if there is none. Returns whether this attempt's manifest counts."""
        manifest = json.dumps(sums, indent=1).encode()
        try:
            self.files.pipe_file(self._path(name, MANIFEST), manifest, mode="create")
        except Exception:
            if (first := self.manifest(name)) is not None:
                return first == manifest
            self.files.pipe_file(self._path(name, MANIFEST), manifest)  # no conditional creation, or it fails again
        return True

    def remove(self, name: Name, manifest: bytes | None) -> None:
        """Removes the copy of an artifact that has this manifest, and the cached copy."""
        with self._reached():
            if manifest is not None and self.manifest(name) == manifest:
                self.files.rm_file(self._path(name, MANIFEST))  # first: from now on the artifact is absent
                with suppress(ValueError, FileNotFoundError):  # no checksums in it: its files stay as leftovers
                    self.files.rm([self._path(name, file) for file in read_sums(manifest)])
        if (cached := self.cache.manifest(name)) is not None:
            self.cache.remove(name, cached)

    def artifacts(self) -> Iterator[Artifact]:
        """Every complete artifact, sorted by name. The last use is the time of writing."""
        for name, files in self._listing().items():
            if MANIFEST in files:
                size = sum(int(info["size"]) for info in files.values())
                yield Artifact(name, size, _modified(files[MANIFEST]))

    def stale_temps(self) -> Iterator[StaleTemp]:
        """Files at least a day old whose upload wrote no manifest, or lost a race and was killed."""
        yield from self.cache.stale_temps()
        for name, files in self._listing().items():
            if MANIFEST in files and len({str(PurePosixPath(file).parent) for file in files if file != MANIFEST}) < 2:
                continue  # one attempt and its manifest, the usual case: no need to read it
            try:
                kept = {MANIFEST, *read_sums(self.manifest(name) or b"{}")}
            except ValueError:
                continue  # damaged: `store verify` reports it
            for file in sorted(files.keys() - kept):
                if time.time() - _modified(files[file]) > ABANDONED:
                    yield StaleTemp(f"{self.url}/{name}/{file}", int(files[file]["size"]))

    def remove_stale_temp(self, stale: StaleTemp) -> None:
        if stale.where.startswith(f"{self.url}/"):
            with self._reached():
                self.files.rm_file(stale.where.replace(self.url, self.root, 1))
        else:
            self.cache.remove_stale_temp(stale)

    def check_writable(self) -> None:
        """Raises StoreError if nothing can be written. The bucket is tested until it worked once."""
        self.cache.check_writable()
        if not self._writable:
            probe = f"{self.root}/tmp/probe/{uuid.uuid4().hex}"
            with self._reached():
                self.files.pipe_file(probe, PROBE)
                self.files.rm_file(probe)
            self._writable = True

    def _path(self, name: Name, file: str) -> str:
        return f"{self.root}/{name.kind}/{name.identity}/{file}"

    def _listing(self) -> dict[Name, Files]:
        """All files under KIND/IDENTITY/, by artifact, sorted."""
        listing: dict[Name, Files] = {}
        with self._reached():
            found = self.files.find(self.root, detail=True)
            if not found:  # some file systems find nothing where they reach nothing
                with suppress(FileNotFoundError):
                    self.files.ls(self.root)
        for path, info in sorted(found.items()):
            parts = path.removeprefix(self.root).strip("/").split("/", 2)
            if len(parts) == 3:
                listing.setdefault(Name(parts[0], parts[1]), {})[parts[2]] = info
        return listing

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Turns errors of the bucket into a StoreError."""
        try:
            yield
        except Exception as error:  # each protocol has its own errors
            if isinstance(error, StoreError) or (isinstance(error, OSError) and error.errno in OURS):
                raise
            raise StoreError(
                f"store {self.url}: {type(error).__name__}: {error}: check that the place exists, the credentials and "
                "the endpoint (for s3:// AWS_ENDPOINT_URL); what is finished is kept"
            ) from error


def _flat(sums: Sums) -> Sums:
    """The checksums by file name in the cache."""
    return {PurePosixPath(file).name: sum for file, sum in sums.items()}


def _modified(info: dict[str, Any]) -> float:
    """When a remote file was written, in seconds since 1970, from its listing."""
    for key in ("LastModified", "last_modified", "mtime", "updated", "created"):
        value = info.get(key)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
    return time.time()  # unknown: now, so that no artifact is removed by mistake
