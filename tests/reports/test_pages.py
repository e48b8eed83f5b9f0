"""Pages on numbers that are chosen: verdict, caveats, key figures; then what is a page's own."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from reports.contrast import describe_names
from reports.figures import Canvas, draw_curves, draw_errors, style, svg
from reports.page import Page
from reports.render import read_page, write_report
from reports.results import read as read_result

Make = Callable[..., Path]
WHERE = "on the geometric schedule with 66"
LOWER = "MMD ×1000 from 12.0 to 4.0 (difference −8.0; −9.0 to −7.0; FD 7.6 to 5.0)."
FAILED = {"control": 3.0, "control_verdict": "failed"}
UNCLEAR = {"change": -0.5, "verdict": "no difference detected"}


@pytest.mark.parametrize(("values", "lead", "verdict"), [
    ({}, f"Yes {WHERE} evaluations.", LOWER),
    ({"change": 3.0, "verdict": "worse", "fd": 2.0}, f"No {WHERE} evaluations.",
     "MMD ×1000 from 12.0 to 15.0 (difference 3.0; 2.0 to 4.0; FD 7.6 to 9.6)."),
    (UNCLEAR, f"No difference detected {WHERE} evaluations.",
     "MMD ×1000 12.0 and 11.5 (difference −0.5; −1.5 to 0.5; FD 7.6 and 5.0)."),
    ({"verdict": "no verdict", "no_verdict": "one network only"}, "No verdict.", "One network only."),
    ({"verdict": "no verdict", "no_verdict": "the samples do not look like images", "best": {8: (-6.4, "better")}},
     "No verdict.", "The samples do not look like images."),
    (FAILED, "No verdict.", "The A/A test failed: the same setting with other noise "
     "differs by 3.0 (2.0 to 4.0) in MMD ×1000; chance does that in 1 of 1,000,000 A/A tests. "
     "Do not use these numbers."),
], ids=["better", "worse", "no difference detected", "no verdict", "static", "failed control"])  # fmt: skip
def test_the_verdict(beta: Make, values: dict[str, Any], lead: str, verdict: str):
    page = read_page(beta(**values))
    assert (page.lead, page.verdict, page.failed) == (lead, verdict, values is FAILED)
    assert len(page.headline.split()) <= 40
    clear = lead.startswith(("Yes", "No on"))
    use = {"better": "eta 1", "worse": "eta 0"}.get(values.get("verdict", "better"))
    advice = f"Use {use} with 66 evaluations, if you stay on the geometric schedule."
    assert page.advice == (advice if clear else "")


WINS, LOSES, TIED_BY = (-6.4, "better"), (7.6, "worse"), (-0.7, "no difference detected")
FAILS, CORRECTED = (-3.0, "no verdict"), (-2.7, "not significant after correction")


@pytest.mark.parametrize(("best", "says", "values"), [
    ({8: TIED_BY, 16: TIED_BY, 32: WINS, 66: WINS},
     "Yes, better within 32 and 66 network evaluations; no difference detected within 8 (−0.7; −1.7 to 0.3) and 16 "
     "(−0.7; −1.7 to 0.3).", {}),
    ({8: LOSES, 66: LOSES}, "No, worse within 8 and 66 network evaluations.", {}),
    ({16: CORRECTED},
     "Not significant after correction within 16 network evaluations (−2.7 with it; −3.7 to −1.7).", {}),
    ({8: LOSES, 32: FAILS, 66: WINS},
     "Yes, better within 66 network evaluations; no, worse within 8; no verdict within 32.", {}),
    ({8: LOSES}, "No, worse within 8 network evaluations.", UNCLEAR),
], ids=["wins", "loses", "corrected", "a failure", "first unclear"])  # fmt: skip
def test_the_headline_says_within_how_many_evaluations_which_kind_wins(beta: Make, best: Any, says: str, values: Any):
    page = read_page(beta(best=best, **values))
    answer = "no difference detected" if values else "yes"
    assert page.lead == says and page.verdict.startswith(f"On the geometric schedule with 66, {answer}: MMD ×1000 ")
    assert len(page.headline.split()) <= 40
    lines = [
        line for section in page.figures[0].sections if section.title.startswith("The best") for line in section.lines
    ]
    assert [line.label.split(" against")[0] for line in lines] == [
        f"within {n}: with {n}, {n} evaluations" for n in best
    ]


def test_one_pair_that_is_the_best_within_several_numbers_is_said_once(beta: Make):
    directory = beta(best={8: TIED_BY, 16: TIED_BY})
    rows = pd.read_csv(directory / "contrasts.csv")
    confirmed = rows["kind"] == "confirm"
    rows.loc[confirmed, ["a", "b", "nfe_a", "nfe_b"]] = "with 8", "without 8", 8, 8
    rows.to_csv(directory / "contrasts.csv", index=False)
    says = (
        "No difference detected within 8 and 16 network evaluations (−0.7; −1.7 to 0.3): the best of both kinds take 8."
    )
    assert read_page(directory).lead == says


@pytest.mark.parametrize(("more", "advice"), [
    ({}, ""),
    ({66: (-0.2, "no difference detected")},
     " With 66, with 66 scores 0.2 lower: no difference detected (−1.2 to 0.8)."),
], ids=["none", "not better"])  # fmt: skip
def test_beta_advises_the_cheapest_and_says_what_more_evaluations_change(beta: Make, more: Any, advice: str):
    page = read_page(beta(best={8: LOSES, 16: LOSES, 66: LOSES}, more=more, info={"differs_from_preset": ["sizes"]}))
    cheapest = "Use without 8 with 8 evaluations: MMD ×1000 12.0 (FD 12.0), 12.0 on the worst of 5 networks."
    assert page.advice == cheapest + advice
    assert dict(page.facts)["Fixed"] == (
        "The main comparison, before any result. Changed since: sizes. 3 other networks chose among 9 settings; then, "
        "with other noise, these compared"
    )


def test_beta_advises_a_dearer_setting_only_if_it_is_better_and_within_the_limit(beta: Make):
    directory = beta(best={8: LOSES, 16: TIED_BY, 66: TIED_BY}, more={16: (-3.0, "better"), 66: (-4.0, "better")})
    use, price = read_page(directory).advice.split(": ", 1)
    assert use == "Use with 66 with 66 evaluations"
    assert price.endswith(" It is better than without 8 with 8, the cheapest that was confirmed (−4.0; −5.0 to −3.0).")
    rows = pd.read_csv(directory / "contrasts.csv")
    rows["more_noise"] = rows["a"].eq("with 66") & rows["kind"].eq("more evaluations")
    rows.to_csv(directory / "contrasts.csv", index=False)
    assert read_page(directory).advice.startswith("Use with 16 with 16 evaluations: ")


def limited(directory: Path, depends: bool) -> Page:
    """The page with a noisy setting that scores lowest within 66 evaluations, where noise then wins."""
    tables = {name: pd.read_csv(directory / f"{name}.csv") for name in ("table", "contrasts", "choices")}
    tables["contrasts"] = tables["contrasts"].astype({"depends": object})
    noisy = tables["table"].query("setting == 'with 66'").assign(setting="noisy", mmd=0.001, visible_noise=0.1)
    again = tables["contrasts"].query("a == 'with 66'").assign(kind="any visible noise", a="noisy", verdict="better")
    again = again.assign(difference=-0.011, low=-0.012, high=-0.01, depends=depends)
    barred = tables["choices"].assign(barred=lambda rows: rows["setting"] == "passed over")
    for name, more in {"table": [noisy], "contrasts": [again], "choices": []}.items():
        pd.concat([barred if name == "choices" else tables[name], *more]).to_csv(directory / f"{name}.csv", index=False)
    return read_page(directory)


@pytest.mark.parametrize("depends", [True, False])
def test_the_answer_stands_within_the_limit_of_visible_noise_and_without_it(beta: Make, depends: bool):
    page = limited(beta(best={8: LOSES, 66: LOSES}), depends)
    free = "with noise wins within 66 network evaluations (−11.0; −12.0 to −10.0)."
    if depends:
        assert page.lead == (
            "It depends on visible noise: among settings whose visible noise is at most 0.04, without noise wins "
            f"within 8 network evaluations (7.6; 6.6 to 8.6) and 66 (7.6; 6.6 to 8.6); without this limit {free}"
        )
    else:
        assert page.lead == "No, worse within 8 and 66 network evaluations."
        assert page.verdict.endswith(f" Without the limit of visible noise, 0.04, {free}")
    assert page.advice.endswith(
        " noisy, 66 evaluations scores lower, MMD ×1000 1.0 (FD 19.6), but shows more visible noise (0.100) than the "
        "limit."
    )
    assert dict(page.facts)["Fixed"].endswith(
        "2 of 6 settings show more visible noise than 0.04 and were barred; the lowest of them: passed over, 8 "
        "evaluations, MMD ×1000 20.0 (explored)"
    )


def test_confirmers_may_see_the_limit_on_another_side_of_a_setting(beta: Make):
    directory = beta(best={8: LOSES, 66: LOSES})
    rows = pd.read_csv(directory / "contrasts.csv")
    rows.loc[rows["kind"] == "confirm", ["visible_noise_a", "visible_noise_b"]] = 0.02, 0.05
    rows["noisy_b"], rows["more_noise"] = rows["b"].str.startswith("without"), False
    rows.to_csv(directory / "contrasts.csv", index=False)
    choices = pd.read_csv(directory / "choices.csv")
    choices.assign(barred=choices["setting"] == "with 8").to_csv(directory / "choices.csv", index=False)
    page = read_page(directory)
    assert "Explorers barred with 8, 8 evaluations for its visible noise; here it shows 0.020, within the limit." in (
        page.caveats
    )
    assert (
        "without 66, 66 evaluations shows more visible noise here (0.050) than the limit: not advised." in page.caveats
    )
    assert page.advice.startswith("Use with 8 with 8 evaluations"), "the winner is above the limit"


@pytest.mark.parametrize(("score", "word"), [(45.0, "fails"), (17.0, "differs more than usual")])
def test_a_network_that_differs_is_named_with_the_difference_without_it(beta: Make, score: float, word: str):
    directory = beta(best={8: LOSES, 66: LOSES})
    rows = pd.read_csv(directory / "contrasts.csv")
    of_pair = rows["a"].eq("with 66") & rows["kind"].eq("confirm")
    pooled = of_pair & rows["train_seed"].isna()
    rows.loc[pooled, ["odd_seed", "odd_difference", "odd_low", "odd_high", "n_lower"]] = 3, -0.0001, -0.0018, 0.0017, 1
    rows.loc[of_pair & rows["train_seed"].eq(3), "value_a"] = score / 1000
    rows.assign(train_seed=rows["train_seed"].astype("Int64")).to_csv(directory / "contrasts.csv", index=False)
    page = read_page(directory)
    says = f"Network 3 {word} with with 66, 66 evaluations ({score:.1f}; others 19.6 to 19.6; visible noise 0.000)"
    assert f"{says}: without it −0.1 (−1.8 to 1.7)." in page.caveats
    assert any("1 of 5 networks lower" in cell for table in page.tables for row in table.rows for cell in row.cells)


def test_the_first_screen_of_beta_has_two_lines_and_the_best_of_both_kinds(beta: Make):
    curves = [{"section": "confirm", "budget": budget, "curve": f"{kind} fresh noise", "metric": "mmd", "value": value,
               "low": 0.009, "high": 0.011, "setting": f"{kind} {budget}"}
              for budget, value in ((8, 0.01), (16, 0.011), (66, 0.0105)) for kind in ("with", "without")]  # fmt: skip
    recall = {"section": "primary", "metric": "recall", "value": 0.013, "low": -0.004, "high": 0.03}
    directory = beta(best={8: TIED_BY, 16: LOSES, 66: WINS}, quality=[*curves, recall])
    table = pd.read_csv(directory / "table.csv")
    values = {"recall": 0.757, "seconds": 3.0, "memorised": -0.01, "device": "a CPU", "schedule": "vp"}
    table = table.assign(**values, shared_device=False)
    table.loc[table["setting"] == "eta 1", "recall"] = 0.77
    table.loc[table["setting"] == "with 66", ["recall", "seconds"]] = 0.9, 4.0
    table.to_csv(directory / "table.csv", index=False)
    page = write_report(directory)
    assert [picture.label for picture in page.pictures[1:]] == [
        "without 66, 66 evaluations", "with 66, 66 evaluations"
    ]  # fmt: skip
    facts = dict(page.facts)
    assert facts["In the images"] == "Visible noise 0.000; recall 0.76 and 0.90; near copies 0 %"
    assert facts["Cost"] == "66 evaluations per image on the vp schedule, 0.006 and 0.008 seconds (a CPU)"
    change = "No loss of variety detected: from 0.757 to 0.770 (difference 0.013; −0.004 to 0.030, over networks)."
    assert page.details[0] == ("Recall, eta 0 to eta 1", change) and page.caveats == [] and page.curves is not None
    without, having = page.curves.curves
    assert (without.name, having.name) == ("without fresh noise", "with fresh noise")
    assert [len(line.dots) for line in page.curves.curves] == [3, 3], "of what was confirmed"
    heights = [dot[1] for dot in having.dots]
    assert [y for _, y in having.corners] == [y for y in heights for _ in "12"], "steps from dot to dot"
    assert heights[0] < heights[2] < heights[1] and having.end == "MMD ×1000 5.6 (FD 5.6)"
    shown = "with 66, 66 evaluations: MMD ×1000 5.6 (FD 5.6); interval 9.0 to 11.0; visible noise 0.000"
    html = (directory / "report.html").read_text(encoding="utf-8")
    assert having.titles[2] == shown and f'title="{shown}"' in html
    assert "within 8 <small>(−0.7; −1.7 to 0.3)</small>" in html
    assert len(having.explored) == 6, "networks that chose saw as many images"
    assert page.curves.columns[0] == ("8", "no difference detected", ["no difference detected", "−0.7", "−1.7 to 0.3"])
    assert page.curves.columns[1][2][0] == "without noise wins" and page.curves.columns[2][2][0] == "with noise wins"
    (ax,) = draw_curves(page.curves).axes
    assert [list(line.get_xdata()) for line in ax.lines].count([x for x, _ in having.corners]) == 2, "and explored"
    bars = [[y for _, y in bar.lines[2][0].get_segments()[0]] for bar in ax.containers]
    assert bars == [pytest.approx(dot[2:]) for line in page.curves.curves for dot in line.dots]
    for value, low, says in ((-0.05, -0.06, "loses"), (0.05, 0.04, "adds")):
        rows = pd.DataFrame([*curves, recall | {"value": value, "low": low, "high": value + 0.01}])
        rows.to_csv(directory / "quality.csv", index=False)
        assert read_page(directory).details[0][1].startswith(f"Fresh noise {says} variety:")


def test_a_file_of_a_figure_is_dark_on_a_dark_screen_and_its_text_is_text():
    canvas = Canvas(figsize=(1, 1))
    canvas.text(0.5, 0.5, "a label")
    with style():
        text = svg(canvas)
    assert text.count("(prefers-color-scheme: dark) { svg:root { filter: invert(") == 1 and ">a label</text>" in text


def test_errors_are_drawn_as_ratios_to_the_first_setting_at_the_same_level():
    rows = pd.DataFrame({"train_noise": ["a", "a", "b", "b"], "sigma": [1.0, 2.0, 1.0, 2.0], "density": 1.0})
    curves = rows.assign(setting=rows["train_noise"], relative_error=[0.5, 0.2, 0.25, 0.4])
    above, _ = draw_errors(curves, rows).axes
    assert [0.5, 2.0] in [list(line.get_ydata()) for line in above.lines]


@pytest.mark.parametrize(("features", "fd"), [("digits", "FD"), ("inception-v3-compat", "FID")])
def test_the_first_screen_has_one_metric_and_fd_in_brackets(beta: Make, features: str, fd: str):
    directory = beta()
    for path in directory.glob("*.csv"):
        path.write_text(path.read_text().replace("digits", features))
    page = read_page(directory)
    texts = [page.headline, *(picture.score for picture in page.pictures), dict(page.facts)["Data"]]
    assert all(f"{fd} " in text.partition("(")[2] and "MMD ×1000" in text.partition("(")[0] for text in texts)
    assert texts[1] == f"MMD ×1000 0.1 ({fd} 1.4)" and f"in {features} features" in dict(page.facts)["Score"]


def test_a_page_says_that_the_metrics_order_its_settings_differently(beta: Make):
    directory = beta()
    assert read_page(directory).warnings == []
    table = pd.read_csv(directory / "table.csv")
    few = table[table["setting"] == "eta 1"].head(2).assign(setting="eta 2", mmd=0.02, fd=1)  # on fewer networks
    table = pd.concat([table, few])
    table.loc[table["setting"] == "eta 1", "fd"] = 12.3
    table.to_csv(directory / "table.csv", index=False)
    assert read_page(directory).warnings == [
        "MMD and FD order the best settings differently. Lowest eta 1, 66 evaluations: MMD ×1000 4.0 (FD 12.3); eta 0, "
        "66 evaluations: MMD ×1000 12.0 (FD 12.0)."
    ]


@pytest.mark.parametrize(("values", "warnings", "caveats"), [
    ({}, [], []), ({"fd": 0.9}, [], []),
    ({"fd": 2.6}, ["In FD, eta 1 is worse: 2.6 (1.6 to 3.6); MMD ×1000 is the primary metric."], []),
    ({"verdict": "no difference detected"},
     ["In FD, eta 1 is better: −2.6 (−3.6 to −1.6); MMD ×1000 is the primary metric."], []),
    ({"control": -1.6, "control_verdict": "unusual"},
     ["Equal settings differ by −1.6 (−2.6 to −0.6) in MMD ×1000, as 1 of 1,000,000 A/A tests does, so part of a gain "
      "may be chance."], []),
    ({"before": 50, "failed": 2}, ["Very far from real images: FD 42.0, real images 0.5.", "2 runs failed."], []),
    ({"before": 20, "info": {"fixed_beforehand": False}}, [], [
        "Far from real images: FD 12.0, real images 0.5.", "Exploratory: this comparison was not fixed before the run.",
    ]),
    ({"before": 13}, [], []),  # FD 5 is nine floors above the floor
    ({"n_planned": 6}, ["5 of 6 networks were compared."], []),
])  # fmt: skip
def test_caveats_are_about_what_is_shown(beta: Make, values: dict[str, Any], warnings: list[str], caveats: Any):
    page = read_page(beta(**({"floor": (500, 0.5)} | values)))
    lacking = "The best with fresh noise was not compared with the best without."
    assert (page.warnings, page.caveats) == (warnings, [*caveats, lacking])
    assert ("Unusual: a difference" in dict(page.details)["A/A test"]) == ("control" in values)


@pytest.mark.parametrize(("memorised", "warnings"), [
    (-0.01, []), (0.01, []),
    (0.97, ["At least 97 % (eta 1) of the samples lie much nearer to training images than real images do: they may be "
            "copies."]),
])  # fmt: skip
def test_the_page_warns_of_copies(beta: Make, memorised: float, warnings: list[str]):
    folder = beta(floor=(500, 0.5))
    table = pd.read_csv(folder / "table.csv")
    table.loc[table["setting"].isin(["eta 0", "eta 1"]), "memorised"] = 0.0
    table.loc[table["setting"] == "eta 1", "memorised"] = memorised
    table.to_csv(folder / "table.csv", index=False)
    page = read_page(folder)
    shown = "near copies 0 %" + (f" and {100 * memorised:.0f} %" if memorised > 0 else "")
    assert page.warnings == warnings and dict(page.facts)["In the images"].endswith(shown)


MANY = "95 % interval: where the mean over many such networks lies"


@pytest.mark.parametrize(("values", "doubts"), [
    ({}, [MANY]), (UNCLEAR, [MANY, "can detect 2.0 in MMD ×1000"]),
    ({"new_network_low": -0.009, "new_network_high": 0.001}, [MANY, "expected for a sixth network: −9.0 to 1.0"]),
    ({"holds_for": 3}, ["95 % interval: where the mean over many such images of these 3 networks lies"]),
])  # fmt: skip
def test_the_page_says_how_sure_it_is(beta: Make, values: dict[str, Any], doubts: list[str]):
    assert dict(read_page(beta(floor=None, **values)).facts)["Sure?"] == "; ".join(doubts)


def test_figure_and_table_show_the_same_settings(folder: Make, beta: Make):
    page = read_page(beta(nfe_a=33))
    lines = [(line.label, line.value, line.interval, line.word) for line in page.figures[0].lines]
    assert lines == [("eta 1, 33 evaluations", "−8.0", "−9.0 to −7.0", "better")]
    rows = page.tables[0].rows
    assert [(row.name, row.best) for row in rows] == [("eta 1", True), ("eta 0.5", False), ("eta 0", False)]
    page = read_page(folder("run", {"experiment": "beta"}, table=[{"section": "primary", "status": "failed"}]))
    assert page.headline == "No verdict. 0 of 1 primary run succeeded." and not page.facts


NAME = "<script>alert(1)</script>|*_`[x](y)\n#"


def test_no_name_is_markup_and_a_failed_control_is_red_without_colours(beta: Make):
    info = {"notes": [NAME], "versions": {NAME: NAME}, "machine": NAME, "commit": NAME}
    write_report(directory := beta(a=NAME, info=info, **FAILED))
    html, text = ((directory / f"report.{end}").read_text(encoding="utf-8") for end in ("html", "md"))
    assert '<h1 class="verdict failed" role="alert"><strong>No verdict.</strong> <span>The A/A test failed' in html
    assert "main:has(.failed) { --better: var(--soft); --worse: var(--soft); }" in html
    assert "eta 0 against eta 0 again: MMD ×1000 3.0 (2.0 to 4.0). Failed: a difference" in html
    assert html.count('class="ticks"') == 2 and "<span>Difference in MMD ×1000, 95 % interval</span>" in html
    assert "<script" not in html and html.count("&lt;script&gt;") > 5 and "http" not in html.split("</style>")[1]
    prose = "".join(text.split("```")[::2])  # figures are text as it is
    assert "<script" not in prose and r"\*\_\`\[x\](y) \#" in prose
    rows = [line.replace(r"\|", "").count("|") for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 8 and {*rows} == {4, 8}  # pictures and settings


BASE, BETTER, NOISY = (12.0, "", 0.0), (8.0, "better", 0.0), (6.0, "better", 0.05)
NOT, WORSE = (11.5, "no difference detected", 0.0), (14.0, "worse", 0.0)
UNTESTED = "Whether an effect differs between sections is not tested; a grid does that (sweep --vary)."
LOWEST = (
    "It is the best of 3 settings on the same networks, so its true gain is probably smaller. Its verdict is corrected "
    "for this choice."
)
WON = "x is better than base."
NOISIER = "scores lower, but leaves visible noise (0.050, at most 0.04 is advised)"
FALLS = "MMD ×1000 falls from 12.0 to 8.0 (difference −4.0; −5.0 to −3.0)."


@pytest.mark.parametrize(("settings", "use", "lead", "verdict", "caveats"), [
    ({"x": BETTER, "y": (9.0, "better", 0)}, "x", WON, FALLS, [LOWEST]),
    ({"x": BETTER, "y": NOISY}, "x", WON, FALLS, [f"y {NOISIER}.", LOWEST]),
    ({"y": NOISY}, "base", "y against base: better, but not recommended.",
     "It leaves visible noise (0.050), though MMD ×1000 falls from 12.0 to 6.0 (difference −6.0; −7.0 to −5.0).", []),
    ({"x": NOT, "y": WORSE}, "base", "x against base: no difference detected.",
     "MMD ×1000 12.0 and 11.5 (difference −0.5; −1.5 to 0.5).", []),
    ({"x": (9.0, "not significant after correction", 0)}, "base",
     "x against base: not significant after correction.",
     "MMD ×1000 12.0 and 9.0 (difference −3.0; −4.0 to −2.0).", []),
    ({"x": WORSE}, "base", "x against base: worse.", "MMD ×1000 from 12.0 to 14.0 (difference 2.0; 1.0 to 3.0).", []),
], ids=["lowest", "noisy", "all noisy", "no difference", "corrected", "worse"])  # fmt: skip
def test_a_sweep_says_what_is_recommended_and_what_was_passed_over(
    sweep: Make, settings: Any, use: str, lead: str, verdict: str, caveats: list[str]
):
    page = read_page(sweep({"group": {"base": BASE, **settings}}))
    assert (page.lead, page.verdict, page.caveats, page.also, page.warnings) == (lead, verdict, caveats, "", [])
    assert [row.name for row in page.tables[0].rows if row.best] == [use]
    assert page.pictures[-1].title == ("Use" if lead == WON else "Lowest, not advised")
    assert page.advice == ("Use x." if lead == WON else "Keep base.") and len(page.headline.split()) <= 25


def test_many_comparisons_have_a_line_on_what_they_cost(sweep: Make):
    groups = {"g": {"base": BASE, "x": BETTER}}
    assert read_page(sweep(groups, n_compared=12)).also == ""
    page = read_page(sweep(groups, "compared", {"experiment": "sweep"}, n_compared=13))
    assert page.also.startswith("Verdicts are corrected for 13 comparisons, which hides smaller differences")


def test_a_sweep_says_what_holds_in_other_groups(sweep: Make, folder: Make):
    tie = {"base": BASE, "x": BETTER, "y": (8.2, "no difference detected", 0)}
    nothing = {"base": BASE, "x": (8, "no verdict", 0)}
    new = {"base": BASE, "x": NOT}
    page = read_page(sweep({"a": tie, "b": new, "c": {"base": BASE, "x": BETTER}, "d": new}))
    assert page.headline == "In 2 of 4 sections a setting is better than the first. Recommended: x in 2."
    groups = {"a": tie, "b": {"base": BASE, "x": WORSE}, "c": tie, "d": new}
    harmed = read_page(sweep(groups, "harmed", {"experiment": "sweep"}))
    assert harmed.lead == "In 2 of 4 sections a setting is better than the first; in 1 none is, and one is worse."
    assert (page.advice, page.also) == (
        "",
        f"A and c: use x. B and d: no setting is recommended over “base”. {UNTESTED}",
    )
    assert [row.cells[4] for row in page.tables[0].rows] == ["better", "no difference detected", "baseline"]
    assert [section.title for section in page.figures[0].sections] == ["A", "B", "C", "D"]
    page = read_page(sweep({"a": tie, "b": new, "c": {"base": BASE, "x": BETTER}}, "three", {"experiment": "sweep"}))
    also = f"B: no setting is recommended over “base”. C: use x. {UNTESTED}"
    assert (page.advice, page.also) == ("Use x.", also)
    groups = {"g": nothing, "h": tie, "i": nothing}
    page = read_page(sweep(groups, "other", {"experiment": "sweep"}, no_verdict="why"))
    also = f"H: use x. I: no verdict. {UNTESTED}"
    assert (page.headline, page.also) == ("No verdict. Why.", also)
    assert read_page(folder("tune")).headline == "No verdict. Fewer than two settings succeeded with every network."


@pytest.mark.parametrize("groups", [1, 2, 5])
def test_at_most_25_rows_are_shown_and_the_recommended_one_is(sweep: Make, groups: int):
    names = {f"x{at}": (5.0 + at / 10, "no difference detected", 0) for at in range(29)}
    settings = {"base": BASE, **names, "x29": (11.0, "better", 0)}
    page = read_page(sweep({f"g{at}": settings for at in range(groups)}))
    lines = [len(section.lines) for section in page.figures[0].sections]
    for sizes in ([len(table.rows) for table in page.tables], lines):
        assert sum(sizes) == 25 and len(sizes) == groups and max(sizes) - min(sizes) <= 1
    assert all(table.rows[-1].best and table.rows[0].name == "x0" for table in page.tables)
    assert page.note.startswith(f"{31 * groups - 25} settings with higher scores are left out. ")


def test_a_failed_control_of_a_sweep_is_said_first(sweep: Make):
    new = {"base": BASE, "x": BETTER}
    again = (14.0, "failed", 0.0)
    directory = sweep({"control": {"base": BASE, "base again": again}, "g": new, "h": new}, p_value=1e-9)
    path = directory / "contrasts.csv"
    path.write_text(path.read_text().replace(",setting,control,", ",control,control,"))
    page = read_page(directory)
    assert page.failed and page.headline.startswith("No verdict. The A/A test failed") and page.also == ""


def test_the_names_of_what_is_shown_and_of_what_was_confirmed_are_explained(chosen: Make):
    info = {"formulas": {"vp": "VP. Source.", "res-2m": "RES.", "linear": "even. b", "heun": "Heun."}}
    result = read_result(chosen({(8, "vp(end=0), res-2m"): (-4.0, "better", {})}, info=info))
    said = describe_names(result, [pd.Series({"schedule": "linear", "setting": "linear, eta 0"})])
    assert said[:4] == ["linear: even.", "vp: VP.", "res-2m: RES.", "end=0: then a last step to 0."]


GAIN, NOTHING = (-4.0, "better", {}), (-0.5, "no difference detected", {})
LOUD = (-6.0, "better", {"visible_noise_a": 0.05})
SIZE = "MMD ×1000 falls from 12.0 to 8.0 (difference −4.0; −5.0 to −3.0)"
NEITHER = "x against base: MMD ×1000 12.0 and 11.5 (difference −0.5; −1.5 to 0.5)."


@pytest.mark.parametrize(("duels", "values", "headline", "advice"), [
    ({(16, "x"): GAIN, (66, "y"): (-5.0, "better", {})}, {"beyond": {(16, "x"): (-3.5, "better")}},
     f"With 16 evaluations, x is better than base, even with 66. {SIZE}.",
     "With 16 evaluations, use x; with 66 evaluations, use y."),
    ({(16, "x"): GAIN, (66, "y"): NOTHING}, {"beyond": {(16, "x"): (-0.5, "no difference detected")}},
     f"With 16 evaluations, x is better than base. {SIZE}.",
     "With 16 evaluations, use x; with 66 evaluations, keep base."),
    ({(8, "y"): (-3.0, "better", {}), (16, "x"): GAIN},
     {"beyond": {(8, "y"): (1.0, "worse"), (16, "x"): (-3.5, "better")}},
     f"With 16 evaluations, x is better than base, even with 66. {SIZE}.",
     "With 8 evaluations, use y; with 16 evaluations, use x."),
    ({(16, "x"): GAIN, (66, "y"): (-3.0, "better", {})}, {}, f"With 16 evaluations, x is better than base. {SIZE}.",
     "With 16 evaluations, use x; with 66 evaluations, use y. More evaluations are not better here: 8.0 with "
     "16 and 9.0 with 66 (not tested against each other)."),
    ({(16, "y"): NOTHING, (66, "x"): NOTHING}, {}, f"With 66 evaluations, no better setting is confirmed. {NEITHER}",
     "With 16 evaluations and with 66 evaluations, keep base."),
    ({(66, "x"): (-2.0, "not significant after correction", {"n_compared": 4})}, {},
     "With 66 evaluations, no better setting is confirmed. x against base: MMD ×1000 12.0 and 10.0 (difference −2.0; "
     "−3.0 to −1.0), not significant after correction for 4.", "With 66 evaluations, keep base."),
    ({(16, "x"): LOUD}, {}, f"With 16 evaluations, keep base: x {NOISIER}. MMD ×1000 from 12.0 to 6.0 (difference "
     "−6.0; −7.0 to −5.0).", "With 16 evaluations, keep base."),
    ({(16, "x"): GAIN, (16, "y"): LOUD}, {}, f"With 16 evaluations, x is better than base. {SIZE}.",
     f"With 16 evaluations, use x. y {NOISIER}."),
    ({(16, "x"): (-4.0, "no verdict", {"no_verdict": "two runs failed"})}, {}, "No verdict. Two runs failed.", ""),
], ids=["beyond the largest", "not beyond", "the second beyond", "more is worse", "nothing", "corrected", "noisier",
        "one is noisier", "no verdict"])  # fmt: skip
@pytest.mark.parametrize("experiment", ["schedules", "tune"])
def test_what_was_confirmed_has_a_headline_with_its_interval(
    chosen: Make, experiment: str, duels: Any, values: Any, headline: str, advice: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("reports.snippets.write_sampling", lambda row: row["setting"])
    directory = chosen(duels, experiment, **values)
    page = read_page(directory)
    choices = len(pd.read_csv(directory / "choices.csv"))
    who = f"3 other networks chose among {choices} settings; then, with other noise, these compared"
    assert (page.headline, page.advice, page.caveats) == (headline, advice, [])
    assert dict(page.facts)["Fixed"] == who
    budgets = dict.fromkeys(budget for budget, _ in duels)
    assert (page.curves is None) == (len(budgets) == 1)
    assert page.curves is None or [nfe for nfe, _, _ in page.curves.columns] == [str(budget) for budget in budgets]
    best = [verdict == "better" and "visible_noise_a" not in more for _, verdict, more in duels.values()]
    assert [row.best for row in page.tables[0].rows] == best
    shown = page.pictures[-1].label
    codes = [name for (_, name), good in zip(duels, best, strict=True) if good and name != shown]
    assert [code.text for code in page.codes] == codes
    (explored,) = page.folded
    assert explored.title == "Explored: 3 networks × 250 images. These networks chose; not tested"
    assert {row.name for row in explored.rows} == {"base", "passed over", *(name for _, name in duels)}


@pytest.mark.parametrize(("change", "verdict", "recommended", "advice"), [
    (-0.3, "no difference detected", True,
     "Use x with 16 evaluations. With 66, y scores 0.3 lower: no difference detected (−1.3 to 0.7)."),
    (-3.0, "better", True, "Use y with 66 evaluations. It is better than x with 16, the cheapest that was confirmed "
     "(−3.0; −4.0 to −2.0)."),
    (-3.0, "better", False, "Use x with 16 evaluations. With 66, y scores 3.0 lower: better (−4.0 to −2.0)."),
])  # fmt: skip
def test_the_cheapest_is_advised_unless_a_dearer_one_is_better(
    chosen: Make, change: float, verdict: str, recommended: bool, advice: str
):
    of_y = (-4.0 + change, "better", {}) if recommended else NOTHING
    directory = chosen({(16, "x"): GAIN, (66, "y"): of_y})
    rows = pd.read_csv(directory / "contrasts.csv")
    more = rows.query("a == 'y' and metric == 'mmd' and kind == 'confirm'")
    values = {"value_b": 0.008, "difference": change / 1000, "low": (change - 1) / 1000, "high": (change + 1) / 1000}
    more = more.assign(kind="more evaluations", b="x", nfe_b=16, verdict=verdict, recommended=False, **values)
    pd.concat([rows, more]).to_csv(directory / "contrasts.csv", index=False)
    assert read_page(directory).advice == advice


def test_the_default_is_that_of_the_same_evaluations(chosen: Make):
    page = read_page(chosen({(16, "x"): NOTHING, (66, "y"): (-0.5, NOTHING[1], {"nfe_a": 65})}))
    assert dict(page.facts)["Cost"].startswith("66 evaluations per image")


def test_a_failed_control_leaves_no_advice(chosen: Make):
    directory = chosen({(16, "x"): GAIN}, control="failed")
    rows = pd.read_csv(directory / "contrasts.csv")
    passed = rows[rows["kind"] == "control"].assign(verdict="passed", p_value=0.9)
    pd.concat([rows, passed]).to_csv(directory / "contrasts.csv", index=False)
    page = read_page(directory)
    assert page.failed and page.headline.startswith("No verdict. The A/A test failed") and page.advice == ""
    assert page.curves is None and "In your code" not in dict(page.facts)


@pytest.mark.parametrize(("given", "trained", "says"), [
    (True, "sigmabench", "3 other networks chose one setting per question; then"),
    (False, "others", "This network chose among 3 settings; then"),
])  # fmt: skip
def test_the_page_says_who_chose(chosen: Make, given: bool, trained: str, says: str):
    directory = chosen({(16, "x"): GAIN}, given=given)
    table = pd.read_csv(directory / "table.csv")
    table.assign(trained_by=trained).to_csv(directory / "table.csv", index=False)
    assert dict(read_page(directory).facts)["Fixed"].startswith(says)


@pytest.mark.parametrize("helps", [True, False])
def test_noise_levels_answers_for_the_levels_first_and_shows_what_is_advised(chosen: Make, helps: bool):
    duels = {}
    for name, choice, said in (("m", "parameterisation", not helps), ("x", "train_noise", helps)):
        change, verdict, _ = GAIN if said else NOTHING
        duels[66, name] = change, verdict, {"choice": choice, "eta_a": 0, "budget": ""}
    directory = chosen(duels, "noise_levels")
    table = pd.read_csv(directory / "table.csv").assign(weighting="karras", p_mean=0, p_std=1)
    table["train_noise"] = table["setting"].map({"x": "vp"}).fillna("edm")
    table["parameterisation"] = table["setting"].map({"m": "mixture-input"}).fillna("preconditioned")
    table.to_csv(directory / "table.csv", index=False)
    pictures = table.groupby("setting")["samples_id"].first()
    (directory / "images" / f"{pictures['m']}.png").unlink()  # then the four of the table are shown
    page = read_page(directory)
    questions = [row.cells[0] for row in page.tables[0].rows]
    assert questions == ["sampled with eta 0, output", "sampled with eta 0, noise levels"]
    shown = [(picture.title, picture.name) for picture in page.pictures]
    code = dict(page.facts)["In your code"].text
    if helps:
        assert (
            page.headline == f"x is better than base. {SIZE}." and page.advice == "Sampled with eta 0, train with vp."
        )
        assert shown[1] == ("Use", pictures["x"]) and "denoise(x, sigma)" in code
    else:
        assert page.lead == "No change of noise levels is confirmed to help."
        assert page.advice.endswith(f"(--parameterisations mixture-input). With m, {SIZE}.")
        assert shown == [("Default", pictures["base"]), ("Use", f"{pictures['m']}-4")]
        assert code.startswith("mixture = TiedMixture.fit(images)")


def test_a_page_says_that_nothing_was_confirmed(sweep: Make):
    page = read_page(sweep({"8 evaluations": {"base": BASE, "x": BETTER}}, "schedules"))
    assert page.lead == WON and page.caveats[0] == "What was chosen was not confirmed."


def test_conditions_have_the_formulas_of_what_is_compared(sweep: Make):
    info = {
        "formulas": {"linear": "even steps in sigma", "euler": "x <- `x`", "mine": ""},
        "commit": "a1",
        "dirty": True,
    }
    details = read_page(sweep({"8 evaluations": {"base": BASE, "x": NOT}}, "schedules", info)).details
    assert dict(details)["Versions"].startswith("commit a1 with changes")
    formulas = [("linear", "even steps in sigma"), ("eta (the sampler euler)", "x <- x")]
    assert [pair for pair in details if pair[0].startswith("Formula")] == [(f"Formula: {a}", b) for a, b in formulas]


def test_tune_says_that_the_time_was_too_short(folder: Make):
    text = "No verdict. The time was up: 4 runs were not begun. The same command continues from what is stored."
    assert read_page(folder("tune", {"runs_not_begun": 4})).headline == text


def test_tune_shows_code_of_the_settings_file(chosen: Make):
    directory = chosen({(16, "x"): GAIN}, "tune")
    (directory / "export").mkdir()
    (directory / "export" / "x.py").write_text("print('<x>')")
    one = {"budget": 16, "setting": "x", "exports": {"diffusers": "export/x.py", "torch": "export/x.py"},
           "not_compared": {"diffusers": "it is absent"}, "no_exports": {"other": "no such sampler"}}  # fmt: skip
    (directory / "settings.json").write_text(json.dumps({"settings": [one]}))
    titles = [code.title.removeprefix("16 evaluations, x: ") for code in write_report(directory).codes]
    assert titles == ["torch", "diffusers (not compared with our samples: it is absent)", "no code for other"]
    assert "print(&#39;&lt;x&gt;&#39;)" in (directory / "report.html").read_text(encoding="utf-8")


def test_run_is_a_score_next_to_that_of_real_images(sweep: Make, folder: Make):
    page = read_page(sweep({"one": {"eta 1": BASE}}, "run"))
    assert page.headline == "eta 1 has FD 12.0; real images have 0.0." and not page.figures
    assert [figure.value for figure in page.key_figures] == ["12.0", "12.0", "66", "5 × 500"]
    assert len(page.key_figures[0].bars) == 6
    assert read_page(folder("beta", {"experiment": "run"})).headline == "No score. No run succeeded."


@pytest.fixture
def score(sweep: Make) -> Callable[..., Page]:
    """The page on sets of images."""

    def read(sets: dict[str, Any], ends: Any = (0.5, 2), **facts: Any) -> Page:
        directory = sweep({"sets": {"first": BASE, **sets}}, "score", {"score": facts}, holds_for=1)
        lines = [f"digits,{name},{metric},{value},{ends[0] * value},{ends[1] * value}"
                 for name, value in {"first": 0.012, "x": 0.008}.items() if name in ("first", *sets)
                 for metric in ("mmd", "fd")]  # fmt: skip
        (directory / "scores.csv").write_text("\n".join(["features,setting,metric,value,low,high", *lines]))
        return read_page(directory)

    return read


X = "Yes. x lowers MMD ×1000 from 12.0 to 8.0 (difference −4.0; −5.0 to −3.0)."


@pytest.mark.parametrize(("sets", "answer"), [
    ({"x": BETTER}, X),
    ({"x": BETTER, "y": NOT, "z": WORSE}, f"{X} z: farther. y: no difference detected."),
    ({"y": NOT, "z": WORSE}, "No. z raises MMD ×1000 from 12.0 to 14.0 (difference 2.0; 1.0 to 3.0). y: no difference "
     "detected."),
    ({"y": NOT}, "No difference detected. first and y: MMD ×1000 12.0 and 11.5 (difference −0.5; −1.5 to 0.5)."),
    ({"w": (9.0, "better", 0), "x": BETTER}, f"{X} w: closer too."),
    ({}, "first has MMD ×1000 12.0 (95 % interval 6.0 to 24.0); 500 real images: 0.1."),
], ids=["two", "three", "worse and tie", "tie", "two better", "one"])  # fmt: skip
def test_score_says_something_of_each_set(score: Callable[..., Page], sets: dict[str, Any], answer: str):
    page = score(sets, pairs="names", warnings=["x has copies"])
    assert page.headline == answer and page.warnings == ["x has copies."] and len(page.tables) == 1
    assert len(page.tables[0].rows) == 1 + len(sets)
    assert sets or page.key_figures[-1].value == "500"
    facts = {"Real images": "MMD ×1000 0.1 (FD 0.0)", "Sets × images": f"{1 + len(sets)} × 500, paired by name",
             "Sure?": "95 % interval: where the difference of many such images lies; can detect 2.0"}  # fmt: skip
    assert dict(page.facts) == (facts if sets else {})


@pytest.mark.parametrize(("high", "says"), [(0.4, "as near as real images (at most 4.8)"), (0, "no distance detected")])
def test_one_score_whose_interval_reaches_0_is_words(score: Callable[..., Page], high: float, says: str):
    assert score({}, ends=(-0.1, high)).headline == f"first: MMD ×1000 {says}; 500 real images: 0.1."


def test_a_reader_who_subtracts_in_the_table_of_score_gets_the_difference_beside_it(score: Callable[..., Page]):
    table = score({"first": (12.04, "", 0.0), "x": (8.06, "better", 0.0)}).tables[0]
    heads = [column.head for column in table.columns]
    values = [row.cells[heads.index("MMD ×1000")] for row in table.rows]
    change = table.rows[0].cells[heads.index("Difference in MMD ×1000")]
    assert values == ["8.06", "12.04"] and change.startswith("−3.98 (")


@pytest.fixture
def samplers(folder: Make) -> Callable[..., Page]:
    """A result of check-sampler: kind, limit, and ratio with 28 steps (0.9 without one) of each sampler."""

    def read(**known: tuple[Any, ...]) -> Page:
        verdicts = [
            {"sampler": name, "group": "Samplers of this package", "kind": kind, "how": "impulses", "seconds": 2.0,
             "sentence": f"{kind}: it tends to {limit}; more.", "limit_ratio": limit, "limit_mean_error": 0.0,
             "left_over": 0.02, "order": 1.0, "declared": 1, "on_purpose": name.startswith("meant")}
            for name, (kind, limit, *_) in known.items()
        ]  # fmt: skip
        budgets = [
            {"sampler": name, "n_steps": n, "data_std": std, "ratio": [*row, 1 - 2.8 / n if std == 1 else 1.0][2]}
            for name, row in known.items() for n in (28, 400) for std in (1.0, 0.5, 0.01)
        ]  # fmt: skip
        return write_report(folder("check_sampler", {"question": "Do they?"}, verdicts=verdicts, budgets=budgets))

    return read


def test_several_samplers_are_counted_and_drawn(samplers: Callable[..., Page]):
    page = samplers(euler=("right", 1.0), heun=("right", 1.001, 0.7), dpm=("wrong limit", 0.8), odd=("order lost", ""),
                    noisy=("noise left over", 1.005, ""), huge=("wrong limit", 9e9),
                    slow=("not decided", 1.02))  # fmt: skip
    assert page.headline == "4 of 7 samplers have a fault; 1 is not decided." and page.question == "Do they?"
    assert [figure.value for figure in page.key_figures] == ["4 of 7", "20 %"]
    assert page.also.startswith("Wrong limit (2): Images have less contrast") and "Order lost (1): " in page.also
    fault, unknown, right = page.figures[0].sections
    assert [section.title for section in (fault, unknown, right)] == ["Fault", "Not decided", "Right"]
    assert fault.lines[0].value == "9,000,000,000.000" and fault.lines[0].bar.high == 100  # at the edge
    assert {line.label: (line.value, line.word, line.bar.look, len(line.bar.marks)) for line in fault.lines[1:]} == {
        "dpm": ("0.800", "wrong limit", "worse", 3), "odd": ("none", "order lost", "not", 2),
        "noisy": ("1.005", "noise 0.020", "not", 1),
    }  # fmt: skip
    assert [line.label for line in right.lines] == ["euler", "heun"]


@pytest.mark.parametrize(("row", "values", "lines"), [
    (("right", 1.0), ["1.000", "0.900", "0.993", "1.0"], ["28 steps", "400 steps"]),
    (("right", ""), ["none", "0.900", "0.993", "1.0"], ["28 steps", "400 steps"]),
    (("right", "", ""), ["none", "1.0"], []),
])  # fmt: skip
def test_one_sampler_is_shown_by_its_steps(samplers: Any, row: Any, values: list[str], lines: list[str]):
    page = samplers(euler=row)
    assert page.headline == f"Right: it tends to {row[1]}; more."
    assert [figure.value for figure in page.key_figures] == values
    assert [line.label for figure in page.figures for line in figure.lines] == lines
