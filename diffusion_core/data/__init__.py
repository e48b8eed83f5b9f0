"""Data sets by name (load.py), what one is in memory (dataset.py), and the files of a user's (readers.py).

The names are here: without torch, they are known at once.
"""

import re
from typing import Literal, NamedTuple, get_args

DataSetName = Literal["mnist5k", "mnist", "fashion-mnist", "cifar10"]  # each with a loader in load.py
DATA_SETS: tuple[str, ...] = get_args(DataSetName)
SIDE = 32  # of an image in pixels, and of all data sets whose name has no other
SIDES = (8, 1024)  # the smallest and the largest images of a user


class UserData(NamedTuple):
    """The parts of a name of a user's own data."""

    form: str  # folder or npz, with a size if one is given; latents or points
    path: str
    fingerprint: str | None
    side: int  # of images as they are used


def parse(name: str) -> UserData | None:
    """The parts of a name of a user's own data; None for any other name. ValueError for a size out of range."""
    match = re.fullmatch(r"((?:folder|npz)(\d*)|latents|points):(.+?)(?:@([0-9a-f]{12}))?", name)
    if match is None:
        return None
    side = int(match[2] or SIDE)
    if not SIDES[0] <= side <= SIDES[1]:
        raise ValueError(f"data={name!r}: images of {side}x{side}; the size must be from {SIDES[0]} to {SIDES[1]}")
    return UserData(match[1], match[3], match[4], side)


def check_name(name: str) -> None:
    """Raises ValueError unless `name` is one of `DATA_SETS` or names a user's files. Reads no file."""
    if split_name(name)[0] not in DATA_SETS and parse(name) is None:
        files = [f"{form}:PATH" for form in ("folder", "npz", "folder64", "npz64", "latents", "points")]
        raise ValueError(f"data={name!r}: unknown data set; the names are {', '.join((*DATA_SETS, *files))}")


def split_name(name: str) -> tuple[str, str | None]:
    """A name without its fingerprint, and the fingerprint."""
    if user := parse(name):
        return f"{user.form}:{user.path}", user.fingerprint
    match = re.fullmatch(r"([\w-]+)@([0-9a-f]{12})", name)
    return (match[1], match[2]) if match else (name, None)
