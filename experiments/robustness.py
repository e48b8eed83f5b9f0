"""`python -m experiments robustness DIR ...`: which fixed choice turns the answer? Of results that are there.

Results that differ in one fixed choice, all else equal, answer the same question at several values of it. A verdict
"better" beside "no difference detected" is no change (Gelman and Stern 2006, Am. Stat. 60, 328): the change is tested.
"""

import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from experiments.candidates import Candidates
from experiments.console import Terminal
from experiments.run.options import Folder
from reports.schema import (
    ANY_NOISE,
    ASKED,
    CHALLENGER,
    CONFIRM,
    CONTROL,
    CONTROL_FAILED,
    DEPENDS,
    HOLDS,
    NO_VERDICT,
    PRIMARY,
    PRIMARY_METRIC,
    TURNS,
    UNDECIDED,
)

if TYPE_CHECKING:
    import pandas as pd

    from experiments.distances.intervals import Estimate
    from reports.results import LoadedResult

HELP = """Which fixed choice turns the answer? Compares results that are there and differ in one choice.

A line has a question (fresh noise on the fixed schedule; best against best within a number of evaluations; the chosen
against the default), a factor (data, features, network, recipe, training images, last level) and its values. The
answer holds if it is significant and of one sign at every value, turns if it is significant with opposite signs at two;
its size depends on the factor if the change between two values is significant. Fewer than five networks get no word."""
KINDS = {
    PRIMARY: "fresh noise, {fixed}",
    CONFIRM: "{what} within {budget:.0f}",
    ANY_NOISE: "{what} within {budget:.0f}, any visible noise",
}
FACTORS = ("data", "features", "network", "recipe", "training images", "last level", "settings")
LIST = ("schedules", "samplers", "etas", "last_levels", "sigma_max")  # options that say which settings compete
Row = dict[str, Any]


@dataclass(frozen=True)
class RobustnessOptions:
    results: tyro.conf.Positional[tuple[Path, ...]]
    """Result folders, such as runs/*."""
    out: Folder = Path("runs/robustness")
    """Folder for the report."""


@dataclass(frozen=True)
class Answer:
    """The answer of one result to one question: its row of contrasts.csv, and both scores of each network."""

    result: str
    question: str
    fixed: dict[str, str]
    row: "pd.Series"
    scores: dict[str, tuple[float, float]]  # by training seed, of a and b

    @property
    def key(self) -> tuple[object, ...]:
        return self.question, *self.fixed.values(), *self.scores.items()

    @property
    def place(self) -> tuple[int, float]:
        """Of its question on a page: the fixed schedule first, then by evaluations."""
        budget = self.row["budget"]
        return [*KINDS].index(self.row["kind"]), 0.0 if math.isnan(budget) else float(budget)

    @property
    def sign(self) -> int:
        """Of an effect whose own interval excludes 0; otherwise 0."""
        return (self.row["low"] > 0) - (self.row["high"] < 0)

    def effects(self, ratio: bool) -> dict[str, float] | None:
        """By training seed a - b, or ln(a / b); None if that needs a distance that is not above 0."""
        if not ratio:
            return {seed: a - b for seed, (a, b) in self.scores.items()}
        if min(min(pair) for pair in self.scores.values()) <= 0:
            return None
        return {seed: math.log(a / b) for seed, (a, b) in self.scores.items()}


