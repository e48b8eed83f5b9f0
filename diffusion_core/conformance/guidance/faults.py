"""What is wrong in how a pipeline asks its network, and in the weights of its predictions, by name."""

import math
from collections.abc import Collection, Iterator, Sequence

from diffusion_core.conformance.guidance.network import Condition, Query
from diffusion_core.conformance.guidance.weights import SMALL, Evaluation, Reading, Trace, main_query
from diffusion_core.conformance.policy.findings import Finding

CHECKS = {  # what must hold, at each of `SCALES`, in a batch and alone, and after other requests
    "condition": "each sample is asked for with its own prompt and negative, of this request, not mixed",
    "input": "both branches get the same x and the same level",
    "weights": "at every evaluation the prediction is u + w (c - u) with the scale w that was asked for",
    "embedded": "a distilled network gets the scale that was asked for",
}
ACCEPTABLE = {  # a word for `accept` -> the findings that may be meant so
    "rescale": ("rescaled",),
    "cfg-zero": ("negative rescaled", "prediction is 0"),
    "cfg++": ("as CFG++",),
    "branches": ("more than two conditions",),
}
SCALES = (1.0, 1.5, 3.0, 5.0)
TOP = SCALES[-1]
CLOSE, CLOSE_IN_HALF = 5e-3, 1e-2  # relative, of a weight: in float32; in 16 bits
KNOWN = 5e-2  # relative: a weight with a larger error is not decided
UNITS = (1, 1000)  # of an embedded scale
ACTS = {  # the name of a wrong scale -> what w acts as
    "convention 1 + w": lambda w: 1 + w,
    "branches swapped": lambda w: 1 - w,
    "guidance applied twice": lambda w: w * w,
}
TEXTS = {
    "not decided": "{gap:.2g} % of the prediction is no answer of the network, as where something clips",
    "hidden by rounding": "the weight at scale {scale:g} is only known to {error:.1g}; check it in float32",
    "prediction is 0": "at scale {scale:g}",
    "more than two conditions": "the weights at scale {scale:g} are {weights}",
    "negative rescaled": "the weights at scale {scale:g} are {prompt:.3g} and {negative:.3g}: u has a factor, as in "
    "CFG-Zero*",
    "rescaled": "the weights at scale {scale:g} are {prompt:.3g} and {negative:.3g}: the prediction has a factor",
    "other weights": "the weights at scale {scale:g} are {prompt:.3g} and {negative:.3g}",
    "negative missing": "scale {scale:g} acts as 1: only the prompt is asked for; if it is meant, declare --scales",
    "negative not used": "scale {scale:g} acts as 1, though the negative is asked for",
    "prompt not used": "scale {scale:g} acts as 0",
}  # another name: `others`


def describe_places(places: Collection[int], n: int) -> str:
    """Evaluations in words, counted from 1."""
    if len(places) == n:
        return "at every evaluation"
    runs = list[list[int]]()
    for place in sorted(places):
        if runs and runs[-1][-1] == place - 1:
            runs[-1].append(place)
        else:
            runs.append([place])
    texts = [f"{run[0] + 1} to {run[-1] + 1}" if len(run) > 1 else f"{run[0] + 1}" for run in runs]
    if len(texts) > 3:
        return f"at {len(places)} evaluations from {min(places) + 1} to {max(places) + 1} of {n}"
    return f"at evaluation{'s' * (len(places) > 1)} {' and '.join(texts)} of {n}"


