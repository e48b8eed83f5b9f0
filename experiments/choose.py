"""From a table of explored settings to those to confirm: explorers try all, `choose` picks, other networks confirm.

Explored settings stand in section `explore`, what is tested in section `confirm`. Only the confirmers' rows give
intervals and verdicts, since a choice is too good on the networks that made it (Cox 1975, Biometrika 62, 441). What was
chosen is written, as choices.csv and choices.json, before a confirmer samples.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from diffusion_core.data.load import resolve
from experiments.run.machine import code_version
from experiments.run.study import ExploringStudy, check_seeds
from experiments.settings import Setting
from experiments.user.json_io import read_json, write_json
from reports.schema import CONFIRM, DEFAULT, EXPLORE, PRIMARY_METRIC, VISIBLE, Row

RULE = f"the lowest mean MMD over explorers among the settings whose visible noise is at most {VISIBLE}"
FILE = "choices.json"
MEASURED = ("nfe", PRIMARY_METRIC, "visible_noise", "networks", "n", "images_seen")
CANDIDATE = ("budget", "kind", "setting", "settings", "is_training", *MEASURED)
CHOSEN = ("within", "kind", "setting", "budget", "settings", PRIMARY_METRIC, "reason")


class Exploration(NamedTuple):
    """What was chosen (columns CHOSEN) and the rows of choices.csv; of an earlier run with notes and caveats."""

    chosen: pd.DataFrame = pd.DataFrame(columns=CHOSEN)
    rows: Sequence[Row] = ()
    notes: Sequence[str] = ()
    caveats: Sequence[str] = ()


# --- the rule ---


def choose(candidates: pd.DataFrame, *, within: bool = False) -> pd.DataFrame:
    """What is chosen, by `RULE`, for each number of evaluations and kind: first the default, then one per kind.

    Args:
        candidates: as `list_candidates` gives them. If some were measured, one that failed does not compete, and
            without a default nothing is chosen at its number of evaluations. The only one of its kind needs no score.
        within: whether fewer evaluations than allowed compete too.
    """
    measured = candidates[PRIMARY_METRIC].notna()
    alone = _alone(candidates)
    usable = measured | alone | (not measured.any())
    kinds = candidates.loc[candidates["kind"] != DEFAULT, "kind"].unique()
    chosen = list[dict[str, Any]]()
    for budget in candidates["budget"].unique():
        default = candidates[candidates["budget"] == budget].iloc[0]
        if not usable[default.name] and not (alone | (candidates.index == default.name)).all():
            continue
        chosen.append({**default, "within": budget, "kind": DEFAULT, "reason": DEFAULT})
        allowed = candidates["budget"].le(budget) if within else candidates["budget"].eq(budget)
        for kind in kinds:
            pool = candidates[candidates["kind"].eq(kind) & allowed & usable].sort_values(PRIMARY_METRIC, kind="stable")
            quiet = pool[~pool["barred"] | pool["is_training"]]  # of trainings the confirmation decides
            if quiet.empty:
                continue
            words = "lowest" if quiet.index[0] == pool.index[0] else "lowest within the limit of visible noise"
            words = "the only one" if len(pool) == 1 else words
            words += f" within {budget} evaluations" if within else ""
            chosen.append({**quiet.iloc[0], "within": budget, "kind": kind, "reason": words})
    return pd.DataFrame(chosen, columns=CHOSEN)


def choose_dearest(study: ExploringStudy, settings: Sequence[Setting]) -> pd.DataFrame:
    """The choice of possible settings that costs most to confirm: the bound of a plan before anything is explored."""
    cost = {(s.budget or 0, s.label): s.sampler.planned_nfe(s.schedule.sigmas()) + s.final_denoise for s in settings}
    candidates = list_candidates(study, settings)
    places = zip(candidates["budget"], candidates["settings"], strict=True)
    dearest_first = [-sum(cost[budget, label] for label in labels) for budget, labels in places]
    return choose(candidates.assign(barred=False, **{PRIMARY_METRIC: dearest_first}))


def list_candidates(
    study: ExploringStudy, settings: Sequence[Setting], table: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Groups explored settings into candidates, a row for each, in the order of `explore()`.

    The first at each number of evaluations is the default, unless fewer evaluations compete too (`study.within`). One
    is measured only if all its settings ran on all explorers, whose runs are the rows of `table`.
    """
    runs: dict[Any, pd.DataFrame] = {}
    if table is not None:
        keyed = table.assign(budget=table["budget"].fillna(0))
        runs = dict(iter(keyed.groupby(["budget", "setting"], sort=False)))
    members: dict[tuple[int, str], list[Setting]] = {}
    for setting in settings:
        members.setdefault((setting.budget or 0, study.candidate_of(setting)), []).append(setting)
    rows = list[Row]()
    for (budget, name), group in members.items():
        is_default = not study.within and all(row["budget"] != budget for row in rows)
        first = group[0]
        row: Row = {"budget": budget, "kind": DEFAULT if is_default else study.kind_of(first), "setting": name}
        row |= {"settings": tuple(setting.label for setting in group), "is_training": bool(first.training)}
        rows.append(row | _measure([runs.get((budget, setting.label)) for setting in group]))
    frame = pd.DataFrame(rows, columns=CANDIDATE)
    return frame.astype({PRIMARY_METRIC: "float64"}).assign(barred=frame["visible_noise"].astype("float64") > VISIBLE)


