"""Are images after a change the same, in law, as before, up to a margin? `score REFERENCE before after --margin 0.02`.

MMD between before and after decides (distances/equivalence.py), and all rows of equivalence_checks.py must hold.
"""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from diffusion_core.validation import check_range
from experiments.distances.duplicates import ClusterIds
from experiments.distances.equivalence import smallest_share
from experiments.distances.intervals import MIN_SAMPLES
from experiments.run.cache import Cache
from experiments.run.comparisons import Row
from experiments.run.image_features import FeatureSpace
from experiments.run.machine import Machine
from experiments.scoring import compare, warnings
from experiments.scoring.equivalence_checks import (
    EquivalenceCheck,
    EquivalenceInputs,
    Metric,
    measure_metric,
    percent,
    run_checks,
)  # fmt: skip
from experiments.scoring.gate_record import describe_before, describe_gate, hash_input
from experiments.scoring.groups import CLIPS, GroupsOf, or_clips
from experiments.scoring.inputs import Input, Source, image_name, standardise_latents
from experiments.scoring.output import ScoreOutput, pictures
from experiments.scoring.pairing import Pairing, Pairs, pair
from experiments.scoring.result import Scores
from reports.schema import CONTROL, HARMFUL, HARMLESS, UNDECIDED

log = logging.getLogger(__name__)
NAME = "harmless"
PAIRED = 0.02  # margin with enough pairs
ALONE = 0.03  # margin otherwise
ENOUGH = 500  # pairs, or prompts, for PAIRED
FEWEST = 5  # pairs, or prompts, without which there is no answer
WORST = 16  # pairs that are shown
STRIP = 4  # pairs in one picture
FACTS = """verdict sentence reason decided_by margin features n n_units pairs needed needed_groups unchanged
    at_best""".split()  # of run.json
LOOK_UNRELATED = (
    "pairs of {} and {} look unrelated: use the same prompts and seeds for both, or --pairs none with about 2,000 "
    "images of each"
)
STATUS = {HARMLESS: 0, HARMFUL: 1, UNDECIDED: 3}


@dataclass(frozen=True)
class Harmless:
    """The answer; `print` shows it."""

    before: str  # the names of the sets
    after: str
    margin: float | None  # the share of images of which replacement may move a set as far as the change does
    features: str  # the feature space that decides
    checks: tuple[EquivalenceCheck, ...]  # what must hold; the first decides
    n: int  # pairs of images
    n_units: int  # prompts, or pairs where there are none
    unchanged: int  # pairs of equal images
    at_best: float  # the smallest share that this many can show
    pairs: str  # how they are paired: names, order or none
    needed: int | None  # pairs of images that would decide, if they do not and a number would
    worst: tuple[tuple[str, float], ...]  # the pairs furthest apart, and their shares of all squared distances
    scores: Scores | None = None  # the distances of both to reference images, if there are any
    control: "Harmless | None" = None  # of images of the unchanged pipeline, if there are any
    metrics: tuple[Row, ...] = ()  # the user's functions of two images, rows of metrics.csv
    notes: tuple[str, ...] = ()  # what a reader should know, a sentence each
    inputs: tuple[Input, ...] = ()
    worst_indices: tuple[ClusterIds, ...] = ()  # of each set the places of the worst pairs
    basis: Mapping[str, Any] = field(default_factory=dict)  # what the verdict stands on besides the images after

    @property
    def verdict(self) -> str:
        """Harmful if a check says so, harmless if all do or all pairs are identical; else not decided."""
        unchanged = self.unchanged == self.n and self.margin is not None
        verdicts = [] if unchanged else [check.verdict for check in self.checks]
        return next((word for word in (HARMFUL, UNDECIDED) if word in verdicts), HARMLESS)

    @property
    def decisive(self) -> EquivalenceCheck:
        return next((check for check in self.checks if check.verdict == self.verdict), self.checks[0])

    @property
    def decided_by(self) -> str:
        return self.decisive.check

    @property
    def needed_groups(self) -> int | None:
        """The groups of `needed` pairs."""
        return math.ceil(self.needed * self.n_units / self.n) if self.needed and self.n_units < self.n else None

    @property
    def reason(self) -> str:
        """Why that is the verdict, with the margin. It never says lossless, nor how many images changed."""
        if self.unchanged == self.n:
            identical = f"{self.n:,} of {self.n:,} pairs are identical"
            return f"{identical}, but no margin is given" if self.margin is None else identical
        first = self.checks[0]
        decisive = self.decisive
        limit = f"limit {100 * first.limit:g} %"
        if self.margin is None and self.verdict != HARMFUL:
            limit = "no margin is given"
        units = f" of {self.n_units:,} groups" if self.n_units < self.n else ", taken as independent"
        count = f"{self.n:,} {'images of each' if self.pairs == 'none' else 'pairs'}{units}"
        if decisive is not first and self.verdict == HARMFUL:
            return f"{decisive.check} {decisive.show(decisive.value)}, limit {decisive.show(decisive.limit)}; {count}"
        size, share = ("larger", first.low) if self.verdict == HARMFUL else ("smaller", first.high)
        bound = f"the change is {size} than replacing {percent(share or 0)} % of the images could cause "
        bound += f"(95 % confidence, features {self.features}, {limit})"
        if self.verdict == UNDECIDED:
            if decisive is not first:
                bound += f", but {decisive.check} is up to {decisive.show(decisive.high or 0)}"
            count += f", can show {percent(self.at_best)} % at best"
            groups = f" in {self.needed_groups:,} groups" if self.needed_groups else ""
            if self.needed:
                count += f"; about {self.needed:,}{groups} would decide"
        return f"{bound}; {count}"

    @property
    def sentence(self) -> str:
        return f"{self.verdict}: {self.reason}"

    @property
    def rows(self) -> list[Row]:
        """The rows of harms.csv."""
        return [{"a": self.after, "b": self.before} | vars(check) for check in self.checks]

    def __str__(self) -> str:
        return "\n".join([self.sentence, *map(str, self.checks[1:]), *(f"note: {note}" for note in self.notes)])


