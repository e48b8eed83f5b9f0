"""How noise helps, or would: inputs, contraction, corrections instead of it, as verdicts and sentences with numbers.

Each `verdict_on_...` returns (verdict, sentence). The rules read probes.csv and contrasts.csv; what is not clear by
them is called undecided. Whose part it is, is in explanations.py.
"""

import math
from dataclasses import dataclass

from reports.explanations import contrast, flawed, main_steps, networks, probe
from reports.formats import cell, listed, metric_name, number
from reports.tables import Run
from reports.verdicts import head, measured, pairs, relation

LOW = 1.0  # the levels below it are where the prediction about inputs is tested
SURE = 2.0  # standard errors
NEAR = 1.1  # a ratio within this factor of 1 counts as 1
WINNER = {"better": "noise", "worse": "no noise"}


def paying(run: Run) -> list[str]:
    """Where noise alone helps, in a sentence."""
    found = [pair for pair in pairs(run.of_kind("where")) if head(pair)["verdict"] == "better"]
    if not found:
        return []
    shown = listed(f"{head(pair)['a']} ({measured(run, pair, values=False)})" for pair in found)
    return [f"Put back in one range of levels only, noise helps at {shown}."]


def low_ratio(run: Run, eta: float) -> dict[str, tuple[float, float]]:
    """Geometric mean of the error ratio over the levels below LOW, and its s.e. at most, for each network."""
    rows = probe(run, "visited")
    rows = rows[(rows["eta"] == eta) & (rows["sigma"] < LOW)]
    out = {}
    for seed, same in rows.groupby("train_seed"):
        ratio = math.exp(sum(math.log(value) for value in same["value"]) / len(same))
        out[str(seed)] = (ratio, ratio * float((same["se"] / same["value"]).mean()))  # as if all levels erred together
    return out


def verdict_on_inputs(run: Run) -> tuple[str, str]:
    """Is the error where samples are larger than on training-like inputs, and less so with noise?"""
    quiet, noisy, fresh = (low_ratio(run, eta) for eta in (0.0, 1.0, -1.0))
    if not quiet or not noisy:
        return "undecided (not measured)", "Not measured."
    shown = [
        listed(f"{number(ratio, 2)} ± {number(SURE * se, 2)}" for ratio, se in found.values())
        for found in (quiet, noisy)
    ]
    again = listed(number(ratio, 2) for ratio, _ in fresh.values()) if fresh else "not measured"
    text = (
        f"Below sigma {number(LOW)} the squared error where samples are is {shown[0]} times that on training-like "
        f"inputs at eta 0 and {shown[1]} times at eta 1 (one number a network, ± {number(SURE)} s.e.; control {again})."
    )
    above = all(ratio - SURE * se > 1 for ratio, se in quiet.values())
    less = all(
        quiet[seed][0] - noisy[seed][0] > SURE * math.hypot(quiet[seed][1], noisy[seed][1])
        for seed in quiet
        if seed in noisy
    )
    near = [abs(math.log(ratio)) + SURE * se / ratio < math.log(NEAR) for ratio, se in noisy.values()]
    calm = [abs(math.log(ratio)) + SURE * se / ratio < math.log(NEAR) for ratio, se in quiet.values()]
    if above and less and all(near):
        return "supported: without noise samples leave the training inputs, with noise they do not", text
    if above and less:
        return "partly: samples leave the training inputs, and noise brings them closer, not back", text
    if all(near) and all(calm):
        return "refuted: samples stay where the error is that of training inputs, with or without noise", text
    if above:
        return "undecided: samples leave the training inputs, but noise does not clearly bring them closer", text
    return "undecided: the error where samples are is not clearly above that on training inputs", text


def ends(run: Run, eta: float, denoiser: str = "trained") -> dict[tuple[str, float], tuple[float, float]]:
    """(network, sigma of the push) -> distance at the last level over the push, and its s.e."""
    rows = probe(run, "contraction", denoiser)
    rows = rows[rows["eta"] == eta]
    last = rows[rows["sigma"] == rows["sigma"].min()]
    return {(row["train_seed"], row["start"]): (row["value"], row["se"]) for _, row in last.iterrows()}


def verdict_on_contraction(run: Run) -> tuple[str, str]:
    """Does noise make earlier errors shrink more?"""
    quiet, noisy = ends(run, 0.0), ends(run, 1.0)
    if not quiet or not noisy:
        return "undecided (not measured)", "Not measured."
    phrases, surer, weaker = [], [], []
    for start in sorted({start for _, start in quiet}, reverse=True):
        both = [[found[key] for key in quiet if key[1] == start and key in found] for found in (quiet, noisy)]
        shown = [listed(number(value) for value, _ in side) for side in both]
        phrases.append(f"at sigma {number(start)} {shown[0]} is left at eta 0 and {shown[1]} at eta 1")
        sides = list(zip(*both, strict=True))
        if all(b + SURE * b_se < a - SURE * a_se for (a, a_se), (b, b_se) in sides):
            surer.append(number(start))
        if any(b - SURE * b_se > a + SURE * a_se for (a, a_se), (b, b_se) in sides):
            weaker.append(number(start))
    text = f"Of a small push {'; '.join(phrases)} (one number a network)."
    if len(surer) == len(phrases):
        return "supported: noise shrinks earlier errors more, wherever they are made", text
    if surer and not weaker:
        return f"supported for errors made at sigma {listed(surer)}, where noise clearly shrinks them more", text
    if weaker and not surer:
        return "refuted: noise shrinks earlier errors less", text
    return "undecided: no clear difference, or a different one at different levels", text


