"""The predictions of predictions.toml that a run tests: held, failed or not tested."""

import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.why_noise.page import gains
from experiments.why_noise.page.tables import HALF_LEFT
from reports.results import Run

NOT_TESTED, MISSING = "not tested", "runs are missing"


@dataclass(frozen=True)
class Outcome:
    """A prediction, its outcome in a word, and the numbers that decide it."""

    number: int
    text: str
    outcome: str
    evidence: str


@dataclass(frozen=True)
class Test:
    """The rows that decide one part of a prediction. The report puts `label` before their sizes, `words` after each."""

    rows: list[pd.Series]  # empty if runs are missing
    holds: str
    label: str
    words: str = ""


def vanishes(coarse: pd.Series, fine: pd.Series) -> bool:
    """Whether the gain on the finer ladder is not detectable, or less than half as large."""
    return abs(fine["difference"]) < 0.5 * abs(coarse["difference"]) or not fine["clear"]


RULES: dict[str, Callable[..., bool]] = {
    "below": gains.below,
    "above": gains.above,
    "not negative": lambda row: row["difference"] >= 0,
    "vanishes": vanishes,
}


@cache
def predictions() -> list[dict[str, Any]]:
    """The table of predictions, as it was fixed before the runs."""
    path = Path(__file__).parents[1] / "predictions.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))["prediction"]


def outcomes(run: Run) -> list[Outcome]:
    """The outcomes of all predictions on the run's kind of data, if there is a network."""
    kind = "mixture" if run.rows["data"].str.startswith("mixture:").all() else "real"
    known = [prediction for prediction in predictions() if prediction["data"] == kind and gains.lengths(run)]
    return [outcome for prediction in known if (outcome := _outcome(run, prediction))]


def _outcome(run: Run, prediction: dict[str, Any]) -> Outcome | None:
    """Held if every test holds. Only intervals over networks in general count. None where nothing could be tested."""
    tests = list(_tests(run, prediction))
    if not tests:
        return None
    known = [test for test in tests if test.rows]
    outcome = "held" if all(RULES[test.holds](*test.rows) for test in known) else "failed"
    if len(known) < len(tests) or not all(gains.in_general(row) for test in known for row in test.rows):
        outcome = NOT_TESTED
    sizes: dict[str, list[str]] = {}
    for test in known:
        sizes.setdefault(test.label, []).extend(
            f"{gains.shown(run, row, named=not test.words)}{test.words.format(**row)}" for row in test.rows
        )
    evidence = "; ".join(f"{label}: {', '.join(texts)}" for label, texts in sizes.items())
    return Outcome(prediction["number"], prediction["text"], outcome, evidence or MISSING)


def _tests(run: Run, prediction: dict[str, Any]) -> Iterator[Test]:
    """The tests of a prediction, for each network or kind of error in turn."""
    consistent = gains.of(run, "consistent")
    if prediction["of"] == "every kind of error":
        for kind in dict.fromkeys(consistent["kind"][consistent["kind"] != "exact"]):
            ladders = [row for _, row in consistent[consistent["kind"] == kind].sort_values("n_steps").iterrows()]
            ends = [ladders[0], ladders[-1]] if len(ladders) > 1 else []
            for test in prediction["tests"]:
                row = gains.claim(run, test["claim"], None, kind=kind)
                rows = [] if row is None else [row]
                yield Test(ends if test["claim"] == "consistent" else rows, test["holds"], kind, f" {test['words']}")
        return
    for seen in gains.lengths(run) if prediction["of"] == "every network" else gains.lengths(run)[-1:]:
        for test in prediction["tests"]:
            name, words = test["claim"], f", {test['words']}" if "words" in test else ""
            row = gains.half_left(run, seen) if name == HALF_LEFT else gains.claim(run, name, seen)
            yield Test([] if row is None else [row], test["holds"], gains.images(seen) + words)


def held(run: Run, *numbers: int) -> bool | None:
    """Whether these predictions held; None if the run did not test them all."""
    chosen = {outcome.outcome for outcome in outcomes(run) if outcome.number in numbers}
    return None if not chosen or NOT_TESTED in chosen else chosen == {"held"}
