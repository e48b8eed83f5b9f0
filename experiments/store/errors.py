"""What a store says when it cannot be read or written: the place, the reason, and what to do."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

CURES = {
    errno.ENOSPC: "no space left on device: free some space or choose another place",
    errno.EDQUOT: "the disk quota is used up: free some space or choose another place",
    errno.EFBIG: "a file is larger than this place allows: raise the limit or choose another place",
    errno.EROFS: "it is read-only: choose another place",
    errno.EACCES: "permission denied: change the permissions or choose another place",
    errno.EPERM: "permission denied: change the permissions or choose another place",
    errno.ENOTDIR: "it is no folder: choose another place",
}


class StoreError(ValueError):
    """The store cannot be read or written. The message names the store and says what to do."""


@contextmanager
def disk_errors(where: str, setting: str) -> Iterator[None]:
    """Turns errors such as a full disk into a StoreError that says what to do. Other errors pass through."""
    try:
        yield
    except Exception as error:
        cure = CURES.get(_errno(error) or 0)
        if cure is None or isinstance(error, StoreError):
            raise
        raise StoreError(f"{where}: {cure} ({setting})") from error


def _errno(error: Exception) -> int | None:
    """The errno of an error. Errors of safetensors have it only in their message."""
    if isinstance(error, OSError):
        return error.errno
    number = re.search(r"\(os error (\d+)\)", str(error))
    return int(number[1]) if number else None
