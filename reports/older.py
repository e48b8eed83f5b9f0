"""Tables of earlier versions in the words of this one: verdicts anew from their columns."""

import pandas as pd

from reports.schema import BETTER, LEVEL, METRICS, NO_VERDICT, NOT_DETECTABLE, WORSE

FEW = "too few networks"
WORDS = (FEW, "no clear difference", "practically equal", "undecided: the metrics disagree", "too undertrained to tell")

CONTRAST = ["kind", "mode", "a", "b", "n_steps", "nfe_a", "nfe_b", "final_denoise"]  # a comparison, in all metrics


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
    few = frame["verdict"] == FEW
    judge = next((name for name in METRICS if name in set(frame["metric"])), METRICS[0])
    corrected = _numbers(frame, "p_adjusted") if "p_adjusted" in frame else _numbers(frame, "low") * float("nan")
    clear = ((_numbers(frame, "low") > 0) | (_numbers(frame, "high") < 0)) & ~(corrected > 1 - LEVEL) & ~few
    better = (_numbers(frame, "difference") < 0).map({True: BETTER, False: WORSE})
    word = better.where(clear, NOT_DETECTABLE).where(~few, NO_VERDICT)
    decisive = word.where((frame["metric"] == judge) & (frame["verdict"] != ""))
    words = decisive.groupby([frame[name] for name in CONTRAST], sort=False).transform("first")
    return frame.assign(
        verdict=frame["verdict"].where(~old, words.fillna(word)),
        clear=frame["clear"].where(~old, clear.map({True: "True", False: "False"})),
        no_verdict=few.map({True: "there are fewer than five networks per setting", False: ""}),
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
