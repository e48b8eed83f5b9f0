"""Faults in how a pipeline asks its network, and in the weights of its predictions, by name."""

from collections.abc import Collection, Iterator, Sequence

from experiments.conformance.guidance.network import Query
from experiments.conformance.guidance.weights import Evaluation, Reading, Run, list_queries, tolerance
from experiments.conformance.policy.findings import Finding

CHECKS = {  # what must hold, at each of `SCALES`, in a batch and alone, and after other requests
    "condition": "each sample is asked for with its own prompt and negative, of this request, not mixed",
    "input": "both branches get the same x and the same level",
    "weights": "at every evaluation the prediction is u + w (c - u) with the scale w that was asked for",
    "embedded": "a distilled network gets the scale that was asked for",
}
ACCEPTABLE = {  # a word for `accept` -> the findings that may be intended
    "rescale": ("rescaled", "rescaled by place"),
    "cfg-zero": ("negative rescaled", "prediction is 0"),
    "cfg++": ("as CFG++",),
    "branches": ("more than two conditions",),
}
SCALES = (1.0, 1.5, 3.0, 5.0)
TOP = SCALES[-1]
CLOSE, CLOSE_IN_HALF = 5e-3, 1e-2  # relative, of a weight: in float32; in 16 bits
UNITS = (1, 1000)  # of an embedded scale
ACTS = {  # the name of a wrong scale -> what w acts as
    "convention 1 + w": lambda w: 1 + w,
    "branches swapped": lambda w: 1 - w,
    "guidance applied twice": lambda w: w * w,
}
TEXTS = {
    "not decided": "{gap:.2g} % of the prediction is no answer of the network, as where something clips",
    "rescaled by place": "at scale {scale:g} the prediction has factors that differ by token or row",
    "prediction is 0": "at scale {scale:g}",
    "more than two conditions": "the weights at scale {scale:g} are {weights}",
    "negative rescaled": "the weights at scale {scale:g} are {weights}: u has a factor, as in CFG-Zero*",
    "rescaled": "the weights at scale {scale:g} are {weights}: the prediction has a factor",
    "other weights": "the weights at scale {scale:g} are {weights}",
    "negative missing": "scale {scale:g} acts as 1: only the prompt is asked for; if it is meant, declare --scales",
    "negative not used": "scale {scale:g} acts as 1, though the negative is asked for",
}
Fault = tuple[str, str, str]  # check, name, text
Wrong = tuple[float, float, Reading]  # the scale that was asked for, the one that is right, and what was read


def describe_places(places: Collection[int], n: int) -> str:
    """Evaluations in words, counted from 1."""
    first = min(places) + 1
    last = max(places) + 1
    if len(places) == n:
        return "at every evaluation"
    if len(places) == 1:
        return f"at evaluation {first} of {n}"
    gapless = last - first + 1 == len(places)
    return (
        f"at evaluations {first} to {last} of {n}"
        if gapless
        else f"at {len(places)} of {n} evaluations, {first} to {last},"
    )


def find_in_queries(runs: Sequence[Run], first_request: int, has_negative: bool) -> Iterator[Finding]:
    """Yields each fault in what the network is asked, once, with the evaluations where it occurs."""
    faults = dict[str, tuple[Fault, set[int]]]()
    for request, run in enumerate(runs, first_request):
        for sample, evaluations in enumerate(run.evaluations):
            for at, evaluation in enumerate(evaluations):
                for query in evaluation:
                    for fault in _name_faults(query, evaluation, (request, sample), has_negative):
                        faults.setdefault(fault[1], (fault, set()))[1].add(at)
    for (check, name, text), places in faults.values():
        yield Finding(check, name, f"{describe_places(places, len(runs[0].evaluations[0]))} {text}.")


def _name_faults(query: Query, evaluation: Evaluation, owner: tuple[int, int], has_negative: bool) -> Iterator[Fault]:
    first = evaluation[0]
    names = {other.condition.name for other in evaluation}
    if query.condition.name == "mixed":
        yield "condition", "mixed before the network", f"its condition is {query.condition.parts}; mix the outputs"
    if names in ({"none"}, {"negative", "none"}):
        yield "condition", "prompt ignored", "no condition is that of the prompt"
    if has_negative and query.condition.name == "none" and "negative" not in names:
        yield "condition", "negative ignored", "its condition is none, or an unknown one"
    for which, condition in (("", query.condition), ("pooled ", query.pooled)):
        if condition.name in ("prompt", "negative") and (condition.request, condition.sample) != owner:
            old = condition.request != owner[0]
            name = f"{which}{condition.name} of {'the request before' if old else 'another sample'}"
            text = f"sample {owner[1] + 1} has that of sample {condition.sample + 1}"
            yield "condition", name, "its condition is an old one" if old else text
    if query.branch != query.condition.name and len(evaluation) <= 2:
        yield "condition", "pooled embedding of another branch", f"the {query.branch} is asked for"
    distance = float((query.x - first.x).norm() / first.x.norm())
    if distance > 0:
        yield "input", "branches at different x", f"they differ by {100 * distance:.2g} %"
    if query.level != first.level:
        yield "input", "branches at different levels", f"{query.level:.4g} and {first.level:.4g}"


def is_embedded(run: Run) -> bool:
    """Whether the network gets a number, and no other branch is combined with it."""
    return all(len(group) == 1 and group[0].guidance is not None for group in run.evaluations[0])


