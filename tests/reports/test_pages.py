"""Pages on numbers that are chosen: first screens, as texts beside what they are made of; then what is a page's own."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from edits import edit
from tables import cells

from reports.facts import describe_names
from reports.figures import Canvas, draw_curves, draw_errors, style, svg
from reports.page import Page
from reports.render import read_page, write_report
from reports.results import read as read_result

Make = Callable[..., Path]
FIRST_SCREENS = tomllib.loads(Path(__file__).with_name("first_screens.toml").read_text(encoding="utf-8"))


def describe_first_screen(page: Page) -> str:
    """The verdict, whose lead is bold, and what stands around it; the rows of figures and of the first table."""
    lines = [f"**{page.lead}** {page.verdict}"]
    lines += [line for line in page.text[1:] if line[0] != " "]
    lines += [f"code: {fact.text}" for term, fact in page.facts if term == "In your code"]
    lines += [f"picture: {picture.title}: {picture.label}" for picture in page.pictures[1:]]
    if page.curves:
        lines.append("evaluations: " + ", ".join(evaluations for evaluations, _, _ in page.curves.columns))
    for section in (section for figure in page.figures[:1] for section in figure.sections):
        lines.append(f"figure: {section.title}")
        lines += [f"  {line.label}: {line.value} ({line.interval}) {line.word}" for line in section.lines]
    for table in [*page.tables[:1], *page.folded[-1:]]:
        names = (f"**{row.name}**" if row.best else row.name for row in table.rows)
        lines.append(f"table: {table.title}: {' | '.join(names)}")
    return "\n".join(lines)


def edited(make: Make, case: dict[str, Any], **more: Any) -> Page:
    """The page on a result that is made with the arguments of a case, after its edits."""
    words = {name: value for name, value in case.items() if name not in ("edits", "facts", "says")}
    directory = make(**words, **more)
    for change in case.get("edits", ()):
        edit(directory, **change)
    return read_page(directory)


@pytest.fixture
def named_snippets(monkeypatch: pytest.MonkeyPatch):
    """The code for a setting is its name."""
    monkeypatch.setattr("reports.snippets.write_sampling", lambda row: row["setting"])


@cells(FIRST_SCREENS)
@pytest.mark.usefixtures("named_snippets")
def test_the_first_screen(row: str, cell: str, request: pytest.FixtureRequest):
    case = FIRST_SCREENS[row][cell]
    page = edited(request.getfixturevalue(row), case)
    assert describe_first_screen(page) == case["says"].strip("\n")
    stated = dict([*page.details, *page.facts])
    assert {term: stated.get(term, "") for term in case.get("facts", ())} == case.get("facts", {})


def test_the_first_screen_of_beta_has_two_lines_and_the_best_of_both_kinds(beta: Make):
    best = [(8, -0.7, "no difference detected"), (16, 7.6, "worse"), (66, -6.4, "better")]
    directory = beta(best=best, more=[(66, -6.4, "better")])
    values = {"recall": 0.757, "seconds": 3.0, "memorised": -0.01, "device": "a CPU", "schedule": "vp"}
    edit(directory, "table", **values, shared_device=False)
    edit(directory, "table", "setting == 'with 66'", recall=0.9, seconds=4.0)
    edit(directory, "contrasts", "a == 'with 66' and metric == 'mmd'", lower=1)
    page = write_report(directory)
    assert [picture.label for picture in page.pictures[1:]] == [
        "without 8, 8 evaluations", "with 8, 8 evaluations"
    ]  # fmt: skip
    facts = dict(page.facts)
    assert facts["In the images"] == "Visible noise 0.000; recall 0.76; near copies 0 %"
    assert facts["Cost"] == "8 evaluations per image on the vp schedule, 0.006 seconds (a CPU)"
    assert page.caveats == [] and page.curves is not None
    without, having = page.curves.curves
    assert (without.name, having.name) == ("without fresh noise", "with fresh noise")
    assert [len(line.dots) for line in page.curves.curves] == [3, 3], "of what was confirmed"
    heights = [dot[1] for dot in having.dots]
    assert [y for _, y in having.corners] == [y for y in heights for _ in "12"], "steps from dot to dot"
    assert heights[2] < heights[0] < heights[1] and having.end == "MMD ×1000 5.6 (FD 5.6)"
    shown = "with 66, 66 evaluations: MMD ×1000 5.6 (FD 5.6); visible noise 0.000"
    html = (directory / "report.html").read_text(encoding="utf-8")
    assert having.titles[2] == shown and f'title="{shown}"' in html
    assert "within 8 <small>(−0.7; −1.7 to 0.3)</small>" in html and "1 of 5 networks lower" in html
    assert len(having.explored) == 6, "networks that chose saw as many images"
    assert page.curves.columns[0] == ("8", "no difference detected", ["no difference detected", "−0.7", "−1.7 to 0.3"])
    assert [verdict for _, verdict, _ in page.curves.columns[1:]] == ["worse", "better"]
    (ax,) = draw_curves(page.curves).axes
    assert [list(line.get_xdata()) for line in ax.lines].count([x for x, _ in having.corners]) == 2, "and explored"


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


NAME = "<script>alert(1)</script>|*_`[x](y)\n#"


def test_no_name_is_markup(beta: Make):
    info = {"notes": [NAME], "versions": {NAME: NAME}, "machine": NAME, "commit": NAME}
    write_report(directory := beta(a=NAME, info=info))
    html, text = ((directory / f"report.{end}").read_text(encoding="utf-8") for end in ("html", "md"))
    assert html.count('class="ticks"') == 2 and "<span>Difference in MMD ×1000, 95 % interval</span>" in html
    assert "<script" not in html and html.count("&lt;script&gt;") > 5 and "http" not in html.split("</style>")[1]
    prose = "".join(text.split("```")[::2])  # figures are text as it is
    assert "<script" not in prose and r"\*\_\`\[x\](y) \#" in prose
    rows = [line.replace(r"\|", "").count("|") for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 10 and {*rows} == {4, 6, 8}  # pictures, comparisons and settings


BASE = (12.0, "", 0.0)


@pytest.mark.parametrize("groups", [1, 2, 5])
def test_at_most_25_comparisons_are_shown_and_the_advised_one_is(sweep: Make, groups: int):
    names = {f"x{at}": (5.0 + at / 10, "no difference detected", 0) for at in range(29)}
    settings = {"base": BASE, **names, "x29": (11.0, "better", 0)}
    page = read_page(sweep({f"g{at}": settings for at in range(groups)}))
    lines = [[line.label for line in section.lines] for section in page.figures[0].sections]
    assert len(lines) == groups and sum(map(len, lines)) == 25 and max(map(len, lines)) - min(map(len, lines)) <= 1
    assert all(labels[:2] == ["x29", "x0"] for labels in lines)
    assert len(page.tables[0].rows) == 25 and sum(row.best for row in page.tables[0].rows) == groups
    assert sum(len(table.rows) for table in page.folded) == 25
    assert page.note.startswith(f"{31 * groups - 25} settings with higher scores are left out. ")


def test_the_names_of_what_is_shown_and_of_what_was_confirmed_are_explained(chosen: Make):
    info = {"formulas": {"vp": "VP. Source.", "res-2m": "RES.", "linear": "even. b", "heun": "Heun."}}
    folder = chosen([(8, "vp(30, 0.03, end=0), res-2m", -4.0, "better")], info=info)
    edit(folder, "table", "setting == 'vp(30, 0.03, end=0), res-2m'", schedule="vp", sampler="res-2m")
    said = describe_names(read_result(folder), [pd.Series({"schedule": "linear", "setting": "linear, euler"})])
    assert said[:4] == ["linear: even.", "vp: VP.", "res-2m: RES.", "end=0: then a last step to 0."]


def test_the_code_is_that_of_the_training_if_trainings_are_compared(chosen: Make):
    directory = chosen([(66, "m", -4.0, "better"), (66, "x", -0.5, "no difference detected")], "noise_levels")
    training = {"train_noise": "edm", "weighting": "karras", "p_mean": 0, "p_std": 1}
    edit(directory, "table", **training, parameterisation="preconditioned")
    edit(directory, "table", "setting == 'm'", parameterisation="mixture-input")
    names = pd.read_csv(directory / "table.csv").groupby("setting")["samples_id"].first()
    name, base = names["m"], names["base"]
    (directory / "images" / f"{name}.png").unlink()  # then the four of the table are shown
    page = read_page(directory)
    assert dict(page.facts)["In your code"].text.startswith("mixture = TiedMixture.fit(images)")
    assert [(picture.title, picture.name) for picture in page.pictures] == [
        ("In use", base), ("Use", f"{name}-4"),
    ]  # fmt: skip


def test_conditions_have_the_formulas_of_what_is_compared(sweep: Make):
    info = {
        "formulas": {"linear": "even steps in sigma", "euler": "x <- `x`", "mine": ""},
        "commit": "a1",
        "dirty": True,
    }
    details = read_page(
        sweep({"8 evaluations": {"base": BASE, "x": (11.5, "no difference detected", 0.0)}}, "schedules", info)
    ).details
    assert dict(details)["Versions"].startswith("commit a1 with changes")
    formulas = [("linear", "even steps in sigma"), ("eta (the sampler euler)", "x <- x")]
    assert [pair for pair in details if pair[0].startswith("Formula")] == [(f"Formula: {a}", b) for a, b in formulas]


def test_run_is_a_score_next_to_that_of_real_images(sweep: Make):
    page = read_page(sweep({"one": {"eta 1": BASE}}, "run"))
    assert page.headline == "eta 1 has FD 12.0; real images have 0.0." and not page.figures
    assert [figure.value for figure in page.key_figures] == ["12.0", "12.0", "66", "5 × 500"]
    assert len(page.key_figures[0].bars) == 6


def test_a_reader_who_subtracts_in_the_table_of_score_gets_the_difference_beside_it(score: Make):
    table = read_page(score({"first": (12.04, "", 0.0), "x": (8.06, "better", 0.0)})).tables[0]
    heads = [column.head for column in table.columns]
    values = [row.cells[heads.index("MMD ×1000")] for row in table.rows]
    change = table.rows[0].cells[heads.index("Difference in MMD ×1000")]
    assert values == ["8.06", "12.04"] and change.startswith("−3.98 (")


@pytest.fixture
def samplers(folder: Make) -> Callable[..., Page]:
    """A result of check-sampler: outcome, limit, and ratio with 28 steps (0.9 without one) of each sampler."""

    def read(**known: tuple[Any, ...]) -> Page:
        verdicts = [
            {"sampler": name, "group": "Samplers of this package", "kind": outcome, "how": "impulses", "seconds": 2.0,
             "sentence": f"{outcome}: it tends to {limit}; more.", "limit_ratio": limit, "limit_mean_error": 0.0,
             "left_over": 0.02, "order": 1.0, "declared": 1, "on_purpose": name.startswith("meant")}
            for name, (outcome, limit, *_) in known.items()
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
