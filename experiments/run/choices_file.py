"""choices.json: what explorers chose, on what, and by which rule; written, and read by a later run."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffusion_core.data.load import resolve
from experiments.run.comparisons import DEFAULT, RULE, Choice, Choices, Row
from experiments.run.machine import code_version
from experiments.run.study import ExploringStudy, check_seeds
from experiments.user.json_io import read_json, write_json

if TYPE_CHECKING:
    from experiments.run.tables import RunResults

FILE = "choices.json"


def write_choices(folder: Path, study: ExploringStudy, results: "RunResults", choices: Choices) -> str:
    """Writes choices.json, unless it says the same of the same scores. Returns a note if another choice stood there."""
    chosen = choices.chosen
    ran = [row for row in results.rows.values() if row["status"] == "ok"]
    scores = sorted(row["run_id"] for row in ran)
    path = folder / FILE
    note = ""
    if path.is_file():
        earlier = read_json(path)
        if earlier.get("scores") == scores and read_chosen(earlier) == [*chosen]:
            return ""
        path.replace(folder / "choices-1.json")
        note = f"chosen anew, since other scores or another rule are there; before: {folder / 'choices-1.json'}"
    first: Row = ran[0] if ran else {}
    content: Row = {"experiment": study.page, "rule": RULE} | {
        name: first.get(name) for name in ("data", "network", "images_seen", "features", "n_samples")
    }
    content |= {"recipe": study.recipe if study.trains else None}
    content |= {"seeds": [*study.explorers], "scores": scores} | code_version()
    content |= {
        "chosen": [_rename(asdict(choice), "role", "kind") for choice in chosen],
        "rows": [row for row in choices.rows if row["chosen"] or row.get("rank") == 1],
    }
    content |= {"n_compared": len({(duel.a, duel.b) for duel in study.duels(chosen)})}
    if points := getattr(study, "points", None):
        content["points"] = [asdict(points[name]) for choice in chosen for name in choice.settings]
    write_json(path, content)
    return note


def read_chosen(content: Mapping[str, Any]) -> list[Choice]:
    written = (_rename(choice, "kind", "role") for choice in content.get("chosen", ()))
    return [Choice(**choice | {"settings": tuple(choice["settings"])}) for choice in written]


def _rename(row: Mapping[str, Any], name: str, new: str) -> Row:
    return {new if key == name else key: value for key, value in row.items()}


def read_choices(path: Path, study: ExploringStudy, network: str, features: str) -> Choices:
    """Reads the chosen settings of a choices.json, with their rows.

    `network`, `features`: as rows name the study's. ValueError for a file of something else, or a choice that does not
    suit the study.
    """
    name = f"choices={str(path)!r}"
    content = read_json(path) if path.is_file() else {}
    if "rule" not in content or "chosen" not in content:
        raise ValueError(f"{name}: it must be a choices.json of an earlier run")
    _check_origin(name, content, study, network, features)
    every = read_chosen(content)
    _check_marked(name, content, every)
    budgets: Collection[int | None] = getattr(study, "budgets", None) or [choice.budget for choice in every]
    known = dict.fromkeys(choice.budget for choice in every)
    if lacking := [budget for budget in budgets if budget not in known]:
        raise ValueError(f"{name}: no setting for budgets={lacking[0]}; it has {', '.join(map(str, known))}")
    chosen = [choice for choice in every if choice.budget in budgets]
    roles = {choice.role for choice in chosen}
    if lacking_roles := [role for role in study.roles if role not in roles]:
        raise ValueError(f"{name}: it has no kinds {' and '.join(lacking_roles)}; a run of {study.page} writes it")
    for choice in chosen if study.roles else ():
        for place in choice.places:
            setting = study.find(place)
            if setting and choice.role != DEFAULT and study.role_of(setting) != choice.role:
                raise ValueError(f"{name}: {place[0]!r} is not {choice.role}")
    notes = [f"chosen beforehand, on other {'networks' if study.trains else 'noise'}: {path.name}"]
    if study.trains and content["images_seen"] != study.train_images:
        notes.append(f"chosen on networks of {content['images_seen']:,} training images, not {study.train_images:,}")
    caveats = [] if content["rule"] == RULE else [f"Chosen by another rule than today's: {content['rule']}."]
    return Choices(content["rows"], chosen, notes, caveats)


def _check_marked(name: str, content: Mapping[str, Any], chosen: Sequence[Choice]) -> None:
    """Raises ValueError if a choice contradicts the rows of its own file."""
    marked = {(row["setting"], row["budget"]) for row in content["rows"] if row["chosen"]}
    for choice in chosen:
        if (choice.candidate, choice.explored_at) not in marked:
            rule = "is not marked as chosen in its rows; use it as a run wrote it"
            raise ValueError(f"{name}: {choice.candidate!r} {rule}")


def _check_origin(name: str, content: Mapping[str, Any], study: ExploringStudy, network: str, features: str) -> None:
    data = resolve(study.data)
    if content["network"] != network:
        raise ValueError(f"{name}: its network is {content['network']!r}, but this run samples from {network!r}")
    if content["data"].rpartition("@")[2] != data.rpartition("@")[2]:  # a user's fingerprint
        raise ValueError(f"{name}: its data are {content['data']!r}, but this run has {data!r}")
    own: Row = {"experiment": study.page, "features": features}
    own |= {"recipe": study.recipe} if study.trains else {}
    for what, value in own.items():
        if content[what] != value:
            raise ValueError(f"{name}: its {what} is {content[what]}, but this run has {value}")
    if hasattr(study, "points") and "points" not in content:
        raise ValueError(f"{name}: it is of an earlier version, whose names lack the last level; explore anew")
    if not study.trains:
        return
    if not content["seeds"]:
        raise ValueError(f"{name}: it does not say which networks chose")
    check_seeds(study.confirmers, content["seeds"])
