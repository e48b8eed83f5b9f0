"""Verdicts on how noise helps: the inputs of the network, contraction of errors, corrections instead of noise.

Each `verdict_on_...` returns (verdict, sentences with numbers). The rules read probes.csv and contrasts.csv. Without a
detectable difference the verdict is "undecided". attribution.py has the verdicts on the cause of the gain.
"""

import math
from dataclasses import dataclass

from reports.formats import cell, listed, metric_name, number, plural
from reports.pages.why_noise.attribution import flawed, main_steps, networks, part, probe
from reports.results import Run
from reports.sentences import detectable, head, measured, pairs, relation

LOW = 1.0  # the prediction about inputs is tested on the levels below
SURE = 2.0  # standard errors
NEAR = 1.1  # a ratio within this factor from 1 counts as 1
ENOUGH = 2  # number of cases needed to call a rule supported or refuted


def paying(run: Run) -> list[str]:
    """Sentences on the ranges of levels in which noise helps if it is put back only there."""
    found = [pair for pair in pairs(run.of_kind("where")) if head(pair)["verdict"] == "better"]
    if not found:
        return []
    ranges = listed((f"only at {head(pair)['a']}" for pair in found), "or")
    sizes = [f"With noise only at {head(pair)['a']}, {measured(run, pair, values=False)}." for pair in found]
    return [f"Noise helps if it is put back {ranges}.", *sizes]


def low_ratio(run: Run, eta: float) -> dict[str, tuple[float, float]]:
    """Network -> geometric mean of the error ratio over the levels below LOW, and an upper bound of its s.e."""
    rows = probe(run, "visited")
    rows = rows[(rows["eta"] == eta) & (rows["sigma"] < LOW)]
    out = {}
    for seed, same in rows.groupby("train_seed"):
        ratio = math.exp(sum(math.log(value) for value in same["value"]) / len(same))
        out[str(seed)] = (
            ratio,
            ratio * float((same["se"] / same["value"]).mean()),
        )  # as if the errors of all levels were fully correlated
    return out


def verdict_on_inputs(run: Run) -> tuple[str, str]:
    """The verdict on inputs: is the error larger at samples than at training-like inputs, and less so with noise?"""
    quiet, noisy, fresh = (low_ratio(run, eta) for eta in (0.0, 1.0, -1.0))
    if not quiet or not noisy:
        return "undecided (not measured)", ""
    shown = [
        listed(f"{number(ratio, 2)} ± {number(SURE * se, 2)}" for ratio, se in found.values())
        for found in (quiet, noisy)
    ]
    text = (
        f"Below sigma {number(LOW)}, the error ratio is {shown[0]} without noise. With noise it is {shown[1]}. "
        "(Squared error at the samples, divided by that at training-like inputs; one number per network, "
        f"± {number(SURE)} s.e.)"
    )
    if fresh:
        again = listed(number(ratio, 2) for ratio, _ in fresh.values())
        text += f" The control, fresh training-like inputs, gives {again}."
    above = all(ratio - SURE * se > 1 for ratio, se in quiet.values())
    less = all(
        quiet[seed][0] - noisy[seed][0] > SURE * math.hypot(quiet[seed][1], noisy[seed][1])
        for seed in quiet
        if seed in noisy
    )
    near = [abs(math.log(ratio)) + SURE * se / ratio < math.log(NEAR) for ratio, se in noisy.values()]
    calm = [abs(math.log(ratio)) + SURE * se / ratio < math.log(NEAR) for ratio, se in quiet.values()]
    if above and less and all(near):
        return "supported: samples drift away from the training inputs without noise, but not with noise", text
    if above and less:
        return "partly supported: samples drift away from the training inputs; noise brings them closer, not back", text
    if all(near) and all(calm):
        return "refuted: with and without noise, the error at the samples equals the error at training inputs", text
    if above:
        return "undecided: samples drift away from the training inputs, but noise does not detectably reduce this", text
    return "undecided: the error at the samples is not detectably above the error at training inputs", text


def ends(run: Run, eta: float, denoiser: str = "trained") -> dict[tuple[str, float], tuple[float, float]]:
    """(network, sigma of the push) -> distance at the last level divided by the push, and its s.e."""
    rows = probe(run, "contraction", denoiser)
    rows = rows[rows["eta"] == eta]
    last = rows[rows["sigma"] == rows["sigma"].min()]
    return {(row["train_seed"], row["start"]): (row["value"], row["se"]) for _, row in last.iterrows()}


def verdict_on_contraction(run: Run) -> tuple[str, str]:
    """The verdict on contraction: do earlier errors shrink more with noise?"""
    quiet, noisy = ends(run, 0.0), ends(run, 1.0)
    if not quiet or not noisy:
        return "undecided (not measured)", ""
    phrases, surer, weaker = [], [], []
    for start in sorted({start for _, start in quiet}, reverse=True):
        both = [[found[key] for key in quiet if key[1] == start and key in found] for found in (quiet, noisy)]
        shown = [listed(number(value) for value, _ in side) for side in both]
        phrases.append(f"Pushed at sigma {number(start)}: {shown[0]} without noise, {shown[1]} with noise")
        sides = list(zip(*both, strict=True))
        if all(b + SURE * b_se < a - SURE * a_se for (a, a_se), (b, b_se) in sides):
            surer.append(number(start))
        if all(b - SURE * b_se > a + SURE * a_se for (a, a_se), (b, b_se) in sides):
            weaker.append(number(start))
    text = f"Share of a small white push that is left at the end, one number per network. {'. '.join(phrases)}."
    if len(surer) == len(phrases):
        return "supported: noise shrinks small white errors more, at every tested level", text
    if surer and not weaker:
        return (
            f"supported for small white errors made at sigma {listed(surer)}: noise shrinks them detectably more",
            text,
        )
    if weaker and not surer:
        return "refuted: noise shrinks small white errors less", text
    return "undecided: no detectable difference, or opposite differences at different levels", text


