"""Which images belong together, since they come from one prompt: then prompts are the units of all intervals."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from experiments.distances.distance import renumber
from experiments.distances.duplicates import ClusterIds
from experiments.run.image_features import ImageSet
from experiments.scoring.inputs import Input

PROMPT = "{prompt}"
CLIPS = "clips"  # the groups of frames
NAMES = ("name", "file", "image", "path", "file_name", "filename", "image_id")  # columns of names, by their headings
GroupsOf = str | Path | Sequence[str | int] | None


def or_clips(sets: Sequence[Input], groups: GroupsOf) -> GroupsOf:
    """The groups of the options, else clips if a set holds frames."""
    if groups is None and any(isinstance(images, ImageSet) and images.clips for images in sets):
        return CLIPS
    return groups


def groups_of(images: Input, groups: str | Path | Sequence[str | int]) -> tuple[ClusterIds, str]:
    """The index of each image's prompt (n,), 0 to G - 1; and what a reader should know, or "".

    `groups`: "folder" or "clips", the folder that an image, or a frame, lies in; a part of its name, such as
    "{prompt}-{seed}.png"; FILE.csv, or FILE.csv:COLUMN, with a row for each image, by name or in their order; or a
    prompt for each image. ValueError if an image has no prompt or two, or if all have the same.
    """
    prompts, note = _group_names(images, groups)
    if len(set(prompts)) < 2:
        raise ValueError(f"groups: all images of {images.name} have one prompt, so their spread is unknown")
    return renumber(np.array(prompts, dtype=str)), note


def _group_names(images: Input, groups: str | Path | Sequence[str | int]) -> tuple[list[str], str]:
    """The name of each image's prompt, and a note. Arguments and errors as in `groups_of`."""
    if not isinstance(groups, str | Path):
        if len(groups) != images.n:
            raise ValueError(f"groups: {len(groups)} prompts, but {images.name} has {images.n} images")
        return [str(prompt) for prompt in groups], ""
    text = str(groups)
    if table := re.fullmatch(r"(.+\.csv)(?::(.*))?", text):
        return _of_table(images, Path(table[1]).expanduser(), table[2] or "")
    if images.names is None:
        raise ValueError(f"groups={text!r}: the images of {images.name} have no names; give a CSV with a row for each")
    if text in ("folder", CLIPS):
        folders = [str(PurePosixPath(name).parent) for name in images.names]
        if "." in folders:
            at = images.names[folders.index(".")]
            raise ValueError(f"groups={text!r}: {at} of {images.name} lies in no folder of a prompt")
        return folders, ""
    if text.count(PROMPT) != 1:
        raise ValueError(
            f"groups={text!r}: it must be folder, clips, FILE.csv[:COLUMN], or a name with one {PROMPT} in it"
        )
    words = re.split(r"(\{\w+\})", re.sub(r"\.\w+$", "", text))
    pattern = "".join("(.+)" if word == PROMPT else ".+?" if word[:1] == "{" else re.escape(word) for word in words)
    prompts = list[str]()
    for name in images.names:
        match = re.fullmatch(pattern, name) or re.fullmatch(pattern, PurePosixPath(name).name)
        if match is None:
            raise ValueError(f"groups={text!r}: {name} of {images.name} is not named so")
        prompts.append(match[1])
    return prompts, ""


def _of_table(images: Input, path: Path, column: str) -> tuple[list[str], str]:
    """The prompts of a CSV with a header; a note if its rows are taken in the order of the images."""
    try:
        table = pd.read_csv(
            path, dtype=str, na_filter=False, index_col=False, skipinitialspace=True, encoding="utf-8-sig"
        )
    except (OSError, ValueError) as error:
        raise ValueError(f"groups={path}: it cannot be read: {error}") from error
    column = column or next((name for name in ("prompt", "group") if name in table), "prompt")
    if column not in table:
        raise ValueError(f"groups={path}: it has no column {column!r}, but {', '.join(table)}")
    prompts = table[column].str.strip().tolist()
    if "" in prompts:
        raise ValueError(f"groups={path}: row {prompts.index('') + 1} has no {column}")
    names = set(images.names or ())
    keys = [name for name in table if name != column]
    # a cell is a name as images have it, or with the suffix of a file
    others = {key: [c if c in names else re.sub(r"\.\w+$", "", c) for c in table[key].str.strip()] for key in keys}
    named = max(others, key=lambda name: (len(names & {*others[name]}), name in NAMES), default="")
    if not names or not (names & {*others.get(named, ())} or named in NAMES):
        if len(table) != images.n:
            raise ValueError(f"groups={path}: {len(table)} rows, but {images.name} has {images.n} images")
        reason = f"no column has the names of {images.name}" if names else f"images of {images.name} have no names"
        return prompts, f"rows of {path.name} are taken in the order of the images, since {reason}"
    prompt_of = dict[str, str]()
    for name, prompt in zip(others[named], prompts, strict=True):
        if prompt_of.setdefault(name, prompt) != prompt:
            raise ValueError(f"groups={path}: {name} has two prompts")
    if missing := [name for name in images.names or () if name not in prompt_of]:
        raise ValueError(f"groups={path}: it has no row for {missing[0]} of {images.name}")
    return [prompt_of[name] for name in images.names or ()], ""