def harmless(  # noqa: PLR0913  # the options of the command, by keyword
    before: Source, after: Source, margin: float | None = None, groups: GroupsOf = None, *,
    reference: Source | None = None, features: str | None = None, pairs: Pairs = "auto",
    feature_weights: compare.Weights = None, device: str = "auto", store: Cache | Path | str = "runs/store",
    crops: int = 0, control: Source | None = None, metrics: Metric | Sequence[Metric] = (),
) -> Harmless:  # fmt: skip
    """Tests whether images after a change, such as of a faster sampler, are as good as those before, up to a margin.

    Args:
        before, after: sets of images, of features, or of latents, which are floats (n, C, H, W). These, and the options
            that are not named here, are as in `compare`.
        margin: the share of images of which replacement may move a set as far as the change does. None: nothing is
            called harmless; the limit for harmful is 0.02 with at least 500 pairs, or groups if there are any, else
            0.03.
        groups: the prompt, or batch, of each image of `before`, see `groups_of`: images that can fail together. Without
            them images are taken as independent. "clips": the folders in it are clips, as arrays (n, T, H, W, C) are,
            whose frames are the images.
        reference: real images; the distances of both to them are then measured too. They do not decide.
        crops: number of crops of 64x64 pixels of each image that are compared too.
        control: images of the unchanged pipeline, from another card, build or batch, of which the same is measured: so
            far a pipeline differs from itself. It does not decide.
        metrics: functions, such as LPIPS, or python:MODULE:FUNCTION: a number of the same image before and after, each
            torch.uint8 (C, H, W). Their means with intervals, and the largest, do not decide.

    ValueError as in `compare`; the margin is no share; both sets are one folder or file; pairs are in another order.
    """
    if margin is not None and not 0 < margin < 1:
        raise ValueError(f"margin={margin:g}: it is a share of images, above 0 and below 1, such as 0.02")
    check_range("crops", crops, 0)
    for two in combinations((before, after, control), 2):
        _check_two(*two)
    metrics = [metrics] if isinstance(metrics, str) or callable(metrics) else metrics
    store = store if isinstance(store, Cache) else Cache(Path(store))
    gate = Gate(margin, groups, features, pairs, feature_weights, device, store, crops, metrics)
    answer = _measure_change(gate, before, after, "after", reference)
    if control is None:
        return answer
    of_control = _measure_change(gate, before, control, CONTROL)
    if of_control.after != CONTROL:
        of_control = replace(of_control, after=f"{of_control.after} ({CONTROL})")
    more = [f"{of_control.after}: {note}" for note in of_control.notes if note not in answer.notes]
    basis = {**answer.basis, "images of the control": hash_input(of_control.inputs[1])}
    notes = (describe_control(of_control), *answer.notes, *more)
    return replace(answer, control=of_control, basis=basis, notes=notes)


