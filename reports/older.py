"""Tables of earlier versions in the words of this one: verdicts anew from their columns."""

import pandas as pd

from reports.schema import BETTER, CONTRAST, LEVEL, METRICS, NOT_DETECTABLE, WORSE

WORDS = ("no clear difference", "undecided: the metrics disagree", "too undertrained to tell")


def renewed(frame: pd.DataFrame, file: str) -> pd.DataFrame:
    """The table `file`, all of whose cells are texts, with the words and rules of this version.

    A verdict is that of the metric that decides. Settings whose samples are far from real images are in a set of the
    best again; the recommended one of a set that had none takes the fewest evaluations.
    """
    if file == "contrasts.csv" and frame["verdict"].isin(WORDS).any():
        return _contrasts(frame)
    if file == "best_sets.csv" and "untrusted" in frame:
        return _best_sets(frame)
    return frame


def _contrasts(frame: pd.DataFrame) -> pd.DataFrame:
    old = frame["verdict"].isin(WORDS)
    judge = next((name for name in METRICS if name in set(frame["metric"])), METRICS[0])
    clear = (_numbers(frame, "low") > 0) | (_numbers(frame, "high") < 0)
    if "p_adjusted" in frame:
        clear &= ~(_numbers(frame, "p_adjusted") > 1 - LEVEL)
    word = (_numbers(frame, "difference") < 0).map({True: BETTER, False: WORSE}).where(clear, NOT_DETECTABLE)
    decisive = word.where((frame["metric"] == judge) & (frame["verdict"] != ""))
    words = decisive.groupby([frame[name] for name in CONTRAST], sort=False).transform("first")
    return frame.assign(
        verdict=frame["verdict"].where(~old, words.fillna(word)),
        clear=frame["clear"].where(~old, clear.map({True: "True", False: "False"})),
    )


def _best_sets(frame: pd.DataFrame) -> pd.DataFrame:
    left_out = (frame["untrusted"] != "") & (frame["no_verdict"] == "")
    worse = (_numbers(frame, "low") > 0).map({True: "False", False: "True"})
    frame = frame.assign(in_set=frame["in_set"].where(~left_out, worse))
    for _, rows in frame.groupby(["mode", "budget"], sort=False):
        members = rows[rows["in_set"] == "True"]
        if len(members) and "True" not in set(rows["simplest"]):
            simplest = _numbers(members, "nfe").fillna(0).idxmin()
            frame.loc[simplest, "simplest"] = "True"
    return frame


def _numbers(frame: pd.DataFrame, name: str) -> pd.Series:
    return pd.to_numeric(frame[name], errors="coerce").astype("float64")
