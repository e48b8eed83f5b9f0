"""Published results are small, rendered again byte for byte, and their first screens equal their tables.

The numbers are computed here from the CSV files with pandas alone.
"""

import math
import re
import shutil
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from edits import edit
from PIL import Image

from reports.formats import capital
from reports.render import PAGES, TRAINING, publish_result, read_page, trains_alike, write_report
from reports.results import read_info

PUBLISHED = Path(__file__).parents[2] / "reports" / "published"
INFOS = {path.parent.name: read_info(path) for path in PUBLISHED.glob("*/run.json")}
ASKS = {name: info["experiment"] for name, info in INFOS.items() if info["experiment"] in PAGES}
COMPARED = sorted(name for name, asks in ASKS.items() if asks in ("beta", "schedules", "noise_levels"))


def test_every_result_is_here_small_and_has_a_report():
    files = [path for path in PUBLISHED.rglob("*") if path.is_file()]
    assert len(files) <= 533 and sum(path.stat().st_size for path in files) <= 6_400_000
    assert {path.parent.name for path in PUBLISHED.glob("*/report.html")} == {*ASKS}  # others are of old commands
    assert {*ASKS.values()} == {
        "beta", "check_sampler", "schedules", "noise_levels", "factors", "sweep",
    }  # fmt: skip


@pytest.mark.slow(20)
@pytest.mark.parametrize("name", sorted(ASKS))
def test_a_published_report_is_rendered_again_byte_for_byte(name: str, again: dict[str, Path]):
    for file in ("report.md", "report.html"):
        assert (again[name] / file).read_bytes() == (PUBLISHED / name / file).read_bytes(), file
    assert len((again[name] / "report.html").read_bytes()) <= 235_000
    assert (again[name].parent / "index.html").read_bytes() == (PUBLISHED / "index.html").read_bytes()


def table(name: str, file: str) -> pd.DataFrame:
    path = next((PUBLISHED / name).glob(f"{file}.csv*"))
    return pd.read_csv(path, keep_default_na=False, na_values=[""], low_memory=False)


def rounded(value: float, digits: int = 1) -> str:
    """A number as a page shows it: more decimals only if it would become 0."""
    digits = next((more for more in range(digits, 7) if round(value, more)), digits)
    return f"{value:,.{digits}f}".replace("-", "−")


def first_screen(name: str) -> str:
    """What stands above the first heading; of a page with facts, that of its figure. Without code and drawn figures."""
    text = (PUBLISHED / name / "report.md").read_text(encoding="utf-8").replace("\\", "")
    parts = text.split("\n## ")[: 2 if "\n- **Data**: " in text else 1]
    return re.sub(r"```.*?```|`[^`]*` commit \w+", "", "\n## ".join(parts), flags=re.DOTALL)


def headline(name: str) -> pd.DataFrame:
    """What a page says in numbers: of `beta` the comparison that was fixed beforehand, of others the advised one.

    Indexed by metric. Without an advised comparison with the setting in use it is the lowest of these.
    """
    rows = table(name, "contrasts")
    rows = rows[rows["b_is"] == ("rival" if ASKS[name] == "beta" else "in use")]
    answers = table(name, "answers").astype({"advised": str})
    use = answers[answers["advised"] == "True"].sort_values("value_a")
    if ASKS[name] == "beta":
        rows = rows[rows["family"] == "primary"]
    elif len(use):
        rows = rows[rows["a"].eq(use["use"].iloc[0]) & rows["nfe_a"].eq(use["nfe"].iloc[0])]
    else:
        rows = rows[rows["a"] == answers.loc[answers["value_a"].idxmin(), "a"]]
    return rows.set_index("metric").loc[["mmd", "fd"]]


def subtract(values: list[Decimal]) -> bool:
    """Whether a reader who subtracts the first from the second gets the third."""
    return values[1] - values[0] == values[2]


