"""Are images after a change the same, in law, as before, up to a margin? `score REFERENCE before after --margin 0.02`.

MMD between before and after decides (distances/equivalence.py). What that could miss has limits of its own: each is a
row of `CHECKS`, and all must hold.
"""

import hashlib
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats
from scipy.stats import qmc

from diffusion_core.data.readers import Pixels, Traits
from diffusion_core.validation import check_range
from experiments.distances import duplicates
from experiments.distances.distance import Array, Distance, renumber
from experiments.distances.duplicates import ClusterIds
from experiments.distances.equivalence import SEEN, EquivalenceTest, compare_distributions, is_reordered
from experiments.distances.features import digit_logits, weights_file
from experiments.distances.intervals import CONFIDENCE, MIN_SAMPLES
from experiments.distances.kernels import mostly_equal
from experiments.run.cache import Cache
from experiments.run.compare import Row
from experiments.run.image_features import FeatureSpace, ImageFeatures, ImageSet, prefetch
from experiments.run.machine import Machine
from experiments.scoring import compare, warnings
from experiments.scoring.groups import CLIPS, GroupsOf, or_clips, ordered_frames
from experiments.scoring.inputs import Input, Source, standardise_latents
from experiments.scoring.output import ScoreOutput, pictures
from experiments.scoring.pairing import Pairing, Pairs, pair
from experiments.scoring.result import Scores
from reports.schema import HARMFUL, HARMLESS, UNDECIDED

log = logging.getLogger(__name__)
NAME = "harmless"
PAIRED, ALONE = 0.02, 0.03  # margins for pairs, where there are enough, and else
ENOUGH, FEWEST = 500, 5  # pairs, or prompts, for the smaller one; and without which there is no answer
GRAIN = 2.0  # grey levels of 255 that fine noise may grow by
WORST, STRIP = 16, 4  # pairs that are shown, and in one picture
FACTS = "verdict sentence reason margin features n n_units pairs needed unchanged at_best".split()  # of run.json
SIDE, CLASSES = 64, 10  # of a crop, in pixels; of digits
STATUS = {HARMLESS: 0, HARMFUL: 1, UNDECIDED: 3}


@dataclass(frozen=True)
class EquivalenceCheck:
    """One thing that must hold, a row of harms.csv: its value with its interval (None without one), and its limit."""

    check: str
    value: float
    low: float | None
    high: float | None
    limit: float
    verdict: str
    unit: str = "share"

    def __str__(self) -> str:
        return f"  {self.check}: {self.value:.3g}, limit {self.limit:.3g}: {self.verdict}"

    def show(self, value: float) -> str:
        return f"{_percent(value)} %" if self.unit == "share" else f"{value:.2g} {self.unit}"


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
        bound += f"{_percent(share or 0)} % of the images can move them at most ({limit})"
        if self.verdict == UNDECIDED:
            bound += "" if decisive is first else f", but {decisive.check} is up to {_percent(decisive.high or 0)} %"
            count += f", can show {_percent(self.at_best)} % at best"
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
    _check_two(before=before, after=after)
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
    log.info("%s %s can show %s %% at best", f"{n_prompts:,}", what, _percent(min(SEEN / n_prompts, 1.0)))
    limit = margin or (PAIRED if paired and n_prompts >= ENOUGH else ALONE)
    files, clips = compare.weights_of(spaces, feature_weights), groups == CLIPS
    spaced = [
        EquivalenceInputs(inputs, pairing, prompts, FeatureSpace(*each, where), store, limit, crops, clips)
        for each in files.items()
    ]
    rows, first = _run_checks(spaced), spaced[0]
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


def _check_two(**sources: Source) -> None:
    paths = [Path(given).expanduser().resolve() for given in sources.values() if isinstance(given, str | Path)]
    if len(set(paths)) < len(paths):
        named = ", ".join(f"{name}={str(given)!r}" for name, given in sources.items())
        raise ValueError(f"{named}: they are one folder or file; name two")


def _run_checks(spaced: "Sequence[EquivalenceInputs]") -> "list[EquivalenceCheck | str]":
    """All checks of the sets in each space, or why there is none."""
    rows = list[EquivalenceCheck | str]()
    for number, sets in enumerate(spaced):
        sets.check_order()
        rows += [row for check in (CHECKS if number else (*CHECKS, *IMAGE_CHECKS)) for row in check(sets)]
    return rows


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


