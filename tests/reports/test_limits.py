"""A report on very many results shows the extremes and a sample, says so, and stays small."""

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from reports import limits, render


@pytest.mark.slow
def test_a_hundred_contrasts_stay_readable(
    directory: Path, change: Any, change_info: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = 100
    monkeypatch.setattr(limits, "ROWS", 4)

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
    (directory / "best_sets.csv").unlink()  # of another experiment
    change_info(experiment="sweep")
    page = render.write_report(directory)
    text = page.with_suffix(".md").read_text(encoding="utf-8")
    assert page.stat().st_size < 5_000_000
    assert "contrasts.csv has all" in text
    assert re.search(r"Runs that succeeded\..* 4 of \d+ runs are shown: .* table\.csv has all", text)
    assert "setting 0 against" in text  # the lowest
    assert "setting 99 against" in text  # the highest