def command(arguments: Sequence[str], prog: str) -> int:
    """Writes the table of what the answers depend on, and prints it. ValueError unless two results can be read."""
    from experiments.run import result_folder

    began = time.time()
    options = tyro.cli(RobustnessOptions, prog=prog, description=HELP, args=list(arguments))
    folders = dict.fromkeys(path for path in options.results if path.resolve() != options.out.resolve())
    if len(folders) < 2:
        raise ValueError(f"results: {len(folders)} of them; two or more are compared")
    notes, silent = list[str](), list[str]()
    answers = list[Answer]()
    for path in folders:
        try:
            found = [*read_answers(path.name, result_folder.read_result(path), notes)]
        except (FileNotFoundError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from None
        silent += [] if found else [path.name]
        known = {answer.key for answer in answers}
        new = [answer for answer in found if answer.key not in known]
        notes += [f"counted once, the same as another result: {path.name}"] if len(new) < len(found) else []
        answers += new
    notes += [f"without an answer to one of the questions: {', '.join(silent)}"] if silent else []
    rows = tabulate(answers, notes)
    info: Row = {"experiment": "robustness", "question": "Which fixed choice turns the answer?", "notes": notes}
    info["not_varied"] = [name for name in FACTORS if len({answer.fixed[name] for answer in answers}) == 1]
    with result_folder.lock_folder(options.out):
        page = result_folder.write_finished(options.out, info, {"holds.csv": rows}, time.time() - began)
    result_folder.print_page(page, options.out / "report.html", f"{options.out}/report.html", False, Terminal())
    if not sys.stdout.isatty():
        print(json.dumps({"lines": len({row["line"] for row in rows}), "verdict": page.headline}))
    return 0


def read_answers(name: str, result: "LoadedResult", notes: list[str]) -> Iterator[Answer]:
    """The answers of a result whose interval is over networks in general. Notes say why others are left out."""
    rows = result.over_networks()
    asked = rows[rows["kind"].isin([*KINDS]) & (rows["budget"].notna() | rows["kind"].eq(PRIMARY))]
    asked = asked.drop_duplicates(["kind", "budget", "choice"])  # of a question the first may be advised
    if asked.empty or result.info["experiment"] not in ASKED:
        return
    if (rows["verdict"].eq(CONTROL_FAILED) & rows["kind"].eq(CONTROL)).any():
        notes.append(f"left out, since its A/A test failed: {name}")
        return
    for _, row in asked.iterrows():
        fixed = read_fixed(result, row)
        single = result.match(row)
        single = single[single["train_seed"] != ""]
        what = "the chosen against the default" if row["choice"] == CHALLENGER else "best against best"
        question = KINDS[row["kind"]].format(fixed=f"{row['nfe_a']:.0f} evaluations", what=what, budget=row["budget"])
        question += " (older list)" if result.limit is None and row["kind"] != PRIMARY else ""
        if row["verdict"] == NO_VERDICT or row["holds_for"] > 0 or len(single) < 2:
            notes.append(f"without a word, {row['no_verdict'] or 'fewer than five networks'}: {name}, {question}")
            continue
        scores = zip(single["value_a"], single["value_b"], strict=True)
        yield Answer(name, question, fixed, row, dict(zip(single["train_seed"], scores, strict=True)))


def read_fixed(result: "LoadedResult", row: "pd.Series") -> dict[str, str]:
    """The fixed choices of a result, by factor, for the question of a contrast.

    The last level is that of the fixed schedule, or of the default; of the best against the best it competes. The
    settings: that schedule, or the list.
    """
    runs = result.runs
    options = result.info.get("options", {})
    primary = runs[runs["section"] == PRIMARY]
    first = (primary if len(primary) else runs).iloc[0]
    settings = (
        first["schedule"]
        if row["kind"] == PRIMARY
        else "older list"
        if result.limit is None
        else describe_list(options)
    )
    competes = row["kind"] != PRIMARY and row["choice"] != CHALLENGER and result.limit is not None
    seen = runs["images_seen"].fillna(0).max()
    values = [
        first["data"].partition("@")[0], result.features, first["network"], options.get("recipe", ""), f"{seen:,.0f}",
        "competes" if competes else f"{first['sigma_min']:g}", settings,
    ]  # fmt: skip
    return dict(zip(FACTORS, map(str, values), strict=True))


def describe_list(options: dict[str, Any]) -> str:
    """Which settings competed: "the list", or what its options changed."""
    usual, typed = ({name: json.dumps(of[name]) for name in LIST if name in of} for of in (vars(Candidates), options))
    return "; ".join(f"{name} {text}" for name, text in typed.items() if text != usual[name]) or "the list"


def tabulate(answers: Sequence[Answer], notes: list[str]) -> list[Row]:
    """Rows of holds.csv: for each question, factor and stratum one per value. Turns and changes are one Holm family."""
    from experiments.distances.intervals import CONFIDENCE, holm

    lines: dict[tuple[str, str, str], list[Answer]] = {}
    for answer in answers:
        for factor in FACTORS:
            others = ", ".join(f"{name} {value}" for name, value in answer.fixed.items() if name != factor)
            lines.setdefault((answer.question, factor, others), []).append(answer)
    lines = {key: of_line for key, of_line in lines.items() if len({a.fixed[key[1]] for a in of_line}) > 1}
    in_order = sorted(lines.items(), key=lambda line: (line[1][0].place, FACTORS.index(line[0][1])))
    lines = {key: sort_by_value(key[1], of_line) for key, of_line in in_order}
    inside = {answer.result for of_line in lines.values() for answer in of_line}
    apart = dict.fromkeys(answer.result for answer in answers if answer.result not in inside)
    notes += [f"different from all others in two choices or more: {', '.join(apart)}"] if apart else []
    notes += describe_clusters(answers)
    changes = {key: list_changes(key[1], of_line) for key, of_line in lines.items()}
    p_values = [p for tests in changes.values() for _, _, estimate, turn in tests for p in (estimate.p_value, turn)]
    corrected = iter(holm(p_values))
    rows = list[Row]()
    for index, ((question, factor, others), of_line) in enumerate(lines.items(), 1):
        tests = [(*test, next(corrected), next(corrected)) for test in changes[question, factor, others]]
        values = [answer.fixed[factor] for answer in of_line]
        names = {
            a.result: at if values.count(at) == 1 else f"{at} ({a.result})"
            for a, at in zip(of_line, values, strict=True)
        }
        signs = {answer.sign for answer in of_line}
        word = HOLDS if signs in ({1}, {-1}) else UNDECIDED
        word = TURNS if any(turn <= 1 - CONFIDENCE for *_, turn in tests) else word
        line: Row = {"line": str(index), "question": question, "choice": factor, "with": others, "effect": word}
        if tests:
            before, after, estimate, _, p_value, _ = min(tests, key=lambda test: test[4])
            line |= {"change": estimate.difference, "change_low": estimate.low, "change_high": estimate.high}
            line |= {
                "change_p": p_value,
                "size": DEPENDS if p_value <= 1 - CONFIDENCE else "",
                "change_how": estimate.interval,
            }
            line["detectable"] = estimate.corrected("", p_value, len(p_values)).detectable
            line["change_how"] += f", {names[after.result]} minus {names[before.result]}"
            line["unit"] = "ln ratio" if factor == "features" else PRIMARY_METRIC
        for answer in of_line:
            columns = ("a", "b", "difference", "low", "high", "p_value", "n_networks", "verdict")
            row = {name: answer.row[name] for name in columns} | line | {"at": names[answer.result]}
            row |= {"n_lower": sum(a < b for a, b in answer.scores.values()), "seeds": " ".join(answer.scores)}
            rows.append(row | {"result": answer.result})
    return rows


def sort_by_value(factor: str, answers: Sequence[Answer]) -> list[Answer]:
    """By value, in the order of numbers where they are numbers."""

    def order(answer: Answer) -> tuple[float, str]:
        value = answer.fixed[factor].replace(",", "")
        return float(value) if value.replace(".", "").isdigit() else 0.0, value

    return sorted(answers, key=order)


def describe_clusters(answers: Sequence[Answer]) -> Iterator[str]:
    """Results that share training seeds: they are no repetitions of each other."""
    by_seeds: dict[str, dict[str, None]] = {}
    for answer in answers:
        by_seeds.setdefault(next(iter(answer.scores)), {})[answer.result] = None
    for seed, names in by_seeds.items():
        if len(names) > 1:
            yield f"networks from seed {seed} on are shared by {len(names)} results, one cluster: {', '.join(names)}"


def list_changes(factor: str, members: Sequence[Answer]) -> "list[tuple[Answer, Answer, Estimate, float]]":
    """Each pair of levels with the change of the effect, and the p value of opposite signs (Berger 1982)."""
    from experiments.distances.intervals import estimate_change

    out = []
    for before, after in combinations(members, 2):
        effects = [answer.effects(factor == "features") for answer in (before, after)]
        if before.fixed[factor] == after.fixed[factor] or None in effects:
            continue
        opposite = before.row["difference"] * after.row["difference"] < 0
        turn = max(before.row["p_value"], after.row["p_value"]) if opposite else 1.0
        out.append((before, after, estimate_change(*effects), float(turn)))  # type: ignore[arg-type]
    return out