@dataclass(frozen=True)
class EquivalenceInputs:
    """Both sets in one feature space, image by image in the order of `pairing`; `prompts`: (n,) of each pair."""

    images: Sequence[Input]
    pairing: Pairing
    prompts: ClusterIds | None
    space: FeatureSpace
    store: Cache
    margin: float
    crops: int
    clips: bool  # whether images are frames of clips, which are the prompts

    @cached_property
    def described(self) -> Sequence[ImageFeatures]:
        return compare.measure_sets(self.images, self.pairing.chosen, self.space, self.store)

    @cached_property
    def features(self) -> tuple[Array, Array]:  # float64 (n, d), before and after
        return _float64(self.described)

    @cached_property
    def copies(self) -> list[ClusterIds]:
        """Which images are copies of each other, before and after."""
        near = duplicates.tolerance(self.features[0])
        return [duplicates.find_clusters(each, near) for each in self.features]

    @property
    def repeats(self) -> ClusterIds | None:
        """The copies before, if every image stands there several times: then they count as one."""
        return duplicates.uniform_clusters(self.copies[0])

    @cached_property
    def test(self) -> EquivalenceTest:
        units = self.repeats if self.prompts is None else self.prompts
        if self.repeats is not None and self.prompts is not None:
            units = duplicates.merge_duplicates(self.repeats, self.prompts)
        return compare_distributions(*self.features, units)

    def check_order(self) -> None:
        sides = self.features  # of clips the means: frames of one are alike
        if self.clips and self.prompts is not None:
            sums = [np.zeros((int(self.prompts.max()) + 1, side.shape[1])) for side in sides]
            for out, side in zip(sums, sides, strict=True):
                np.add.at(out, self.prompts, side)
            sides = (sums[0] / np.bincount(self.prompts)[:, None], sums[1] / np.bincount(self.prompts)[:, None])
        if is_reordered(*sides, self.pairing.by != "none"):
            raise ValueError(
                f"{self.images[0].name} and {self.images[1].name} hold the same images in another order: most are "
                "nearer to another one's partner; pair them by --pairs names, or bring both into one order for --pairs "
                "order"
            )


Rows = Iterator[EquivalenceCheck | str]  # of a check: rows, or a sentence why there is none


def _share(sets: EquivalenceInputs) -> Rows:
    name = f"share in {sets.space.name} features"
    yield EquivalenceCheck(name, *sets.test.shares, sets.margin, sets.test.verdict(sets.margin))


def _crops(sets: EquivalenceInputs) -> Rows:
    """The same of crops in full resolution."""
    if crops := sets.crops:
        chosen = [(order[:, None] * crops + np.arange(crops)).ravel() for order in sets.pairing.chosen]
        parts = compare.measure_sets(
            [cut_crops(images, crops) for images in sets.images], chosen, sets.space, sets.store
        )
        units = np.arange(len(sets.pairing.chosen[0])) if sets.prompts is None else sets.prompts
        test = compare_distributions(*_float64(parts), units.repeat(crops))
        name = f"share in crops, {sets.space.name} features"
        yield EquivalenceCheck(name, *test.shares, sets.margin, test.verdict(sets.margin))


def _motion(sets: EquivalenceInputs) -> Rows:
    """The same of how neighbouring frames of a clip differ, which freezing and flicker change, and frames do not show.

    Of each difference, in grey levels: the mean m of its pixels and log(1 + mean |.|), in standard deviations before.
    """
    images, order = sets.images[0], sets.pairing.chosen[0]
    if not sets.clips or not isinstance(images, ImageSet) or images.names is None or sets.prompts is None:
        return
    clips = [clip for clip in ordered_frames([images.names[at] for at in order]) if len(clip) > 1]
    if not clips:
        raise ValueError(f"groups='clips': no clip of {images.name} has two frames")
    sides = list[Array]()
    for each, chosen in zip(sets.images, sets.pairing.chosen, strict=True):
        assert isinstance(each, ImageSet)
        frames = prefetch(each.read, [int(chosen[at]) for clip in clips for at in clip])
        sides.append(np.array([row for clip in clips for row in _changes(islice(frames, len(clip)), each.name)]))
    if not (spread := sides[0].std(axis=0)).all() or mostly_equal(sides[0]):
        yield f"most neighbouring frames of {images.name} are equal, so motion is not compared"
        return
    units = renumber(np.array([sets.prompts[at] for clip in clips for at in clip[1:]]))
    test = compare_distributions(sides[0] / spread, sides[1] / spread, units)
    yield EquivalenceCheck("motion", *test.shares, sets.margin, test.verdict(sets.margin))


def _changes(frames: Iterator[Pixels], name: str) -> Iterator[tuple[float, float]]:
    last = next(frames).astype(np.float32)
    for each in frames:
        frame = each.astype(np.float32)
        if frame.shape != last.shape:
            raise ValueError(f"groups='clips': frames of one clip of {name} differ in size")
        change, last = frame - last, frame
        yield float(change.mean(dtype=np.float64)), math.log1p(float(np.abs(change).mean(dtype=np.float64)))