def find_in_queries(runs: dict[float, list[Trace]], first_request: int, has_negative: bool) -> Iterator[Finding]:
    """What the network is asked wrongly, each fault once, with the evaluations where it is."""
    texts = dict[tuple[str, str], str]()
    places = dict[tuple[str, str], set[int]]()
    for request, traces in enumerate(runs.values(), first_request):
        for sample, trace in enumerate(traces):
            for at, evaluation in enumerate(trace.evaluations):
                for query in evaluation:
                    for check, name, text in _name_faults(query, evaluation, request, sample, has_negative):
                        texts.setdefault((check, name), text)
                        places.setdefault((check, name), set()).add(at)
    n = len(next(iter(runs.values()))[0].evaluations)
    for (check, name), text in texts.items():
        yield Finding(check, name, f"{describe_places(places[check, name], n)} {text}.")
    asked = {query.condition.kind for traces in runs.values() for trace in traces for query in sum(trace.evaluations, [])}
    if not asked & {"prompt", "mixed"}:
        yield Finding("condition", "prompt ignored", "the network never gets the embedding of the prompt.")


def _name_faults(
    query: Query, evaluation: Evaluation, request: int, sample: int, has_negative: bool
) -> Iterator[tuple[str, str, str]]:
    condition = query.condition
    branches = {other.branch for other in evaluation}
    if condition.kind == "mixed":
        yield "condition", "mixed before the network", f"its condition is {condition.parts}; mix the outputs"
    if condition.kind == "none" and has_negative and "negative" not in branches:
        yield "condition", "negative ignored", "its condition is none, or an unknown one"
    yield from _name_strangers(condition, request, sample, "")
    if query.pooled is not None:
        yield from _name_strangers(query.pooled, request, sample, "pooled ")
    if query.branch != condition.kind and len(branches) <= 2:
        yield "condition", "pooled embedding of another branch", f"the {query.branch} is asked for"
    first = main_query(evaluation)
    distance = float((query.x - first.x).norm() / first.x.norm())
    if distance > 0:
        yield "input", "branches at different x", f"they differ by {100 * distance:.2g} %"
    if query.level != first.level:
        yield "input", "branches at different levels", f"{query.level:.4g} and {first.level:.4g}"


def _name_strangers(condition: Condition, request: int, sample: int, which: str) -> Iterator[tuple[str, str, str]]:
    if condition.kind not in ("prompt", "negative"):
        return
    if condition.request != request:
        yield "condition", f"{which}{condition.kind} of the request before", "its condition is an old one"
    elif condition.sample != sample:
        text = f"sample {sample + 1} has that of sample {condition.sample + 1}"
        yield "condition", f"{which}{condition.kind} of another sample", text


def is_embedded(runs: dict[float, list[Trace]]) -> bool:
    """Whether the network gets a number, and no other branch is combined with it."""
    evaluations = [evaluation for trace in runs[TOP] for evaluation in trace.evaluations]
    return all(len(evaluation) == 1 and evaluation[0].guidance is not None for evaluation in evaluations)


def find_in_numbers(runs: dict[float, list[Trace]]) -> Iterator[Finding]:
    """Whether the number that a distilled network gets is the scale, and guides alone."""
    numbers = {
        scale: {query.guidance for trace in traces for evaluation in trace.evaluations for query in evaluation}
        for scale, traces in runs.items()
    }
    if numbers[TOP] == {None}:
        return
    alone = is_embedded(runs)
    if any(all(of_scale == {unit * scale} for scale, of_scale in numbers.items()) for unit in UNITS):
        if not alone:
            text = "the network gets the scale, and two branches are combined."
            yield Finding("embedded", "guidance applied twice", text)
        return
    number, scale = [(number, scale) for scale, of_scale in numbers.items() for number in of_scale if number != scale][-1]
    text = f"the network gets {'no number' if number is None else format(number, 'g')} at scale {scale:g}."
    yield Finding("embedded", "embedded scale", text, wrong=alone)