@dataclass(frozen=True)
class Gate:
    """By what a change is measured: the arguments of `harmless` that are not sets."""

    margin: float | None
    groups: GroupsOf
    features: str | None
    pairs: Pairs
    feature_weights: compare.Weights
    device: str
    store: Cache
    crops: int
    metrics: Sequence[Metric]


def _measure_change(gate: Gate, before: Source, after: Source, name: str, reference: Source | None = None) -> Harmless:
    """The answer on one set against `before`; `name`: that of an array."""
    sources = (before, after) if reference is None else (reference, before, after)
    opened = compare.open_all(sources, gate.store, ("reference", "before", name)[-len(sources) :])
    basis = describe_before(opened[-2])
    opened, of_latents = standardise_latents(opened, opened[-2])
    gate = replace(gate, groups=or_clips(opened[-2:], gate.groups))
    first, of_groups = _pair(gate, opened)
    pairing = first.pairing
    rows = run_checks(first)
    checks = tuple(row for row in rows if isinstance(row, EquivalenceCheck))
    if gate.margin is None:
        checks = tuple(replace(row, verdict=UNDECIDED) if row.verdict == HARMLESS else row for row in checks)
    is_unrelated = checks[0].verdict != HARMFUL and first.unrelated
    names = [images.name for images in first.images]
    notes = [LOOK_UNRELATED.format(*names)] if is_unrelated else []
    notes += [pairing.note, *of_groups, of_latents, *_list_notes(first, rows)]
    scores = None
    if reference is not None:
        scores = compare.score_inputs(
            opened, gate.features, pairing, gate.feature_weights, gate.device, gate.store, gate.groups
        )
        notes += scores.notes
    measured = [measure_metric(metric, first) for metric in gate.metrics]
    notes += [note for _, note in measured]
    furthest, worst = _worst_pairs(first)
    needed = None
    if gate.margin and checks[0].verdict == UNDECIDED and first.unchanged < pairing.n and not is_unrelated:
        needed = first.test.required_pairs(first.margin)
    basis |= describe_gate(first, gate.groups, checks, gate.metrics)
    return Harmless(
        names[0], names[1], gate.margin, first.space.name, checks, pairing.n, first.test.n_units,
        first.unchanged, first.test.at_best, pairing.by, needed, worst, scores, inputs=tuple(first.images),
        metrics=tuple(row for row, _ in measured), notes=tuple(filter(None, dict.fromkeys(notes))), basis=basis,
        worst_indices=tuple(order[furthest] for order in pairing.chosen),
    )  # fmt: skip


def _pair(gate: Gate, opened: Sequence[Input]) -> tuple[EquivalenceInputs, Sequence[str]]:
    """Before and after, paired, and notes on their groups. ValueError for too few pairs."""
    inputs = opened[-2:]
    name = compare.space_of(opened, gate.features)
    weights = compare.weights_of(name, gate.feature_weights)
    space = FeatureSpace(name, weights, Machine.resolve(gate.device).device)
    pairing = _paired(inputs, gate, FEWEST if len(opened) == 2 else MIN_SAMPLES)
    of_sets, notes = compare.prompts_of(inputs, pairing, gate.groups)
    prompts = of_sets[0] if of_sets else None
    units = np.arange(pairing.n) if prompts is None else prompts
    n_units = int(units.max()) + 1
    if n_units < FEWEST:
        raise ValueError(f"groups: they are {n_units}, and an interval needs at least {FEWEST}")
    noun = ("pairs" if pairing.paired else "images of each") if n_units == pairing.n else "groups"
    subject = f"{inputs[1].name}: {n_units:,} {noun}"
    log.info("%s can show %s %% at best", subject, percent(smallest_share(np.bincount(units))))  # before the work
    limit = gate.margin or (PAIRED if pairing.paired and n_units >= ENOUGH else ALONE)
    if prompts is not None and n_units == pairing.n:
        notes = [*notes, "every group has one image, so images are the units of intervals"]
    are_clips = gate.groups == CLIPS
    return EquivalenceInputs(inputs, pairing, prompts, space, gate.store, limit, gate.crops, are_clips), notes


def _list_notes(sets: EquivalenceInputs, rows: Sequence[EquivalenceCheck | str]) -> Iterator[str]:
    """Yields notes on the units of intervals, on checks that were not made, and on the images."""
    if sets.repeats is not None:
        yield f"every image of {sets.images[0].name} stands there several times; they count as one"
    yield from (row for row in rows if isinstance(row, str))
    yield from warnings.input_warnings(sets.images, sets.described, sets.space)
    yield from warnings.trait_notes(sets.images, sets.described)
    if 0 < sets.unchanged < sets.pairing.n:
        yield f"{sets.unchanged:,} of {sets.pairing.n:,} pairs are identical"


