"""Whose part it is that noise helps: the steps' or the denoiser's, as a verdict and a sentence with numbers.

Each `verdict_on_...` returns (verdict, sentence). The rules read contrasts.csv and split.csv; what is not clear by
them is called undecided. How it helps is in mechanisms.py.
"""

import pandas as pd

from reports.formats import cell, interval, listed, metric_name, number, percent
from reports.results import Run, pooled
from reports.sentences import Pair, head, pairs


def main_steps(run: Run) -> int:
    """The length of the ladder on which everything but the length is varied: the control's."""
    return int(run.of_kind("control")["n_steps"].iloc[0])


def contrast(run: Run, mode: str, a: str = "eta 1", kind: str = "noise") -> Pair | None:
    """The pooled contrast of `a` against the first setting of a mode."""
    return next((pair for pair in pairs(run.of_kind(kind)) if (head(pair)["mode"], head(pair)["a"]) == (mode, a)), None)


def probe(run: Run, name: str, denoiser: str = "trained") -> pd.DataFrame:
    """The rows of one probe of one kind of denoiser."""
    return run.probes[(run.probes["probe"] == name) & (run.probes["denoiser"] == denoiser)]


def part(run: Run, name: str, mode: str, metric: str = "kd") -> pd.Series | None:
    """A part of the gap (total, steps, denoiser) in a mode, pooled over networks."""
    rows = run.split[(run.split["part"] == name) & (run.split["mode"] == mode)]
    rows = pooled(rows[rows["metric"] == metric])
    return rows.iloc[0] if len(rows) else None


def amount_of(run: Run, row: pd.Series) -> str:
    """A part with its interval."""
    note = f"{percent(row['level'])} interval "
    name = metric_name(row["metric"], run.features)
    return f"{name} {interval(row['metric'], row['difference'], row['low'], row['high'], note)}"


def changes(run: Run, modes: list[str]) -> list[str]:
    """What eta 1 changes in KD under each of these modes, with intervals; the first says what the numbers are."""
    texts: list[str] = []
    for mode in modes:
        if pair := contrast(run, mode):
            row = head(pair)
            note = "" if texts else f"{percent(row['level'])} interval "
            split = (row["low"] > 0 or row["high"] < 0) and row["verdict"] == "no clear difference"
            shown = interval(row["metric"], row["difference"], row["low"], row["high"], note)
            texts.append(f"{shown}{', the networks disagreeing' if split else ''}")
    return texts


def lengths(run: Run) -> list[int]:
    """The ladders' lengths that the exact denoiser was measured on."""
    return sorted({int(length) for length in run.rows.loc[run.rows["denoiser"] == "exact", "n_steps"]})


def networks(run: Run) -> dict[str, str]:
    """Mode -> images seen in training, of the trained denoisers on the main ladder, from the worst."""
    rows = on_main_ladder(run, "trained", "undertrained").sort_values("images_seen").drop_duplicates("mode")
    return {row["mode"]: cell("images_seen", row["images_seen"]) for _, row in rows.iterrows()}


def flawed(run: Run) -> dict[str, str]:
    """Mode -> size of the error added to the exact denoiser."""
    rows = on_main_ladder(run, "exact + error").drop_duplicates("mode")
    return {row["mode"]: number(row["denoiser_error"]) for _, row in rows.iterrows()}


def on_main_ladder(run: Run, *denoisers: str) -> pd.DataFrame:
    """Contrasts of noise against none with these kinds of denoisers, on the main ladder."""
    rows = run.of_kind("noise")
    return rows[rows["denoiser"].isin(denoisers) & (rows["n_steps"] == main_steps(run))]


def words(run: Run, modes: list[str]) -> list[str]:
    """The verdicts on eta 1 under these modes."""
    return [head(pair)["verdict"] for mode in modes if (pair := contrast(run, mode))]


def verdict_on_steps(run: Run) -> tuple[str, str]:
    """Does noise help although the denoiser is exact, so that only the steps can be wrong?"""
    modes = {f"exact, {n} steps": str(n) for n in lengths(run)}
    exact = words(run, list(modes))
    if not exact:
        return "undecided (not measured)", "Not measured."
    says = "never clearly helps" if "better" not in exact else "clearly helps on some ladders"
    text = (
        f"With the exact denoiser noise (eta 1) {says}: on ladders of {listed(modes.values())} steps "
        f"{metric_name('kd', run.features)} changes by {listed(changes(run, list(modes)))}."
    )
    if "better" in exact:
        return "supported: noise helps where only the steps can be wrong", text
    if gains := gaining(run):
        who = listed([networks(run)[mode] for mode in gains])
        return (
            f"refuted as the reason for networks trained on {who} images: they gain clearly more than the exact one",
            text,
        )
    return "not supported: no gain with the exact denoiser", text


def gaining(run: Run) -> list[str]:
    """The modes in which noise helps a trained denoiser, and clearly more than it helps the exact one."""
    rows = {mode: part(run, "denoiser", mode) for mode in networks(run) if words(run, [mode]) == ["better"]}
    return [mode for mode, row in rows.items() if row is not None and row["clear"] and row["difference"] < 0]


def verdict_on_denoiser(run: Run) -> tuple[str, str]:
    """Is there a gain with trained denoisers beyond the exact one's, and does any error do?"""
    modes, wrong = networks(run), flawed(run)
    found = changes(run, list(modes))
    if not found:
        return "undecided (not measured)", "Not measured."
    metric = metric_name("kd", run.features)
    text = (
        f"With networks trained on {listed(modes.values())} images, on {main_steps(run)} steps, {metric} changes by "
        f"{listed(found)}."
    )
    best = part(run, "total", f"trained, {main_steps(run)} steps", "fd")
    if best is not None:
        text += f" (For the last of them {amount_of(run, best)}.)"
    if errors := changes(run, list(wrong)):
        text += (
            f" With the exact denoiser plus an error of fixed size everywhere ({listed(wrong.values())}) it changes by "
            f"{listed(errors)}."
        )
    gains, hurts = gaining(run), "worse" in words(run, list(wrong))
    if gains and hurts:
        return "supported, but not for every error: networks gain, an error of fixed size makes noise hurt", text
    if gains:
        return "supported: trained denoisers gain from noise beyond what the exact one does", text
    return "undecided: no network gains clearly, and clearly more than the exact denoiser", text
