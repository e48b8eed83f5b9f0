"""Explore, choose, confirm: explorers try all settings and choose; other networks, confirmers, test what was chosen.

Explored settings stand in section `explore`, what is tested in section `confirm`. Only the confirmers' rows give
intervals and verdicts, since a choice is too good on the networks that made it (Cox 1975, Biometrika 62, 441). What was
chosen is written, as choices.csv and choices.json, before a confirmer samples.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean
from typing import Any

from experiments.run.comparisons import (
    CONFIRM,
    DEFAULT,
    EXPLORE,
    Choice,
    Choices,
    Comparison,
    Contrast,
    Place,
    Row,
    Side,
    SidesBySection,
)
from experiments.run.setting import Setting
from experiments.run.study import ExploringStudy, Study
from reports.schema import PRIMARY_METRIC

OTHER_NOISE = 2  # draw of the confirmation by a network that is not trained here; explorers have 0


# --- the rule ---


@dataclass(frozen=True)
class Candidate:
    """A candidate at one number of evaluations: its settings, and their sides on the explorers, if they ran.

    `order`: its place in `explore()`. `noisy`: whether it shows more noise than the limit.
    """

    name: str
    role: str
    budget: int | None
    settings: tuple[str, ...]
    sides: tuple[Side, ...]
    order: int
    draw: int
    noisy: bool = False
    is_training: bool = False  # then one explorer is no reason to exclude it: its confirmation decides

    @property
    def score(self) -> float:
        return mean(side.score for side in self.sides) if self.sides else 0.0


def choose(study: ExploringStudy, settings: Sequence[Setting], sides: Mapping[Place, Side]) -> Choices:
    """The rows of choices.csv, and what is chosen by `RULE` for each number of evaluations and role.

    Args:
        settings: the possible ones of `explore()`.
        sides: those that ran on all explorers. Without a default there is no choice at its number of evaluations. A
            candidate that is the only one of its role needs no side; without any sides the first ones are chosen.
    """
    candidates = list_candidates(study, settings, sides)
    chosen = list[Choice]()
    reasons: dict[tuple[str, int | None], list[str]] = {}

    def take(candidate: Candidate, budget: int | None, role: str, reason: str) -> None:
        score = candidate.score if candidate.sides else None
        chosen.append(Choice(budget, role, candidate.name, candidate.budget, candidate.settings, score))
        reasons.setdefault((candidate.name, candidate.budget), []).append(reason)

    budgets = dict.fromkeys(setting.budget for setting in settings)
    for budget in budgets:
        default = next(candidate for candidate in candidates if candidate.budget == budget)
        alone = _alone(candidates)
        if sides and not default.sides and not all(c in alone or c is default for c in candidates):
            continue
        take(default, budget, DEFAULT, DEFAULT)
        for role in dict.fromkeys(candidate.role for candidate in candidates if candidate.role != DEFAULT):
            allowed = [c for c in candidates if c.role == role and _is_allowed(study, c, budget)]
            pool = [c for c in allowed if c.sides or c in alone or not sides]
            limit = f" within {budget} evaluations" if study.within else ""
            if picked := pick(pool):
                take(picked[0], budget, role, picked[1] + limit)
    return Choices([*_rows(study, candidates, reasons)], chosen)


def pick(pool: Sequence[Candidate]) -> tuple[Candidate, str] | None:
    """The lowest whose visible noise is within the limit, with the reason in words; None without any.

    Trainings are never barred: an explorer is one network, and the confirmation decides.
    """
    ranked = sorted(pool, key=lambda candidate: (candidate.score, candidate.order))
    quiet = [candidate for candidate in ranked if candidate.is_training or not candidate.noisy]
    if not quiet:
        return None
    words = "lowest" if ranked[0] is quiet[0] else "lowest within the limit of visible noise"
    return quiet[0], "the only one" if len(pool) == 1 else words


def list_candidates(study: ExploringStudy, settings: Sequence[Setting], sides: Mapping[Place, Side]) -> list[Candidate]:
    """Groups the settings into candidates, in the order of `explore()`.

    The first at each number of evaluations gets the role of the default, unless fewer evaluations compete too
    (`study.within`). A candidate has sides only if all its settings ran on all explorers.
    """
    by_name: dict[tuple[str, int | None], list[Setting]] = {}
    for setting in settings:
        by_name.setdefault((study.candidate_of(setting), setting.budget), []).append(setting)
    candidates = list[Candidate]()
    for order, ((name, budget), members) in enumerate(by_name.items()):
        ran = tuple(side for setting in members if (side := sides.get((setting.label, budget))) and side.whole)
        ran = ran if len(ran) == len(members) else ()
        labels = tuple(setting.label for setting in members)
        noisy = _is_noisy(ran)
        is_default = not study.within and all(candidate.budget != budget for candidate in candidates)
        role = DEFAULT if is_default else study.role_of(members[0])
        of_setting = (members[0].draw, noisy, bool(members[0].training))
        candidates.append(Candidate(name, role, budget, labels, ran, order, *of_setting))
    return candidates


def settings_to_explore(study: ExploringStudy, settings: Sequence[Setting]) -> list[Setting]:
    """The settings without those that are chosen whatever they score, since nothing else is of their role.

    If explorers compare too, as in a grid, all of them.
    """
    if type(study).compare_explored is not ExploringStudy.compare_explored:
        return [*settings]
    candidates = list_candidates(study, settings, {})
    alone = [] if study.within else _alone(candidates)
    defaults = [*{candidate.budget: candidate for candidate in reversed(candidates)}.values()]
    needed = {c.budget for c in candidates if c not in alone and c not in defaults}
    places = {place for c in candidates if c.budget in needed and c not in alone for place in _places(c)}
    return [setting for setting in settings if (setting.label, setting.budget) in places]


def _places(candidate: Candidate) -> list[Place]:
    return [(label, candidate.budget) for label in candidate.settings]


def _alone(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates, besides the default, that are the only ones of their role and number of evaluations."""
    defaults = {candidate.budget: candidate for candidate in reversed(candidates)}
    roles: dict[tuple[int | None, str], list[Candidate]] = {}
    for candidate in candidates:
        if candidate is not defaults[candidate.budget]:
            roles.setdefault((candidate.budget, candidate.role), []).append(candidate)
    return [members[0] for members in roles.values() if len(members) == 1]


