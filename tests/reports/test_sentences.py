"""Each sentence, for each verdict."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from reports import sentences
from reports.pages.beta import page as beta
from reports.results import read_run
from reports.schema import NOT_YET


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
        ("better", "Yes.", "eta 1 (beta 0.391) scores better than eta 0 (beta 0). KD"),
        ("worse", "No.", "eta 1 (beta 0.391) scores worse than eta 0 (beta 0). KD"),
        ("undecided: the metrics disagree", "Undecided.", "the metrics disagree on eta 1 (beta 0.391) against eta 0"),
        (
            "no clear difference",
            "No detectable difference.",
            "there is no detectable difference in KD between eta 1 (beta 0.391) and",
        ),
    ],
)
def test_the_answer_says_the_verdict(directory: Path, change: Any, verdict: str, lead: str, text: str) -> None:
    change("contrasts.csv", set_kind("primary", verdict=verdict))
    run = read_run(directory)
    assert beta.opening(run).lead == lead and "at the same cost" in beta.opening(run).verdict
    assert beta.answer(run)[0].text.startswith(f"KD decides: {text}")


def answer(directory: Path) -> str:
    """The whole answer."""
    return " ".join(paragraph.text for paragraph in beta.answer(read_run(directory)))


def last(directory: Path) -> str:
    """Its last paragraph."""
    return beta.answer(read_run(directory))[-1].text


def test_the_answer_names_its_numbers_and_conditions(directory: Path) -> None:
    text = answer(directory)
    for fact in ("95 % interval −4.02 to −2.98", "2 networks, 500 samples each", "unet-16", "512,000 images seen",
                 "mnist5k", "KD ×1000 is 5.32 with eta 1 and 8.82 with eta 0",
                 "That is 7.91 and 11.56 above real images (floor 4.00, repeats 3.70 to 4.40)",
                 "holds for these 2 networks; others may differ"):  # fmt: skip
        assert fact in text


@pytest.mark.parametrize(
    ("verdict", "clear", "text"),
    [
        ("better", "True", "Putting noise back lowers FD from 15.56 to 11.91 at the same cost."),
        ("better", "False", "Putting noise back lowers KD ×1000 from 8.82 to 5.32 at the same cost."),
        ("no clear difference", "True", "Putting noise back changes KD ×1000 from 8.82 to 5.32 at the same cost."),
        ("undecided: the metrics disagree", "True", "KD and FD disagree on whether putting noise back helps at the"),
        (NOT_YET, "False", "The samples are not yet images, with or without noise."),
    ],
    ids=["FD alone shows it", "only KD shows it", "not detectable", "disagreement", "not yet images"],
)
def test_the_verdict_fits_in_a_sentence(directory: Path, change: Any, verdict: str, clear: str, text: str) -> None:
    change("contrasts.csv", set_kind("primary", verdict=verdict, clear=clear))
    first = beta.opening(read_run(directory))
    assert first.verdict.startswith(text)
    assert len(f"{first.lead} {first.verdict}".split()) <= 25


@pytest.mark.parametrize(
    ("values", "size"),
    [
        ({"se": "0.0004", "low": "-0.001", "high": "0.0006"}, "a difference of 1.1 in KD ×1000 (80 % power)."),
        (
            {"se": "0.0004", "low": "-0.001", "high": "0.0006", "interval": "t over 2 networks", "holds_for": ""},
            "a difference of 1.4 in",
        ),
        ({"se": "", "low": "-0.001", "high": "0.0006"}, ""),
        ({"se": "0.0004", "low": "0.001", "high": "0.002"}, ""),
    ],
    ids=["jackknife", "t over 2", "no standard error", "networks disagree"],
)
def test_no_detectable_difference_says_what_was_detectable(
    directory: Path, change: Any, values: dict[str, str], size: str
) -> None:
    """Half width 0.8, plus 0.4 times t's 80 % quantile: 0.851 at 38 degrees of freedom, 1.376 at 1."""
    change("contrasts.csv", set_kind("primary", verdict="no clear difference", networks_agree="False", **values))
    text = answer(directory)
    assert f"This run could have detected {size}" in text if size else "could have detected" not in text


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"low": "-1", "high": "1"}, "Reason: the interval of KD contains 0."),
        ({"networks_agree": "False"}, "Reason: the networks disagree on the sign in KD."),
        ({"low": "", "high": ""}, "Reason: contrasts.csv does not mark the difference as clear."),
    ],
    ids=["interval", "networks", "neither"],
)
def test_no_clear_difference_says_why(directory: Path, change: Any, values: dict[str, str], reason: str) -> None:
    change("contrasts.csv", set_kind("primary", verdict="no clear difference", **values))
    assert reason in beta.answer(read_run(directory))[0].text


