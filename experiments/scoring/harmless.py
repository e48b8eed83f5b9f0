"""Are images after a change the same, in law, as before, up to a margin? `score REFERENCE before after --margin 0.02`.

MMD between before and after decides (distances/harm.py). Beside it, what that could miss has a limit of its own: fine
noise, copies, and class shares where classes are known. All must hold.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from experiments.distances import copies
from experiments.distances.copies import Groups
from experiments.distances.distance import Distance
from experiments.distances.features import extractor, weights_file
from experiments.distances.harm import HARMFUL, HARMLESS, UNDECIDED, Harm, harm
from experiments.distances.intervals import GRAINY, LEVEL
from experiments.run.cache import Cache
from experiments.scoring import compare
from experiments.scoring.doubts import COPIES
from experiments.scoring.features import Described, Extractor, real_texture
from experiments.scoring.groups import GroupsOf
from experiments.scoring.inputs import ImageSet, Input, Source
from experiments.scoring.pairing import Pairs, pair
from experiments.scoring.result import Scores

PAIRED, ALONE = 0.02, 0.03  # margins for pairs, where there are enough, and else
ENOUGH = 500  # pairs, or prompts, for the smaller one
FEW = 300  # pairs, below which the test errs more often than it says
FAR, ROUNDING = 4, 1e-9  # standard errors below 0, where D is by no chance, and what rounding makes of no difference
SIDE = 64  # of a crop, in pixels
WORST = 16  # pairs that are shown
CLASSES = 10  # of digits


@dataclass(frozen=True)
class Check:
    """One thing that must hold: its value with the limits of its interval (NaN without one), and its limit."""

    name: str
    value: float
    low: float
    high: float
    limit: float
    verdict: str


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
    inputs = compare.open_all(sources, store, ("before", "after"))
    pairing, where = pair(inputs, pairs), compare.device_of(device)
    notes = [pairing.note] if pairing.note else []
    shared = set.intersection(*(set(one.names or ()) for one in inputs))
    if pairs == "auto" and pairing.by == "none" and shared:
        raise ValueError(
            f"pairs='auto': {len(shared):,} names are in both sets, others in one; use --pairs names if images of one "
            "name come from the same seed, else --pairs none"
        )
    if groups is not None and pairing.by == "none":
        raise ValueError("groups: they need pairs of images, by --pairs names or order")
    found_prompts = compare.prompts_of(inputs, pairing, groups)
    prompts = found_prompts[0] if found_prompts else None
    n = len(pairing.chosen[0])
    n_units = n if prompts is None else int(prompts.max()) + 1
    if n_units == n and prompts is not None:
        notes.append("every prompt has one image, so images are the units of intervals")
    if n < FEW:
        notes.append(f"{n} images of each set are few: below {FEW} the test errs more often than it says")
    if margin is None:
        margin = PAIRED if pairing.by != "none" and n_units >= ENOUGH else ALONE
    checks, found = list[Check](), list[Harm]()
    for space, file in compare.weights_of(compare.spaces_of(inputs, features), feature_weights).items():
        extractor = Extractor(space, file, where)
        described = _described(inputs, pairing.chosen, extractor, store)
        alone = _with_copies(described[0], prompts)
        if (repeats := n_units - int(alone.max()) - 1) > COPIES * n and not found:
            what = "images" if prompts is None else "prompts"
            notes.append(
                f"{repeats:,} {what} of {inputs[0].name} are copies of others, or have some; they count as one"
            )
        found.append(_harm(described, alone))
        if found[-1].distance.value < -FAR * found[-1].distance.se - ROUNDING:  # images meet themselves out of pairs
            raise ValueError(
                f"{inputs[0].name} and {inputs[1].name} hold the same images in another order, which looks like no "
                "difference; pair them by --pairs names, or bring both into one order for --pairs order"
            )
        checks.append(_check(f"share in {space} features", found[-1], margin))
        if crops:
            cut = _described(*_crops(inputs, pairing.chosen, crops), extractor, store)
            each = (np.arange(n) if prompts is None else prompts).repeat(crops)
            checks.append(_check(f"share in crops, {space} features", _harm(cut, each), margin))
        checks.append(_copies(described, margin))
        if space == "digits":
            checks.append(_classes(described, file, prompts, margin, pairing.by != "none"))
        if len(found) == 1:
            grain = _grain(inputs, described, pairing.chosen)
            checks += grain
            notes += [] if grain else [_no_grain(inputs, described)]
            notes += _same(inputs, described) if pairing.by == "none" else []
            apart = np.square(described[1].features - described[0].features, dtype=np.float64).sum(axis=1)
    scores = None
    if reference is not None:
        measured = compare.measure((reference, *sources), features, pairs, feature_weights, device, store, groups)
        scores = measured.scores
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


def _described(
    inputs: Sequence[Input], chosen: Sequence[Groups], extractor: Extractor, store: Cache
) -> tuple[Described, ...]:
    described = [
        compare.features_of(one, extractor, store).at(order) for one, order in zip(inputs, chosen, strict=True)
    ]
    compare.check_scale(inputs, described)
    return tuple(described)


def _with_copies(before: Described, units: Groups | None) -> Groups:
    """The unit of each image (n,): prompts, or images, of which copies before the change are joined."""
    features = before.features.astype(np.float64)
    own = copies.groups(features, copies.tolerance(features))
    return own if units is None else copies.joined(own, units)


def _harm(described: Sequence[Described], units: Groups) -> Harm:
    before, after = (one.features.astype(np.float64) for one in described)
    return harm(before, after, units)


def _check(name: str, found: Harm, margin: float) -> Check:
    return Check(name, *found.shares, margin, found.verdict(margin))


def _copies(described: Sequence[Described], margin: float) -> Check:
    """Images that are copies of others, more than before: half of a set as copies of the rest passes every distance."""
    before, after = (one.features.astype(np.float64) for one in described)
    near, n = copies.tolerance(before), len(before)
    more = (copies.groups(before, near).max() - copies.groups(after, near).max()) / n
    return Check("more copies", float(more), math.nan, math.nan, margin, HARMFUL if more > margin else HARMLESS)


def _classes(
    described: Sequence[Described], file: Path | None, units: Groups | None, margin: float, paired: bool
) -> Check:
    """The class whose share changes most: it may by the margin, beyond what chance does."""
    network = cast(Any, extractor("digits", weights_file("digits", file))).network
    found = [network.head(torch.from_numpy(one.features) * network.rms).argmax(dim=1).numpy() for one in described]
    checks = [Check("class shares", 0.0, 0.0, 0.0, margin, HARMLESS)]  # if none changes
    for digit in range(CLASSES):
        is_it = [(one == digit).astype(np.float64) for one in found]
        change = is_it[1] - is_it[0]
        terms = Distance(float(change.mean()), change - change.mean())
        terms = terms if units is None else terms.of_groups(units)
        spread = terms.se
        if not paired:
            spread = math.sqrt(sum(one.var() / len(one) for one in is_it))
        half = float(stats.t.ppf(1 - (1 - LEVEL) / 2 / CLASSES, len(terms.own) - 1)) * spread
        value = abs(terms.value)
        low, high, name = max(value - half, 0.0), value + half, f"share of class {digit}"
        checks.append(Check(name, value, low, high, margin, HARMFUL if low > margin else HARMLESS))
    return max(checks, key=lambda check: (check.low, check.value))


def _grain(inputs: Sequence[Input], described: Sequence[Described], chosen: Sequence[Groups]) -> list[Check]:
    """Fine noise beyond that before, as a noise level; none for features, and for images of several sizes."""
    first, size = inputs[0], described[0].size
    if not isinstance(first, ImageSet) or size is None or min(size) < 2 or described[1].size != size:
        return []
    curve = real_texture(first, chosen[0])
    before, after = (curve.noise_level(float(one.texture.mean())) for one in described)
    more = after - before
    return [Check("more grain", more, math.nan, math.nan, GRAINY, HARMFUL if more > GRAINY else HARMLESS)]


def _no_grain(inputs: Sequence[Input], described: Sequence[Described]) -> str:
    """Why fine noise is not compared."""
    if not isinstance(inputs[0], ImageSet):
        return "features are given, so fine noise of pixels is not compared"
    sizes = ["several sizes" if one.size is None else "{1}x{0}".format(*one.size) for one in described]
    return f"images are {sizes[0]} before and {sizes[1]} after, so fine noise is not compared"


def _crops(
    inputs: Sequence[Input], chosen: Sequence[Groups], crops: int
) -> tuple[tuple[ImageSet, ...], tuple[Groups, ...]]:
    """Sets of crops at native resolution, `crops` of each image at the same places of all, and their order.

    Places are those of Halton's sequence (1960) in bases 2 and 3. ValueError if they hold no images, or an image is
    smaller than a crop.
    """
    cut = []
    for one in inputs:
        if not isinstance(one, ImageSet):
            raise ValueError(f"crops={crops}: {one.name} holds features, no images")

        def read(index: int, one: ImageSet = one) -> NDArray[np.uint8]:
            image, (at, place) = one.read(index // crops), (index // crops, index % crops)
            if min(image.shape[:2]) <= SIDE:
                size = f"{image.shape[1]}x{image.shape[0]}"
                raise ValueError(f"crops={crops}: image {at} of {one.name} is {size}; crops of {SIDE}x{SIDE} need more")
            sides = zip((2, 3), image.shape[:2], strict=True)
            y, x = (int(_halton(place + 1, base) * (side - SIDE + 1)) for base, side in sides)
            return image[y : y + SIDE, x : x + SIDE]

        content = hashlib.sha256(f"{crops} crops of {SIDE} of {one.content}".encode()).hexdigest()
        cut.append(ImageSet(one.name, one.n * crops, content, read))
    return tuple(cut), tuple((order[:, None] * crops + np.arange(crops)).ravel() for order in chosen)


def _same(inputs: Sequence[Input], described: Sequence[Described]) -> list[str]:
    """What speaks for pairs where none were given."""
    before, after = (one.features.astype(np.float64) for one in described)
    same = int(copies.copied(after, before, copies.tolerance(before)).sum())
    if same <= COPIES * len(after):
        return []
    names = [one.name for one in inputs]
    return [
        f"{same:,} images of {names[1]} are copies of images of {names[0]}: if both come from the same seeds, pair "
        "them, since the share may be too small"
    ]


def _percent(share: float) -> str:
    """Two digits of a share as per cent."""
    return f"{float(f'{100 * share:.2g}'):g}"


def _halton(index: int, base: int) -> float:
    value, share = 0.0, 1.0
    while index:
        share /= base
        index, digit = divmod(index, base)
        value += share * digit
    return value


def _name(images: Input, index: int) -> str:
    return images.names[index] if images.names else f"image {index}"