def find_in_weights(readings: dict[float, list[Reading]], meant: dict[float, list[float]]) -> Iterator[Finding]:
    """The faults of the predictions, each kind once, with the evaluations where it is."""
    n = len(meant[TOP])
    faults = dict[str, list[tuple[Reading, float]]]()
    for scale in SCALES:
        for reading in readings[scale]:
            right = meant[scale][reading.at]
            if name := _name_weights(reading, right):
                faults.setdefault(name, []).append((reading, right))
    guided = {reading.at for reading in readings[TOP] if not _is_close(reading, reading.prompt, 1)}
    declared = {at for at, scale in enumerate(meant[TOP]) if scale != 1}
    if faults and {*faults} <= {"negative missing", "other scale"} and guided and guided != declared and len(declared) < n:
        text = f"it guides {describe_places(guided, n)}; declared: {describe_places(declared, n)}."
        yield Finding("weights", "guidance at other evaluations", text)
        return
    for fault, wrong in faults.items():
        name, text = _describe_scale(wrong, n) if fault == "other scale" else (fault, _describe(fault, wrong[-1][0]))
        yield Finding("weights", name, f"{describe_places({reading.at for reading, _ in wrong}, n)} {text}.")


def _is_close(reading: Reading, weight: float, right: float) -> bool:
    close = CLOSE if reading.evaluation[0].rounding < CLOSE else CLOSE_IN_HALF
    return abs(weight - right) <= close * max(1.0, abs(right), abs(weight)) + reading.error


def _name_weights(reading: Reading, right: float) -> str:  # noqa: C901, PLR0911, PLR0912  # the list of what can be wrong
    """The name of what is wrong with a prediction, "" if nothing is."""
    prompt, negative = reading.prompt, reading.negative
    stranger = max(reading.others, key=lambda label: abs(reading.others[label]), default="")
    if reading.error > KNOWN * max(1.0, abs(right)):
        return "hidden by rounding"
    if reading.gap > reading.allowed:
        return "not decided"
    if stranger.endswith("before"):
        return "state of the request before"
    if stranger.endswith("sample"):
        return "answers of another sample"
    if stranger:
        return "answer reused"
    if abs(prompt) + abs(negative) < SMALL + reading.error:
        return "prediction is 0"
    if len(reading.weights) > 2:
        return "more than two conditions"
    if not _is_close(reading, prompt + negative, 1):
        if _is_close(reading, prompt, right):
            return "negative rescaled"
        return "rescaled" if _is_close(reading, prompt * (1 - right), negative * right) else "other weights"
    if _is_close(reading, prompt, right):
        return ""
    if _is_close(reading, prompt, 1):
        return "negative missing" if len(reading.weights) == 1 else "negative not used"
    return "prompt not used" if _is_close(reading, prompt, 0) else "other scale"


def _describe(name: str, reading: Reading) -> str:
    terms = " and ".join(f"{share:.3g} x {label}" for label, share in [*reading.others.items()][:3])
    text = TEXTS.get(name, f"the prediction at scale {reading.scale:g} has {terms}")
    weights = ", ".join(f"{weight:.3g} ({branch})" for branch, weight in reading.weights.items())
    return text.format(
        scale=reading.scale, prompt=reading.prompt, negative=reading.negative, gap=100 * reading.gap, weights=weights,
        error=reading.error,
    )  # fmt: skip


def _describe_scale(wrong: Sequence[tuple[Reading, float]], n: int) -> tuple[str, str]:
    """The name of a wrong scale, and what shows it."""
    most = max(right for _, right in wrong)
    top = [reading for reading, right in wrong if right == most]
    text = f"scale {most:g} acts as {top[0].prompt:.3g}"
    for name, acts in ACTS.items():
        if all(_is_close(reading, reading.prompt, acts(right)) for reading, right in wrong):
            return name, text
    if len({right for _, right in wrong}) > 1 and all(_is_close(top[0], r.prompt, top[0].prompt) for r, _ in wrong):
        return "scale ignored", f"{text}, and so does every other"
    if {reading.at for reading in top} == {*range(n - 1)} and all(reading.prompt > most for reading in top):
        return "as CFG++", f"{text}, as where the negative's prediction puts the noise back"
    last = top[-1].prompt
    return "other scale", text if math.isclose(top[0].prompt, last, rel_tol=CLOSE) else f"{text} to {last:.3g}"
