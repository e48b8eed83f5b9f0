"""Which images belong together, since they come from one prompt: then prompts are the units of all intervals."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from experiments.distances.copies import Groups
from experiments.scoring.inputs import Input

PROMPT = "{prompt}"
NAMES = ("name", "file", "image", "path")  # of the column of a CSV that names images
GroupsOf = str | Path | Sequence[str | int] | None


def units(images: Input, groups: str | Path | Sequence[str | int]) -> Groups:
    """The number of each image's prompt (n,), 0 to G - 1.

    Args:
        groups: "folder", the folder that an image lies in; a part of its name, "{prompt}-{seed}.png"; FILE.csv, or
            FILE.csv:COLUMN, with a row for each image, by name or in their order; or a prompt for each image.

    ValueError if an image has no prompt or two, or if all have the same.
    """
    prompts = _prompts(images, groups)
    if len(set(prompts)) < 2:
        raise ValueError(f"groups: all images of {images.name} have one prompt, so their spread is unknown")
    return np.asarray(np.unique(np.array(prompts, dtype=str), return_inverse=True)[1], dtype=np.intp)


def _prompts(images: Input, groups: str | Path | Sequence[str | int]) -> list[str]:
    if not isinstance(groups, str | Path):
        if len(groups) != images.n:
            raise ValueError(f"groups: {len(groups)} prompts, but {images.name} has {images.n} images")
        return [str(prompt) for prompt in groups]
    text = str(groups)
    if table := re.fullmatch(r"(.+\.csv)(?::(.*))?", text):
        return _of_table(images, Path(table[1]).expanduser(), table[2] or "")
    if images.names is None:
        raise ValueError(f"groups={text!r}: the images of {images.name} have no names; give a CSV with a row for each")
    if text == "folder":
        folders = [str(PurePosixPath(name).parent) for name in images.names]
        if "." in folders:
            at = images.names[folders.index(".")]
            raise ValueError(f"groups='folder': {at} of {images.name} lies in no folder of a prompt")
        return folders
    if text.count(PROMPT) != 1:
        raise ValueError(f"groups={text!r}: it must be folder, FILE.csv[:COLUMN], or a name with one {PROMPT} in it")
    parts = re.split(r"(\{\w+\})", re.sub(r"\.\w+$", "", text))
    pattern = "".join("(.+)" if part == PROMPT else ".+?" if part[:1] == "{" else re.escape(part) for part in parts)
    found = [re.fullmatch(pattern, name) or re.fullmatch(pattern, PurePosixPath(name).name) for name in images.names]
    if None in found:
        raise ValueError(f"groups={text!r}: {images.names[found.index(None)]} of {images.name} is not named so")
    return [match[1] for match in found if match]


def _of_table(images: Input, path: Path, column: str) -> list[str]:
    """The prompts of a CSV with a header."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # a spreadsheet writes a byte order mark
            reader = csv.DictReader(file)
            rows, header = list(reader), list(reader.fieldnames or [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"groups={path}: it cannot be read: {error}") from error
    column = column or next((name for name in ("prompt", "group") if name in header), "")
    if column not in header:
        raise ValueError(f"groups={path}: it has no column {column or 'prompt'!r}, but {', '.join(header) or 'none'}")
    for at, row in enumerate(rows, start=1):
        if not (row[column] or "").strip():
            raise ValueError(f"groups={path}: row {at} has no {column}")
    named = next((name for name in NAMES if name in header), None)
    if images.names is None or named is None:
        if len(rows) != images.n:
            raise ValueError(f"groups={path}: {len(rows)} rows, but {images.name} has {images.n} images")
        return [row[column] for row in rows]
    known, prompts = set(images.names), dict[str, str]()
    for row in rows:
        name = row[named] or ""
        name = name if name in known else re.sub(r"\.\w+$", "", name)
        if prompts.setdefault(name, row[column]) != row[column]:
            raise ValueError(f"groups={path}: {name} has two prompts")
    if missing := [name for name in images.names if name not in prompts]:
        raise ValueError(f"groups={path}: it has no row for {missing[0]} of {images.name}")
    return [prompts[name] for name in images.names]