def _copies(sets: EquivalenceInputs) -> Rows:
    before, after = (int(groups.max()) for groups in sets.copies)
    yield _check("more copies", (before - after) / len(sets.copies[0]), sets.margin)


def _classes(sets: EquivalenceInputs) -> Rows:
    """The class whose share changes most: it may by the margin, beyond what chance does."""
    if sets.space.name != "digits":
        return
    file = weights_file("digits", sets.space.weights)
    found = [digit_logits(torch.from_numpy(each.features), file).argmax(dim=1).numpy() for each in sets.described]
    rows = [_check("class shares", 0.0, sets.margin, (0.0, 0.0))]  # if none changes
    for digit in range(CLASSES):
        is_it = [(classes == digit).astype(np.float64) for classes in found]
        change = is_it[1] - is_it[0]
        terms = Distance(float(change.mean()), change - change.mean())
        terms = terms if sets.prompts is None else terms.by_unit(sets.prompts)
        paired = sets.pairing.by != "none"
        spread = terms.se if paired else math.sqrt(sum(each.var() / len(each) for each in is_it))
        half = float(stats.t.ppf(1 - (1 - CONFIDENCE) / 2 / CLASSES, len(terms.own) - 1)) * spread
        value = abs(terms.value)
        rows.append(_check(f"share of class {digit}", value, sets.margin, (max(value - half, 0.0), value + half)))
    yield max(rows, key=lambda row: (row.low or 0, row.value))


def _grain(sets: EquivalenceInputs) -> Rows:
    """Fine noise beyond that before, in grey levels of 255."""
    before, (old, new) = sets.images[0], sets.described
    if not isinstance(before, ImageSet):
        yield "features are given, so fine noise of pixels is not compared"
    elif old.size is None or min(old.size) < 2 or new.size != old.size:
        sizes = ["several sizes" if each.size is None else "{1}x{0}".format(*each.size) for each in (old, new)]
        yield f"images are {sizes[0]} before and {sizes[1]} after, so fine noise is not compared"
    else:
        curve, std = warnings.real_texture(before, sets.pairing.chosen[0])
        change = float(new.texture.mean()) - float(old.texture.mean())
        yield _check("more grain", std * curve.more_noise(change), GRAIN, unit="grey levels")


CHECKS, IMAGE_CHECKS = (_share, _crops, _copies, _classes), (_motion, _grain)  # in each feature space, and once


def _float64(described: Sequence[ImageFeatures]) -> tuple[Array, Array]:
    before, after = (each.features.astype(np.float64) for each in described)
    return before, after


def _check(
    name: str, value: float, limit: float, ends: tuple[float, float] | None = None, unit: str = "share"
) -> EquivalenceCheck:
    """Harmful if it is surely above the limit; `ends`: of its interval."""
    low, high = ends or (None, None)
    verdict = HARMFUL if (value if low is None else low) > limit else HARMLESS
    return EquivalenceCheck(name, value, low, high, limit, verdict, unit)


def cut_crops(images: Input, crops: int) -> ImageSet:
    """Crops at native resolution, `crops` of each image at the same places of all.

    Places are those of Halton's sequence (1960). ValueError if they hold no images, or an image is smaller than a crop.
    """
    if not isinstance(images, ImageSet):
        raise ValueError(f"crops={crops}: {images.name} holds features, no images")
    corners = qmc.Halton(2, scramble=False)
    corners.fast_forward(1)  # beyond the corner
    shares = corners.random(crops)

    def load(index: int) -> tuple[Pixels, Traits]:
        at, number = divmod(index, crops)
        image, traits = images.load(at)
        if min(image.shape[:2]) <= SIDE:
            size = f"{image.shape[1]}x{image.shape[0]}"
            raise ValueError(f"crops={crops}: image {at} of {images.name} is {size}; crops of {SIDE}x{SIDE} need more")
        y, x = (int(share * (side - SIDE + 1)) for share, side in zip(shares[number], image.shape[:2], strict=True))
        return image[y : y + SIDE, x : x + SIDE], traits

    content = hashlib.sha256(f"{crops} crops of {SIDE} of {images.content}".encode()).hexdigest()
    return ImageSet(images.name, images.n * crops, content, load)


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


def _percent(share: float) -> str:
    """Two digits of a share as per cent."""
    return f"{float(f'{100 * share:.2g}'):g}"


def _name(images: Input, index: int) -> str:
    return images.names[index] if images.names else f"image {index}"