def _measure(runs: Sequence[pd.DataFrame | None]) -> Row:
    """The columns of choices.csv on the explorers' samples; {} if some did not run."""
    of_settings = [rows for rows in runs if rows is not None and rows["status"].eq("ok").all()]
    if len(of_settings) < len(runs):
        return {}
    rows = pd.concat(of_settings)
    first = rows.iloc[0]
    score = sum(float(of_setting[PRIMARY_METRIC].mean()) for of_setting in of_settings) / len(of_settings)
    noise = rows.reindex(columns=["visible_noise"])["visible_noise"].astype("float64").mean()
    return {
        "nfe": first["nfe"], PRIMARY_METRIC: score, "visible_noise": noise, "networks": rows["train_seed"].nunique(),
        "n": first["n_samples"], "images_seen": first.get("images_seen"),
    }  # fmt: skip


def _alone(candidates: pd.DataFrame) -> pd.Series:
    """Which candidates, besides the default, are the only ones of their kind and number of evaluations."""
    others = candidates[candidates["budget"].duplicated()]
    sizes = others.groupby(["budget", "kind"])["setting"].transform("size")
    return (sizes == 1).reindex(candidates.index, fill_value=False)


def settings_to_explore(study: ExploringStudy, settings: Sequence[Setting]) -> list[Setting]:
    """The settings without those that are chosen whatever they score. All of them if explorers compare too (a grid)."""
    if study.explored_in != EXPLORE:
        return [*settings]
    candidates = list_candidates(study, settings)
    alone = _alone(candidates) & (not study.within)
    needed = candidates.loc[~alone & candidates["budget"].duplicated(), "budget"].unique()
    tried = candidates[candidates["budget"].isin(needed) & ~alone]
    places = {
        (budget, label) for budget, labels in zip(tried["budget"], tried["settings"], strict=True) for label in labels
    }
    return [setting for setting in settings if (setting.budget or 0, setting.label) in places]


def choice_rows(candidates: pd.DataFrame, chosen: pd.DataFrame) -> list[Row]:
    """The rows of choices.csv, the lowest of each kind first; without what failed."""
    reasons = chosen.groupby(["budget", "setting"])["reason"].agg("; ".join).to_dict()
    rows = list[Row]()
    for _, group in candidates.groupby(["budget", "kind"], sort=False):
        for rank, (_, row) in enumerate(group.sort_values(PRIMARY_METRIC, kind="stable").iterrows(), 1):
            reason = reasons.get((row["budget"], row["setting"]), "")
            measured = pd.notna(row[PRIMARY_METRIC])
            if measured or reason:
                made = {
                    "section": EXPLORE,
                    "chosen": bool(reason),
                    "reason": reason,
                    "rank": rank if measured else None,
                }
                rows.append(_plain({**row, **made, "budget": row["budget"] or None}))
    return rows


def _plain(row: Row) -> Row:
    """A row as JSON and CSV have it: missing values are None, numbers those of Python."""
    plain = {name: value.item() if hasattr(value, "item") else value for name, value in row.items()}
    return {name: None if isinstance(value, float) and pd.isna(value) else value for name, value in plain.items()}


# --- what is run ---


def explored(study: ExploringStudy) -> list[Setting]:
    """The settings of `explore()` as explorers try them."""
    return [replace(setting, section=study.explored_in) for setting in study.explore()]


def confirmed(study: ExploringStudy, chosen: pd.DataFrame) -> list[Setting]:
    """The settings of confirmers, each once. ValueError if `study` has no such setting."""
    keys = dict.fromkeys(key for pair in study.confirm_pairs(chosen) for side in pair.sides[::-1] for key in side)
    settings = list[Setting]()
    for _, budget, label in keys:
        setting = study.find((label, budget or None))
        if setting is None:
            raise ValueError(f"choices: {label!r} was chosen, but it is not among the settings of this study")
        settings.append(replace(setting, section=CONFIRM))
    return settings


# --- choices.json ---


