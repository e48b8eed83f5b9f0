"""Whatever happens to a run directory, a report is written without foreign markup, or one error says what is wrong.

A fixed seed damages copies of a run: odd cells and columns, swapped and missing columns, cut files, odd JSON, and odd
things where files should be. Figures are drawn, but not laid out, which takes most of the time.
"""

import json
import os
import random
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from run_files import Page, edit

from reports import render
from reports.results import digests
from reports.schema import COLUMNS

HERE = Path(__file__).parent
N_DAMAGES = 6  # of each run
CELLS = ("", "nan", "inf", "1e308", "-1e308", "9e99", "-5", "0", "1e-300", "abc", "True", "ok", "failed", "kd", "best",
         "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "$\\frac{1", "]](javascript:x) | `",
         "é\u202e\x07", "a" * 3000, "{x} %s", "\n", "control", "undecided: the metrics disagree", "no verdict",
)  # fmt: skip
VALUES = (None, -1, 1e308, float("nan"), 10**400, [], {}, [1], [None, "<b>"], {"<i>": ["<b>"]}, {"../x": 3}, True,
          {"table.csv": "0"}, "<script>alert(1)</script>", "a\nb")  # fmt: skip
TEXTS = {name for name, column in COLUMNS.items() if column.kind == "text"}
TAGS = set(
    "html head meta title style body h1 h2 h3 p strong em code a img figure figcaption table thead tbody tr th td "
    "details summary dl dt dd main header footer section div span ul li nav small br".split()
    + "button input label output svg script".split()
)


def damage(directory: Path, rng: random.Random) -> str:
    """Damages one file of a run, and says how."""
    path = rng.choice(sorted([*directory.glob("*.csv"), directory / "run.json"]))
    if path.name == "run.json":
        info = json.loads(path.read_text(encoding="utf-8"))
        key = rng.choice([*info, "files", "commit", "machine"])
        info[key] = rng.choice(VALUES)
        path.write_text(json.dumps(info), encoding="utf-8")
        return f"run.json: {key}={info[key]!r:.40}"
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    one, other = rng.sample(list(frame), 2)
    value, ways = rng.choice(CELLS), ["cell"] * 4 + ["column"] * 3 + ["swap", "drop", "no rows", "some", "twice", "cut"]
    match way := rng.choice(ways):
        case "cell":
            frame.loc[rng.randrange(max(len(frame), 1)), one] = value
        case "column":
            frame[one] = value
        case "swap":
            frame[[one, other]] = frame[[other, one]]
        case "drop":
            frame = frame.drop(columns=one)
        case "no rows":
            frame = frame.head(0)
        case "some":
            frame = frame.sample(len(frame) // 2, random_state=rng.randrange(100))
        case "twice":
            frame = pd.concat([frame, frame])
    text = frame.to_csv(index=False)
    path.write_text(text[: rng.randrange(len(text))] if way == "cut" else text, encoding="utf-8")
    return f"{path.name}: {way} {one} {other} {value!r:.40}"


def check(directory: Path, what: str) -> bool:
    """Whether a report was written. Fails if it was neither written nor refused, or if it holds foreign markup."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of matplotlib, on odd axes
            page = render.write_report(directory)
    except (ValueError, OSError) as error:
        assert str(error).strip(), what
        return False
    except Exception as error:
        raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error
    tags = Page(page).tags
    assert {tag for tag, _ in tags} <= TAGS, what
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on")], what
    assert len(Page(page).all("script")) <= 2, what  # its own script, and the data of the explorer
    return True


@pytest.mark.slow
@pytest.mark.parametrize("run", ["run-run", "run-ladders"])
def test_a_damaged_table_gives_a_report_or_one_error(run: str, tmp_path: Path, drawn: None) -> None:
    written = []
    for number in range(N_DAMAGES):
        directory = Path(shutil.copytree(HERE / run, tmp_path / str(number)))
        written.append(check(directory, f"{number}: {damage(directory, random.Random(number))}"))
    assert {True, False} == set(written)  # some damage is harmless, and some is refused


@pytest.mark.slow
def test_text_of_a_run_is_never_markup(directory: Path, change_info: Any, drawn: None) -> None:
    """Every cell of every column of text, in every table, and every text of run.json."""
    bad = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    keep = set("features status metric verdict train_seed sample_seed run_id samples_id kind mode".split())
    for path in directory.glob("*.csv"):
        edit(path, lambda frame: frame.where((frame == "") | ~frame.columns.isin(TEXTS - keep), bad))
    words = dict.fromkeys(("preset", "question", "command", "commit", "machine"), bad)
    change_info(**words, notes=[bad, [bad]], versions={bad: bad})
    assert check(directory, "markup")
    assert "&lt;script&gt;" in (directory / "report.html").read_text(encoding="utf-8")


Make = Callable[[Path], object]
ODD: dict[str, Make] = {
    "nothing": lambda path: None,
    "a folder": Path.mkdir,
    "a loop": lambda path: path.symlink_to(path.name),
    "a pipe": os.mkfifo,
    "bytes": lambda path: path.write_bytes(b"\xff\xfe\x00" * 30),
}


@pytest.mark.parametrize("make", ODD.values(), ids=ODD)
@pytest.mark.parametrize("name", ["run.json", "table.csv"])
def test_what_is_no_file_is_refused(name: str, make: Make, directory: Path) -> None:
    (directory / name).unlink()
    make(directory / name)
    assert not check(directory, name)


@pytest.mark.parametrize("make", [ODD["a loop"], ODD["a pipe"]], ids=["a loop", "a pipe"])
def test_what_is_in_the_way_of_a_report_is_replaced(make: Make, copied: Callable[[str], Path], drawn: None) -> None:
    directory = copied("run-run")
    for name in ("report.html", "report.md"):
        make(directory / name)
    assert check(directory, "in the way") and (directory / "report.html").is_file()
    assert not list(directory.glob(".*"))


@pytest.mark.slow
def test_an_edited_table_of_which_no_page_can_be_made_is_refused(
    directory: Path, change_info: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reports.pages.beta.opening", lambda run: 1 / 0)
    with pytest.raises(ValueError, match=r"no page can be made of its tables: ZeroDivisionError: division by zero \("):
        render.write_report(directory)
    change_info(files=digests(directory))
    with pytest.raises(ZeroDivisionError):  # nothing was edited, so this is a bug, and its traceback is wanted
        render.write_report(directory)