def verdict_on_corrections(run: Run) -> tuple[str, str]:
    """The verdict on corrections: does a correction of the noise level or of eps, without noise, do as well as noise?

    The best correction is chosen on one half of the images. Its numbers come from the other half.
    """
    chosen = {head(pair)["mode"]: pair for pair in pairs(run.of_kind("best"))}
    phrases, closing, failing = [], [], []
    for rival in pairs(run.of_kind("rival")):
        row = head(rival)
        gain = chosen.get(row["mode"])
        helps = gain is not None and head(gain)["verdict"] == "better"
        text = (
            f"After {cell('images_seen', row['images_seen'])} training images, the correction {row['a']} was chosen on "
            f"one half of the images. On the other half, {relation(rival)}. {measured(run, rival, values=False)}."
        )
        if row["verdict"] == "no clear difference":
            text += "".join(f" {sentence}" for sentence in detectable(run, [rival]))
        if gain is not None and head(gain)["verdict"] == "baseline chosen":
            text += " On the half that chose, no correction scores better than eta 0."
        elif gain is not None:
            text += f" Also on the other half, {relation(gain)}. {measured(run, gain, values=False)}."
        phrases.append(text)
        failing += [row["mode"]] if row["verdict"] == "worse" else []
        closing += [row["mode"]] if helps and row["verdict"] in ("better", "no clear difference") else []
    if not phrases:
        return "undecided (not measured)", ""
    text = " ".join(phrases)
    if len(failing) == len(phrases):
        return "refuted: noise scores better than the best correction", text
    if len(closing) == len(phrases):
        return "supported: a correction without noise helps, and noise is not detectably better than it", text
    return "undecided: the comparisons do not give a detectable answer for all networks", text


@dataclass(frozen=True)
class Response:
    """Predicted and measured effect of noise for one denoiser, as ratios of eta 1 to eta 0."""

    denoiser: str  # its name in probes.csv
    label: str
    sums: dict[str, tuple[float, float, float]]  # network -> sum at eta 0, sum at eta 1, s.e. of their ratio
    real: dict[str, float]  # network -> distance to the samples of the exact denoiser, eta 1 divided by eta 0
    linear: dict[str, float]  # network -> sum divided by the distance, at eta 0
    winner: str  # by the denoiser's part in split.csv: "noise", "no noise", or "" if not detectable

    @property
    def ratios(self) -> list[tuple[float, float]]:
        """(sum at eta 1 divided by sum at eta 0, its s.e.) for each network."""
        return [(noisy / quiet, se) for quiet, noisy, se in self.sums.values()]

    @property
    def predicted(self) -> str:
        """The predicted winner, at which less error is left; "undecided" unless this is sure for each network."""
        if all(ratio + SURE * se < 1 for ratio, se in self.ratios):
            return "noise"
        return "no noise" if all(ratio - SURE * se > 1 for ratio, se in self.ratios) else "undecided"


def responses(run: Run) -> list[Response]:
    """All denoisers that were measured: networks, fewest training images first, then the exact one with errors."""
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
            sums[seed] = (a, b, b / a * math.hypot(a_se / a, b_se / b))  # as if the two errors were independent
            apart = [found["deviation", eta].loc[seed, "value"] for eta in (0.0, 1.0)]
            real[seed], linear[seed] = apart[1] / apart[0], a / apart[0]
        out.append(Response(denoiser, label, sums, real, linear, _winner(run, mode)))
    return out


def _winner(run: Run, mode: str) -> str:
    """The winner by the denoiser's part of the difference; "" unless KD is clear and FD has the same sign."""
    kd, fd = (part(run, "denoiser", mode, metric) for metric in ("kd", "fd"))
    if kd is None or fd is None or not kd["clear"] or kd["difference"] * fd["difference"] < 0:
        return ""
    return "noise" if kd["difference"] < 0 else "no noise"


def verdict_on_response(run: Run) -> tuple[str, str]:
    """The verdict on error times contraction: does it predict the winner among eta 0 and eta 1?"""
    found = responses(run)
    if not found:
        return "undecided (not measured)", ""
    decided = [one for one in found if one.winner and one.predicted != "undecided"]
    right = [one for one in decided if one.predicted == one.winner]
    kinds: dict[str, list[float]] = {"for trained networks": [], "for the exact denoiser with errors": []}
    for one in found:
        name = list(kinds)[one.denoiser in flawed(run)]
        kinds[name] += [ratio for ratio, _ in one.ratios]
    shown = [f"{number(min(of), 2)} to {number(max(of), 2)} {name}" for name, of in kinds.items() if of]
    text = (
        "Each stretch of the ladder adds an error, and a part of it is left at the end. The sum of these parts with "
        f"noise, divided by the sum without noise, is {listed(shown)}."
    )
    if decided:
        metric = metric_name("kd", run.features)
        text += (
            f" Prediction: the eta with the smaller sum scores better in {metric} (denoiser's part). Prediction and "
            f"result are both detectable in {plural(len(decided), 'case')} and agree in {len(right)}."
        )
    n, wrong = len(decided), len(decided) - len(right)
    if n < ENOUGH:
        return f"undecided: prediction and result are both detectable in {n} of {len(found)} cases", text
    if not wrong:
        return f"supported: the predicted winner is right in {n} of {n} detectable cases", text
    if not right:
        return f"refuted: the predicted winner is wrong in {n} of {n} detectable cases", text
    return f"refuted as a rule: the predicted winner is wrong in {wrong} of {n} detectable cases", text
