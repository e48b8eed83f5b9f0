"""The check of a pipeline's guidance: twelve runs, and what is found in them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from diffusion_core.validation import one_of
from experiments.conformance.guidance.faults import (
    ACCEPTABLE,
    CHECKS,
    SCALES,
    TOP,
    describe_places,
    find_in_numbers,
    find_in_queries,
    find_in_weights,
    is_embedded,
)
from experiments.conformance.guidance.network import GuidedNetwork, make_embeddings
from experiments.conformance.guidance.weights import Run, calibrate, read, tolerance, trace
from experiments.conformance.independence import has_argument
from experiments.conformance.policy.findings import Finding, PolicyVerdict

Scales = Callable[[Sequence[float], float], Sequence[float]]
BATCH = 3
SEEDS = (98, 99)  # of the noise and of the pipeline's draws; the answers have those of their requests, 0 to 5
CALIBRATIONS = 2  # runs at scale 1 whose network answers all conditions alike


def check_guidance(
    pipeline: Callable[..., Tensor], *, scales: Scales = lambda levels, scale: [scale] * len(levels),
    accept: Sequence[str] = (), n_steps: int = 10, shape: tuple[int, ...] = (4, 16, 16),
) -> PolicyVerdict:  # fmt: skip
    """Checks whether a pipeline guides its network as it is asked to, at every evaluation and for each sample.

    Args:
        pipeline: samples = pipeline(network, n_steps, noise, scale, prompt, negative), with noise (B, *shape) in
            float32, embeddings (B, 4, 32), and network(x, level, condition, guidance=None, pooled=None). Without an
            argument `negative`, the other branch has no condition, or zeros.
        scales: scales(levels, scale) gives the intended scale at the level of each evaluation; by default `scale`.
        accept: intended deviations, of `ACCEPTABLE`.

    Raises ValueError if the pipeline returns no samples, or does not start from the noise.
    """
    meant = {name for word in accept for name in ACCEPTABLE[one_of("accept", word, ACCEPTABLE)]}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        verdict, alone = (_check(pipeline, scales, n_steps, (n, *shape)) for n in (BATCH, 1))
    names = {finding.name for finding in verdict.findings}
    more = [replace(finding, text=f"alone, {finding.text}") for finding in alone.errors if finding.name not in names]
    return verdict.adding(more).accepting(meant)


def assert_guided(pipeline: Callable[..., Tensor], **options: Any) -> None:
    """Raises AssertionError with what is wrong unless the guidance is right. For tests; arguments as above."""
    verdict = check_guidance(pipeline, **options)
    assert verdict.right, verdict.sentence


def _check(pipeline: Callable[..., Tensor], scales: Scales, n_steps: int, shape: tuple[int, ...]) -> PolicyVerdict:
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(SEEDS[0]))
    asked = (1.0,) * CALIBRATIONS + SCALES
    runs = [
        _run(pipeline, n_steps, noise, scale, GuidedNetwork(request, len(noise), by_condition=request >= CALIBRATIONS))
        for request, scale in enumerate(asked)
    ]
    equal, guided = runs[:CALIBRATIONS], runs[CALIBRATIONS:]
    findings = [*find_in_queries(guided, CALIBRATIONS, has_argument(pipeline, "negative"))]
    sizes = [len(evaluations) for run in runs for evaluations in run.evaluations]
    n = sizes[0]
    if {*sizes} != {n}:
        findings.append(Finding("weights", "not decided", f"the number of inputs of its network differs: {sizes}."))
    if any(finding.name in ("mixed before the network", "not decided") for finding in findings):
        return PolicyVerdict(tuple(findings), ("condition", "input"))
    linear = calibrate(*equal)
    readings = {scale: [*read(runs[at], linear, runs[at - 1])] for at, scale in enumerate(SCALES, CALIBRATIONS)}
    levels = [group[0].level for group in guided[-1].evaluations[0]]
    embedded = is_embedded(guided[-1])
    meant = {scale: [1.0] * n if embedded else [*scales(levels, scale)] for scale in SCALES}
    few, many = (sum(map(len, run.evaluations[0])) for run in (guided[0], guided[-1]))
    read_at = {reading.at for reading in readings[TOP]}
    is_linear = max(linear.gaps) <= tolerance(guided[0].evaluations[0][0])
    findings += [*find_in_numbers(guided), *find_in_weights(readings, meant)]
    findings += [*_find_unread(read_at, n, is_linear), *_list_notes(guided[0], few, n)]
    rule = "the network gets the scale" if embedded else "u + w (c - u)"
    words = f"{rule} at every evaluation; {many} evaluations per sample, {few} at scale 1."
    return PolicyVerdict(tuple(findings), tuple(CHECKS)[: 3 + embedded], words=words)


def _find_unread(read_at: set[int], n: int, is_linear: bool) -> Iterator[Finding]:
    """Answers of the n whose weights are unknown, since they are not linear in the samples or change nothing."""
    if not is_linear:
        text = "not all weights were read: the sampler is not linear in its network's answers, as where it clips."
        yield Finding("weights", "not decided", text)
    elif unused := {*range(n)} - read_at:
        text = f"{describe_places(unused, n)} the network's answer changes nothing."
        yield Finding("weights", "answer not used", text, wrong=False)


def _list_notes(run: Run, few: int, n: int) -> Iterator[Finding]:
    """Yields notes on the run at scale 1, which takes `few` evaluations: on more than `n`, and on 16-bit numbers."""
    if few > n:
        yield Finding("weights", "cost", f"scale 1 takes {few} evaluations, where {n} suffice.", wrong=False)
    if run.evaluations[0][0][0].half:
        text = "the network gets 16-bit numbers: a weight counts as right if it is off by less than 0.01 of itself."
        yield Finding("weights", "rounding", text, wrong=False)


def _run(pipeline: Callable[..., Tensor], n_steps: int, noise: Tensor, scale: float, network: GuidedNetwork) -> Run:
    embeddings = make_embeddings(network.request, len(noise))[: 1 + has_argument(pipeline, "negative")]
    torch.manual_seed(SEEDS[1])  # all runs have the same draws
    samples = pipeline(network, n_steps, noise.clone(), scale, *embeddings)
    if not isinstance(samples, Tensor) or samples.numel() != noise.numel() or not network.queries:
        returned = f"shape {tuple(samples.shape)}" if isinstance(samples, Tensor) else type(samples).__name__
        must = f"it must ask the network, and return samples, {tuple(noise.shape)}, not decoded"
        raise ValueError(f"it returned {returned}; {must}")
    out, units = (values.detach().double().cpu().reshape(len(noise), -1) for values in (samples, noise))
    if not all(query.x.shape == units[0].shape and query.x.isfinite().all() for query in network.queries):
        raise ValueError(f"its network must get finite inputs of {len(units[0])} values per sample, as the noise has")
    return trace(network.queries, out, units)
