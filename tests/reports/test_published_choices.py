"""What published reports chose is what the rule gives on their explorers' rows, in a few lines of pandas."""

import json
from pathlib import Path

import pandas as pd
import pytest

PUBLISHED = Path(__file__).parents[2] / "reports" / "published"
PLACE = ["budget", "setting"]
MEASURED = ["mmd", "visible_noise"]


@pytest.mark.parametrize("file", sorted(PUBLISHED.glob("*/choices.csv*")), ids=lambda file: file.parent.name)
def test_published_choices_follow_from_the_rows_of_explorers(file: Path):
    name = file.parent.name
    (path,) = file.parent.glob("table.csv*")  # it may be compressed
    choices, table = (pd.read_csv(each).fillna({"budget": 0}) for each in (file, path))
    choices = choices.set_index(PLACE)
    rows = table.query("section in ['explore', 'combinations'] and status == 'ok'")
    if rows.empty:
        assert name == "beta-laptop", "it alone confirms what another report chose"
        return
    if name.startswith("noise_levels"):  # all samplers of a network are one candidate
        rows = rows.assign(setting=rows["setting"].str.rpartition(", ")[0])
    rows = rows.assign(squared=rows["visible_noise"] ** 2)
    means = rows.groupby(PLACE, sort=False)[[*MEASURED, "squared"]].mean()
    measured = choices.dropna(subset="rank")
    pd.testing.assert_frame_equal(
        means[MEASURED], measured[MEASURED], check_like=True, check_index_type=False, rtol=0, atol=1e-12
    )
    limit = json.loads((file.parent / "run.json").read_text())["statistics"].get("visible_noise")
    more = means["squared"] - means.groupby("budget")["squared"].transform("first")  # the rule until one limit came
    means["quiet"] = more <= 0.026**2 if limit is None else means["visible_noise"] <= limit
    ranked = means.join(choices[["kind", "rank"]]).sort_values("mmd", kind="stable")
    assert (ranked.groupby(["budget", "kind"]).cumcount() + 1 == ranked["rank"]).all()

    expected = {*choices.index.difference(means.index), *means.groupby("budget").head(1).index}  # without a choice
    of_beta = name.startswith("beta")
    budgets = means.index.unique("budget")
    for budget in budgets:
        allowed = "<=" if of_beta else "=="
        for _, pool in ranked.query(f"budget {allowed} {budget} and kind != 'default'").groupby("kind"):
            lowest = pool.index[: limit is None]  # until then the lowest of all was confirmed too
            expected |= {*pool.index[pool["quiet"]][:1], *lowest}
    assert {*choices.index[choices["chosen"]]} == expected
