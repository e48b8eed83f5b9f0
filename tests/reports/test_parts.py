"""The page of `beta` on numbers that are chosen: verdict, caveats, key figures. Other pages have the same parts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reports.render import read_page, write_report

Make = Callable[..., Path]
SAME, FD = "With the same 66 evaluations, fresh noise", "lowers FD from 7.6 to 5.0 (difference −2.6; −3.6 to −1.6)."
FAILED, UNCLEAR = ({"control": 3.0, "control_verdict": "failed"}, {"change": -0.5, "verdict": "no difference detected"})


@pytest.mark.parametrize(("values", "lead", "verdict"), [
    ({}, "Yes.", f"{SAME} {FD}"),
    ({"change": 3.0, "verdict": "worse", "fd": 2.0}, "No.",
     f"{SAME} raises FD from 7.6 to 9.6 (difference 2.0; 1.0 to 3.0)."),
    (UNCLEAR, "No difference detected.", "With the same 66 evaluations, without and with fresh noise: "
     "MMD ×1000 12.0 and 11.5 (difference −0.5; −1.5 to 0.5)."),
    ({"verdict": "no verdict", "no_verdict": "one network only"}, "No verdict.", "One network only."),
    (FAILED, "No verdict.", "The control failed: the same setting with other noise "
     "differs by 3.0 (2.0 to 4.0) in MMD ×1000; chance does that in 1 of 1,000,000 controls. "
     "Do not use these numbers."),
    ({"nfe_a": 131}, "Yes.", f"With 131 evaluations, fresh noise {FD}"),
], ids=["better", "worse", "no difference detected", "no verdict", "failed control", "another cost"])  # fmt: skip
def test_the_verdict(beta: Make, values: dict[str, Any], lead: str, verdict: str) -> None:
    page = read_page(beta(**values))
    assert (page.lead, page.verdict, page.failed) == (lead, verdict, values is FAILED)
    assert len(page.answer.split()) <= 33
    if page.lead == "No verdict.":  # the control, and no effect
        assert [(figure.label, figure.role) for figure in page.key_figures] == [("A/A control, MMD ×1000", "")]


@pytest.mark.parametrize(("values", "metric"), [
    ({}, "FD"), ({"floor": (400, 1.4)}, "MMD"), ({"floor": None}, "MMD"), ({"fd": -0.9}, "MMD"), ({"fd": 2.6}, "MMD"),
    (UNCLEAR, "MMD"), ({"n_networks": 4}, "MMD"), ({"features": "inception-v3-compat"}, "FID"),
], ids=["the same", "another n", "no floor", "unclear", "opposite", "no verdict", "few networks", "FID"])  # fmt: skip
def test_the_first_screen_has_one_metric_and_fd_only_where_it_says_the_same(
    beta: Make, values: Any, metric: str
) -> None:
    directory = beta(**{name: value for name, value in values.items() if name != "features"})
    for path in directory.glob("*.csv"):
        path.write_text(path.read_text().replace("digits", values.get("features", "digits")))
    page = read_page(directory)
    labels = [figure.label for figure in page.key_figures]
    assert f" {metric} " in page.verdict
    assert labels[0].startswith(f"Effect on {metric}") and labels[1].startswith(metric)
    assert [picture.score.split()[0] for picture in page.pictures[1:]] == [metric] * 2
    evidence = page.key_figures[3].notes[0]
    assert f" in {metric}" in evidence and page.metric.startswith(metric) and "MMD ×1000" in page.metric


@pytest.mark.parametrize(("values", "warnings", "caveats"), [
    ({}, [], []), ({"fd": 0.9}, [], []),
    ({"fd": 2.6}, ["FD says worse: 2.6 (1.6 to 3.6); MMD ×1000 decides."], []),
    ({"verdict": "no difference detected"}, ["FD says better: −2.6 (−3.6 to −1.6); MMD ×1000 decides."], []),
    ({"grain": {"eta 1": 0.0123}}, [], ["Fine noise in the samples of eta 1 (grain 0.012)."]),
    ({"grain": {"eta 1": 0.01, "eta 0.5": 0.9}}, [], []),  # eta 0.5 is not shown
    ({"grain": {"eta 1": 0.02}, "info": {"statistics": {"grainy": 0.02}}}, [], []),
    ({"grain": {"eta 1": 0.02, "eta 0": 0.03}}, [],
     ["Fine noise in the samples of eta 0 and eta 1 (grain 0.030, 0.020)."]),
    ({"before": 50, "failed": 2}, ["Very far from real images: FD 42.0, real images 0.5.", "2 runs failed."], []),
    ({"before": 20, "info": {"fixed_beforehand": False}}, [], [
        "Far from real images: FD 12.0, real images 0.5.", "Exploratory: this comparison was not fixed before the run.",
    ]),
    ({"before": 13}, [], []),  # FD 5 is nine floors above the floor
    ({"n_planned": 6}, ["5 of 6 networks were compared."], []),
])  # fmt: skip
def test_caveats_are_about_what_is_shown(beta: Make, values: dict[str, Any], warnings: list[str], caveats: Any) -> None:
    page = read_page(beta(**({"floor": (500, 0.5)} | values)))
    assert (page.warnings, page.caveats) == (warnings, caveats)


@pytest.mark.parametrize(("values", "notes"), [
    ({}, ["can detect 2.0 in MMD ×1000"]), ({"detectable": ""}, []),
    ({"new_network_low": -0.009, "new_network_high": 0.001, "detectable": ""}, ["one more network: −9.0 to 1.0"]),
    ({"networks_to_settle": 7, "n_to_settle": 9000, "detectable": ""}, ["7 networks would detect it"]),
    ({"n_to_settle": 9000, "detectable": ""}, ["9,000 images each would detect it"]),
    ({"holds_for": 3, "detectable": ""}, ["holds for these 3 networks"]),
])  # fmt: skip
def test_the_evidence(beta: Make, values: dict[str, Any], notes: list[str]) -> None:
    figure = read_page(beta(floor=None, **values)).key_figures[-1]
    assert (figure.value, figure.notes, len(figure.bars)) == ("5 × 500", [*notes, "chosen before any result"], 5)


def test_the_evidence_says_what_differs_from_the_preset(beta: Make) -> None:
    info = {"fixed_beforehand": True, "differs_from_preset": ["sizes", "data"]}
    chosen = "chosen before any result; sizes and data differ from the preset"
    assert read_page(beta(info=info)).key_figures[-1].notes[-1] == chosen


def test_key_figures_figure_and_table_show_the_same_numbers(folder: Make, beta: Make) -> None:
    page = read_page(beta(nfe_a=33))
    effect, ends, cost, _ = page.key_figures
    assert (effect.value, effect.notes[0]) == ("−2.6", "95 % interval −3.6 to −1.6")
    assert effect.bars[0].look == "better" and effect.bars[0].low < effect.bars[0].high < effect.zero
    assert (ends.value, [words for _, words in ends.legend]) == ("7.6 → 5.0", ["real", "eta 0", "eta 1"])
    assert ends.notes == ["real images 1.4"]
    assert cost.value == "66 → 33" and [width for _, width in cost.lengths] == [100, 50]
    lines = [(line.label, line.value, line.interval, line.word) for line in page.figures[0].lines]
    assert lines[0] == ("eta 1", "−8.0", "−9.0 to −7.0", "better") and lines[1][3] == "no difference detected"
    rows = page.tables[0].rows
    assert [(row.name, row.best) for row in rows] == [("eta 1", True), ("eta 0.5", False), ("eta 0", False)]
    page = read_page(folder("run", {"experiment": "beta"}, table=[{"section": "primary", "status": "failed"}]))
    assert page.answer == "No verdict. 0 of 1 primary run succeeded." and not page.key_figures


NAME = "<script>alert(1)</script>|*_`[x](y)\n#"


def test_no_name_is_markup_and_a_failed_control_is_red_without_colours(beta: Make) -> None:
    info = {"notes": [NAME], "versions": {NAME: NAME}, "machine": NAME, "commit": NAME}
    write_report(directory := beta(a=NAME, info=info, **FAILED))
    html, text = ((directory / f"report.{end}").read_text(encoding="utf-8") for end in ("html", "md"))
    assert '<p class="verdict failed" role="alert"><strong>No verdict.</strong> The control failed' in html
    assert "main:has(.failed) { --better: var(--soft); --worse: var(--soft); }" in html
    assert "eta 0 against eta 0 again: MMD ×1000 3.0 (2.0 to 4.0). Failed: a difference" in html
    assert "<script" not in html and html.count("&lt;script&gt;") > 5 and "http" not in html.split("</style>")[1]
    prose = "".join(text.split("```")[::2])  # figures are text as it is
    assert "<script" not in prose and r"\*\_\`\[x\](y) \#" in prose
    rows = [line.replace(r"\|", "").count("|") for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 11 and {*rows} == {2, 4, 8}  # the control, pictures and settings
