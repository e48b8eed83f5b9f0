"""Which prediction a sampler used at each evaluation, and of whose answers it is made.

Inputs are linear in predictions and earlier inputs: X_k+1 = B_k + sum_j M_kj p_j + N_k1 X_k + N_k2 X_k-1. B, M and N
follow from two runs at scale 1 whose network answers all conditions alike, so that p_j is that answer. Then p_k follows
from the inputs of any other run, and its coefficients in the answers are the weights, whatever the sampler, its levels
and its outputs. Without earlier inputs this would be true too, but rounding in bfloat16 would add up.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from diffusion_core.conformance.guidance.network import Query

SEEN = 200  # values of x by which samples are told apart
ALIKE = 0.5  # share of a first input that is not the noise: a larger one is another sample's
LINEAR = 5e-3  # share of a prediction that no answer explains: less is rounding
ERRORS = 4  # standard errors of a weight, as its error
SMALL = 1e-2  # a weight that counts as 0
UNUSED = 1e-5  # of the largest factor: the answer changes nothing
Evaluation = list[Query]  # those of one x


class Trace(NamedTuple):
    """One sample: its evaluations, and what followed each (E, D): the next input, and at last the sample."""

    evaluations: list[Evaluation]
    after: Tensor


class Linear(NamedTuple):
    """How inputs follow from predictions and the two inputs before them."""

    bases: list[Tensor]  # (E, D) of each sample
    factors: Tensor  # (E, E)
    of_inputs: list[Tensor]  # (2 or less,) of each input
    gaps: list[float]  # of each input: the share of its change that is not linear, nor rounding
    errors: list[float]  # relative, of the factor of the last prediction

    def explains(self, at: int) -> bool:
        return self.gaps[at] <= LINEAR

    def add_up(self, at: int, predictions: Tensor, inputs: Tensor) -> Tensor:
        """The input without its base, of the predictions before it, or of the first of them."""
        weights = self.of_inputs[at]
        return self.factors[at, : len(predictions)] @ predictions + weights @ inputs[at - len(weights) : at]

    def uses(self, at: int) -> bool:
        return bool(self.factors[at, at].abs() >= UNUSED * self.factors.abs().max())


class Reading(NamedTuple):
    """One prediction: the weights of the answers that it is made of."""

    scale: float  # that was asked for
    at: int
    evaluation: Evaluation
    weights: dict[str, float]  # by branch, of the answers of this evaluation
    others: dict[str, float]  # of other evaluations, samples or requests
    gap: float  # share that no answer explains
    allowed: float  # a larger one is not rounding
    error: float  # of a weight, by rounding

    @property
    def prompt(self) -> float:
        return sum(weight for branch, weight in self.weights.items() if branch.startswith("prompt"))

    @property
    def negative(self) -> float:
        return sum(self.weights.values()) - self.prompt


def main_query(evaluation: Evaluation) -> Query:
    """That of the prompt."""
    return next((query for query in evaluation if query.condition.kind == "prompt"), evaluation[0])


def solve(y: Tensor, basis: Sequence[Tensor] | Tensor) -> tuple[Tensor, float]:
    """The coefficients of y (D,) in the basis, and the share of y that is left."""
    rows = torch.stack(tuple(basis))
    coefficients = torch.linalg.lstsq(rows.T, y[:, None], driver="gelsd").solution[:, 0]
    smallest = 1e-3 * float(rows[0].norm())  # for y = 0
    return coefficients, float((y - coefficients @ rows).norm()) / max(float(y.norm()), smallest)


def trace_samples(queries: Sequence[Query], samples: Tensor, noise: Tensor) -> list[Trace]:
    """The trace of each sample. A row belongs to the sample whose noise, or first input and answers, explain it best.

    `samples` and `noise`: (B, D). ValueError if the first inputs are not multiples of the noise, in any order of D.
    """
    begun: list[list[Tensor]] = [[] for _ in noise]  # the first input and the answers
    asked: list[Evaluation] = [[] for _ in noise]
    places = dict[bytes, int]()
    for query in queries:
        key = query.x.numpy().tobytes()
        if key not in places:
            gaps = [
                solve(query.x[:SEEN], [vector[:SEEN] for vector in vectors])[1]
                if vectors
                else _compare_with_noise(query.x, unit)
                for vectors, unit in zip(begun, noise, strict=True)
            ]
            sample = gaps.index(min(gaps))
            if not begun[sample]:
                if gaps[sample] > ALIKE:
                    raise ValueError("the first input of its network must be a multiple of the noise that it is given")
                begun[sample].append(query.x)
            places[key] = sample
        asked[places[key]].append(query)
        begun[places[key]].append(query.answer)
    if not all(asked):
        raise ValueError(f"its network was asked for {sum(map(bool, asked))} of {len(noise)} samples")
    traces = []
    for own_queries, sample_values, unit in zip(asked, samples, noise, strict=True):
        evaluations = _group(own_queries)
        first = evaluations[0][0].x
        if solve(first, [unit])[1] > ALIKE:  # packed: the network has another order
            order = torch.empty_like(unit, dtype=torch.long)
            order[first.argsort(stable=True)] = unit.argsort(stable=True)
            sample_values = sample_values[order]
        inputs = [main_query(evaluation).x for evaluation in evaluations[1:]]
        traces.append(Trace(evaluations, torch.stack([*inputs, sample_values])))
    return traces


def _compare_with_noise(x: Tensor, noise: Tensor) -> float:
    """The share of x that is no multiple of the noise, or of the noise in another order."""
    gap = solve(x, [noise])[1]
    if gap < ALIKE:
        return gap
    sorted_gap = solve(x.sort().values, [noise.sort().values])[1]
    return sorted_gap if sorted_gap < LINEAR else 1.0


def _group(queries: Sequence[Query]) -> list[Evaluation]:
    """Queries with one x; then those with one level too, of other conditions, as where x differs by mistake."""
    by_x = list[Evaluation]()
    for query in queries:
        last = by_x[-1] if by_x else []
        again = any(old.branch == query.branch and old.level != query.level for old in last)
        if last and torch.equal(last[0].x, query.x) and not again:
            last.append(query)
        else:
            by_x.append([query])
    evaluations = list[Evaluation]()
    for group in by_x:
        last = evaluations[-1] if evaluations else []
        asked_again = {query.branch for query in last} & {query.branch for query in group}
        if last and last[-1].level == group[0].level and not asked_again:
            last.extend(group)
        else:
            evaluations.append(group)
    return evaluations


def calibrate(first: Sequence[Trace], second: Sequence[Trace]) -> Linear:
    """How inputs follow from predictions, by two runs with the same noise and draws, whose predictions are answers."""
    answers = [
        torch.stack([torch.stack([main_query(evaluation).answer for evaluation in trace.evaluations]) for trace in traces])
        for traces in (first, second)
    ]  # each (B, E, D)
    after = [torch.stack([trace.after for trace in traces]) for traces in (first, second)]
    change, difference = ((values[1] - values[0]).transpose(0, 1).flatten(1) for values in (after, answers))
    n, rounding = len(change), first[0].evaluations[0][0].rounding
    linear = Linear(list(after[0].clone()), torch.zeros(n, n).to(change), [], [], [])
    for k in range(n):
        solution, gap = solve(change[k], [*difference[: k + 1], *change[max(0, k - 2) : k]])
        linear.factors[k, : k + 1] = solution[: k + 1]
        linear.of_inputs.append(solution[k + 1 :])
        size = float(change[k].norm())
        linear.gaps.append(gap - rounding * float(after[0][:, k].norm()) / max(size, 1e-30))
        steps = float(solution[k].abs() * difference[k].norm())
        linear.errors.append(ERRORS * gap * size / max(steps, 1e-30) / len(change[k]) ** 0.5)
        for base, inputs, own_answers in zip(linear.bases, after[0], answers[0], strict=True):
            base[k] -= linear.add_up(k, own_answers[: k + 1], inputs)
    return linear


def read(scale: float, sample: int, trace: Trace, linear: Linear, pool: dict[str, list[Query]]) -> list[Reading]:
    """The weights of a sample's predictions, up to an input that is not linear in them. `pool`: answers of others."""
    readings, predictions = list[Reading](), torch.zeros_like(trace.after)
    for k, evaluation in enumerate(trace.evaluations):
        if not linear.explains(k):
            break
        if not linear.uses(k):
            continue
        factor = linear.factors[k, k]
        rest = linear.add_up(k, predictions[:k], trace.after)
        predictions[k] = (trace.after[k] - linear.bases[sample][k] - rest) / factor
        answers = {(query.branch, query.condition): query.answer for query in evaluation}
        size = float(predictions[k].norm())
        rounding = evaluation[0].rounding * (1 + float(trace.after[k].norm() / factor.abs()) / max(size, 1e-30))
        allowed = LINEAR + rounding
        shares, gap = solve(predictions[k], [*answers.values()])
        errors = ERRORS * min(gap, allowed) / len(predictions[k]) ** 0.5 + linear.errors[k]
        error = errors * size / float(evaluation[0].answer.norm())
        others = dict[str, float]()
        if gap > allowed:
            older = [
                (f"the {query.condition.kind}'s answer of evaluation {j + 1}", query)
                for j in range(k) for query in trace.evaluations[j]
            ]  # fmt: skip
            older += [(label, query) for label, queries in pool.items() for query in queries]
            wide, left = solve(predictions[k], [*answers.values(), *(query.answer for _, query in older)])
            if left < allowed:
                shares, gap = wide, left
                for (label, _), share in zip(older, wide[len(answers) :].tolist(), strict=True):
                    if abs(share) > SMALL + error:
                        others[label] = others.get(label, 0.0) + share
        weights = dict[str, float]()
        for (branch, _), share in zip(answers, shares.tolist(), strict=False):
            weights[branch] = weights.get(branch, 0.0) + share
        readings.append(Reading(scale, k, evaluation, weights, others, gap, allowed, error))
    return readings
