"""Are images after a change the same, in law, as before, up to a margin? `score REFERENCE before after --margin 0.02`.

MMD between before and after decides (distances/equivalence.py), and no more images may be copies.
"""

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from experiments.distances.equivalence import smallest_share
from experiments.distances.intervals import MIN_SAMPLES
from experiments.run.cache import Cache
from experiments.run.image_features import FeatureSpace
from experiments.run.machine import Machine
from experiments.scoring import compare, warnings
from experiments.scoring.equivalence_checks import EquivalenceCheck, EquivalenceInputs, run_checks
from experiments.scoring.groups import CLIPS, GroupsOf, or_clips
from experiments.scoring.inputs import Input, Source, standardise_latents
from experiments.scoring.output import ScoreOutput
from experiments.scoring.pairing import Pairing, Pairs, pair
from experiments.scoring.result import Scores
from reports.schema import HARMFUL, HARMLESS, UNDECIDED, Row

log = logging.getLogger(__name__)
NAME = "harmless"
PAIRED = 0.02  # margin with enough pairs
ALONE = 0.03  # margin otherwise
ENOUGH = 500  # pairs, or prompts, for PAIRED
FEWEST = 5  # pairs, or prompts, without which there is no answer
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
    checks: tuple[EquivalenceCheck, ...]  # what must hold: the share, which decides, and copies
    n: int  # pairs of images
    n_units: int  # prompts, or pairs where there are none
    unchanged: int  # pairs of equal images
    at_best: float  # the smallest share that this many can show
    pairs: str  # how they are paired: names, order or none
    needed: int | None  # pairs of images that would decide, if they do not and a number would
    scores: Scores | None = None  # the distances of both to reference images, if there are any
    notes: tuple[str, ...] = ()  # what a reader should know, a sentence each

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
        if decisive is not first:
            return f"{decisive.check} {percent(decisive.value)} %, limit {percent(decisive.limit)} %; {count}"
        size, share = ("larger", first.low) if self.verdict == HARMFUL else ("smaller", first.high)
        bound = f"the change is {size} than replacing {percent(share or 0)} % of the images could cause "
        bound += f"(95 % confidence, features {self.features}, {limit})"
        if self.verdict == UNDECIDED:
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

    ValueError as in `compare`; the margin is no share; both sets are one folder or file; pairs are in another order.
    """
    if margin is not None and not 0 < margin < 1:
        raise ValueError(f"margin={margin:g}: it is a share of images, above 0 and below 1, such as 0.02")
    _check_two(before, after)
    store = store if isinstance(store, Cache) else Cache(Path(store))
    sources = (before, after) if reference is None else (reference, before, after)
    opened = compare.open_all(sources, store, ("reference", "before", "after")[-len(sources) :])
    opened, of_latents = standardise_latents(opened, opened[-2])
    groups = or_clips(opened[-2:], groups)
    space_name = compare.space_of(opened, features)
    weights = compare.weights_of(space_name, feature_weights)
    space = FeatureSpace(space_name, weights, Machine.resolve(device).device)
    pairing = _paired(opened[-2:], pairs, groups, FEWEST if reference is None else MIN_SAMPLES)
    sets, of_groups = _with_groups(opened[-2:], pairing, groups, margin, space, store)
    checks: tuple[EquivalenceCheck, ...] = run_checks(sets)
    if margin is None:
        checks = tuple(replace(row, verdict=UNDECIDED) if row.verdict == HARMLESS else row for row in checks)
    is_unrelated = checks[0].verdict != HARMFUL and sets.unrelated
    names = [images.name for images in sets.images]
    notes = [LOOK_UNRELATED.format(*names)] if is_unrelated else []
    notes += [pairing.note, *of_groups, of_latents, *_list_notes(sets)]
    scores = None
    if reference is not None:
        scores = compare.score_inputs(opened, features, pairing, feature_weights, device, store, groups)
        notes += scores.notes
    needed = None
    if margin and checks[0].verdict == UNDECIDED and sets.unchanged < pairing.n and not is_unrelated:
        needed = sets.test.required_pairs(margin)
    return Harmless(
        names[0], names[1], margin, space.name, checks, pairing.n, sets.test.n_units, sets.unchanged,
        sets.test.at_best, pairing.by, needed, scores, tuple(filter(None, dict.fromkeys(notes))),
    )  # fmt: skip


def _with_groups(
    inputs: Sequence[Input], pairing: Pairing, groups: GroupsOf, margin: float | None, space: FeatureSpace, store: Cache
) -> tuple[EquivalenceInputs, Sequence[str]]:
    """Before and after with their groups and limit, and notes on these. ValueError for too few groups."""
    of_sets, notes = compare.prompts_of(inputs, pairing, groups)
    prompts = of_sets[0] if of_sets else None
    units = np.arange(pairing.n) if prompts is None else prompts
    n_units = int(units.max()) + 1
    if n_units < FEWEST:
        raise ValueError(f"groups: they are {n_units}, and an interval needs at least {FEWEST}")
    noun = ("pairs" if pairing.paired else "images of each") if n_units == pairing.n else "groups"
    subject = f"{inputs[1].name}: {n_units:,} {noun}"
    log.info("%s can show %s %% at best", subject, percent(smallest_share(np.bincount(units))))  # before the work
    limit = margin or (PAIRED if pairing.paired and n_units >= ENOUGH else ALONE)
    if prompts is not None and n_units == pairing.n:
        notes = [*notes, "every group has one image, so images are the units of intervals"]
    return EquivalenceInputs(inputs, pairing, prompts, space, store, limit, groups == CLIPS), notes


def _list_notes(sets: EquivalenceInputs) -> Iterator[str]:
    """Yields notes on the units of intervals and on the images."""
    if sets.repeats is not None:
        yield f"every image of {sets.images[0].name} stands there several times; they count as one"
    yield from warnings.input_warnings(sets.images, sets.described, sets.space)
    yield from warnings.trait_notes(sets.images, sets.described)
    if 0 < sets.unchanged < sets.pairing.n:
        yield f"{sets.unchanged:,} of {sets.pairing.n:,} pairs are identical"


def _check_two(one: Source, other: Source) -> None:
    paths = [Path(source).expanduser().resolve() for source in (one, other) if isinstance(source, str | Path)]
    if len(set(paths)) < len(paths):
        raise ValueError(f"{str(one)!r} and {str(other)!r} are one folder or file; name two")


def assert_harmless(before: Source, after: Source, margin: float, **options: Any) -> None:
    """Raises AssertionError with what is wrong unless the change is harmless. For tests; arguments as `harmless`."""
    answer = harmless(before, after, margin, **options)
    if answer.verdict != HARMLESS:
        raise AssertionError(str(answer))


def make_output(answer: Harmless) -> ScoreOutput:
    """Makes the output that the command writes and prints: tables, facts, one line of JSON, exit status."""
    tables = {"harms.csv": answer.rows}
    if answer.scores:
        tables["contrasts.csv"] = [*answer.scores.tables["contrasts.csv"]]
    facts = {name: getattr(answer, name) for name in FACTS}
    checks = {
        row.check: {name: value for name, value in vars(row).items() if value is not None} for row in answer.checks
    }
    summary = facts | {"checks": checks, "notes": answer.notes}
    question = f"Is {answer.after} as good as {answer.before}?"
    return ScoreOutput(NAME, question, tables, {}, facts, summary, answer.notes, (), STATUS[answer.verdict])


def percent(share: float) -> str:
    """Two digits of a share as per cent."""
    return warnings.two_digits(100 * share)


def _paired(inputs: Sequence[Input], pairs: Pairs, groups: GroupsOf, fewest: int) -> Pairing:
    """The pairs. ValueError if only some names agree, so that nobody may have wanted none."""
    pairing = pair(inputs, pairs, fewest)
    shared = set.intersection(*(set(images.names or ()) for images in inputs))
    if pairs == "auto" and not pairing.paired and shared:
        raise ValueError(
            f"pairs='auto': {len(shared):,} names are in both sets, others in one; use --pairs names if images of one "
            "name come from the same seed, else --pairs none"
        )
    if groups is not None and not pairing.paired:
        raise ValueError("groups: they need pairs of images, by --pairs names or order")
    return pairing
