"""A verdict of `score --margin` that can expire: --record writes what it stands on, and --verify finds what changed."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.run.cache import Cache
from experiments.run.identity import SCHEMA
from experiments.run.image_features import ImageSet, features_id
from experiments.scoring.compare import OWN_FEATURES
from experiments.scoring.equivalence_checks import EquivalenceCheck, EquivalenceInputs, Metric
from experiments.scoring.groups import GroupsOf, group_names
from experiments.scoring.inputs import Input, open_input
from experiments.user.imports import code_hash
from experiments.user.json_io import read_json, write_json
from experiments.user.pretrained import PYTHON

OPTIONS = "real margin pairs groups features feature_weights crops control metrics".split()  # which --verify repeats
LONG = 40  # characters of a hash that is not shown
PACKAGES = ("sigmabench", "torch", "numpy", "scipy", "pillow")  # that make features and verdicts


def describe_before(before: Input) -> dict[str, Any]:
    """Returns what a verdict stands on before anything is compared: the images before the change, and the code."""
    versions = {package: version(package) for package in PACKAGES}
    return {"images before the change": hash_input(before), "schema": SCHEMA} | versions


def describe_gate(
    sets: EquivalenceInputs, groups: GroupsOf, checks: Sequence[EquivalenceCheck], metrics: Sequence[Metric]
) -> dict[str, Any]:
    """Returns what a verdict stands on besides: pairs, groups, weights of features, limits, code of metrics."""
    members = "" if sets.prompts is None else hash_array(sets.prompts)
    gate = {
        "images": sets.pairing.n, "groups": sets.test.n_units, "pairs": sets.pairing.by, "crops": sets.crops,
        "which images are of one group": members,
    }  # fmt: skip
    if groups is not None:
        gate["names of the groups"] = hash_array(np.array(group_names(sets.images[0], groups)[0], dtype=str))
    for metric in metrics:
        if isinstance(metric, str):
            gate[f"code of {metric}"] = code_hash(metric.removeprefix(PYTHON), PYTHON)
    space = sets.space
    gate[f"features {space.name}"] = "" if space.name == OWN_FEATURES else features_id(space.name, space.weights)
    return gate | {f"limit of {check.check}": check.limit for check in checks}


def hash_input(images: Input) -> str:
    return images.content if isinstance(images, ImageSet) else hash_array(images.features)


def hash_array(array: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def write_record(path: Path, options: Any, sentence: str, basis: Mapping[str, Any]) -> None:
    """Writes what a verdict stands on; `options`: the ScoreOptions of the command."""
    typed = {name: getattr(options, name) for name in OPTIONS} | {"before": options.sets[0]}
    made = {"verdict": sentence, "recorded_at": datetime.now(UTC).isoformat(timespec="seconds")}
    write_json(path, made | {"options": typed, "basis": basis})


def read_record(options: Any) -> tuple[Any, Mapping[str, Any]]:
    """The options of the recorded gate, with what is typed in place of the images after; and what it stands on.

    ValueError if it is no record, or an option is typed that it holds.
    """
    defaults = {field.name: field.default for field in fields(options)}
    record = read_json(options.verify) if options.verify.is_file() else {}
    if not {"options", "basis"} <= record.keys():
        raise ValueError(f"verify={str(options.verify)!r}: score --margin SHARE --record FILE writes such a file")
    typed = [name for name in OPTIONS if name != "real" and getattr(options, name) != defaults[name]]
    if typed or len(options.sets) > 1:
        raise ValueError(f"{typed[0] if typed else 'sets'}: the record has it; type the images after the change only")
    recorded = {name: tuple(value) if isinstance(value, list) else value for name, value in record["options"].items()}
    before = recorded.pop("before")
    recorded["sets"] = (options.real, *options.sets) if options.sets else (before, options.real)  # if before was moved
    recorded["pairs"] = record["basis"]["pairs"]
    return replace(options, **recorded), record["basis"]


def describe_changes(record: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Names what differs from the record, with both values if they are short; "" if nothing does."""
    changed = [name for name in {**record, **now} if record.get(name) != now.get(name)]
    return ", ".join(
        f"{name} changed" if len(str(now.get(name))) > LONG else f"{name} {record.get(name)}, now {now.get(name)}"
        for name in changed
    )


def find_change(before: str, after: str, record: Mapping[str, Any], store: Cache) -> str:
    """Names what differs from the record before distances are computed; "" if nothing does."""
    now = describe_before(open_input(before, store))
    if record["pairs"] == "order":  # which need equally many
        now["images"] = open_input(after, store).n
    return describe_changes({name: record.get(name) for name in now}, now)
