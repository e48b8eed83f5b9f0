"""The first screen: the answer in a sentence, and the gains as numbers and as points against 0."""

from pathlib import Path

import pandas as pd

from experiments.why_noise.page import gains
from experiments.why_noise.page.predictions import held
from experiments.why_noise.page.tables import HELD_OUT
from reports import components, openings
from reports.document import Number, Opening
from reports.formats import as_precise, cell, metric_name, missing, number, percent
from reports.results import Run
from reports.sentences import control_failed, head, pairs

EXACT = "exact denoiser (a formula without errors)"
FIXED = "predictions fixed beforehand, all else is exploration"
NAMES = {"eta 0": "without noise (eta 0)", "eta 1": "with noise (eta 1)"}


def opening(run: Run) -> Opening:
    """The answer, the gains, and samples if they were kept."""
    seen = gains.lengths(run)
    if not len(run.of_kind("control")) or not seen:
        text = "The runs that this report compares failed."
        return Opening(text, "No verdict.", status=openings.status(run, None))
    arms = set(gains.of(run, "whole")["arm"])
    compared = [pair for pair in pairs(run.of_kind("noise")) if head(pair)["mode"] in arms]
    longest = [pair for pair in compared if head(pair)["images_seen"] == seen[-1]][:1]
    return Opening(
        sentence(run), "Not established. Measured:" if control_failed(run) else "", numbers(run),
        pictures(run), f"{openings.key(run, gains.DECIDES)} Left of the line, noise helps.", lines(run),
        openings.status(run, head(longest[0]) if longest else None, FIXED),
        openings.warnings(run, [side for pair in longest for side in openings.closer(pair)]),
    )  # fmt: skip


def sentence(run: Run) -> str:
    """The answer to the title."""
    split, longest = gains.split_at(run), gains.whole(run, gains.lengths(run)[-1])
    high = f"high noise levels{'' if split is None else f' (sigma above {number(split)})'}"
    needed = held(run, 2, 6)
    if needed is None:
        few = longest is not None and not gains.in_general(longest)
        return f"No verdict: {'too few networks for an interval over networks' if few else 'runs are missing'}."
    if not gains.below(longest):
        return "No verdict: this run shows no gain from noise with the network."
    if any(gains.copied(run, arm) for arm in low_errors(run)["arm"]):
        return f"No verdict: without errors at {high}, many samples are near copies of training images."
    if not needed:
        left = [row for seen in gains.lengths(run) if (row := gains.half_left(run, seen)) is not None]
        if not left or not all(gains.in_general(row) and gains.below(row) for row in left):
            return f"No verdict: half of the gain may remain without errors at {high}."
        lower = explained_above(run)
        if lower is None:
            return f"Most of the gain from noise remains without errors at {high}."
        return (
            f"Less than half of the gain from noise remains without errors above sigma {number(lower)}, "
            f"but more than half without errors above {number(split or 0)}."
        )
    alone = " These errors alone are not shown to give half of its gain." if held(run, 1) is False else ""
    if not any(gains.below(row) for _, row in low_errors(run).iterrows()):
        return f"Without its errors at {high} the network gains nothing detectable from noise.{alone}"
    return f"Without its errors at {high} the network gains less than half as much from noise.{alone}"


def low_errors(run: Run) -> pd.DataFrame:
    """The gains with denoisers that are exact at high noise levels and the network at low ones."""
    rows = gains.of(run, "split")
    by_exact = (rows["kind"] == "exact") & rows["band_high"].isna()
    by_network = (rows["kind"] == "network") & rows["band_high"].notna()
    return rows[by_exact | by_network]


def explained_above(run: Run) -> float | None:
    """The highest level such that less than half of the gain is left with the exact denoiser above it.

    Only levels at which few samples are copies of training images count.
    """
    for _, row in gains.of(run, "above").sort_values("band_low", ascending=False).iterrows():
        left = gains.half_left(run, row["images_seen"], row["band_low"])
        if left is not None and gains.in_general(left) and gains.above(left) and not gains.copied(run, row["arm"]):
            return float(row["band_low"])
    return None