def numbers(name: str) -> dict[str, str]:
    """The numbers of the contrast of the verdict as text: in MMD, and FD of both sides."""
    contrast = headline(name)
    row = contrast.loc["mmd"]
    values = 1000 * row[["value_b", "value_a", "difference", "low", "high"]].astype(float)
    most = max(1, 2 - math.floor(math.log10((values["high"] - values["low"]) / 2)))  # three digits of the interval
    numbers_of = {d: [Decimal(f"{value:.{d}f}") for value in values.iloc[:3]] for d in range(1, most + 1)}
    digits = next((d for d, shown in numbers_of.items() if subtract(shown)), most)
    out = {key: rounded(value, digits) for key, value in values.items()}
    out |= {f"fd_{side}": rounded(contrast.loc["fd", f"value_{side}"]) for side in "ab"}
    lower = f"; {row['lower']:.0f} of {row['n']:.0f} networks lower"
    images = table(name, "table").query("section == @row.section")["n_samples"].iloc[0]
    return out | {"images": f"{images:,.0f}", "networks": f"{row['n']:.0f}", "lower": lower}


@pytest.mark.parametrize("name", [name for name in COMPARED if ASKS[name] != "beta"])
def test_the_first_screen_equals_the_tables(name: str):
    n = numbers(name)
    screen = first_screen(name)
    word = "to" if f"from {n['value_b']} to {n['value_a']}" in screen else "and"  # where nothing is detected
    interval = f"{n['difference']}; {n['low']} to {n['high']}{n['lower']}"
    change = f"{n['value_b']} {word} {n['value_a']} (difference {interval}; FD {n['fd_b']} {word} {n['fd_a']})"
    facts = [f"**Networks**: {n['networks']} networks (", f"distance from {n['images']} images of each network"]
    assert [text for text in (change, *facts) if text not in screen] == []


@pytest.mark.parametrize("name", [name for name in COMPARED if ASKS[name] == "beta"])
def test_every_number_of_the_first_screen_of_beta_is_in_its_tables(name: str):
    every = table(name, "table")
    runs = every.query("section in ['primary', 'confirm']").copy()
    info = INFOS[name]
    day = datetime.fromisoformat(every["finished_at"].max())
    seconds = info.get("total_seconds", info.get("wall_seconds", 0))
    means = runs.groupby(["section", "budget", "setting"], dropna=False).mean(numeric_only=True)
    floors = table(name, "floors").set_index("metric")["mean"]
    pooled = table(name, "contrasts").query("metric == 'mmd'")
    choices = table(name, "choices").dropna(subset="networks")
    barred = choices[choices["barred"].astype(str) == "True"]
    networks = pooled["n"]
    differences = pooled[["difference", "low", "high", "detectable"]]
    shown = [  # the format of a page -> numbers
        ("{:.3f}", [*means["visible_noise"], *runs["visible_noise"]]),
        ("{:.2f}", means["recall"]),
        ("{:.3g}", [*means["seconds"] / means["n_samples"], *100 * means.filter(like="memorised").clip(0).stack()]),
        ("{:,.0f}", runs[["images_seen", "n_samples", "n_reference"]].stack()),
        ("{:.0f}", [*pooled[["within", "nfe_a", "nfe_b"]].stack(), *networks]),
        (
            "{:.0f}",
            [1000, 95, 0, seconds / 60, day.day, day.year, len(choices), choices["networks"].max(), len(barred)],
        ),
        ("{:.1f}", [seconds / 3600]),
    ]
    scores = [*1000 * means["mmd"], *means["fd"], *1000 * runs["mmd"], *1000 * floors["mmd"], *floors["fd"]]
    scores += [*1000 * differences.stack(), *1000 * barred["mmd"].nsmallest(1)]
    known = {form.format(value) for form, values in shown for value in values} | {*map(rounded, scores)}
    known |= {text for value in numbers(name).values() for text in value.split(" to ")}
    names = pd.concat([every["setting"], every["schedule"], every["data"]]).dropna().unique()
    known |= {*re.findall(r"[\d.]+", " ".join([*names, info.get("machine", "")]))}
    known.add(str(info["statistics"]["visible_noise"]))
    tokens = re.findall(r"(?<![\w.])−?\d+(?:,\d{3})*(?:\.\d+)?", re.sub("<[^>]*>", "", first_screen(name)))
    assert len(tokens) > 25 and {*tokens} - known == set()


