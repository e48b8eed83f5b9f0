"""Each sentence, for each verdict."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from reports import components, openings, sentences
from reports.pages import beta
from reports.results import Run, read_run

RUN = read_run(Path(__file__).parent / "run")


def run_with(**tables: pd.DataFrame) -> Run:
    """The committed run with these tables in place of its own."""
    return Run(RUN.directory, RUN.info, RUN.rows, {**RUN.tables, **tables})


def with_contrasts(kind: str, **values: object) -> Run:
    """The committed run with these columns of the contrasts of one kind; verdicts stand in pooled rows only."""
    frame = RUN.contrasts.copy()
    for name, value in values.items():
        pooled = (frame["train_seed"] == "") if name == "verdict" else True
        frame.loc[(frame["kind"] == kind) & pooled, name] = value
    return run_with(contrasts=frame)


def pair(**values: object) -> sentences.Pair:
    """The primary contrast with these columns."""
    return sentences.pairs(with_contrasts("primary", **values).of_kind("primary"))[0]


@pytest.mark.parametrize(
    ("verdict", "clear", "lead", "text"),
    [
        ("better", True, "Yes.", "Putting noise back lowers FD from 15.56 to 11.91 at the same cost."),
        ("better", False, "Yes.", "Putting noise back lowers KD ×1000 from 8.82 to 5.32 at the same cost."),
        ("worse", True, "No.", "Putting noise back lowers FD"),
        ("not detectable", True, "Not detectable.", "Putting noise back changes KD ×1000 from 8.82 to 5.32 at the"),
        ("no verdict", False, "No verdict.", "The samples are no images, with or without noise."),
    ],
    ids=["FD alone shows it", "only KD shows it", "worse", "not detectable", "no images"],
)
def test_the_verdict_fits_in_a_sentence(verdict: str, clear: bool, lead: str, text: str) -> None:
    first = beta.opening(with_contrasts("primary", verdict=verdict, clear=clear))
    assert first.lead == lead and first.verdict.startswith(text)
    assert len(f"{first.lead} {first.verdict}".split()) <= 25


@pytest.mark.parametrize(
    ("primary", "verdicts", "says"),
    [
        ("better", ("better", "better"), " On this ladder it also beats heun and dpm++2m."),
        ("better", ("worse", "better"), " On this ladder it also beats dpm++2m. It is worse than heun."),
        ("better", ("not detectable", "no verdict"), " On this ladder it is not detectably better than heun."),
        (
            "worse",
            ("better", "not detectable"),
            " On this ladder it beats heun. It is not detectably better than dpm++2m.",
        ),
    ],
)
def test_whether_noise_beats_other_samplers_too_is_said(primary: str, verdicts: tuple[str, ...], says: str) -> None:
    run = with_contrasts("primary", verdict=primary)
    against = [
        run.of_kind("primary").assign(kind="solvers", b=name)[lambda rows: rows["train_seed"] == ""]
        for name in ("heun", "dpm++2m")
    ]
    against = [
        rows.assign(verdict=verdict, value_b=7.0, clear=verdict in ("better", "worse"))
        for rows, verdict in zip(against, verdicts, strict=True)
    ]
    first = beta.opening(run_with(contrasts=pd.concat([run.contrasts, *against])))
    assert first.verdict.endswith(f"at the same cost.{says}")
    assert first.numbers[0].notes[-1].startswith("heun 7")


@pytest.mark.parametrize(
    ("fd", "says"), [(-3.0, " But it is detectably better in FD."), (3.0, " But it is detectably worse in FD.")]
)
def test_a_metric_that_detects_what_the_deciding_one_does_not_is_named(fd: float, says: str) -> None:
    frame = RUN.contrasts.copy()
    of = frame["kind"] == "primary"
    frame.loc[of, "clear"] = False
    frame.loc[of & (frame["metric"] != "fd"), "verdict"] = "not detectable"
    frame.loc[of & (frame["metric"] == "fd"), ["difference", "clear"]] = fd, True
    assert says in beta.opening(run_with(contrasts=frame)).verdict


@pytest.mark.parametrize(("clear", "says"), [(True, " But FD says the opposite."), (False, "")])
def test_a_metric_that_says_the_opposite_is_named(clear: bool, says: str) -> None:
    frame = RUN.contrasts.copy()
    frame.loc[(frame["kind"] == "primary") & (frame["metric"] == "fd"), ["difference", "clear"]] = 3.0, clear
    first = beta.opening(run_with(contrasts=frame))
    assert first.verdict.endswith(f"Putting noise back lowers KD ×1000 from 8.82 to 5.32 at the same cost.{says}")
    assert first.lead == "Yes."


@pytest.mark.parametrize(
    ("limits", "text"),
    [((0.0006, 0.0029), ": could have detected 1.0 (0.6 to 2.9)"), ((None, None), ": could have detected 1.0")],
)
def test_what_was_not_detectable_says_what_could_have_been(limits: tuple[float | None, ...], text: str) -> None:
    row = sentences.head(pair(verdict="not detectable"))
    row = pd.Series(dict(row) | {"detectable": 0.001, "detectable_low": limits[0], "detectable_high": limits[1]})
    assert sentences.verdict(row) == f"not detectable{text}"
    assert sentences.verdict(pd.Series(dict(row) | {"verdict": "better"})) == "better"


@pytest.mark.parametrize(
    ("fd", "starts"),
    [
        (43.9, []),
        (44.0, ["Far from real images: FD 44.00, floor 4.00."]),
        (164.0, ["Very far from real images: FD 164.00"]),
    ],
)
def test_samples_that_are_far_from_real_images_are_said(fd: float, starts: list[str]) -> None:
    frame = RUN.contrasts.copy()
    rows = (frame["kind"] == "primary") & (frame["metric"] == "fd")
    frame.loc[rows, ["value_a", "value_b"]] = fd, fd + 1
    warnings = beta.opening(run_with(contrasts=frame)).warnings
    assert len(warnings) == len(starts) and all(map(str.startswith, warnings, starts))


@pytest.mark.parametrize("report", ["beta-digits", "beta-fashion"])
def test_the_floor_of_500_images_is_known_from_that_of_others(report: str) -> None:
    floors = read_run(Path(__file__).parents[2] / "reports" / "published" / report).floors
    fd = floors[floors["metric"] == "fd"].set_index("n_samples")
    known = fd.loc[1_500].to_dict() | {"n_samples": 1_500}
    assert known["mean"] * openings._of_500(pd.Series(known)) == pytest.approx(fd.loc[500, "mean"], rel=0.05)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"low": -1.0, "high": 1.0}, "the interval of KD contains 0"),
        ({"low": float("nan"), "high": float("nan")}, "contrasts.csv does not mark the difference as clear"),
    ],
    ids=["interval", "neither"],
)
def test_no_clear_difference_says_why(values: dict[str, Any], reason: str) -> None:
    run = with_contrasts("primary", verdict="not detectable", **values)
    assert f"Not detectable, because {reason}. " in beta.conditions(run).blocks[0].text  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("values", "scope", "condition"),
    [
        ({"n_networks": 1, "interval": "jackknife", "holds_for": 1}, "one network, 500 samples (unet-16",
         "Intervals: jackknife. The result holds for this network; others may differ."),
        ({"n_networks": 5, "interval": "t over 5 networks", "holds_for": float("nan")}, "5 networks, 500 samples each",
         "Intervals: t over 5 networks."),
        ({"n_networks": 5, "interval": "jackknife", "holds_for": 5}, "5 networks, 500 samples each",
         "Intervals: jackknife. The result holds for these 5 networks; others may differ."),
        ({"n_planned": 3, "interval": "i"}, "2 networks (3 were planned), 500 samples each", "Intervals: i. The"),
    ],
    ids=["one", "in general", "some were chosen on them", "one is missing"],
)  # fmt: skip
def test_networks_are_counted_and_generalised_only_where_the_interval_does(
    values: dict[str, Any], scope: str, condition: str
) -> None:
    assert sentences.scope(pair(**values)).startswith(scope)
    assert sentences.condition(pair(**values)).startswith(condition)


def test_a_caption_says_which_numbers_of_samples_and_networks_go_together() -> None:
    rows = pd.concat([RUN.of_kind("primary"), RUN.of_kind("same-alpha").assign(n_networks=5, n_samples=1500)])
    said = "2 networks, 500 samples each; 5 networks, 1,500 samples each. Intervals: "
    assert said in components.caption(RUN, "", rows)


@pytest.mark.parametrize(
    ("in_set", "use"),
    [
        ([], "At 8 evaluations: eta 0. At 66 evaluations: eta 1."),
        (["eta 0", "eta 1"], "66 evaluations: eta 0 and eta 1 cannot be told from the best."),
        (["none"], "At 8 and 66 evaluations: no verdict."),
        (None, ""),
    ],
    ids=["one setting each", "two tie", "no verdict", "none"],
)
def test_the_budget_line(in_set: list[str] | None, use: str) -> None:
    sets = RUN.best_sets.head(0) if in_set is None else RUN.best_sets
    if in_set:
        sets = sets.assign(in_set=sets["setting"].isin(in_set))
    lines = sentences.budget(run_with(best_sets=sets))
    assert use in lines[0].text if use else lines == []


def test_a_control_that_finds_something_takes_the_answer_back() -> None:
    run = with_contrasts("control", clear=True)
    assert sentences.control(run).lead == "A/A control failed"
    assert beta.opening(run).lead == "Not established."
    assert "the A/A control shows a difference" in beta.opening(run).warnings[0]
    assert sentences.control(run_with(contrasts=RUN.contrasts.head(0))).text.startswith("not measured")


def test_a_contrast_that_was_not_fixed_beforehand_says_so() -> None:
    other = Run(RUN.directory, RUN.info | {"fixed_beforehand": False}, RUN.rows, RUN.tables)
    assert "fixed before the run. All other comparisons are exploration" in beta.status(RUN)
    assert "not the data, networks, ladder and numbers of a preset. It is exploration" in beta.status(other)


def test_one_repeat_of_the_floor_has_no_spread_and_none_is_not_mentioned() -> None:
    def notes(floors: pd.DataFrame) -> str:
        return "; ".join(beta.opening(run_with(floors=floors)).numbers[0].notes)

    assert notes(RUN.floors) == "real images score 4.00 (3.70 to 4.40)"
    assert notes(RUN.floors.assign(repeats=1)) == "real images score 4.00" and notes(RUN.floors.head(0)) == ""
