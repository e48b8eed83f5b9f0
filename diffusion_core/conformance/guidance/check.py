"""The check of a pipeline's guidance: twelve runs, their traces, and what is found in them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from diffusion_core.conformance.guidance.faults import (
    ACCEPTABLE,
    CHECKS,
    CLOSE_IN_HALF,
    SCALES,
    TOP,
    describe_places,
    find_in_numbers,
    find_in_queries,
    find_in_weights,
    is_embedded,
)
from diffusion_core.conformance.guidance.network import GuidedNetwork, Query, answer_randomly, make_embeddings
from diffusion_core.conformance.guidance.weights import (
    Linear,
    Reading,
    Trace,
    calibrate,
    main_query,
    read,
    trace_samples,
)
from diffusion_core.conformance.independence import has_argument
from diffusion_core.conformance.policy.findings import Finding, PolicyVerdict
from diffusion_core.validation import one_of

Scales = Callable[[Sequence[float], float], Sequence[float]]
Runs = dict[float, list[Trace]]  # scale -> traces of the samples, in the order of the requests
BATCH = 3
CALIBRATIONS = 2  # runs at scale 1 whose network answers all conditions alike
BEGINNING = ("mixed before the network", "not decided")  # after these no weights are read


def check_guidance(
    pipeline: Callable[..., Tensor], *, scales: Scales | None = None, accept: Sequence[str] = (), n_steps: int = 10,
    shape: tuple[int, ...] = (4, 16, 16),
) -> PolicyVerdict:  # fmt: skip
    """Whether a pipeline guides its network as it is asked to, at every evaluation and for each sample.

    Args:
        pipeline: samples = pipeline(network, n_steps, noise, scale, prompt, negative), with noise (B, *shape) in
            float32, embeddings (B, 4, 32), and network(x, level, condition, guidance=None, pooled=None). Without an
            argument `negative`, the other branch has no condition, or zeros.
        scales: scales(levels, scale) is what is meant at the level of each evaluation; by default always `scale`.
        accept: what is meant so, of `ACCEPTABLE`.

    Raises ValueError if the pipeline returns no samples, or does not start from the noise.
    """
    meant = {name for word in accept for name in ACCEPTABLE[one_of("accept", word, ACCEPTABLE)]}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        verdict, alone = (_check(pipeline, scales, n_steps, (n, *shape)) for n in (BATCH, 1))
    names = {finding.name for finding in verdict.findings}
    more = [
        replace(finding, text=f"alone, {finding.text}")
        for finding in alone.findings if finding.wrong and finding.name not in names
    ]  # fmt: skip
    findings = [replace(finding, accepted=finding.name in meant) for finding in (*verdict.findings, *more)]
    findings.sort(key=lambda finding: (finding.accepted, not finding.wrong))
    return replace(verdict, findings=tuple(findings))


def assert_guided(pipeline: Callable[..., Tensor], **options: Any) -> None:
    """Raises AssertionError with what is wrong unless the guidance is right. For tests; arguments as above."""
    verdict = check_guidance(pipeline, **options)
    assert verdict.right, verdict.sentence


def _check(
    pipeline: Callable[..., Tensor], scales: Scales | None, n_steps: int, shape: tuple[int, ...]
) -> PolicyVerdict:
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    equal = [_run(pipeline, n_steps, noise, 1.0, request, by_condition=False) for request in range(CALIBRATIONS)]
    runs = {
        scale: _run(pipeline, n_steps, noise, scale, request) for request, scale in enumerate(SCALES, CALIBRATIONS)
    }
    n = len(equal[0][0].evaluations)
    findings = [*find_in_queries(runs, CALIBRATIONS, has_argument(pipeline, "negative"))]
    if any(len(trace.evaluations) != n for traces in (*equal, *runs.values()) for trace in traces):
        sizes = ", ".join(f"{len(traces[0].evaluations)} at scale {scale:g}" for scale, traces in runs.items())
        findings.append(Finding("weights", "not decided", f"the number of inputs of its network differs: {sizes}."))
    if any(finding.name in BEGINNING for finding in findings):
        return PolicyVerdict(tuple(findings), ("condition", "input"))
    linear = calibrate(*equal)
    readings = _read_runs(runs, linear)
    levels = [main_query(evaluation).level for evaluation in runs[TOP][0].evaluations]
    embedded = is_embedded(runs)
    meant = {scale: [1.0 if embedded else scale] * n for scale in SCALES}
    if scales is not None:
        meant = {scale: [float(value) for value in scales(levels, scale)] for scale in SCALES}
    findings += find_in_numbers(runs)
    findings += find_in_weights(readings, meant)
    findings += _find_the_rest(runs, linear, readings)
    ratios = dict[int, tuple[float, float]]()
    for at, right in enumerate(meant[TOP]):
        values = [reading.prompt / right for reading in readings[TOP] if reading.at == at and right]
        if values:
            ratios[at + 1] = (min(values), max(values))
    farthest = max((ratio for pair in ratios.values() for ratio in pair), key=lambda ratio: abs(ratio - 1), default=None)
    rule = "the network gets the scale" if embedded else "u + w (c - u)"
    words = f"{rule} at every evaluation; {_count(runs[TOP])} evaluations per sample, {_count(runs[1.0])} at scale 1."
    return PolicyVerdict(tuple(findings), tuple(CHECKS)[: 3 + embedded], ratios=ratios, factor=farthest, words=words)


def _run(
    pipeline: Callable[..., Tensor], n_steps: int, noise: Tensor, scale: float, request: int, by_condition: bool = True
) -> list[Trace]:
    network = GuidedNetwork(answer_randomly(request, by_condition), len(noise))
    embeddings = make_embeddings(request, len(noise))[: 1 + has_argument(pipeline, "negative")]
    torch.manual_seed(0)  # all runs have the same draws
    samples = pipeline(network, n_steps, noise.clone(), scale, *embeddings)
    if not isinstance(samples, Tensor) or samples.numel() != noise.numel() or not network.queries:
        returned = f"shape {tuple(samples.shape)}" if isinstance(samples, Tensor) else type(samples).__name__
        raise ValueError(
            f"it returned {returned}; it must ask the network, and return samples, {tuple(noise.shape)}, not decoded"
        )
    rows = [values.detach().double().cpu().reshape(len(noise), -1) for values in (samples, noise)]
    if network.queries[0].x.numel() != rows[1].shape[1]:
        raise ValueError(f"its network gets {network.queries[0].x.numel()} values per sample, not {rows[1].shape[1]}")
    return trace_samples(network.queries, *rows)


def _count(traces: Sequence[Trace]) -> int:
    """Network evaluations per sample."""
    return sum(map(len, traces[0].evaluations))


def _read_runs(runs: Runs, linear: Linear) -> dict[float, list[Reading]]:
    """The weights at each scale. An answer may come from the run before."""
    before = list[Query]()
    readings = dict[float, list[Reading]]()
    for scale, traces in runs.items():
        asked = [[query for evaluation in trace.evaluations for query in evaluation] for trace in traces]
        readings[scale] = []
        for sample, trace in enumerate(traces):
            others = [query for at, queries in enumerate(asked) for query in queries if at != sample]
            pool = {"an answer to another sample": others, "an answer to the request before": before}
            readings[scale] += read(scale, sample, trace, linear, pool)
        before = [query for queries in asked for query in queries]
    return readings


def _find_the_rest(runs: Runs, linear: Linear, readings: dict[float, list[Reading]]) -> Iterator[Finding]:
    """What was not read, and what costs more than it must."""
    n = len(linear.gaps)
    if not all(map(linear.explains, range(n))):
        text = "not all weights were read: the sampler is not linear in its network's answers, as where it clips."
        yield Finding("weights", "not decided", text)
    elif unused := {*range(n)} - {reading.at for reading in readings[TOP]}:
        text = f"{describe_places(unused, n)} the network's answer changes nothing."
        yield Finding("weights", "answer not used", text, wrong=False)
    if _count(runs[1.0]) > n:
        text = f"scale 1 takes {_count(runs[1.0])} evaluations, where {n} suffice."
        yield Finding("weights", "cost", text, wrong=False)
    if runs[TOP][0].evaluations[0][0].rounding > CLOSE_IN_HALF / 10:
        text = f"the network gets 16-bit numbers: a weight that is off by less than {CLOSE_IN_HALF:g} of itself counts as right."
        yield Finding("weights", "rounding", text, wrong=False)