def verdict_on_corrections(run: Run) -> tuple[str, str]:
    """Does a correction without noise, of the level or of eps, do what noise does?"""
    phrases, closing, failing = [], [], []
    for rival in pairs(run.of_kind("rival")):
        row = head(rival)
        name = f"For the network trained on {cell('images_seen', row['images_seen'])} images"
        against = contrast(run, row["mode"], row["a"], "correction")
        gain = f"; against eta 0, on all images, {measured(run, against, values=False)}" if against else ""
        phrases.append(
            f"{name} the best of the corrections without noise is {row['a']}, chosen on one half of the images. On the "
            f"other half {relation(rival)}: {measured(run, rival, values=False)}{gain}."
        )
        if row["verdict"] == "worse":
            failing.append(row["mode"])
        elif against and head(against)["verdict"] == "better" and row["verdict"] != "undecided: the metrics disagree":
            closing.append(row["mode"])
    if not phrases:
        return "undecided (not measured)", "Not measured."
    text = " ".join(phrases)
    if failing and not closing:
        return "refuted: noise does better than any of these corrections", text
    if closing and not failing:
        return "supported: a correction without noise helps, and noise is not clearly better than it", text
    return "undecided: no correction clearly helps, or noise is not clearly better, or networks differ", text


@dataclass(frozen=True)
class Response:
    """What the errors of one denoiser leave at the end, at eta 1 over eta 0, against what noise really changes."""

    denoiser: str  # as probes.csv calls it
    label: str
    sums: dict[str, tuple[float, float, float]]  # network -> sum at eta 0, at eta 1, s.e. of their ratio
    real: dict[str, float]  # network -> distance to the exact denoiser's samples, eta 1 over eta 0
    linear: dict[str, float]  # network -> sum over the distance at eta 0
    verdict: str  # on eta 1 against eta 0, from contrasts.csv

    @property
    def ratios(self) -> list[tuple[float, float]]:
        """(sum at eta 1 over sum at eta 0, its s.e.) for each network."""
        return [(noisy / quiet, se) for quiet, noisy, se in self.sums.values()]

    @property
    def predicted(self) -> str:
        """Which of the two should win: the one that leaves less, if that is sure for each network."""
        if all(ratio + SURE * se < 1 for ratio, se in self.ratios):
            return "noise"
        return "no noise" if all(ratio - SURE * se > 1 for ratio, se in self.ratios) else "undecided"


def responses(run: Run) -> list[Response]:
    """Each denoiser that was measured, networks from the worst, then the exact one with errors."""
    labels = {mode: f"trained on {images} images" for mode, images in networks(run).items()}
    out = []
    for mode, label in {**labels, **{mode: mode for mode in flawed(run)}}.items():
        denoiser = "trained" if mode == f"trained, {main_steps(run)} steps" else mode
        found = {
            (name, eta): probe(run, name, denoiser).query("eta == @eta").set_index("train_seed")
            for name in ("predicted", "deviation")
            for eta in (0.0, 1.0)
        }
        quiet, noisy = found["predicted", 0.0], found["predicted", 1.0]
        pair = contrast(run, mode)
        if not len(quiet) or not len(noisy) or not pair:
            continue
        sums, real, linear = {}, {}, {}
        for seed in quiet.index.intersection(noisy.index):
            (a, a_se), (b, b_se) = (side.loc[seed, ["value", "se"]] for side in (quiet, noisy))
            sums[seed] = (a, b, b / a * math.hypot(a_se / a, b_se / b))  # as if the two erred on their own
            apart = [found["deviation", eta].loc[seed, "value"] for eta in (0.0, 1.0)]
            real[seed], linear[seed] = apart[1] / apart[0], a / apart[0]
        out.append(Response(denoiser, label, sums, real, linear, head(pair)["verdict"]))
    return out


def verdict_on_response(run: Run) -> tuple[str, str]:
    """Does error times contraction say which of eta 0 and eta 1 wins?"""
    found = responses(run)
    if not found:
        return "undecided (not measured)", "Not measured."
    clear = [one for one in found if one.verdict in WINNER]
    right = [one for one in clear if one.predicted == WINNER[one.verdict]]
    shown = [f"{listed(number(ratio, 2) for ratio, _ in one.ratios)} ({one.label})" for one in found]
    text = (
        f"What the errors made on each stretch of the ladder leave at the end adds up, at eta 1, to {listed(shown)} "
        f"times what it does at eta 0 (one number a network)."
    )
    if not clear:
        return "undecided: noise clearly helps or hurts with none of these denoisers", text
    text += (
        f" By that, and by {metric_name('kd', run.features)}, the same one wins in {len(right)} of the {len(clear)} "
        "cases in which one clearly does."
    )
    if len(right) == len(clear):
        return "supported: error times contraction names the winner wherever there is one", text
    if not right:
        return "refuted: error times contraction never names the winner", text
    return "refuted as a rule: error times contraction names the winner only at times", text
