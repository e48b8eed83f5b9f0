"""Are images after a change the same, in law, as before, up to a margin? `score REFERENCE before after --margin 0.02`.

MMD between before and after decides (distances/harm.py). Beside it, what that could miss has a limit of its own: fine
noise, copies, and class shares where classes are known. All must hold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.distances.copies import Groups
from experiments.distances.harm import HARMFUL, HARMLESS, UNDECIDED, Harm
from experiments.run.cache import Cache
from experiments.scoring import compare
from experiments.scoring import harmless_checks as parts
from experiments.scoring.doubts import COPIES
from experiments.scoring.features import Extractor
from experiments.scoring.groups import GroupsOf
from experiments.scoring.harmless_checks import Check
from experiments.scoring.inputs import Input, Source
from experiments.scoring.pairing import Pairing, Pairs, pair
from experiments.scoring.result import Scores

PAIRED, ALONE = 0.02, 0.03  # margins for pairs, where there are enough, and else
ENOUGH = 500  # pairs, or prompts, for the smaller one
FEW = 300  # pairs, below which the test errs more often than it says
FAR, ROUNDING = 4, 1e-9  # standard errors below 0, where D is by no chance, and what rounding makes of no difference
WORST = 16  # pairs that are shown


@dataclass(frozen=True)
class Harmless:
    """The answer; `print` shows it.

    Args:
        before, after: the names of the sets.
        margin: the largest share of destroyed images that counts as none.
        checks: what must hold; the first decides.
        n, n_units: pairs of images, and prompts, or pairs where there are none.
        pairs: how they are paired: names, order or none.
        needed: pairs of images that would decide, if they do not and a number would.
        worst: the pairs that are furthest apart, the name of each and its share of the sum of squared distances.
        scores: the distances of both to reference images, if these were given.
        notes: what a reader should know, a sentence each.
    """

    before: str
    after: str
    margin: float
    checks: tuple[Check, ...]
    n: int
    n_units: int
    pairs: str
    needed: int | None
    worst: tuple[tuple[str, float], ...]
    scores: Scores | None = None
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """Harmful if a check says so, harmless if all do."""
        verdicts = [check.verdict for check in self.checks]
        return next((word for word in (HARMFUL, UNDECIDED) if word in verdicts), HARMLESS)

    @property
    def sentence(self) -> str:
        """The verdict in words, with its margin. They never say lossless, equal or identical."""
        first, limit = self.checks[0], f"limit {100 * self.margin:g} %"
        count = f"{self.n:,} {'images of each' if self.pairs == 'none' else 'pairs'}"
        count += f" of {self.n_units:,} prompts" if self.n_units < self.n else ""
        bound = f"as if at most {_percent(first.high)} % of the images were destroyed ({limit})"
        if self.verdict == HARMLESS:
            return f"harmless: {bound}; {count}"
        if self.verdict == UNDECIDED:
            more = f"; about {self.needed:,} would decide" if self.needed else ""
            doubtful = next(check for check in self.checks if check.verdict == UNDECIDED)
            but = "" if doubtful is first else f", but {doubtful.name} is up to {_percent(doubtful.high)} %"
            return f"not decided: {bound}{but}; {count}{more}"
        if first.verdict == HARMFUL:
            return f"harmful: as if at least {_percent(first.low)} % of the images were destroyed ({limit}); {count}"
        other = next(check for check in self.checks if check.verdict == HARMFUL)
        return f"harmful: {other.name} {other.value:.3g}, limit {other.limit:.3g}; {count}"

    def __str__(self) -> str:
        lines = [f"  {one.name}: {one.value:.3g}, limit {one.limit:.3g}: {one.verdict}" for one in self.checks[1:]]
        return "\n".join([self.sentence, *lines, *(f"note: {note}" for note in self.notes)])


@dataclass(frozen=True)
class Compared:
    """The answer, and its images with their order: before, then after; `worst` are places in the order."""

    answer: Harmless
    inputs: tuple[Input, ...]
    chosen: tuple[Groups, ...]
    worst: tuple[int, ...]


def harmless(
    before: Source, after: Source, margin: float | None = None, groups: GroupsOf = None, *,
    reference: Source | None = None, features: str | tuple[str, ...] | None = None, pairs: Pairs = "auto",
    feature_weights: compare.Weights = None, device: str = "auto", store: Cache | Path | str = "runs/store",
    crops: int = 0,
) -> Harmless:  # fmt: skip
    """Whether images after a change, such as of a faster sampler, are as good as those before, up to a margin.

    Args:
        before, after: sets of images or features, as in `compare`.
        margin: the share of destroyed images that counts as none. Default: 0.02 with at least 500 pairs, or 500
            prompts if there are any; else 0.03.
        groups: the prompt of each image of `before`, see `units`; prompts are then the units of all intervals.
        reference: real images; the distances of both to them are then measured too. They do not decide.
        crops: so many crops of 64x64 pixels of each image are compared too.

    Raises:
        ValueError: as in `compare`; the margin is no share; groups do not suit the images.
    """
    kept = store if isinstance(store, Cache) else Cache(Path(store))
    return measure(
        (before, after), reference, features, pairs, feature_weights, device, kept, margin, groups, crops
    ).answer


def assert_harmless(before: Source, after: Source, margin: float | None = None, **options: Any) -> None:
    """Raises AssertionError with what is wrong unless the change is harmless. For tests; arguments as `harmless`."""
    answer = harmless(before, after, margin, **options)
    if answer.verdict != HARMLESS:  # no assert, which python -O leaves out
        raise AssertionError(str(answer))


def measure(
    sources: tuple[Source, Source], reference: Source | None, features: str | tuple[str, ...] | None, pairs: Pairs,
    feature_weights: compare.Weights, device: str, store: Cache, margin: float | None, groups: GroupsOf, crops: int,
) -> Compared:  # fmt: skip
    """The comparison. Arguments and errors as in `harmless`."""
    if margin is not None and not 0 < margin < 1:
        raise ValueError(f"margin={margin:g}: it is a share of images, above 0 and below 1, such as 0.02")
    if crops < 0:
        raise ValueError(f"crops={crops}: it must be 0 or more")
    given = sources if reference is None else (reference, *sources)
    opened = compare.open_all(given, store, ("reference", "before", "after")[-len(given) :])
    inputs, spaces = opened[-2:], compare.spaces_of(opened, features)
    pairing, where = _paired(inputs, pairs, groups), compare.device_of(device)
    found_prompts, n = compare.prompts_of(inputs, pairing, groups), len(pairing.chosen[0])
    prompts = found_prompts[0] if found_prompts else None
    n_units = n if prompts is None else int(prompts.max()) + 1
    notes = [pairing.note] if pairing.note else []
    if n_units == n and prompts is not None:
        notes.append("every prompt has one image, so images are the units of intervals")
    if n < FEW:
        notes.append(f"{n} images of each set are few: below {FEW} the test errs more often than it says")
    if margin is None:
        margin = PAIRED if pairing.by != "none" and n_units >= ENOUGH else ALONE
    checks, found = list[Check](), list[Harm]()
    for space, file in compare.weights_of(spaces, feature_weights).items():
        extractor = Extractor(space, file, where)
        described = parts.described(inputs, pairing.chosen, extractor, store)
        alone = parts.with_copies(described[0], prompts)
        if (repeats := n_units - int(alone.max()) - 1) > COPIES * n and not found:
            what = "images" if prompts is None else "prompts"
            notes.append(
                f"{repeats:,} {what} of {inputs[0].name} are copies of others, or have some; they count as one"
            )
        found.append(parts.harm_of(described, alone))
        if found[-1].distance.value < -FAR * found[-1].distance.se - ROUNDING:  # images meet themselves out of pairs
            raise ValueError(
                f"{inputs[0].name} and {inputs[1].name} hold the same images in another order, which looks like no "
                "difference; pair them by --pairs names, or bring both into one order for --pairs order"
            )
        checks.append(parts.share_check(f"share in {space} features", found[-1], margin))
        if crops:
            cut = parts.described(*parts.crops_of(inputs, pairing.chosen, crops), extractor, store)
            each = (np.arange(n) if prompts is None else prompts).repeat(crops)
            checks.append(parts.share_check(f"share in crops, {space} features", parts.harm_of(cut, each), margin))
        checks.append(parts.copies_check(described, margin))
        if space == "digits":
            checks.append(parts.classes_check(described, file, prompts, margin, pairing.by != "none"))
        if len(found) == 1:
            grain = parts.grain_check(inputs, described, pairing.chosen)
            checks += grain
            notes += [] if grain else [parts.no_grain(inputs, described)]
            notes += parts.same_images(inputs, described) if pairing.by == "none" else []
            apart = np.square(described[1].features - described[0].features, dtype=np.float64).sum(axis=1)
    scores = None
    if reference is not None:
        scores = compare.measured(opened, features, pairs, feature_weights, device, store, groups).scores
        notes += [note for note in scores.notes if note not in notes]
    largest = np.argsort(-apart, kind="stable")[: WORST if pairing.by != "none" else 0].tolist()
    total = float(apart.sum()) or 1.0
    worst = tuple((_name(inputs[0], pairing.chosen[0][at]), float(apart[at] / total)) for at in largest)
    needed = found[0].needed(margin) if checks[0].verdict == UNDECIDED else None
    answer = Harmless(
        inputs[0].name, inputs[1].name, margin, tuple(checks), n, n_units, pairing.by, needed, worst,
        scores, tuple(notes),
    )  # fmt: skip
    return Compared(answer, inputs, pairing.chosen, tuple(largest))


def _paired(inputs: Sequence[Input], pairs: Pairs, groups: GroupsOf) -> Pairing:
    """The pairs. ValueError if only some names agree, so that nobody may have wanted none."""
    pairing = pair(inputs, pairs)
    shared = set.intersection(*(set(one.names or ()) for one in inputs))
    if pairs == "auto" and pairing.by == "none" and shared:
        raise ValueError(
            f"pairs='auto': {len(shared):,} names are in both sets, others in one; use --pairs names if images of one "
            "name come from the same seed, else --pairs none"
        )
    if groups is not None and pairing.by == "none":
        raise ValueError("groups: they need pairs of images, by --pairs names or order")
    return pairing


def _percent(share: float) -> str:
    """Two digits of a share as per cent."""
    return f"{float(f'{100 * share:.2g}'):g}"


def _name(images: Input, index: int) -> str:
    return images.names[index] if images.names else f"image {index}"
