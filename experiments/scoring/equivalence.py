"""Are images after a change the same, in law, as before, up to a margin? `score REFERENCE before after --margin 0.02`.

MMD between before and after decides (distances/equivalence.py), and all rows of equivalence_checks.py must hold.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from diffusion_core.validation import check_range
from experiments.distances.duplicates import ClusterIds
from experiments.distances.equivalence import SEEN
from experiments.distances.intervals import MIN_SAMPLES
from experiments.run.cache import Cache
from experiments.run.compare import Row
from experiments.run.image_features import FeatureSpace
from experiments.run.machine import Machine
from experiments.scoring import compare, warnings
from experiments.scoring.equivalence_checks import EquivalenceCheck, EquivalenceInputs, percent, run_checks
from experiments.scoring.groups import CLIPS, GroupsOf, or_clips
from experiments.scoring.inputs import Input, Source, standardise_latents
from experiments.scoring.output import ScoreOutput, pictures
from experiments.scoring.pairing import Pairing, Pairs, pair
from experiments.scoring.result import Scores
from reports.schema import HARMFUL, HARMLESS, UNDECIDED

log = logging.getLogger(__name__)
NAME = "harmless"
PAIRED, ALONE = 0.02, 0.03  # margins for pairs, where there are enough, and else
ENOUGH, FEWEST = 500, 5  # pairs, or prompts, for the smaller one; and without which there is no answer
WORST, STRIP = 16, 4  # pairs that are shown, and in one picture
FACTS = "verdict sentence reason margin features n n_units pairs needed unchanged at_best".split()  # of run.json
STATUS = {HARMLESS: 0, HARMFUL: 1, UNDECIDED: 3}


@dataclass(frozen=True)
class Harmless:
    """The answer; `print` shows it."""

    before: str  # the names of the sets
    after: str
    margin: float | None  # the share of images of which replacement may move a set as far as the change does, if given
    features: str  # the feature space that decides
    checks: tuple[EquivalenceCheck, ...]  # what must hold; the first decides
    n: int  # pairs of images
    n_units: int  # prompts, or pairs where there are none
    unchanged: int  # pairs of equal images
    at_best: float  # the smallest share that this many can show
    pairs: str  # how they are paired: names, order or none
    needed: int | None  # pairs of images that would decide, if they do not and a number would
    worst: tuple[tuple[str, float], ...]  # the pairs furthest apart, and their shares of all squared distances
    scores: Scores | None = None  # the distances of both to reference images, if these were given
    notes: tuple[str, ...] = ()  # what a reader should know, a sentence each
    inputs: tuple[Input, ...] = ()
    worst_indices: tuple[ClusterIds, ...] = ()  # of each set the places of the worst pairs

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
    def reason(self) -> str:
        """Why that is the verdict, with the margin. It never says lossless, nor how many images changed."""
        if self.unchanged == self.n:
            return f"{self.n:,} of {self.n:,} pairs are identical{', but no margin is given' * (self.margin is None)}"
        first, decisive = self.checks[0], self.decisive
        limit = "no margin is given" if self.margin is None else f"limit {100 * self.margin:g} %"
        limit = f"limit {100 * first.limit:g} %" if self.verdict == HARMFUL else limit
        units = f" of {self.n_units:,} groups" if self.n_units < self.n else ", each image taken to fail alone"
        count = f"{self.n:,} {'images of each' if self.pairs == 'none' else 'pairs'}{units}"
        if decisive is not first and self.verdict == HARMFUL:
            return f"{decisive.check} {decisive.show(decisive.value)}, limit {decisive.show(decisive.limit)}; {count}"
        far, share = ("further", first.low) if self.verdict == HARMFUL else ("no further", first.high)
        bound = f"with 95 % confidence, in features {self.features}, {far} from before than replacing "
        bound += f"{percent(share or 0)} % of the images can move them at most ({limit})"
        if self.verdict == UNDECIDED:
            bound += "" if decisive is first else f", but {decisive.check} is up to {percent(decisive.high or 0)} %"
            count += f", can show {percent(self.at_best)} % at best"
            count += f"; about {self.needed:,} would decide" if self.needed else ""
        return f"{bound}; {count}"

    @property
    def sentence(self) -> str:
        return f"{self.verdict}: {self.reason}"

    def __str__(self) -> str:
        return "\n".join([self.sentence, *map(str, self.checks[1:]), *(f"note: {note}" for note in self.notes)])


def harmless(  # noqa: PLR0913  # the options of the command, by keyword
    before: Source, after: Source, margin: float | None = None, groups: GroupsOf = None, *,
    reference: Source | None = None, features: str | tuple[str, ...] | None = None, pairs: Pairs = "auto",
    feature_weights: compare.Weights = None, device: str = "auto", store: Cache | Path | str = "runs/store",
    crops: int = 0,
) -> Harmless:  # fmt: skip
    """Whether images after a change, such as of a faster sampler, are as good as those before, up to a margin.

    Args:
        before, after: sets of images, of features, or of latents, which are floats (n, C, H, W). These, and the options
            that are not named here, are as in `compare`.
        margin: the share of images of which replacement may move a set as far as the change does. None: nothing is
            called harmless; the limit for harmful is 0.02 with at least 500 pairs, or groups if there are any, else
            0.03.
        groups: the prompt, or batch, of each image of `before`, see `groups_of`: images that can fail together. Without
            them each image is taken to fail alone. "clips": the folders in it are clips, as arrays (n, T, H, W, C) are,
            whose frames are the images; then motion is compared too.
        reference: real images; the distances of both to them are then measured too. They do not decide.
        crops: number of crops of 64x64 pixels of each image that are compared too.

    ValueError as in `compare`; the margin is no share; both sets are one folder or file; pairs are in another order.
    """
    if margin is not None and not 0 < margin < 1:
        raise ValueError(f"margin={margin:g}: it is a share of images, above 0 and below 1, such as 0.02")
    check_range("crops", crops, 0)
    _check_two(before, after)
    store = store if isinstance(store, Cache) else Cache(Path(store))
    given = (before, after) if reference is None else (reference, before, after)
    opened = compare.open_all(given, store, ("reference", "before", "after")[-len(given) :])
    opened, of_latents = standardise_latents(opened, opened[-2])
    inputs, spaces, where = opened[-2:], compare.spaces_of(opened, features), Machine.resolve(device).device
    groups = or_clips(inputs, groups)
    pairing = _paired(inputs, pairs, groups, FEWEST if reference is None else MIN_SAMPLES)
    n, paired, chosen = len(pairing.chosen[0]), pairing.by != "none", pairing.chosen
    of_sets, notes = compare.prompts_of(inputs, pairing, groups)
    prompts = of_sets[0] if of_sets else None
    n_prompts = n if prompts is None else int(prompts.max()) + 1
    what = ("pairs" if paired else "images of each") if n_prompts == n else "groups"
    if n_prompts < FEWEST:
        raise ValueError(f"groups: they are {n_prompts}, and an interval needs at least {FEWEST}")
    log.info("%s %s can show %s %% at best", f"{n_prompts:,}", what, percent(min(SEEN / n_prompts, 1.0)))
    limit = margin or (PAIRED if paired and n_prompts >= ENOUGH else ALONE)
    files, clips = compare.weights_of(spaces, feature_weights), groups == CLIPS
    spaced = [
        EquivalenceInputs(inputs, pairing, prompts, FeatureSpace(*each, where), store, limit, crops, clips)
        for each in files.items()
    ]
    rows, first = run_checks(spaced), spaced[0]
    checks = tuple(row for row in rows if isinstance(row, EquivalenceCheck))
    if margin is None:
        checks = tuple(replace(row, verdict=UNDECIDED) if row.verdict == HARMLESS else row for row in checks)
    best, n_units = first.test.at_best, first.test.n_units
    unchanged = int((first.described[0].digests == first.described[1].digests).sum()) if paired else 0
    facts = {
        pairing.note: bool(pairing.note),
        **dict.fromkeys(notes, True),
        of_latents: bool(of_latents),
        "every group has one image, so images are the units of intervals": prompts is not None and n_prompts == n,
        f"every image of {inputs[0].name} stands there several times; they count as one": first.repeats is not None,
        **dict.fromkeys([row for row in rows if isinstance(row, str)], True),
        **dict.fromkeys(warnings.input_warnings(inputs, first.described, first.space), True),
        **dict.fromkeys(warnings.trait_notes(inputs, first.described), True),
        f"{unchanged:,} of {n:,} pairs are identical": 0 < unchanged < n,
    }
    found, scores = [note for note, holds in facts.items() if holds], None
    if reference is not None:
        scores = compare.score_inputs(opened, features, pairing, feature_weights, where, store, groups)
        found += [note for note in scores.notes if note not in found]
    apart = np.square(first.features[1] - first.features[0]).sum(axis=1)
    largest = np.argsort(-apart, kind="stable")[: WORST if paired else 0]
    total = float(apart.sum()) or 1.0
    worst = tuple((_name(inputs[0], chosen[0][at]), float(apart[at] / total)) for at in largest)
    undecided = margin and checks[0].verdict == UNDECIDED and unchanged < n
    needed = first.test.required_pairs(limit) if undecided else None
    return Harmless(
        inputs[0].name, inputs[1].name, margin, spaces[0], checks, n, n_units, unchanged, best, pairing.by,
        needed, worst, scores, tuple(found), tuple(inputs), tuple(order[largest] for order in chosen),
    )  # fmt: skip


def _check_two(before: Source, after: Source) -> None:
    paths = [Path(given).expanduser().resolve() for given in (before, after) if isinstance(given, str | Path)]
    if len(set(paths)) < len(paths):
        raise ValueError(f"before={str(before)!r}, after={str(after)!r}: they are one folder or file; name two")


def assert_harmless(before: Source, after: Source, margin: float, **options: Any) -> None:
    """Raises AssertionError with what is wrong unless the change is harmless. For tests; arguments as `harmless`."""
    found = harmless(before, after, margin, **options)
    if found.verdict != HARMLESS:
        raise AssertionError(str(found))


def make_output(found: Harmless) -> ScoreOutput:
    """What the command writes and prints."""
    names: Row = {"a": found.after, "b": found.before}
    scores = found.scores
    tables = {
        "harms.csv": [names | vars(row) for row in found.checks],
        "worst_pairs.csv": [
            {"place": at + 1, "pair": name, "share": share} for at, (name, share) in enumerate(found.worst)
        ],
    } | ({"contrasts.csv": scores.tables["contrasts.csv"]} if scores else {})
    drawn = {
        f"worst-{row + 1}-{name}{ending}": picture
        for name, images, order in zip(("before", "after"), found.inputs, found.worst_indices, strict=True)
        for row in range(len(order) // STRIP)
        for ending, picture in pictures(images, order[STRIP * row : STRIP * (row + 1)])
        if ending
    }
    facts = {name: getattr(found, name) for name in FACTS}
    checks = {row.check: {name: value for name, value in vars(row).items() if value is not None}
              for row in found.checks}  # fmt: skip
    summary = facts | {"checks": checks, "worst": [list(pair) for pair in found.worst], "notes": found.notes}
    question = f"Is {found.after} as good as {found.before}?"
    return ScoreOutput(NAME, question, tables, drawn, facts, summary, found.notes, (), STATUS[found.verdict])


def _paired(inputs: Sequence[Input], pairs: Pairs, groups: GroupsOf, fewest: int) -> Pairing:
    """The pairs. ValueError if only some names agree, so that nobody may have wanted none."""
    pairing = pair(inputs, pairs, fewest)
    shared = set.intersection(*(set(images.names or ()) for images in inputs))
    if pairs == "auto" and pairing.by == "none" and shared:
        raise ValueError(
            f"pairs='auto': {len(shared):,} names are in both sets, others in one; use --pairs names if images of one "
            "name come from the same seed, else --pairs none"
        )
    if groups is not None and pairing.by == "none":
        raise ValueError("groups: they need pairs of images, by --pairs names or order")
    return pairing


def _name(images: Input, index: int) -> str:
    return images.names[index] if images.names else f"image {index}"