def test_one_network_makes_no_claim_about_networks(directory: Path, change: Any) -> None:
    values = {"n_networks": "1", "networks_agree": "False", "verdict": "no clear difference", "interval": "jackknife",
              "holds_for": "1"}  # fmt: skip
    change("contrasts.csv", set_kind("primary", **values))
    assert "one network, 500 samples (unet-16" in last(directory) and "networks" not in answer(directory)
    assert last(directory).endswith("Intervals: jackknife. The result holds for this network; others may differ.")


def test_five_networks_speak_of_networks_in_general_if_none_was_chosen_on_them(directory: Path, change: Any) -> None:
    change("contrasts.csv", set_kind("primary", n_networks="5", interval="t over 5 networks", holds_for=""))
    assert "holds for" not in answer(directory) and "may differ" not in answer(directory)
    assert last(directory).endswith("data mnist5k). Intervals: t over 5 networks.")
    assert beta.opening(read_run(directory)).lead == "Yes."
    made = "delete-group jackknife over images"
    change("contrasts.csv", set_kind("primary", n_networks="5", interval=made, holds_for="5"))
    assert last(directory).endswith("over images. The result holds for these 5 networks; others may differ.")


def test_one_repeat_of_the_floor_has_no_spread_and_none_is_not_mentioned(directory: Path, change: Any) -> None:
    change("floors.csv", lambda frame: frame.assign(repeats="1"))
    assert "That is 5.31 and 8.81 above real images (floor 0.01). FD" in answer(directory)
    (directory / "floors.csv").unlink()
    assert "floor" not in answer(directory) and "eal images" not in answer(directory)


def test_without_a_contrast_there_is_no_verdict(directory: Path, change: Any) -> None:
    change("contrasts.csv", lambda frame: frame[frame["kind"] != "primary"])
    change("table.csv", lambda frame: frame.assign(status=frame["status"].mask(frame["mode"] == "primary", "failed")))
    [sentence] = beta.answer(read_run(directory))
    assert sentence.lead == "No verdict"
    assert sentence.text.endswith("0 of 8 primary runs succeeded.")


def test_equal_alpha_names_the_price(directory: Path) -> None:
    first, last = beta.equal_alpha(read_run(directory))
    assert "beta 0.3 takes 132 evaluations instead of 66 (66 more, 2.0 times the cost)." in first.text
    assert last.text.startswith("beta 0.4 scores better than beta 0. beta 0.4 takes 454")


@pytest.mark.parametrize(
    ("in_set", "use"),
    [
        ([], "At 8 evaluations: eta 0. At 66 evaluations: eta 1."),
        (["eta 0", "eta 1"], "At 66 evaluations: eta 0 and eta 1 cannot be told from the best."),
        (["none"], "At 8 and 66 evaluations: no setting gives images yet."),
    ],
    ids=["one setting each", "two tie", "no images yet"],
)
def test_the_budget_line(directory: Path, change: Any, in_set: list[str], use: str) -> None:
    if in_set:
        change("best_sets.csv", lambda frame: frame.assign(in_set=frame["setting"].isin(in_set).astype(str)))
    [line] = sentences.budget(read_run(directory))
    assert use.removeprefix("At 66") in line.text
    change("best_sets.csv", lambda frame: frame.head(0))
    assert sentences.budget(read_run(directory)) == []


def test_the_control_must_find_nothing(directory: Path, change: Any) -> None:
    assert "no detectable difference, as it should be" in sentences.control(read_run(directory))[0].text
    one_metric = {"kind": "control", "metric": "fd"}
    change(
        "contrasts.csv",
        lambda frame: frame.assign(
            clear=frame["clear"].mask((frame[list(one_metric)] == one_metric).all(axis=1), "True")
        ),
    )
    run = read_run(directory)
    assert sentences.control(run)[0].lead == "A/A control failed"
    assert beta.opening(run).lead == "Not established."
    assert "the A/A control shows a difference" in beta.opening(run).warnings[0]
    change("contrasts.csv", lambda frame: frame[frame["kind"] != "control"])
    assert sentences.control(read_run(directory))[0].text.startswith("not measured")


def test_a_contrast_that_was_not_fixed_beforehand_says_so(directory: Path, change_info: Any) -> None:
    assert "fixed before the run. All other comparisons are exploration" in last(directory)
    change_info(fixed_beforehand=False)
    assert "not its ladder or training noise distribution. It is exploration" in last(directory)


def test_networks_that_are_missing_are_named(directory: Path, change: Any) -> None:
    change("contrasts.csv", lambda frame: frame.assign(n_planned="3"))
    assert "2 networks (3 were planned), 500 samples each" in last(directory)
    change("contrasts.csv", lambda frame: frame.assign(n_planned="2"))
    assert "planned" not in answer(directory)