def lines(run: Run) -> list[tuple[str, str]]:
    """The other explanations, with a verdict in a few words each."""
    parts = []
    exact, network = gains.whole(run, None), gains.whole(run, gains.lengths(run)[-1])
    if exact is not None:
        helps, what = "not shown to be a cause", "gains nothing detectable"
        if gains.below(exact):
            helps, what = "part of the cause", "gains too"
        elif gains.above(exact):
            helps, what = "not the cause", "even loses"
        of = "" if network is None else f"; the network gains {cell(gains.DECIDES, network['difference'])}"
        size = f"{gains.shown(run, exact)}{gains.power(exact)}"
        parts.append(("Large steps", f"{helps}: an exact denoiser {what}, {size}{of}."))
    summed = gains.claim(run, "sum of the bands − network", gains.lengths(run)[-1])
    if gains.above(summed):
        size = gains.shown(run, summed)
        less = f"the gains of single bands beyond the exact denoiser's sum to {size} less than the network's"
        parts.append(("Errors at different levels", f"give more together: {less}."))
    visited = gains.visited(run)
    tests = visited[visited["sigma"] < gains.LOW]
    if len(tests):
        better = int((tests["high"] < 1).sum())
        word = "supported" if better > len(tests) / 2 else "in part" if better else "not detectably"
        parts.append((
            "Noise keeps inputs as in training",
            f"{word}: in {better} of {len(tests)} tests (level × eta, below sigma {number(gains.LOW)}) the error "
            "falls on inputs met in sampling.",
        ))  # fmt: skip
    part = gains.claim(run, "noise below − 0.75 everywhere", gains.lengths(run)[-1])
    if part is not None and gains.in_general(part):
        text = "low levels are enough" if gains.below(part) else "low levels alone may do less"
        parts.append(("Where noise is put back", f"{'low levels alone do less' if gains.above(part) else text}."))
    return parts


def numbers(run: Run) -> list[Number]:
    """The gains of the longest trained network, of its errors at high or low levels, and of the exact denoiser.

    A denoiser whose samples are near copies of training images shows the share of copies instead.
    """
    seen, split = gains.lengths(run)[-1], gains.split_at(run)
    rows = gains.of(run, "split")
    rows = rows[(rows["images_seen"] == seen) & (rows["dose"] == 1)]
    sides = [f"its errors {side} sigma {number(split or 0)} only" for side in ("above", "below")]
    if len(rows) and rows.iloc[0]["kind"] == "exact":  # then the band is where the errors are missing
        sides.reverse()
    parts = {words: gains.first(rows, band_low=low) for words, low in zip(sides, (split, 0.0), strict=True)}
    parts = {f"network, {gains.images(seen)}": gains.whole(run, seen)} | parts
    parts[EXACT] = gains.whole(run, None)
    known = {words: row for words, row in parts.items() if row is not None}
    hidden = [row for row in known.values() if gains.copied(run, row["arm"])]
    return [
        *(number_of(run, row, words) for words, row in known.items() if not gains.copied(run, row["arm"])),
        *(copies_of(run, row) for row in hidden[:1]),
    ]


def copies_of(run: Run, row: pd.Series) -> Number:
    """The near copies of a denoiser, in place of a gain that they make meaningless."""
    share, held_out = (percent(gains.near_copies(run, arm) or 0.0) for arm in (row["arm"], HELD_OUT))
    side, edge = ("above", row["band_low"]) if missing(row["band_high"]) else ("below", row["band_high"])
    notes = [f"of all samples; {held_out} of held-out images", "so its change of FD by noise means little"]
    return Number(share, f"near copies without errors {side} sigma {number(edge)}", notes)


def number_of(run: Run, row: pd.Series, words: str) -> Number:
    """A gain, set large."""
    size, low, high = as_precise(row["metric"], [row["difference"], row["low"], row["high"]], row["low"], row["high"])
    notes = [f"change of {metric_name(row['metric'], run.features)} by noise"]
    if not missing(row["low"]):
        notes.append(f"{percent(row['level'])} interval {low} to {high}")
    return Number(f"+{size}" if row["difference"] > 0 else size, words, notes, openings.effect(run, row))


def pictures(run: Run) -> list[tuple[Path, str]]:
    """Samples of the longest trained network without and with noise."""
    arms = gains.of(run, "whole").sort_values("images_seen").dropna(subset="images_seen")["arm"]
    rows = components.first_network(run.ok(arms.iloc[-1]))
    rows = rows[rows["setting"].isin(NAMES)]
    return components.strip(run, dict(zip(rows["samples_id"], rows["setting"].map(NAMES), strict=True)))
