"""Verdicts on the cause of the gain from noise: the size of the steps, or the error of the denoiser?

Each `verdict_on_...` returns (verdict, sentences with numbers). The rules read contrasts.csv and split.csv. Without a
detectable difference the verdict is "undecided". mechanisms.py has the verdicts on how noise helps.
"""

import pandas as pd

from reports.formats import cell, interval, listed, metric_name, missing, number, percent
from reports.results import Run, pooled
from reports.sentences import Pair, head, pairs


def main_steps(run: Run) -> int:
    """The number of steps of the main ladder, which is the ladder of the control."""
    return int(run.of_kind("control")["n_steps"].iloc[0])


def contrast(run: Run, mode: str, a: str = "eta 1", kind: str = "noise") -> Pair | None:
    """The pooled contrast of `a` against the first setting of a mode."""
    return next((pair for pair in pairs(run.of_kind(kind)) if (head(pair)["mode"], head(pair)["a"]) == (mode, a)), None)


def probe(run: Run, name: str, denoiser: str = "trained") -> pd.DataFrame:
    """The rows of one probe with one kind of denoiser."""
    return run.probes[(run.probes["probe"] == name) & (run.probes["denoiser"] == denoiser)]


def part(run: Run, name: str, mode: str, metric: str = "kd") -> pd.Series | None:
    """One part of the difference (total, steps, denoiser) under a mode, over all networks; None if not measured."""
    rows = run.split[(run.split["part"] == name) & (run.split["mode"] == mode)]
    rows = pooled(rows[rows["metric"] == metric])
    return rows.iloc[0] if len(rows) else None


def amount_of(run: Run, row: pd.Series) -> str:
    """A part with its interval, for instance "FD is −0.7 (95 % interval −1.6 to 0.2)"."""
    note = f"{percent(row['level'])} interval "
    name = metric_name(row["metric"], run.features)
    return f"{name} is {interval(row['metric'], row['difference'], row['low'], row['high'], note)}"


def changes(run: Run, modes: list[str]) -> list[str]:
    """The changes of KD by eta 1 under these modes, with intervals. The first one says what the interval is."""
    texts: list[str] = []
    for mode in modes:
        if pair := contrast(run, mode):
            row = head(pair)
            note = "" if texts else f"{percent(row['level'])} interval "
            split = (row["low"] > 0 or row["high"] < 0) and row["verdict"] == "no clear difference"
            shown = interval(row["metric"], row["difference"], row["low"], row["high"], note)
            texts.append(f"{shown[:-1]}; seeds disagree in sign)" if split else shown)
    return texts


def listed_changes(run: Run, labels: dict[str, str]) -> str:
    """The changes of KD by eta 1 as a list, each with the label of its mode (mode -> label)."""
    found = {mode: label for mode, label in labels.items() if contrast(run, mode)}
    texts = [f"{text} {label}" for text, label in zip(changes(run, list(found)), found.values(), strict=True)]
    return "; ".join(texts)


def lengths(run: Run) -> list[int]:
    """The numbers of steps of the ladders on which the exact denoiser was measured."""
    return sorted({int(length) for length in run.rows.loc[run.rows["denoiser"] == "exact", "n_steps"]})


def networks(run: Run) -> dict[str, str]:
    """Mode -> images seen in training, for the trained denoisers on the main ladder, fewest images first."""
    rows = on_main_ladder(run, "trained", "undertrained").sort_values("images_seen").drop_duplicates("mode")
    return {row["mode"]: cell("images_seen", row["images_seen"]) for _, row in rows.iterrows()}


def flawed(run: Run) -> dict[str, str]:
    """Mode -> size of the error added to the exact denoiser."""
    rows = on_main_ladder(run, "exact + error").drop_duplicates("mode")
    return {row["mode"]: number(row["denoiser_error"]) for _, row in rows.iterrows()}


def on_main_ladder(run: Run, *denoisers: str) -> pd.DataFrame:
    """The contrasts of noise against no noise with these kinds of denoisers on the main ladder."""
    rows = run.of_kind("noise")
    return rows[rows["denoiser"].isin(denoisers) & (rows["n_steps"] == main_steps(run))]


def words(run: Run, modes: list[str]) -> list[str]:
    """The verdicts on eta 1 under these modes."""
    return [head(pair)["verdict"] for mode in modes if (pair := contrast(run, mode))]


