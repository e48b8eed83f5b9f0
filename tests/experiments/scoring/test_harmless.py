"""`score --margin`: statuses, sentences, prompts, a reference, the result folder and its page."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from gates import MARGIN, N, measure_change, run, save
from tables import cells

from experiments import assert_harmless, compare, harmless
from experiments.run.cache import Cache
from experiments.scoring import equivalence as module
from experiments.scoring.groups import groups_of
from experiments.scoring.inputs import Input, open_input
from experiments.user.json_io import read_json
from reports.render import read_page

pytestmark = pytest.mark.usefixtures("here")
BY_NAME = ("--groups", "{prompt}-{seed}.png")
INDEPENDENT = "; 300 pairs, taken as independent"


def save_all(**sets: np.ndarray):
    for name, images in sets.items():
        save(Path(name), images)


@pytest.fixture
def summary(capsys: pytest.CaptureFixture[str]) -> Callable[[], dict[str, Any]]:
    """The last line of what was printed since it was last asked."""
    return lambda: json.loads(capsys.readouterr().out.splitlines()[-1])


def test_each_answer_has_its_status_and_the_margin_in_its_sentence(digits: np.ndarray, shown: np.ndarray, summary: Any):
    inverted = np.concatenate([255 - shown[:30], shown[30:]])
    half = np.concatenate([shown[: N // 2]] * 2)
    save_all(before=shown, slight=shown // 4 * 4, inverted=inverted, seeds=digits[N : 2 * N], half=half)

    answers = {}
    for after, status in {"slight": 0, "inverted": 1, "half": 1, "seeds": 3}.items():
        pairs = "none" if after == "seeds" else "auto"
        assert run("none", "before", after, *MARGIN, "--pairs", pairs, "--out", after + "-out") == status
        answers[after] = summary()

    said = {after: answer["sentence"] for after, answer in answers.items()}
    assert said["slight"].startswith("harmless: the change is smaller than replacing 1.")
    assert said["slight"].endswith(
        " % of the images could cause (95 % confidence, features digits, limit 2 %)" + INDEPENDENT
    )
    assert said["inverted"].startswith("harmful: the change is larger than replacing ")
    assert said["half"] == "harmful: more copies 50 %, limit 2 %" + INDEPENDENT
    seeds = answers["seeds"]
    assert " would decide" in said["seeds"] and seeds["needed"] > N
    assert seeds["pairs"] == "none"


@pytest.mark.parametrize(
    "after, margin, status, words",
    [
        ("grey", "auto", 1, ("harmful: ", ", limit 3 %)")),
        ("slight", "auto", 3, ("not decided: ", "replacing 48 %", ", no margin is given)", "can show 48 % at best")),
        ("slight", "0.02", 3, ("not decided: ", "can show 48 % at best; about 2", " would decide")),
        ("slight", "0.49", 0, ("harmless: ", ", limit 49 %)")),
        ("same", "auto", 3, ("not decided: 10 of 10 pairs are identical, but no margin is given",)),
    ],
)
def test_ten_pairs_can_be_harmful_and_say_what_they_can_show(
    after: str, margin: str, status: int, words: tuple[str, ...],
    digits: np.ndarray, summary: Any, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    before = digits[:10]
    change = {"grey": np.full_like(before, 128), "slight": before // 4 * 4, "same": before}[after]
    save_all(before=before, **{after: change})

    for _ in range(2 if margin == "0.49" else 1):  # the second time with stored features
        assert run("none", "before", after, "--margin", margin, "--out", "out") == status
        sentence = summary()["sentence"]
        assert [word for word in words if word not in sentence] == []
    assert caplog.messages[0] == f"{after}: 10 pairs can show 48 % at best"
    verdicts = set(pd.read_csv("out/harms.csv")["verdict"])
    assert "harmless" not in verdicts or margin != "auto"
    assert ("margin not given" in str(read_page(Path("out")).source)) == (margin == "auto")


def test_the_folder_has_the_checks_and_a_page(shown: np.ndarray, here: Path):
    after = shown.copy()
    after[::10] = 255 - after[::10]
    save_all(before=shown, after=after)

    assert run("mnist5k", "before", "after", *MARGIN, *BY_NAME, "--out", "out") == 1

    out = here / "out"
    rows = pd.read_csv(out / "harms.csv", keep_default_na=False)
    assert list(rows["check"]) == ["share in digits features", "more copies"]
    contrasts = pd.read_csv(out / "contrasts.csv")
    assert list(contrasts["metric"]) == ["mmd", "kd", "fd", "copies", "copies"]
    assert (rows["a"] == "after").all() and (rows["b"] == "before").all()
    assert {path.name for path in out.glob("*.csv")} == {"harms.csv", "contrasts.csv"}
    page = read_page(out)
    assert page.lead == "Harmful:" and page.verdict.endswith(", limit 2 %); 300 pairs of 60 groups.")
    assert [row.name for row in page.tables[1].rows][-1] == "FD"
    assert page.key_figures[1].notes[0].startswith("not: share in digits features")
    assert read_json(out / "run.json")["harmless"]["decided_by"] == "share in digits features"


def test_prompts_are_the_units_of_all_intervals_of_score(digits: np.ndarray, shown: np.ndarray):
    near = np.sort(shown.mean(axis=(1, 2)).argsort().reshape(60, 5), axis=1).ravel()
    alone, together = (
        compare(digits[N:], shown[near], shown[near] // 2, features="digits", pairs="order", groups=groups)
        for groups in (None, [*np.arange(N) // 5])
    )
    assert alone.difference.difference != together.difference.difference  # images of one prompt do not meet
    assert alone.difference.low != together.difference.low
    assert "set 1: 300 images in 60 groups, the units of intervals" in together.notes


def test_a_test_suite_gets_the_sentence(shown: np.ndarray):
    options = {"pairs": "order", "features": "digits"}
    assert_harmless(shown, shown // 2 * 2, 0.03, **options)
    message = r"harmful: the change is larger than replacing .* \(95 % confidence, features digits, limit"
    with pytest.raises(AssertionError, match=message):
        assert_harmless(shown, shown // 3, 0.03, **options)
    answer = measure_change(shown, shown // 2 * 2)
    assert (answer.margin, answer.checks[0].limit) == (None, 0.03)  # fewer than 500 pairs
    assert "lossless" not in str(answer)


def prompts(**tables: Any):
    """Files NAME.csv of these columns."""
    for name, columns in tables.items():
        pd.DataFrame(columns).to_csv(f"{name}.csv", index=False)


def test_prompts_are_read_from_folders_names_and_tables(digits: np.ndarray, here: Path):
    store = Cache(here / "store")
    images = open_input(str(save(here / "flat", digits[:20])), store)
    nested = open_input(str(save(here / "nested", digits[:20], "p{}/{}.png")), store)
    at = np.arange(20)
    names = [f"p{i // 5}-{i % 5}.png" for i in at]
    five = [*at // 5]

    def units(images: Input, groups: str | list[int]) -> list[int]:
        ids, note = groups_of(images, groups)
        assert not note
        return [*ids]

    assert units(images, BY_NAME[1]) == units(nested, "folder") == five
    prompts(prompts={"file": names, "text": at // 10}, rows={"seed": at, "prompt": at % 2})
    assert units(images, "prompts.csv:text") == [*at // 10]
    (here / "marked.csv").write_text(
        "\ufeff" + "\n".join(["file,prompt", *(f"p{i // 5}-{i % 5}.jpg,{i // 5}" for i in at[::-1])])
    )  # as a spreadsheet writes it, in another order and with names before the change
    assert units(images, "marked.csv") == five
    words = replace(images, names=tuple(f"{i}-{'red blue'.split()[i % 2]}-car" for i in at))
    assert units(words, "{seed}-{prompt}.png") == [*1 - at % 2]
    assert units(images, [*at % 3]) == [*at % 3]
    for heading in ("file_name", "filename", "image_id", "any"):  # the column whose values are the names
        prompts(reversed={"seed": at, heading: names[::-1], "prompt": five[::-1]})
        assert units(images, "reversed.csv") == five
    ids, note = groups_of(images, "rows.csv")
    assert [*ids] == [*at % 2]
    assert note.startswith("rows of rows.csv are taken in the order of the images, since no column has the names of ")


CANNOT: dict[str, dict[str, str]] = {  # what is compared -> what the error says -> the further arguments
    "none before after": {
        "real='none': only --margin needs no real images": "",
        "margin=2: it is a share of images": "--margin 2",
        "fail_if_worse": "--margin 0.02 --fail-if-worse",
        "order: pair them": "--margin 0.02 --pairs none",
        "they need pairs": "--margin 0.02 --groups {prompt}-{seed}.png --pairs none",
        **{message: f"--margin 0.02 --groups {groups}" for message, groups in {
            "lies in no folder of a prompt": "folder",
            "is not named so": "x{prompt}.png",
            "it must be folder, clips, FILE.csv": "one.csv.bak",
            "p0-0 has two prompts": "two.csv",
            "it has no row for": "few.csv",
            "have one prompt": "one.csv",
            "it cannot be read": "no.csv",
            "it has no column 'text'": "one.csv:text",
            "row 10 has no prompt": "gap.csv",
            "groups: they are 2, and an": "halves.csv",
        }.items()},
    },
    "none before": {"sets: 1 does not suit --margin": "--margin 0.02"},
    "none before fewer": {
        "49 names are in both sets": "--margin 0.02",
        "the same images in another order": "--margin 0.02 --pairs none",
    },
}  # fmt: skip


@cells(CANNOT)
def test_what_cannot_be_asked_is_one_line(row: str, cell: str, digits: np.ndarray):
    save_all(before=digits[:50], after=digits[:50], fewer=digits[:50])
    Path("fewer/p3-3.png").unlink()
    at = np.arange(50)
    names = [f"p{i // 5}-{i % 5}.png" for i in at]
    prompts(
        two={"name": [*names, names[0]], "prompt": [*at, 9]},
        few={"name": names[:9], "prompt": at[:9]},
        halves={"name": names, "prompt": at // 25},
        one={"name": names, "prompt": 1},
        gap={"name": names, "prompt": [*at[:9], None, *at[:40]]},
    )
    with pytest.raises(ValueError, match=cell) as error:
        run(*row.split(), *CANNOT[row][cell].split())
    assert "\n" not in str(error.value)


def test_a_reference_and_a_prompt_of_one_image_are_said(shown: np.ndarray):
    answer = harmless(shown, shown // 2 * 2, 0.02, range(N), reference="mnist5k", pairs="order")

    assert answer.scores is not None and answer.checks[0].check == "share in digits features"
    assert answer.scores.space.features == "digits"
    assert answer.notes[0] == "every group has one image, so images are the units of intervals"
    assert answer.verdict == "harmless"


def test_what_was_not_changed_is_said(shown: np.ndarray, summary: Any):
    save_all(before=shown, after=shown)
    Path("link").symlink_to("before")
    for other in ("before", "link"):
        with pytest.raises(ValueError, match="are one folder or file; name two"):
            run("none", "before", other, *MARGIN)
    assert run("none", "before", "after", "--margin", "0.002", "--out", "out") == 0
    answer = summary()
    assert (answer["sentence"], answer["unchanged"]) == ("harmless: 300 of 300 pairs are identical", N)
    some = np.concatenate([shown[:30] // 2, shown[30:]])
    assert "270 of 300 pairs are identical" in measure_change(shown, some, 0.05).notes
    few = measure_change(shown, some, 0.01)
    assert ", can show 1.6 % at best" in few.sentence and few.at_best == pytest.approx(4.75 / N)


def test_the_sentence_says_what_would_decide_and_percentages_are_plain():
    first = module.EquivalenceCheck("share in natural features", 0.001, 0, 0.01, 0.02, "harmless")
    answer = module.Harmless("a", "b", 0.02, "natural", (first,), 600, 600, 0, 0.0079, "names", None)
    grouped = replace(answer, checks=(replace(first, high=0.03, verdict="not decided"),), n_units=100, needed=1_501)
    assert grouped.sentence.endswith("600 pairs of 100 groups, can show 0.79 % at best; about 1,501 in 251 groups would"
                                     " decide")  # fmt: skip
    wide = replace(answer, checks=(replace(first, high=1.0, verdict="not decided"),))
    assert "not decided: the change is smaller than replacing 100 % of the images could cause (95 %" in wide.sentence
