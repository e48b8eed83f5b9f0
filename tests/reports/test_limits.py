"""A report on very many results shows the extremes and a sample, says so, and stays small."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports import limits, render


@given(st.lists(st.floats(allow_nan=False), max_size=60), st.integers(3, 30))
def test_the_extremes_are_shown(values: list[float], count: int) -> None:
    shown = limits.spread(pd.Series(values, dtype=float), count)
    assert shown == sorted(set(shown))
    assert len(shown) == min(len(values), count)
    if values:
        picked = [values[at] for at in shown]
        assert min(picked) == min(values)
        assert max(picked) == max(values)


@given(st.integers(0, 200), st.integers(2, 60))
def test_an_even_sample_has_both_ends(total: int, count: int) -> None:
    shown = limits.evenly(total, count)
    assert len(shown) == min(total, count)
    assert not total or (shown[0], shown[-1]) == (0, total - 1)


def test_two_thousand_contrasts_stay_readable(directory: Path, change: Any) -> None:
    copies = 2_000

    def many(frame: pd.DataFrame) -> pd.DataFrame:
        pair = frame[(frame["kind"] == "pareto") & (frame["train_seed"] == "")].drop_duplicates("metric")
        pair = pair.assign(kind="setting", mode="all")
        middles = [n / copies - 0.5 for n in range(copies)]
        more = [
            pair.assign(a=f"setting {n}", difference=str(mid), low=str(mid - 0.1), high=str(mid + 0.1))
            for n, mid in enumerate(middles)
        ]
        return pd.concat([frame, *more])

    change("contrasts.csv", many)
    info = json.loads((directory / "run.json").read_text(encoding="utf-8"))
    (directory / "run.json").write_text(json.dumps(info | {"experiment": "sweep"}), encoding="utf-8")
    page = render.write_report(directory)
    text = page.with_suffix(".md").read_text(encoding="utf-8")
    assert page.stat().st_size < 5_000_000
    assert "contrasts.csv has all" in text
    assert "setting 0 against" in text  # the lowest
    assert "setting 1999 against" in text  # the highest


def test_few_results_are_shown_without_a_note(
    directory: Path, text_of: Callable[[Path], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "are shown:" not in text_of(directory)
    monkeypatch.setattr(limits, "ROWS", 4)
    assert re.search(r"Runs that succeeded\..* 4 of \d+ runs are shown: .* table\.csv has all", text_of(directory))
