"""Each sentence, for each verdict."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from reports import sentences
from reports.pages import beta
from reports.results import read_run


def set_kind(kind: str, **values: str) -> Any:
    """A change of contrasts.csv: these columns of this kind."""

    def how(frame: pd.DataFrame) -> pd.DataFrame:
        for name, value in values.items():
            pooled = (frame["train_seed"] == "") if name == "verdict" else True
            frame.loc[(frame["kind"] == kind) & pooled, name] = value
        return frame

    return how


@pytest.mark.parametrize(
    ("verdict", "lead", "text"),
    [
        (
            "better",
            "Yes, for these 2 networks on this ladder",
            "eta 1 (beta 0.391) scores better than eta 0 (beta 0): KD",
        ),
        ("worse", "No, for these 2 networks on this ladder", "eta 1 (beta 0.391) scores worse than eta 0 (beta 0): KD"),
        (
            "undecided: the metrics disagree",
            "Undecided, for these 2 networks on this ladder",
            "the metrics disagree on eta 1 (beta 0.391) against",
        ),
        (
            "no clear difference",
            "Not clearly, for these 2 networks on this ladder",
            "there is no clear difference between eta 1 (beta 0.391) and",
        ),
    ],
)
def test_the_answer_says_the_verdict(directory: Path, change: Any, verdict: str, lead: str, text: str) -> None:
    change("contrasts.csv", set_kind("primary", verdict=verdict))
    sentence = beta.answer(read_run(directory))[0]
    assert sentence.lead == lead
    assert sentence.text.startswith(f"with 66 evaluations on both sides, {text}")


@pytest.mark.parametrize("fact", ["95 % interval −4.02 to −2.98", "500 samples a side", "each of 2 networks", "unet-16",
                                  "512,000 images seen", "mnist5k",
                                  "3.0 against 3.9 times the floor (4.00, repeats 3.70 to 4.40)",
                                  "real images score −0.33 to 0.41", "conditional"])  # fmt: skip
def test_the_answer_names(directory: Path, fact: str) -> None:
    assert fact in beta.answer(read_run(directory))[0].text


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"low": "-1", "high": "1"}, "because the interval of the kernel distance contains 0"),
        ({"networks_agree": "False"}, "because the networks disagree on the sign in kernel distance"),
        ({"low": "", "high": ""}, "because the rule of contrasts.csv does not call it clear"),
    ],
    ids=["interval", "networks", "neither"],
)
def test_no_clear_difference_says_why(directory: Path, change: Any, values: dict[str, str], reason: str) -> None:
    change("contrasts.csv", set_kind("primary", verdict="no clear difference", **values))
    assert reason in beta.answer(read_run(directory))[0].text


def test_one_network_makes_no_claim_about_networks(directory: Path, change: Any) -> None:
    values = {"n_networks": "1", "networks_agree": "False", "verdict": "no clear difference", "interval": "jackknife"}
    change("contrasts.csv", set_kind("primary", **values))
    first, second = beta.answer(read_run(directory))
    assert "from one network (unet-16" in first.text
    assert "networks" not in first.text
    assert second.text.endswith("Intervals: jackknife. Other networks may answer differently.")


def test_five_networks_are_not_conditional(directory: Path, change: Any) -> None:
    change("contrasts.csv", set_kind("primary", n_networks="5", interval="t over 5 networks"))
    first, second = beta.answer(read_run(directory))
    assert "conditional" not in first.text
    assert second.text.endswith("explore. Intervals: t over 5 networks.")
    assert first.lead == "Yes, on this ladder"


def test_one_repeat_of_the_floor_has_no_spread(directory: Path, change: Any) -> None:
    change("floors.csv", lambda frame: frame.assign(repeats="1"))
    assert "where real images score 0.01; FD" in beta.answer(read_run(directory))[0].text


def test_without_a_floor_nothing_is_said_about_it(directory: Path) -> None:
    (directory / "floors.csv").unlink()
    text = beta.answer(read_run(directory))[0].text
    assert "floor" not in text
    assert "real images" not in text


def test_without_a_contrast_there_is_no_verdict(directory: Path, change: Any) -> None:
    change("contrasts.csv", lambda frame: frame[frame["kind"] != "primary"])
    change("table.csv", lambda frame: frame.assign(status=frame["status"].mask(frame["mode"] == "primary", "failed")))
    [sentence] = beta.answer(read_run(directory))
    assert sentence.lead == "No verdict"
    assert sentence.text.endswith("0 of 8 primary runs succeeded.")


def test_equal_alpha_names_the_price(directory: Path) -> None:
    first, last = beta.equal_alpha(read_run(directory))
    assert "beta 0.3 takes 132 evaluations instead of 66, 66 more (2.0 times the cost)" in first.text
    assert last.text.startswith("beta 0.4 scores better than beta 0; beta 0.4 takes 454")


@pytest.mark.parametrize(
    ("verdict", "use"),
    [
        ("better", "eta 0 at 8 evaluations; eta 1 at 66 evaluations"),
        (
            "worse",
            "eta 0 (the eta 1 that one half of the images chose scored worse on the other half) at 66 evaluations",
        ),
        ("no clear difference", "no clear difference between eta 1 and eta 0 at 66 evaluations"),
        (
            "undecided: the metrics disagree",
            "undecided between eta 1 and eta 0 (the metrics disagree) at 66 evaluations",
        ),
        ("baseline chosen", "eta 0 at 8 and 66 evaluations"),
    ],
)
def test_the_budget_line(directory: Path, change: Any, verdict: str, use: str) -> None:
    def how(frame: pd.DataFrame) -> pd.DataFrame:
        rows = (frame["kind"] == "best") & (frame["nfe_a"] == "66") & (frame["train_seed"] == "")
        assert rows.sum() == 2
        return frame.assign(verdict=frame["verdict"].mask(rows, verdict))

    change("contrasts.csv", how)
    [line] = sentences.budget(read_run(directory))
    assert use in line.text
    assert line.text.endswith("(chosen on half of the images, measured against eta 0 on the other half).")


def test_without_a_choice_the_budget_line_is_exploration(directory: Path, change: Any) -> None:
    change("contrasts.csv", lambda frame: frame[frame["kind"] != "best"])
    [line] = sentences.budget(read_run(directory))
    assert line.text.startswith(
        "nothing clearly better than eta 0 at 8 evaluations; eta 1 at 66 evaluations (no setting"
    )
    change("contrasts.csv", lambda frame: frame[frame["kind"] != "pareto"])
    assert sentences.budget(read_run(directory)) == []


def test_the_control_must_find_nothing(directory: Path, change: Any) -> None:
    assert "no clear difference, as it should be" in sentences.control(read_run(directory))[0].text
    one_metric = {"kind": "control", "metric": "fd"}
    change(
        "contrasts.csv",
        lambda frame: frame.assign(
            clear=frame["clear"].mask((frame[list(one_metric)] == one_metric).all(axis=1), "True")
        ),
    )
    run = read_run(directory)
    assert sentences.control(run)[0].lead == "A/A control failed"
    assert beta.answer(run)[0].lead.startswith("Not established, since the A/A control failed, for these 2 networks")
    change("contrasts.csv", lambda frame: frame[frame["kind"] != "control"])
    assert sentences.control(read_run(directory))[0].text.startswith("not measured")


def test_a_contrast_that_was_not_fixed_beforehand_says_so(directory: Path) -> None:
    assert "fixed beforehand; all others explore" in beta.answer(read_run(directory))[1].text
    info = json.loads((directory / "run.json").read_text())
    (directory / "run.json").write_text(json.dumps(info | {"fixed_beforehand": False}))
    assert "not its ladder or training law: it explores" in beta.answer(read_run(directory))[1].text


def test_networks_that_are_missing_are_named(directory: Path, change: Any) -> None:
    change("contrasts.csv", lambda frame: frame.assign(n_planned="3"))
    assert "each of 2 networks (3 were planned)" in beta.answer(read_run(directory))[0].text
    change("contrasts.csv", lambda frame: frame.assign(n_planned="2"))
    assert "planned" not in beta.answer(read_run(directory))[0].text