def verdict_on_steps(run: Run) -> tuple[str, str]:
    """The verdict on the steps: does noise help with an exact denoiser, where only the step size can be wrong?"""
    lengths_of = {f"exact, {n} steps": n for n in lengths(run)}
    found = {mode: head(pair)["verdict"] for mode in lengths_of if (pair := contrast(run, mode))}
    if not found:
        return "undecided (not measured)", ""
    metric = metric_name("kd", run.features)
    helps, hurts = (
        listed(str(lengths_of[mode]) for mode, verdict in found.items() if verdict == word)
        if word in found.values()
        else ""
        for word in ("better", "worse")
    )
    text = "With the exact denoiser, noise (eta 1) "
    text += f"helps on {helps} steps." if helps else "is not detectably better on any ladder."
    text += f" It hurts on {hurts} steps." if hurts else ""
    on = {mode: f"on {n} steps" for mode, n in lengths_of.items()}
    text += f" Change of {metric} (below 0, noise helps): {listed_changes(run, on)}."
    if helps:
        return "supported: noise helps with an exact denoiser, where only the step size can be wrong", text
    if gains := gaining(run):
        who = listed([networks(run)[mode] for mode in gains])
        says = f"refuted as the cause for networks trained on {who} images"
        return f"{says}. They gain detectably more than the exact denoiser", text
    return "not supported: no detectable gain with the exact denoiser", text


def gaining(run: Run) -> list[str]:
    """The modes in which noise helps a trained denoiser, and helps it detectably more than the exact denoiser."""
    rows = {mode: part(run, "denoiser", mode) for mode in networks(run) if words(run, [mode]) == ["better"]}
    return [mode for mode, row in rows.items() if row is not None and row["clear"] and row["difference"] < 0]


def verdict_on_denoiser(run: Run) -> tuple[str, str]:
    """The verdict on the denoiser: do trained networks gain more than the exact denoiser, and does any error do so?"""
    modes, wrong = networks(run), flawed(run)
    if not changes(run, list(modes)):
        return "undecided (not measured)", ""
    metric, n = metric_name("kd", run.features), main_steps(run)
    after = {
        mode: f"after {images}{'' if at else ' training images'}" for at, (mode, images) in enumerate(modes.items())
    }
    texts = [f"Change of {metric} by noise with trained networks on {n} steps: {listed_changes(run, after)}"]
    main = f"trained, {n} steps"
    best = part(run, "total", main, "fd")
    if best is not None and main in modes:
        texts.append(f"After {modes[main]} training images the change in {amount_of(run, best)}")
    if changes(run, list(wrong)):
        sizes = {mode: f"with error {size}" for mode, size in wrong.items()}
        texts.append(f"Change with the exact denoiser plus a random field of fixed size: {listed_changes(run, sizes)}")
        texts += single_fields(run)
    text = f"{'. '.join(texts)}."
    gains, hurts = gaining(run), [mode for mode in wrong if words(run, [mode]) == ["worse"]]
    if not gains:
        return (
            "undecided: no network has a detectable gain that is detectably larger than with the exact denoiser",
            text,
        )
    who = f"networks trained on {listed(modes[mode] for mode in gains)} images"
    says = f"supported: {who} gain detectably more than the exact denoiser"
    if hurts:
        where = listed(f"{wrong[mode]} (detectable in {alone(run, mode, 1)} random fields)" for mode in hurts)
        says += f". But noise hurts with an added error of fixed size {where}"
    return says, text


def alone(run: Run, mode: str, sign: int) -> str:
    """The number of seeds in which eta 1, taken alone, raises (`sign` 1) or lowers (`sign` −1) KD, such as "1 of 2"."""
    rows = run.of_kind("noise")
    rows = rows[(rows["mode"] == mode) & (rows["a"] == "eta 1") & (rows["metric"] == "kd") & (rows["train_seed"] != "")]
    found = rows["clear"].fillna(False) & (rows["difference"] * sign > 0)
    return f"{int(found.sum())} of {len(rows)}"


def single_fields(run: Run) -> list[str]:
    """One sentence per size of the error at which the random fields disagree in sign."""
    texts = []
    for mode, size in flawed(run).items():
        pair = contrast(run, mode)
        agree = head(pair)["networks_agree"] if pair and head(pair)["n_networks"] > 1 else None
        if not missing(agree) and not agree:
            loss, gain = (alone(run, mode, sign) for sign in (1, -1))
            texts.append(
                f"With error {size}, the random fields disagree in sign: noise hurts detectably in {loss} fields and "
                f"helps detectably in {gain}"
            )
    return texts