def write_choices(folder: Path, study: ExploringStudy, table: pd.DataFrame, made: Exploration) -> str:
    """Writes choices.json, unless it says the same of the same scores. Returns a note if another choice stood there.

    `table`: the runs of explorers.
    """
    ran = table[table["status"] == "ok"]
    scores = sorted(ran["run_id"])
    path = folder / FILE
    note = ""
    if path.is_file():
        earlier = read_json(path)
        if earlier.get("scores") == scores and earlier.get("chosen") == _chosen_as_json(made.chosen):
            return ""
        path.replace(folder / "choices-1.json")
        note = f"chosen anew, since other scores or another rule are there; before: {folder / 'choices-1.json'}"
    first = _plain(dict(ran.iloc[0])) if len(ran) else {}
    content: Row = {"experiment": study.page, "rule": RULE} | {
        name: first.get(name) for name in ("data", "network", "images_seen", "features", "n_samples")
    }
    content |= {"recipe": study.recipe if study.trains else None}
    content |= {"seeds": [*study.explorers], "scores": scores} | code_version()
    content |= {"chosen": _chosen_as_json(made.chosen)}
    kept = ("section", "budget", "kind", "rank", "setting", "chosen", "reason", "barred", *MEASURED)
    content["rows"] = [
        {name: row.get(name) for name in kept} for row in made.rows if row["chosen"] or row.get("rank") == 1
    ]
    write_json(path, content)
    return note


def _chosen_as_json(chosen: pd.DataFrame) -> list[Row]:
    return [
        _plain({
            "budget": int(row.within) or None, "kind": row.kind, "candidate": row.setting,
            "explored_at": int(row.budget) or None, "settings": [*row.settings], "score": row.mmd,
        })
        for row in chosen.itertuples()
    ]  # fmt: skip


def read_chosen(content: Row) -> pd.DataFrame:
    """What a choices.json says was chosen."""
    rows = [
        {
            "within": row["budget"] or 0, "kind": row["kind"], "setting": row["candidate"],
            "budget": row["explored_at"] or 0, "settings": tuple(row["settings"]), PRIMARY_METRIC: row.get("score"),
        }
        for row in content["chosen"]
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=CHOSEN).astype({PRIMARY_METRIC: "float64"})


def read_choices(path: Path, study: ExploringStudy, network: str, features: str) -> Exploration:
    """Reads what an earlier run chose. `network`, `features`: as rows name the study's.

    ValueError for a file of something else, or a choice that does not suit the study.
    """
    name = f"choices={str(path)!r}"
    content = read_json(path) if path.is_file() else {}
    if "rule" not in content or "chosen" not in content:
        raise ValueError(f"{name}: it must be a choices.json of an earlier run")
    _check_origin(name, content, study, network, features)
    every = read_chosen(content)
    _check_marked(name, content, every)
    known = [*every["within"].unique()]
    budgets = getattr(study, "budgets", None) or known
    if lacking := [budget for budget in budgets if budget not in known]:
        raise ValueError(f"{name}: no setting for budgets={lacking[0]}; it has {', '.join(map(str, known))}")
    chosen = every[every["within"].isin(budgets)].reset_index(drop=True)
    if lacking_kinds := [kind for kind in study.kinds if kind not in {*chosen["kind"]}]:
        raise ValueError(f"{name}: it has no kinds {' and '.join(lacking_kinds)}; a run of {study.page} writes it")
    for row in chosen[chosen["kind"] != DEFAULT].itertuples() if study.kinds else ():
        for label in row.settings:
            setting = study.find((label, row.budget or None))
            if setting and study.kind_of(setting) != row.kind:
                raise ValueError(f"{name}: {label!r} is not {row.kind}")
    notes = [f"chosen beforehand, on other {'networks' if study.trains else 'noise'}: {path.name}"]
    if study.trains and content["images_seen"] != study.train_images:
        notes.append(f"chosen on networks of {content['images_seen']:,} training images, not {study.train_images:,}")
    caveats = [] if content["rule"] == RULE else [f"Chosen by another rule than today's: {content['rule']}."]
    return Exploration(chosen, content["rows"], notes, caveats)


def _check_marked(name: str, content: Row, chosen: pd.DataFrame) -> None:
    """Raises ValueError if a choice contradicts the rows of its own file."""
    marked = {(row["setting"], row["budget"] or 0) for row in content["rows"] if row["chosen"]}
    for row in chosen.itertuples():
        if (row.setting, row.budget) not in marked:
            rule = "is not marked as chosen in its rows; use it as a run wrote it"
            raise ValueError(f"{name}: {row.setting!r} {rule}")


def _check_origin(name: str, content: Row, study: ExploringStudy, network: str, features: str) -> None:
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
    if not study.trains:
        return
    if not content["seeds"]:
        raise ValueError(f"{name}: it does not say which networks chose")
    check_seeds(study.confirmers, content["seeds"])
