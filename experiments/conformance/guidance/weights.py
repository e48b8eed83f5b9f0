"""Which prediction a sampler used at each evaluation, and of whose answers it is made.

Inputs are linear in the predictions p_j of the evaluations before them: X_k+1 = B_k + sum_j M_kj p_j. B and M follow
from two runs at scale 1 whose network answers all conditions alike, so that p_j is that answer. Then all p_k follow
from the inputs of any other run, and their coefficients in the answers are the weights, whatever the sampler, its
levels and its outputs.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from experiments.conformance.guidance.network import Query

SEEN = 800  # values of x by which samples are told apart
LINEAR, LINEAR_IN_HALF = 5e-3, 0.15  # share of a prediction that no answer explains: less is rounding
UNUSED = 1e-5  # of the largest factor: the answer changes nothing
Evaluation = list[Query]  # those of one x, that of the prompt first


class Run(NamedTuple):
    """One request: the evaluations of each sample, and what followed each: the next input, and at last the sample."""

    evaluations: list[list[Evaluation]]
    after: Tensor  # (B, E, D); empty if samples have different numbers of evaluations


def list_queries(run: Run) -> list[Query]:
    """All rows of a request."""
    return [query for evaluations in run.evaluations for evaluation in evaluations for query in evaluation]


class Linear(NamedTuple):
    """How inputs follow from predictions."""

    bases: Tensor  # (B, E, D)
    factors: Tensor  # (E, E)
    gaps: list[float]  # of each input: the share of its change that is not linear


class Reading(NamedTuple):
    """One prediction: the weights of the answers that it is made of."""

    at: int
    evaluation: Evaluation
    prediction: Tensor
    weights: dict[str, float]  # by branch, of the answers of this evaluation
    others: dict[str, float]  # of other evaluations, samples or requests
    gap: float  # share that no answer explains


def tolerance(evaluation: Evaluation) -> float:
    return LINEAR_IN_HALF if evaluation[0].half else LINEAR


def solve(y: Tensor, basis: Sequence[Tensor] | Tensor) -> tuple[Tensor, float]:
    """The coefficients of y (D,) in the basis, and the share of y that is left."""
    rows = torch.stack(tuple(basis))
    coefficients = torch.linalg.lstsq(rows.T, y[:, None], driver="gelsd").solution[:, 0]
    smallest = 1e-3 * float(rows[0].norm())  # for y = 0
    return coefficients, float((y - coefficients @ rows).norm()) / max(float(y.norm()), smallest)


def trace(queries: Sequence[Query], samples: Tensor, noise: Tensor) -> Run:
    """A row belongs to the sample whose noise and earlier answers explain it best. samples, noise: (B, D)."""
    vectors = [[unit] for unit in noise]
    asked: list[list[Query]] = [[] for _ in noise]
    for query in queries:
        gaps = [solve(query.x[:SEEN], [vector[:SEEN] for vector in basis])[1] for basis in vectors]
        sample = gaps.index(min(gaps))
        if min(gaps) > 0.5 and not asked[sample]:
            raise ValueError("the first input of its network must be a multiple of the noise that it is given")
        asked[sample].append(query)
        vectors[sample].append(query.answer)
    evaluations = [_group(queries) for queries in asked]
    if len({len(groups) for groups in evaluations}) > 1:
        return Run(evaluations, torch.empty(0))
    inputs = [[group[0].x for group in groups[1:]] for groups in evaluations]
    return Run(evaluations, torch.stack([torch.stack([*xs, out]) for xs, out in zip(inputs, samples, strict=True)]))


def _group(queries: Sequence[Query]) -> list[Evaluation]:
    """Queries with one x; then those with one level too, of other branches, as where x differs by mistake."""
    groups = list[Evaluation]()
    for query in queries:
        last = groups[-1] if groups else []
        again = any(other.branch == query.branch and other.level != query.level for other in last)
        if last and torch.equal(last[0].x, query.x) and not again:
            last.append(query)
        else:
            groups.append([query])
    evaluations = list[Evaluation]()
    for group in groups:
        last = evaluations[-1] if evaluations else []
        both = {query.branch for query in last} & {query.branch for query in group}
        if last and last[-1].level == group[0].level and not both:
            last.extend(group)
        else:
            evaluations.append(group)
    for group in evaluations:
        group.sort(key=lambda query: query.condition.name != "prompt")
    return evaluations


def calibrate(first: Run, second: Run) -> Linear:
    """By two runs with the same noise and draws, whose predictions are their answers."""
    answers, others = (
        torch.stack([torch.stack([group[0].answer for group in groups]) for groups in run.evaluations])
        for run in (first, second)
    )
    changes = (second.after - first.after).transpose(0, 1).flatten(1)
    differences = (others - answers).transpose(0, 1).flatten(1)
    solved = [solve(change, differences[: k + 1]) for k, change in enumerate(changes)]
    factors = torch.stack([pad(row, (0, len(changes) - len(row))) for row, _ in solved])
    return Linear(first.after - factors @ answers, factors, [gap for _, gap in solved])


def read(run: Run, linear: Linear, before: Run) -> Iterator[Reading]:
    """The weights of its predictions, up to an input that is not linear in them. `before`: the run before it."""
    diagonal = linear.factors.diagonal()
    used = diagonal.abs() > UNUSED * linear.factors.abs().max()
    factors = linear.factors + torch.diag(torch.where(used, 0, 1 - diagonal))
    predictions = torch.linalg.solve_triangular(factors, run.after - linear.bases, upper=False)
    old = [("an answer to the request before", query) for query in list_queries(before)]
    for sample, groups in enumerate(run.evaluations):
        strangers = [others for at, others in enumerate(run.evaluations) if at != sample]
        for k, group in enumerate(groups):
            if linear.gaps[k] > tolerance(group):
                break
            if not used[k]:
                continue
            pool = [
                (f"the {query.condition.name}'s answer of evaluation {j + 1}", query)
                for j in range(k) for query in groups[j]
            ]  # fmt: skip
            pool += [
                ("an answer to another sample", query)
                for other in strangers for asked in other[: k + 1] for query in asked
            ]  # fmt: skip
            yield _read_prediction(k, group, predictions[sample, k], pool + old)


def _read_prediction(at: int, group: Evaluation, prediction: Tensor, pool: Sequence[tuple[str, Query]]) -> Reading:
    answers = {(query.branch, query.condition): query.answer for query in group}
    shares, gap = solve(prediction, [*answers.values()])
    others = dict[str, float]()
    if gap > tolerance(group):
        wide, left = solve(prediction, [*answers.values(), *(query.answer for _, query in pool)])
        if left < tolerance(group):
            shares, gap = wide, left
            for (label, query), share in zip(pool, wide[len(answers) :].tolist(), strict=True):
                if abs(share) * query.answer.norm() > tolerance(group) * prediction.norm():
                    others[label] = others.get(label, 0.0) + share
    weights = dict[str, float]()
    for (branch, _), share in zip(answers, shares.tolist(), strict=False):
        weights[branch] = weights.get(branch, 0.0) + share
    return Reading(at, group, prediction, weights, others, gap)
