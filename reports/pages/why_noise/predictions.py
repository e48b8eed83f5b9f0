"""The predictions of docs/predictions.md that a run of `why_noise` tests: held, failed or not tested."""

from dataclasses import dataclass

import pandas as pd

from reports.formats import missing
from reports.pages.why_noise.select import (
    above,
    below,
    claim,
    copied,
    gains,
    images,
    lengths,
    shown,
    split_at,
)
from reports.results import Run

NOT_TESTED, FEW, MISSING = "not tested", "fewer than five networks", "runs are missing"


@dataclass(frozen=True)
class Outcome:
    """A prediction, its outcome in a word, and the numbers that decide it."""

    name: str
    outcome: str
    evidence: str

    @property
    def held(self) -> bool:
        return self.outcome == "held"


def outcomes(run: Run) -> list[Outcome]:
    """The outcomes of all predictions that the run tests."""
    seen = lengths(run)
    if not seen:
        return []
    found = []
    if run.rows["data"].str.startswith("mixture:").all():
        found += [
            _each(run, "1. Most of the gain comes from errors at high noise levels",
                  {f"{images(n)}": (claim(run, "network above − 0.5 everywhere", n), "below") for n in seen}),
            _each(run, "2. Without these errors most of the gain is gone",
                  {f"{images(n)}": (half_left(run, n), "above") for n in seen}),
            _each(run, "3. Half of the error gives a smaller gain, but a gain",
                  {f"{images(n)}, {text}": (claim(run, name, n), side) for n in seen for name, text, side in (
                      ("half of the error above", "half", "below"),
                      ("half − all of the error above", "half − all", "above"))}),
            consistent(run),
            inconsistent(run),
        ]  # fmt: skip
    else:
        found += [
            _each(run, "6. With exact high levels the gain falls by more than half",
                  {images(n): (half_left(run, n), "above") for n in seen[-1:]}),
            _each(run, "7. Noise below the high levels does as well as noise everywhere",
                  {images(n): (claim(run, "noise below − 0.75 everywhere", n), "below") for n in seen[-1:]}),
        ]  # fmt: skip
    return [one for one in found if one.evidence]


def half_left(run: Run, images_seen: float, edge: float | None = None) -> pd.Series | None:
    """The gain with an exact denoiser above a level, by default the split, minus half of the network's."""
    return claim(run, "exact above − 0.5 everywhere", images_seen, band_low=split_at(run) if edge is None else edge)


def _each(run: Run, name: str, rows: dict[str, tuple[pd.Series | None, str]]) -> Outcome:
    """Held if every row's interval lies on its side of 0. Only intervals over networks in general count."""
    known = {label: (row, side) for label, (row, side) in rows.items() if row is not None}
    evidence = "; ".join(f"{label}: {shown(run, row)}" for label, (row, _) in known.items())
    if len(known) < len(rows) or not all(in_general(row) for row, _ in known.values()):
        return Outcome(name, NOT_TESTED, evidence or MISSING)
    held = all(below(row) if side == "below" else above(row) for row, side in known.values())
    return Outcome(name, "held" if held else "failed", evidence)


def in_general(row: pd.Series) -> bool:
    """Whether an interval speaks of networks in general, not of these only."""
    return missing(row["holds_for"]) and not missing(row["low"])


def consistent(run: Run) -> Outcome:
    """Prediction 4: with the denoiser of other data, the gain shrinks towards 0 as steps become finer."""
    name, rows = "4. With a consistent error the gain vanishes as steps become finer", gains(run, "consistent")
    texts, held = [], True
    if not all(in_general(row) for _, row in rows.iterrows()):
        return Outcome(name, NOT_TESTED, FEW)
    for kind in dict.fromkeys(rows["kind"]):
        here = rows[rows["kind"] == kind].sort_values("n_steps")
        if kind == "exact":
            continue
        if len(here) < 2:
            return Outcome(name, NOT_TESTED, MISSING)
        coarse, fine = here.iloc[0], here.iloc[-1]
        held &= abs(fine["difference"]) < 0.5 * abs(coarse["difference"]) or not fine["clear"]
        steps = [f"{shown(run, row, named=False)} at {int(row['n_steps'])} steps" for row in (coarse, fine)]
        texts.append(f"{kind}: {', '.join(steps)}")
    return Outcome(name, "held" if held else "failed", "; ".join(texts))


def inconsistent(run: Run) -> Outcome:
    """Prediction 5: a wrong mixture at high levels only has a gain below 0, one at low levels only has none."""
    name = "5. The same error at high levels only is repaired, at low levels only it is not"
    texts, held = [], True
    for kind in (kind for kind in dict.fromkeys(gains(run, "consistent")["kind"]) if kind != "exact"):
        high, low = (claim(run, f"wrong {where} − exact", None, kind=kind) for where in ("above", "below"))
        if high is None or low is None:
            return Outcome(name, NOT_TESTED, MISSING)
        if not in_general(high):
            return Outcome(name, NOT_TESTED, FEW)
        held &= below(high) and low["difference"] >= 0
        texts.append(
            f"{kind}: {shown(run, high, named=False)} at high levels, {shown(run, low, named=False)} at low ones"
        )
    return Outcome(name, "held" if held else "failed", "; ".join(texts))


def necessary(run: Run) -> bool | None:
    """Whether most of the gain is gone without errors at high noise levels (2 or 6); None if not tested."""
    return _held(run, "2", "6")


def most_left(run: Run) -> bool:
    """Whether more than half of the gain is left without errors at high noise levels, after each length of training."""
    rows = [half_left(run, seen) for seen in lengths(run)]
    known = [row for row in rows if row is not None]
    return bool(known) and all(in_general(row) and below(row) for row in known)


def explained_above(run: Run) -> float | None:
    """The highest level such that less than half of the gain is left with the exact denoiser above it.

    Only levels at which few samples are copies of training images count.
    """
    for _, row in gains(run, "above").sort_values("band_low", ascending=False).iterrows():
        found = half_left(run, row["images_seen"], row["band_low"])
        if found is not None and in_general(found) and above(found) and not copied(run, row["arm"]):
            return float(row["band_low"])
    return None


def sufficient(run: Run) -> bool | None:
    """Whether most of the gain is there with errors at high noise levels only (1); None if not tested."""
    return _held(run, "1")


def _held(run: Run, *numbers: str) -> bool | None:
    found = [one for one in outcomes(run) if one.name.split(".")[0] in numbers]
    if not found or any(one.outcome == NOT_TESTED for one in found):
        return None
    return all(one.held for one in found)