def _worst_pairs(sets: EquivalenceInputs) -> tuple[ClusterIds, tuple[tuple[str, float], ...]]:
    """The places of the pairs furthest apart; their names, with their shares of all squared distances."""
    squares = (sets.features[1] - sets.features[0]).square().sum(dim=1).cpu().numpy()
    furthest = np.argsort(-squares, kind="stable")[: WORST if sets.pairing.paired else 0]
    total = float(squares.sum()) or 1.0
    places = sets.pairing.chosen[0][furthest]
    names = [image_name(sets.images[0], place) for place in places]
    return furthest, tuple(zip(names, (squares[furthest] / total).tolist(), strict=True))


def _check_two(one: Source | None, other: Source | None) -> None:
    paths = [Path(source).expanduser().resolve() for source in (one, other) if isinstance(source, str | Path)]
    if len(set(paths)) < len(paths):
        raise ValueError(f"{str(one)!r} and {str(other)!r} are one folder or file; name two")


def assert_harmless(before: Source, after: Source, margin: float, **options: Any) -> None:
    """Raises AssertionError with what is wrong unless the change is harmless. For tests; arguments as `harmless`."""
    answer = harmless(before, after, margin, **options)
    if answer.verdict != HARMLESS:
        raise AssertionError(str(answer))


def describe_control(control: Harmless) -> str:
    """How far a pipeline differs from itself."""
    if control.unchanged == control.n:
        return f"{control.after}: the unchanged pipeline made the same images again"
    first = control.checks[0]
    text = f"{control.after}: the unchanged pipeline differs from itself as far as replacing {percent(first.value)} % "
    text += f"of the images ({percent(first.low or 0)} % to {percent(first.high or 0)} %)"
    if control.verdict == (UNDECIDED if control.margin is None else HARMLESS):
        return text
    return f"{text}; by the same limits it is {control.verdict} ({control.decided_by})"


def make_output(answer: Harmless) -> ScoreOutput:
    """Makes the output that the command writes and prints: tables, pictures, facts, one line of JSON, exit status."""
    answers = [answer, *filter(None, [answer.control])]
    tables = {
        "harms.csv": [row for change in answers for row in change.rows],
        "worst_pairs.csv": [
            {"place": place, "pair": name, "share": share} for place, (name, share) in enumerate(answer.worst, start=1)
        ],
    }
    if answer.scores:
        tables["contrasts.csv"] = [*answer.scores.tables["contrasts.csv"]]
    if answer.metrics:
        tables["metrics.csv"] = [
            {"a": change.after, "b": change.before} | row for change in answers for row in change.metrics
        ]
    drawn = {
        f"worst-{row + 1}-{name}{ending}": picture
        for name, images, order in zip(("before", "after"), answer.inputs, answer.worst_indices, strict=True)
        for row in range(len(order) // STRIP)
        for ending, picture in pictures(images, order[STRIP * row : STRIP * (row + 1)])
        if ending
    }
    facts = {name: getattr(answer, name) for name in FACTS}
    checks, *control = (
        {row.check: {name: value for name, value in vars(row).items() if value is not None} for row in change.checks}
        for change in answers
    )
    summary = facts | {"checks": checks, "worst": [list(pair) for pair in answer.worst], "notes": answer.notes}
    if control:
        summary["control"] = control[0]
    if answer.metrics:
        summary["metrics"] = tables["metrics.csv"]
    question = f"Is {answer.after} as good as {answer.before}?"
    return ScoreOutput(NAME, question, tables, drawn, facts, summary, answer.notes, (), STATUS[answer.verdict])


def _paired(inputs: Sequence[Input], gate: Gate, fewest: int) -> Pairing:
    """The pairs. ValueError if only some names agree, so that nobody may have wanted none."""
    pairing = pair(inputs, gate.pairs, fewest)
    shared = set.intersection(*(set(images.names or ()) for images in inputs))
    if gate.pairs == "auto" and not pairing.paired and shared:
        raise ValueError(
            f"pairs='auto': {len(shared):,} names are in both sets, others in one; use --pairs names if images of one "
            "name come from the same seed, else --pairs none"
        )
    if gate.groups is not None and not pairing.paired:
        raise ValueError("groups: they need pairs of images, by --pairs names or order")
    return pairing
