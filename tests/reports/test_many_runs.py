"""`python -m reports index`, `site` and `compare`: all runs of a folder on pages, and what changed between two."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from run_files import edit

from reports.compare import compare
from reports.index import write_index
from reports.render import write_report
from reports.site import CARD, write_site

HERE = Path(__file__).parent


def copy(folder: Path, name: str, run: str = "run") -> Path:
    return Path(shutil.copytree(HERE / run, folder / name))


def test_the_index_has_every_result_and_says_which_cannot_be_read(tmp_path: Path) -> None:
    images = copy(tmp_path, "deep/one") / "images"
    for name in pd.read_csv(images.parent / "table.csv")["samples_id"].dropna():
        shutil.copy(images / "real.png", images / f"{name}.png")
    (tmp_path / "deep" / "one" / "report.html").touch()
    copy(tmp_path, "two", "run-ladders")
    broken = copy(tmp_path, "three <b>")
    (broken / "table.csv").write_text("experiment\nbeta\n")
    page = write_index(tmp_path).read_text(encoding="utf-8")
    assert page.count("<article") == 3 and "3 results" in page
    assert "Yes. Putting noise back lowers FD from 15.56 to 11.91 at the same cost." in page
    assert 'href="deep/one/report.html"' in page and "two (no report yet)" in page
    assert "table.csv: missing columns" in page and "three &lt;b&gt;" in page and "<b>" not in page
    assert "2026-11-20" in page and page.count("data:image/png") == 1
    assert write_index(tmp_path).read_text(encoding="utf-8") == page
    with pytest.raises(FileNotFoundError, match="no result folder below it"):
        write_index(images)


@pytest.mark.slow
def test_a_site_has_the_index_and_each_report_with_its_card(tmp_path: Path, drawn: None) -> None:
    one, out = copy(tmp_path, "runs/deep/one"), tmp_path / "site"
    report = write_report(one)
    index = write_site(tmp_path / "runs", out, "https://me.example/noise/")
    assert index == out / "index.html" and 'href="deep/one/report.html"' in index.read_text(encoding="utf-8")
    page = (out / "deep" / "one" / "report.html").read_text(encoding="utf-8")
    assert 'property="og:image" content="https://me.example/noise/deep/one/card.png"' in page
    assert '<a href="../../index.html">' in page and "og:image" not in report.read_text(encoding="utf-8")
    with Image.open(out / "deep" / "one" / CARD) as card:
        assert card.size == (1200, 630)
    assert {path.name for path in out.rglob("*") if path.is_file()} == {
        ".nojekyll", "index.html", "report.html", "card.png"
    }  # fmt: skip
    with pytest.raises(ValueError, match="site: it exists; choose a new folder"):
        write_site(tmp_path / "runs", out)
    with pytest.raises(ValueError, match=r"url='me\.example': must start with https:// or http://"):
        write_site(tmp_path / "runs", tmp_path / "other", "me.example")
    report.write_text("<title>old</title>")
    with pytest.raises(ValueError, match="an earlier version wrote it; run `python -m reports"):
        write_site(tmp_path / "runs", tmp_path / "other")


def lines(a: Path, b: Path, title: str) -> list[list[str]]:
    return next((table[1:] for name, table in compare(a, b) if name.startswith(title)), [])


@pytest.mark.slow
def test_runs_are_compared_setting_by_setting(tmp_path: Path) -> None:
    a, b = copy(tmp_path, "a"), copy(tmp_path, "b")
    assert lines(a, b, "Settings") == [["none", "", ""]]
    assert {line[5] for line in lines(a, b, "Quality")} == {"the same samples"}

    def changed(frame: pd.DataFrame) -> pd.DataFrame:
        kd = [str(float(text) - 0.002) if text else "" for text in frame["kd"]]
        se = frame["kd_se"].mask(frame["kd_se"] != "", "0.0003")
        return frame.assign(samples_id="other" + frame["samples_id"], kd=kd, kd_se=se, images_seen="1024000")

    edit(b / "table.csv", changed)
    edit(a / "table.csv", lambda frame: frame.assign(kd_se=frame["kd_se"].mask(frame["kd_se"] != "", "0.0004")))
    assert ["images seen in training", "512,000", "1,024,000"] in lines(a, b, "Settings")
    found = next(line for line in lines(a, b, "Quality") if line[:2] == ["primary", "eta 0"])
    # 2 networks: se of a mean 0.0004 / sqrt(2) and 0.0003 / sqrt(2), so 0.5 / sqrt(2) x t(76 df) = 0.70
    assert found[2:6] == ["66", "8.82", "6.82", "−2.00 (−2.70 to −1.30)"]


def test_what_cannot_be_compared_says_why(tmp_path: Path) -> None:
    a, b = copy(tmp_path, "a"), copy(tmp_path, "b")
    edit(b / "table.csv", lambda frame: frame.replace({"mode": {"pareto": "other"}}).assign(n_samples="200"))
    assert lines(a, b, "Quality") == []
    reasons = {line[2] for line in lines(a, b, "Not compared")}
    assert reasons == {"not comparable: samples differ", "only in A", "only in B"}
    edit(a / "table.csv", lambda frame: frame.assign(features_id="000000000000", n_samples="200"))
    content = "code or weights of the feature space"
    assert lines(a, b, "Not compared")[0][2] == f"not comparable: {content} differ"
    assert content in [line[0] for line in lines(a, b, "Settings that differ")]


def test_only_runs_of_one_experiment_are_compared(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is a run of beta, .* one of ladders"):
        compare(copy(tmp_path, "a"), copy(tmp_path, "b", "run-ladders"))


def test_a_run_that_is_not_to_be_trusted_is_marked_in_the_index(tmp_path: Path) -> None:
    directory = copy(tmp_path, "one", "run-noise_levels")
    assert json.loads((directory / "run.json").read_text())["experiment"] == "noise_levels"
    assert 'class="warning">Do not rely on this result' in write_index(tmp_path).read_text(encoding="utf-8")