def _is_allowed(study: ExploringStudy, candidate: Candidate, budget: int | None) -> bool:
    if study.within and budget is not None:
        return candidate.budget is not None and candidate.budget <= budget
    return candidate.budget == budget


def _is_noisy(sides: Sequence[Side]) -> bool:
    from experiments.distances.intervals import too_noisy  # it needs numpy

    shares = [share for side in sides for share in side.visible_noise]
    return bool(shares) and too_noisy(shares, tested=False)


def _rows(
    study: ExploringStudy, candidates: Sequence[Candidate], reasons: Mapping[tuple[str, int | None], Sequence[str]]
) -> Iterator[Row]:
    """Rows of choices.csv, the lowest of each role first."""
    by_role: dict[tuple[int | None, str], list[Candidate]] = {}
    for candidate in candidates:
        by_role.setdefault((candidate.budget, candidate.role), []).append(candidate)
    for (budget, role), members in by_role.items():
        ranked = sorted(members, key=lambda candidate: (not candidate.sides, candidate.score, candidate.order))
        for rank, candidate in enumerate(ranked, 1):
            why = reasons.get((candidate.name, budget), ())
            if not candidate.sides and not why:  # it failed, or the time was up
                continue
            row: Row = {"section": EXPLORE, "budget": budget, "kind": role, "setting": candidate.name}
            row |= {"chosen": bool(why), "reason": "; ".join(why), "barred": candidate.noisy}
            yield row | (_measured(candidate) | {"rank": rank} if candidate.sides else {})


def _measured(candidate: Candidate) -> Row:
    """Returns the columns of choices.csv on the explorers' samples."""
    rows = [row for side in candidate.sides for row in side.rows.values()]
    seeds = dict.fromkeys(str(row["train_seed"]) for row in rows)
    noise = [row["visible_noise"] for row in rows if row.get("visible_noise") is not None]
    first = rows[0]
    return {
        "nfe": first["nfe"], PRIMARY_METRIC: candidate.score, "visible_noise": mean(noise) if noise else None,
        "networks": len(seeds), "n": first["n_samples"], "seeds": " ".join(seeds), "draw": candidate.draw,
    } | {name: first.get(name) for name in ("data", "network", "features", "images_seen")}  # fmt: skip


# --- what is run ---


def explored(study: ExploringStudy) -> list[Setting]:
    """The settings of `explore()` as explorers try them."""
    size: dict[str, Any] = {"section": EXPLORE, "n": study.explore_samples}
    return [replace(setting, **size) for setting in study.explore()]


def confirmed(study: ExploringStudy, chosen: Sequence[Choice]) -> list[Setting]:
    """Lists the settings of confirmers, each once. ValueError if `study` has no such setting."""
    size: dict[str, Any] = {"section": CONFIRM, "n": study.confirm_samples or study.n_samples}
    places = dict.fromkeys(place for duel in study.duels(chosen) for place in (duel.b, duel.a))
    settings = list[Setting]()
    for label, budget in places:
        setting = study.find((label, budget))
        if setting is None:
            raise ValueError(f"choices: {label!r} was chosen, but it is not among the settings of this study")
        settings.append(replace(setting, **size, draw=setting.draw + (0 if study.trains else OTHER_NOISE)))
    return settings


def compare_all(study: Study, chosen: Sequence[Choice], of: SidesBySection) -> Iterator[Comparison]:
    """Yields the study's own comparisons, those of explorers, and those of confirmers.

    `Study.compare` gets no section of explorers or confirmers.
    """
    yield from study.compare({key: sides for key, sides in of.items() if key[0] not in (EXPLORE, CONFIRM)})
    if isinstance(study, ExploringStudy):
        yield from study.compare_explored(of)
    for duel in study.duels(chosen) if chosen else ():  # type: ignore[attr-defined]  # then it explores
        a, b = (of.get((CONFIRM, budget), {}).get(label) for label, budget in (duel.a, duel.b))
        if a and b:
            yield Contrast(duel.kind, a, b, duel.budget, duel.role)