def find_in_numbers(runs: Sequence[Run]) -> Iterator[Finding]:
    """Yields a finding unless the number that a distilled network gets is the scale, and guides alone."""
    numbers = [{query.guidance for query in list_queries(run)} for run in runs]
    alone = is_embedded(runs[-1])
    right = any(numbers == [{unit * scale} for scale in SCALES] for unit in UNITS)
    if right and not alone:
        yield Finding(
            "embedded", "guidance applied twice", "the network gets the scale, and two branches are combined."
        )
    elif not right and numbers[-1] != {None}:
        yield Finding(
            "embedded",
            "embedded scale",
            f"the network gets {', '.join(map(str, numbers[-1]))} at scale {TOP:g}.",
            wrong=alone,
        )


def find_in_weights(readings: dict[float, list[Reading]], meant: dict[float, list[float]]) -> Iterator[Finding]:
    """The faults of the predictions, each once, with the evaluations where it is."""
    n = len(meant[TOP])
    faults = dict[str, list[Wrong]]()
    for scale in SCALES:
        for reading in readings[scale]:
            right = meant[scale][reading.at]
            if name := _name_weights(reading, right):
                faults.setdefault(name, []).append((scale, right, reading))
    guided = {reading.at for reading in readings[TOP] if not is_close(reading, _prompt(reading), 1)}
    declared = {at for at, scale in enumerate(meant[TOP]) if scale != 1}
    if (
        faults
        and {*faults} <= {"negative missing", "other scale"}
        and guided
        and guided != declared
        and len(declared) < n
    ):
        text = f"it guides {describe_places(guided, n)}; declared: {describe_places(declared, n)}."
        yield Finding("weights", "guidance at other evaluations", text)
        return
    for fault, wrong in faults.items():
        name, text = _describe_scale(wrong, n) if fault == "other scale" else (fault, _describe(fault, wrong[-1]))
        places = {reading.at for _, _, reading in wrong}
        yield Finding("weights", name, f"{describe_places(places, n)} {text}.")


def is_close(reading: Reading, weight: float, right: float) -> bool:
    close = CLOSE_IN_HALF if reading.evaluation[0].half else CLOSE
    return abs(weight - right) <= close * max(1.0, abs(right), *map(abs, reading.weights.values()))


def _prompt(reading: Reading) -> float:
    return sum(weight for branch, weight in reading.weights.items() if branch.startswith("prompt"))


def _name_weights(reading: Reading, right: float) -> str:
    """The name of what is wrong with a prediction, "" if nothing is."""
    prompt = _prompt(reading)
    total = sum(reading.weights.values())
    stranger = max(reading.others, key=lambda label: abs(reading.others[label]), default="")
    if reading.gap > tolerance(reading.evaluation):
        return "rescaled by place" if _has_few_factors(reading, right) else "not decided"
    if stranger:
        endings = {"before": "state of the request before", "sample": "answers of another sample"}
        return endings.get(stranger.split()[-1], "answer reused")
    if all(is_close(reading, weight, 0) for weight in reading.weights.values()):
        return "prediction is 0"
    if len(reading.weights) > 2:
        return "more than two conditions"
    if not is_close(reading, total, 1):
        if is_close(reading, prompt, right) and len(reading.weights) > 1:
            return "negative rescaled"
        return "rescaled" if is_close(reading, prompt, total * right) else "other weights"
    if is_close(reading, prompt, right):
        return ""
    if is_close(reading, prompt, 1):
        return "negative missing" if len(reading.weights) == 1 else "negative not used"
    return "other scale"


def _has_few_factors(reading: Reading, right: float) -> bool:
    """Whether the prediction is u + right (c - u) times factors that many of its values share, mostly others than 1."""
    answers = [query.answer for query in reading.evaluation]
    expected = answers[-1] + right * (answers[0] - answers[-1])
    large = expected.abs() > expected.std() / 3
    factors = (1000 * (reading.prediction / expected)[large]).round()
    return len(factors.unique()) < len(factors) / 4 and bool((factors == 1000).double().mean() < 0.5)


def _describe(name: str, wrong: Wrong) -> str:
    scale, _, reading = wrong
    terms = " and ".join(f"{share:.3g} x {label}" for label, share in [*reading.others.items()][:3])
    weights = ", ".join(f"{weight:.3g} ({branch})" for branch, weight in reading.weights.items())
    text = TEXTS.get(name, f"the prediction at scale {scale:g} has {terms}")
    return text.format(scale=scale, gap=100 * reading.gap, weights=weights)


def _describe_scale(wrong: Sequence[Wrong], n: int) -> tuple[str, str]:
    """The name of a wrong scale, and what shows it."""
    most = max(right for _, right, _ in wrong)
    top = [reading for _, right, reading in wrong if right == most]
    highest = _prompt(top[0])
    text = f"scale {most:g} acts as {highest:.3g}"
    for name, acts in ACTS.items():
        if all(is_close(reading, _prompt(reading), acts(right)) for _, right, reading in wrong):
            return name, text
    if len({right for _, right, _ in wrong}) > 1 and all(is_close(top[0], _prompt(of), highest) for _, _, of in wrong):
        return "scale ignored", f"{text}, and so does every other"
    if {reading.at for reading in top} == {*range(n - 1)} and all(_prompt(reading) > most for reading in top):
        return "as CFG++", f"{text}, as where the negative's prediction puts the noise back"
    return "other scale", text if is_close(top[0], _prompt(top[-1]), highest) else f"{text} to {_prompt(top[-1]):.3g}"