def test_the_first_screen_of_the_samplers_equals_the_tables():
    verdicts = table("samplers", "verdicts")
    screen = first_screen("samplers")
    right, unknown = (verdicts["kind"] == outcome for outcome in ("right", "not decided"))
    meant = verdicts["on_purpose"] & ~right
    faults = verdicts.loc[~(right | unknown | meant), "kind"].value_counts()
    few = table("samplers", "budgets").query("n_steps == 28 and data_std > 0.1")
    off = (100 * (few["ratio"] - 1).abs()).groupby(few["sampler"]).max()
    median = off.reindex(verdicts.loc[right, "sampler"]).median()
    expected = [
        f"**{faults.sum()} of {len(verdicts)} samplers have a fault; {meant.sum()} more are meant not to tend to "
        f"the data; {right.sum()} tend to it; {unknown.sum()} is not decided.**",
        f"| **{faults.sum()} of {len(verdicts)}**<br>", f"**{rounded(median, 0)} %**<br>median error",
        *(f"{count} {outcome}" for outcome, count in faults.items()),
        *(f"{capital(outcome)} ({count}): " for outcome, count in faults.items()),
        f"with a fault in the noise levels ({(right & verdicts['level_faults'].notna()).sum()}): ",
    ]  # fmt: skip
    assert len(verdicts) > 100 and [text for text in expected if text not in screen] == []


@pytest.mark.slow
def test_publishing_copies_what_renders_the_same_page(beta: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("reports.render.LARGE", 500)
    directory = beta(info={"commit": "a1"})
    (directory / "images" / "other.png").touch()
    publish_result(directory, out := directory.parent / "out")
    files = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert {*files} >= {"report.md", "run.json", "table.csv", "contrasts.csv.xz", "floors.csv", "images/real.png"}
    assert not {*files} & {"images/other.png", "contrasts.csv"} and b'href="contrasts.csv.xz"' in files["report.html"]
    write_report(out)
    assert all((out / name).read_bytes() == content for name, content in files.items())
    with pytest.raises(ValueError, match=r"out: it exists; choose a new folder$"):
        publish_result(directory, out)


def test_networks_of_another_commit_are_published_if_the_code_that_trains_is_the_same():
    assert trains_alike("HEAD", "HEAD^{commit}") and not trains_alike("HEAD", "b2")
    assert all((PUBLISHED.parents[1] / path).exists() for path in TRAINING)


def test_publishing_takes_no_file_from_elsewhere(beta: Any, tmp_path: Path):
    """A name in a table that is a path, and links, as in a result that somebody else sent."""
    made = beta(info={"commit": "a1"})
    secret = tmp_path / "secret.png"
    Image.new("L", (128, 128)).save(secret)
    shutil.copy(secret, tmp_path / "secret-4.png")
    text = (made / "table.csv").read_text()
    noisy, quiet = (pd.read_csv(made / "table.csv").query(f"eta == {eta}")["samples_id"].iloc[0] for eta in (1, 0))
    (made / "table.csv").write_text(text.replace(noisy, "../../secret"))
    link = made / "images" / f"{quiet}-4.png"
    link.unlink()
    link.symlink_to(secret)
    publish_result(made, out := tmp_path / "a" / "b" / "out")
    files = {path.name for path in (tmp_path / "a").rglob("*.png")}
    assert f"{quiet}.png" in files and not files & {f"{quiet}-4.png", "secret.png", "secret-4.png"}
    assert [picture.name for picture in read_page(out).pictures] == ["real", quiet]


@pytest.mark.parametrize(("info", "trained", "message"), [
    ({"commit": "a1", "dirty": True}, "a1", "its code had changes since commit a1"),
    ({"commit": "a1"}, "a1 with changes", "commit a1 with changes trained its networks, not a1"),
    ({"commit": "a1"}, "b2", "commit b2 trained its networks, not a1"),
    ({}, "", "an installed version made it, which names no commit"),
    ({"commit": "a1", "dirty": False}, "a1", ""), ({"commit": "a1"}, "", ""),
])  # fmt: skip
def test_only_results_of_a_clean_commit_are_published(beta: Any, info: Any, trained: str, message: str):
    directory = edit(beta(info=info), "table", trained_commit=trained)
    out = directory.parent / "out"
    if message:
        with pytest.raises(ValueError, match=message):
            publish_result(directory, out)
    else:
        publish_result(directory, out)
    assert out.exists() == (not message)
