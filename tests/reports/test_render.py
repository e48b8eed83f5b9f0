"""The written files."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from run_files import Page, edit

from reports import render
from reports.document import About, Opening
from reports.pages import beta
from reports.pages._beta_cost import section as cost_section
from reports.render import footer, markdown, write_report
from reports.results import Run, read_run

HERE = Path(__file__).parent
MODES = ("control", "same-alpha", "same-ladder", "pareto")


@pytest.mark.parametrize("end", ["", "-ladders", "-noise_levels", "-run", "-tune"])
def test_text_is_as_committed(end: str, text_of: Any, copied: Callable[[str], Path], as_committed: Any) -> None:
    as_committed(text_of(copied(f"run{end}")), HERE / f"expected{end}.md")


@pytest.mark.slow
def test_page_needs_no_network(report: Path) -> None:
    page = Page(report)
    links = [value for _, attributes in page.tags for name in ("src", "href") if (value := attributes.get(name))]
    assert len(links) > 10
    assert all(link.startswith(("data:image/png;base64,", "data:application/gzip;base64,", "#")) for link in links)
    assert not {"link", "iframe"} & {tag for tag, _ in page.tags}
    text = report.read_text(encoding="utf-8")
    assert len(page.all("svg")) > 5
    assert all(link.startswith(("#", "data:")) for link in re.findall(r'href="([^"]*)"', text))
    assert not re.search(r"""url\((?![#$])|@import|<dc:date|fetch\(|XMLHttpRequest|https?://(?!www\.w3\.org)""", text)


def test_ids_are_unique_and_the_script_is_small(report: Path) -> None:
    ids = [str(attributes["id"]) for _, attributes in Page(report).tags if "id" in attributes]
    assert len(ids) == len(set(ids)) > 20
    script = (Path(render.__file__).parent / "templates" / "report.js").read_bytes()
    assert script.decode().strip() in report.read_text(encoding="utf-8") and len(script) < 30_000


def test_page_is_accessible_and_small(report: Path) -> None:
    page = Page(report)
    assert page.all("html") == [{"lang": "en"}]
    assert (
        "<title>Is beta &gt; 0 better than beta = 0? · mnist5k · network “unet-16”, 512,000 images seen · digits"
        in report.read_text(encoding="utf-8")
    )
    assert '<p class="verdict"><strong>Yes.</strong> Putting' in report.read_text(encoding="utf-8")
    assert "<strong>A/A control:</strong> eta 0" in report.read_text(encoding="utf-8")
    assert all(image["alt"] for image in page.all("img")) and all(figure["aria-label"] for figure in page.all("svg"))
    assert report.stat().st_size < 1.5e6
    targets = {attributes.get("id") for _, attributes in page.tags}
    assert {link[1:] for link in (str(link["href"]) for link in page.all("a")) if link.startswith("#")} <= targets


def test_every_figure_says_the_values_of_its_points(report: Path) -> None:
    page = report.read_text(encoding="utf-8")
    drawn = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    texts = [re.findall(r'<circle class="tip"[^>]*><title>([^<]*)</title>', svg) for svg in drawn]
    assert len(texts) > 5 and all(texts)
    assert all(re.search(r"\d", text) for titles in texts for text in titles)
    assert "tip:" not in page
    files = list((report.parent / "figures").glob("*.svg"))
    assert len(files) == len(drawn) and not any("<title>" in path.read_text(encoding="utf-8") for path in files)


def test_messages_are_escaped(report: Path) -> None:
    page = report.read_text(encoding="utf-8")
    assert "<out of memory>" not in page
    assert "RuntimeError: &lt;out of memory&gt; | 3 GiB" in page
    assert r"RuntimeError: &lt;out of memory&gt; \| 3 GiB" in report.with_suffix(".md").read_text(encoding="utf-8")


def test_markdown_marks_are_escaped() -> None:
    assert markdown("a*b_c\n|`[x] <b> #") == r"a\*b\_c \|\`\[x\] &lt;b&gt; \#"


def test_failed_and_impossible_runs_are_listed(report: Path) -> None:
    text = report.with_suffix(".md").read_text(encoding="utf-8")
    assert "1 failed run" in text.split("##")[0]
    assert "- Failed runs: 1" in text
    assert "eta=2.5: at most 2.30 on a ladder of 66 steps" in text


@pytest.mark.slow
@pytest.mark.parametrize("left_out", [*MODES, "all of them"])
def test_missing_modes_are_left_out(left_out: str) -> None:
    run, gone = read_run(HERE / "run"), MODES if left_out == "all of them" else (left_out,)
    kept = {name: frame[~frame["mode"].isin(gone)] for name, frame in (("rows", run.rows), ("c", run.contrasts))}
    run = Run(run.directory, run.info, kept["rows"], {**run.tables, "contrasts": kept["c"]})
    assert beta.opening(run).lead == "Yes."
    cost, quality = cost_section(run, beta.TITLES), beta.quality(run)
    assert (cost is None) == (left_out == "all of them") == (quality is None)
    assert ("budgets" in {getattr(block, "name", "") for block in cost.blocks} if cost else False) == (
        "pareto" not in gone
    )
    assert ("same-alpha" in getattr(quality.blocks[0], "alt", "") if quality else False) == ("same-alpha" not in gone)


def test_only_the_table_is_needed(directory: Path, text_of: Any) -> None:
    for name in ("contrasts.csv", "floors.csv", "histograms.csv", "losses.csv"):
        (directory / name).unlink()
    text = text_of(directory)
    assert (
        "**No verdict.** eta 1 was not compared with eta 0 on the same ladder: 8 of 8 primary runs succeeded." in text
    )
    assert "Every run." in text


def test_nothing_succeeded(directory: Path, change: Any, text_of: Any) -> None:
    change("table.csv", lambda frame: frame.assign(status="failed", kd="", fd="", error="boom"))
    change("contrasts.csv", lambda frame: frame.head(0))
    text = text_of(directory)
    assert "0 of 8 primary runs succeeded" in text
    assert "Every run." not in text
    assert text.count("boom") > 10


@pytest.mark.slow
def test_inception_features_make_it_fid(directory: Path, change: Any, text_of: Any) -> None:
    for name in ("table.csv", "contrasts.csv", "floors.csv"):
        change(name, lambda frame: frame.assign(features="inception-v3-compat"))
    text = text_of(directory)
    assert "lowers FID from 15.56 to 11.91" in text and "| KID ×1000 | s.e. | FID |" in text


@pytest.mark.parametrize(
    ("commit", "dirty", "shown"),
    [
        ("a1b", False, "a1b"),
        ("a1b", True, "a1b, with uncommitted changes"),
        ("a1b", None, "a1b, unknown whether there were uncommitted changes"),
        (None, None, "unknown"),
    ],
)
def test_provenance_says_whether_code_was_committed(
    directory: Path, commit: str | None, dirty: bool | None, shown: str
) -> None:
    run = read_run(directory)
    run.info.update(commit=commit, dirty=dirty)
    lines = dict(footer(run))
    assert lines["Commit"] == shown
    assert lines["Versions"] == "python 3.11.7, torch 2.13.0, torch-fidelity 0.4.0, sigmabench 0.1.0"
    assert lines["Runs finished"] == f"{min(run.ok()['finished_at'])} to {max(run.ok()['finished_at'])}"
    assert lines["Failed runs"] == "1"


def test_one_setting_says_what_failed_and_what_speaks_against_it(copied: Callable[[str], Path]) -> None:
    directory = copied("run-run")
    edit(directory / "table.csv", lambda frame: frame.assign(grain="0.05", status=["failed", "ok"]))
    opening = render.read_opening(directory)[1]
    assert opening.status[-1] == "1 failed run"
    assert [warning.partition(" ")[0] for warning in opening.warnings] == ["Very", "Grain:"]


def test_a_name_breaks_no_picture_in_markdown(tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    opening = Opening("", pictures=[(tmp_path / "a.png", 'a "b" | c')])
    page = {"about": About("?"), "opening": opening, "sections": [], "footer": []}
    text = render.write_template(tmp_path / "report.md", "report.md.j2", page).read_text(encoding="utf-8")
    assert 'alt="a &#34;b&#34; &#124; c"' in text


def test_an_unknown_experiment_has_no_report(directory: Path, change_info: Any) -> None:
    change_info(experiment="gamma")
    message = r"^run\.json: experiment='gamma': this version has no page for it, only for beta, .*, tune; a report.html"
    with pytest.raises(ValueError, match=message):
        write_report(directory)


def test_a_broken_picture_is_named(directory: Path) -> None:
    picture = next((directory / "images").glob("*.png"))
    picture.write_bytes(picture.read_bytes()[:40])
    with pytest.raises(ValueError, match=rf"^images/{picture.name}: it cannot be read as a picture"):
        write_report(directory)


@pytest.mark.slow
def test_pictures_outside_the_run_are_not_shown(directory: Path, change: Any, text_of: Any) -> None:
    (directory / "images").rename(directory / "elsewhere")
    (directory / "images").mkdir()
    change("table.csv", lambda frame: frame.assign(samples_id="../elsewhere/" + frame["samples_id"]))
    assert "elsewhere" not in text_of(directory).split("## Tables")[0]
