"""How noise helps, or would: inputs, contraction, corrections instead of it, as verdicts and sentences with numbers.

Each `verdict_on_...` returns (verdict, sentence). The rules read probes.csv and contrasts.csv; what is not clear by
them is called undecided. Whose part it is, is in attribution.py.
"""

import math
from dataclasses import dataclass

from reports.formats import cell, listed, metric_name, number, plural
from reports.pages.why_noise.attribution import flawed, main_steps, networks, part, probe
from reports.results import Run
from reports.sentences import head, measured, pairs, relation

LOW = 1.0  # the levels below it are where the prediction about inputs is tested
SURE = 2.0  # standard errors
NEAR = 1.1  # a ratio within this factor of 1 counts as 1
ENOUGH = 2  # cases from which on a rule is called supported or refuted


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
        if all(b - SURE * b_se > a + SURE * a_se for (a, a_se), (b, b_se) in sides):
            weaker.append(number(start))
    text = f"Of a small white push {'; '.join(phrases)} (one number a network)."
    if len(surer) == len(phrases):
        return "supported: noise shrinks small white errors more, wherever they are made", text
    if surer and not weaker:
        return (
            f"supported for small white errors made at sigma {listed(surer)}, where noise clearly shrinks them more",
            text,
        )
    if weaker and not surer:
        return "refuted: noise shrinks small white errors less", text
    return "undecided: no clear difference, or a different one at different levels", text


def verdict_on_corrections(run: Run) -> tuple[str, str]:
    """Does a correction without noise, of the level or of eps, do what noise does?

    The best of them is chosen on one half of the images; what is said of it was measured on the other half.
    """
    chosen = {head(pair)["mode"]: pair for pair in pairs(run.of_kind("best"))}
    phrases, closing, failing = [], [], []
    for rival in pairs(run.of_kind("rival")):
        row = head(rival)
        gain = chosen.get(row["mode"])
        helps = gain is not None and head(gain)["verdict"] == "better"
        text = (
            f"For the network trained on {cell('images_seen', row['images_seen'])} images the best of these "
            f"corrections is {row['a']}, chosen on one half of the images. On the other half {relation(rival)}: "
            f"{measured(run, rival, values=False)}"
        )
        if gain is not None and head(gain)["verdict"] == "baseline chosen":
            text += "; on the half of the choice none of them beats eta 0"
        elif gain is not None:
            text += f"; and {relation(gain)}: {measured(run, gain, values=False)}"
        phrases.append(f"{text}.")
        failing += [row["mode"]] if row["verdict"] == "worse" else []
        closing += [row["mode"]] if helps and row["verdict"] in ("better", "no clear difference") else []
    if not phrases:
        return "undecided (not measured)", "Not measured."
    text = " ".join(phrases)
    if len(failing) == len(phrases):
        return "refuted: noise does better than the best of these corrections", text
    if len(closing) == len(phrases):
        return "supported: a correction without noise clearly helps, and noise is not clearly better than it", text
    return "undecided: no correction clearly helps, or noise is not clearly better, or networks differ", text


@dataclass(frozen=True)
class Response:
    """What the errors of one denoiser leave at the end, at eta 1 over eta 0, against what noise really changes."""

    denoiser: str  # as probes.csv calls it
    label: str
    sums: dict[str, tuple[float, float, float]]  # network -> sum at eta 0, at eta 1, s.e. of their ratio
    real: dict[str, float]  # network -> distance to the exact denoiser's samples, eta 1 over eta 0
    linear: dict[str, float]  # network -> sum over the distance at eta 0
    winner: str  # by the denoiser's part of the gap, from split.csv: noise, no noise, or "" where it is not clear

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
        if not len(quiet) or not len(noisy):
            continue
        sums, real, linear = {}, {}, {}
        for seed in quiet.index.intersection(noisy.index):
            (a, a_se), (b, b_se) = (side.loc[seed, ["value", "se"]] for side in (quiet, noisy))
            sums[seed] = (a, b, b / a * math.hypot(a_se / a, b_se / b))  # as if the two erred on their own
            apart = [found["deviation", eta].loc[seed, "value"] for eta in (0.0, 1.0)]
            real[seed], linear[seed] = apart[1] / apart[0], a / apart[0]
        out.append(Response(denoiser, label, sums, real, linear, _winner(run, mode)))
    return out


def _winner(run: Run, mode: str) -> str:
    """Which of noise and none is better for the denoiser's part of the gap, if KD is clear and FD has the same sign."""
    kd, fd = (part(run, "denoiser", mode, metric) for metric in ("kd", "fd"))
    if kd is None or fd is None or not kd["clear"] or kd["difference"] * fd["difference"] < 0:
        return ""
    return "noise" if kd["difference"] < 0 else "no noise"


def verdict_on_response(run: Run) -> tuple[str, str]:
    """Does error times contraction say which of eta 0 and eta 1 wins?"""
    found = responses(run)
    if not found:
        return "undecided (not measured)", "Not measured."
    decided = [one for one in found if one.winner and one.predicted != "undecided"]
    right = [one for one in decided if one.predicted == one.winner]
    kinds: dict[str, list[float]] = {"for trained networks": [], "for the exact denoiser with errors": []}
    for one in found:
        name = list(kinds)[one.denoiser in flawed(run)]
        kinds[name] += [ratio for ratio, _ in one.ratios]
    shown = [f"{number(min(of), 2)} to {number(max(of), 2)} {name}" for name, of in kinds.items() if of]
    text = (
        "What the errors made on each stretch of the ladder leave at the end adds up, at eta 1, to so many times what "
        f"it does at eta 0: {listed(shown)}."
    )
    if decided:
        text += (
            f" By that, and by the denoiser's part of {metric_name('kd', run.features)}, the same one wins in "
            f"{len(right)} of the {len(decided)} cases in which both are clear."
        )
    if len(decided) < ENOUGH:
        return f"undecided: both are clear in {len(decided)} of {len(found)} cases", text
    if len(right) == len(decided):
        return f"supported: error times contraction names the winner in each of {len(decided)} clear cases", text
    if not right:
        return f"refuted: error times contraction names the wrong one in each of {len(decided)} clear cases", text
    wrong = plural(len(decided) - len(right), "clear case")
    return f"refuted as a rule: error times contraction is wrong in {wrong} of {len(decided)}", text
