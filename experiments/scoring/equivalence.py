"""Are images after a change the same, in law, as before, up to a margin? `score REFERENCE before after --margin 0.02`.

MMD between before and after decides (distances/equivalence.py). Beside it, what that could miss has a limit of its own:
fine noise, copies, and class shares where classes are known. All must hold. Images that fail together, such as those of
one batch, are one unit: give batches as groups.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from scipy.stats import qmc

from experiments.distances import copies
from experiments.distances.copies import Groups
from experiments.distances.distance import Array, Distance
from experiments.distances.equivalence import Harm, harm, in_another_order
from experiments.distances.features import extractor, weights_file
from experiments.distances.intervals import LEVEL
from experiments.run.cache import Cache
from experiments.run.compare import Row
from experiments.scoring import compare
from experiments.scoring.answer import Answer, pictures
from experiments.scoring.features import Described, Extractor, real_texture
from experiments.scoring.groups import GroupsOf
from experiments.scoring.inputs import ImageSet, Input, Source
from experiments.scoring.pairing import Pairing, Pairs, pair
from experiments.scoring.result import Scores
from reports.schema import HARMFUL, HARMLESS, UNDECIDED

NAME = "harmless"
PAIRED, ALONE = 0.02, 0.03  # margins for pairs, where there are enough, and else
ENOUGH, FEW = 500, 300  # pairs, or prompts, for the smaller one; pairs, below which the test errs more often
GRAIN = 2.0  # grey levels of 255 that fine noise may grow by
WORST, STRIP = 16, 4  # pairs that are shown, and in one picture
FACTS = "verdict sentence reason margin features n n_units pairs needed unchanged at_best".split()  # of run.json
SIDE, CLASSES = 64, 10  # of a crop, in pixels; of digits
STATUS = {HARMLESS: 0, HARMFUL: 1, UNDECIDED: 3}


@dataclass(frozen=True)
class Check:
    """One thing that must hold, a row of harms.csv: its value with its interval (None without one), and its limit."""

    check: str
    value: float
    low: float | None
    high: float | None
    limit: float
    verdict: str
    unit: str = "share"


@dataclass(frozen=True)
class Harmless:
    """The answer; `print` shows it.

    Args:
        before, after: the names of the sets.
        margin: the share of images of which replacement may move a set as far as the change does.
        features: the feature space that decides.
        checks: what must hold; the first decides.
        n, n_units: pairs of images, and prompts, or pairs where there are none.
        unchanged: pairs of equal images.
        at_best: the smallest share that so many can show.
        pairs: how they are paired: names, order or none.
        needed: pairs of images that would decide, if they do not and a number would.
        worst: the pairs that are furthest apart, the name of each and its share of the sum of squared distances.
        scores: the distances of both to reference images, if these were given.
        notes: what a reader should know, a sentence each.
        inputs, shown: the images, and of each set the places of the worst pairs.
    """

    before: str
    after: str
    margin: float
    features: str
    checks: tuple[Check, ...]
    n: int
    n_units: int
    unchanged: int
    at_best: float
    pairs: str
    needed: int | None
    worst: tuple[tuple[str, float], ...]
    scores: Scores | None = None
    notes: tuple[str, ...] = ()
    inputs: tuple[Input, ...] = ()
    shown: tuple[Groups, ...] = ()

    @property
    def verdict(self) -> str:
        """Harmful if a check says so, harmless if all do or all pairs are identical; else not decided."""
        verdicts = [check.verdict for check in self.checks] if self.unchanged < self.n else []
        return next((word for word in (HARMFUL, UNDECIDED) if word in verdicts), HARMLESS)

    @property
    def decisive(self) -> Check:
        """The check that decided."""
        return next((check for check in self.checks if check.verdict == self.verdict), self.checks[0])

    @property
    def reason(self) -> str:
        """Why that is the verdict, with the margin. It never says lossless, nor how many images changed."""
        if self.unchanged == self.n:
            return f"{self.n:,} of {self.n:,} pairs are identical"
        first, decisive, limit = self.checks[0], self.decisive, f"limit {100 * self.margin:g} %"
        units = f" of {self.n_units:,} groups" if self.n_units < self.n else ", each image taken to fail alone"
        count = f"{self.n:,} {'images of each' if self.pairs == 'none' else 'pairs'}{units}"
        if decisive is not first and self.verdict == HARMFUL:
            value, most = (_value(decisive, one) for one in (decisive.value, decisive.limit))
            return f"{decisive.check} {value}, limit {most}; {count}"
        far, share = ("further", first.low) if self.verdict == HARMFUL else ("no further", first.high)
        bound = f"with 95 % confidence, in features {self.features}, {far} from before than replacing "
        bound += f"{_percent(share or 0)} % of the images can move them at most ({limit})"
        if self.verdict == UNDECIDED:
            bound += "" if decisive is first else f", but {decisive.check} is up to {_percent(decisive.high or 0)} %"
            count += f"; about {self.needed:,} would decide" if self.needed else ""
        return f"{bound}; {count}"

    @property
    def sentence(self) -> str:
        """The verdict with its reason."""
        return f"{self.verdict}: {self.reason}"

    def __str__(self) -> str:
        lines = [f"  {one.check}: {one.value:.3g}, limit {one.limit:.3g}: {one.verdict}" for one in self.checks[1:]]
        return "\n".join([self.sentence, *lines, *(f"note: {note}" for note in self.notes)])


def harmless(  # noqa: PLR0913  # the options of the command, by keyword
    before: Source, after: Source, margin: float | None = None, groups: GroupsOf = None, *,
    reference: Source | None = None, features: str | tuple[str, ...] | None = None, pairs: Pairs = "auto",
    feature_weights: compare.Weights = None, device: str = "auto", store: Cache | Path | str = "runs/store",
    crops: int = 0,
) -> Harmless:  # fmt: skip
    """Whether images after a change, such as of a faster sampler, are as good as those before, up to a margin.

    Args:
        before, after: sets of images or features, as in `compare`.
        margin: the share of images of which replacement may move a set as far as the change does. Default: 0.02 with at
            least 500 pairs, or 500 groups if there are any; else 0.03.
        groups: the prompt, or batch, of each image of `before`, see `units`: images that can fail together. Without
            them each image is taken to fail alone.
        reference: real images; the distances of both to them are then measured too. They do not decide.
        crops: so many crops of 64x64 pixels of each image are compared too.

    Raises:
        ValueError: as in `compare`; the margin is no share; groups do not suit the images; both sets are one folder or
            file; pairs are in another order.
    """
    _check_arguments(before, after, margin, crops)
    store = store if isinstance(store, Cache) else Cache(Path(store))
    given = (before, after) if reference is None else (reference, before, after)
    opened = compare.open_all(given, store, ("reference", "before", "after")[-len(given) :])
    inputs, spaces, where = opened[-2:], compare.spaces_of(opened, features), compare.device_of(device)
    pairing = _paired(inputs, pairs, groups)
    n, paired, chosen = len(pairing.chosen[0]), pairing.by != "none", pairing.chosen
    of_sets = compare.prompts_of(inputs, pairing, groups)
    prompts = of_sets[0] if of_sets else None
    n_prompts = n if prompts is None else int(prompts.max()) + 1
    margin = margin or (PAIRED if paired and n_prompts >= ENOUGH else ALONE)
    files = compare.weights_of(spaces, feature_weights)
    found = [
        _measured(inputs, pairing, prompts, Extractor(space, file, where), store, margin, crops)
        for space, file in files.items()
    ]
    first, best, n_units = found[0], found[0].harm.at_best, found[0].harm.n_units
    unchanged = int((first.described[0].digests == first.described[1].digests).sum()) if paired else 0
    grain = list(_grain(inputs, first.described, chosen))
    checks = [*first.checks, *(one for one in grain if isinstance(one, Check))]
    checks += [check for one in found[1:] for check in one.checks]
    what = ("pairs" if paired else "images of each") if n_units == n else "groups"
    facts = {
        pairing.note or "": bool(pairing.note),
        "every group has one image, so images are the units of intervals": prompts is not None and n_prompts == n,
        f"{n} images of each set are few: below {FEW} the test errs more often than it says": n < FEW,
        f"every image of {inputs[0].name} stands there several times; they count as one": first.repeated,
        **{one: True for one in grain if isinstance(one, str)},
        f"{n_units:,} {what} can show {_percent(best)} % at best: take more": best > margin and unchanged < n,
        f"{unchanged:,} of {n:,} pairs are identical": 0 < unchanged < n,
    }
    notes, scores = [note for note, holds in facts.items() if holds], None
    if reference is not None:
        scores = compare.measured(opened, features, pairing, feature_weights, where, store, groups)
        notes += [note for note in scores.notes if note not in notes]
    largest = np.argsort(-first.apart, kind="stable")[: WORST if paired else 0]
    total = float(first.apart.sum()) or 1.0
    worst = tuple((_name(inputs[0], chosen[0][at]), float(first.apart[at] / total)) for at in largest)
    needed = first.harm.needed(margin) if checks[0].verdict == UNDECIDED and unchanged < n else None
    return Harmless(
        inputs[0].name, inputs[1].name, margin, spaces[0], tuple(checks), n, n_units, unchanged, best, pairing.by,
        needed, worst, scores, tuple(notes), tuple(inputs), tuple(order[largest] for order in chosen),
    )  # fmt: skip


def assert_harmless(before: Source, after: Source, margin: float | None = None, **options: Any) -> None:
    """Raises AssertionError with what is wrong unless the change is harmless. For tests; arguments as `harmless`."""
    found = harmless(before, after, margin, **options)
    if found.verdict != HARMLESS:  # no assert, which python -O leaves out
        raise AssertionError(str(found))


def answer(found: Harmless) -> Answer:
    """What the command writes and prints."""
    names: Row = {"a": found.after, "b": found.before}
    scores = found.scores
    tables = {
        "harms.csv": [names | vars(one) for one in found.checks],
        "worst_pairs.csv": [
            {"place": at + 1, "pair": name, "share": share} for at, (name, share) in enumerate(found.worst)
        ],
    } | ({"contrasts.csv": scores.tables["contrasts.csv"]} if scores else {})
    drawn = {
        f"worst-{row + 1}-{name}{ending}": picture
        for name, images, order in zip(("before", "after"), found.inputs, found.shown, strict=True)
        for row in range(len(order) // STRIP)
        for ending, picture in pictures(images, order[STRIP * row : STRIP * (row + 1)])
        if ending
    }
    said = {name: getattr(found, name) for name in FACTS}
    checks = {
        one.check: {name: value for name, value in vars(one).items() if value is not None} for one in found.checks
    }
    summary = said | {"checks": checks, "worst": [list(pair) for pair in found.worst], "notes": found.notes}
    question = f"Is {found.after} as good as {found.before}?"
    return Answer(NAME, question, tables, drawn, said, summary, found.notes, (), STATUS[found.verdict])


class Measured(NamedTuple):
    """Both sets in one feature space: what their distance is, what else must hold, and how far apart each pair is."""

    harm: Harm
    checks: list[Check]
    described: Sequence[Described]
    apart: Array
    repeated: bool


def _check_arguments(before: Source, after: Source, margin: float | None, crops: int) -> None:
    if margin is not None and not 0 < margin < 1:
        raise ValueError(f"margin={margin:g}: it is a share of images, above 0 and below 1, such as 0.02")
    if crops < 0:
        raise ValueError(f"crops={crops}: it must be 0 or more")
    if all(isinstance(one, str | Path) for one in (before, after)) and _same_place(str(before), str(after)):
        raise ValueError(f"before={str(before)!r}, after={str(after)!r}: they are one folder or file; name two")


def _measured(
    inputs: Sequence[Input], pairing: Pairing, prompts: Groups | None, extractor: Extractor, store: Cache,
    margin: float, crops: int,
) -> Measured:  # fmt: skip
    """ValueError if the pairs are in another order."""
    n, paired, space = len(pairing.chosen[0]), pairing.by != "none", extractor.name
    described, (old, new) = _described(inputs, pairing.chosen, extractor, store)
    if in_another_order(old, new, paired):
        raise ValueError(
            f"{inputs[0].name} and {inputs[1].name} hold the same images in another order: most are nearer to another "
            "one's partner; pair them by --pairs names, or bring both into one order for --pairs order"
        )
    groups_of = [copies.groups(each, copies.tolerance(old)) for each in (old, new)]
    repeats = copies.units(groups_of[0])  # every image twice: then both are one
    units = prompts if repeats is None else repeats if prompts is None else copies.joined(repeats, prompts)
    found = harm(old, new, units)
    checks = [_share(f"share in {space} features", found, margin)]
    if crops:
        _, (first, second) = _described(*_crops_of(inputs, pairing.chosen, crops), extractor, store)
        each = (np.arange(n) if prompts is None else prompts).repeat(crops)
        checks.append(_share(f"share in crops, {space} features", harm(first, second, each), margin))
    more = (int(groups_of[0].max()) - int(groups_of[1].max())) / n
    checks.append(_limited("more copies", more, None, None, margin))
    if space == "digits":
        checks.append(_classes(described, extractor.weights, prompts, margin, paired))
    return Measured(found, checks, described, np.square(new - old).sum(axis=1), repeats is not None)


# --- checks ---


def _share(name: str, found: Harm, margin: float) -> Check:
    return Check(name, *found.shares, margin, found.verdict(margin))


def _limited(
    name: str, value: float, low: float | None, high: float | None, limit: float, unit: str = "share"
) -> Check:
    """Harmful if it is surely above the limit."""
    return Check(name, value, low, high, limit, HARMFUL if (value if low is None else low) > limit else HARMLESS, unit)


def _classes(
    described: Sequence[Described], file: Path | None, units: Groups | None, margin: float, paired: bool
) -> Check:
    """The class whose share changes most: it may by the margin, beyond what chance does."""
    network = cast(Any, extractor("digits", weights_file("digits", file))).network
    found = [network.head(torch.from_numpy(one.features) * network.rms).argmax(dim=1).numpy() for one in described]
    checks = [_limited("class shares", 0.0, 0.0, 0.0, margin)]  # if none changes
    for digit in range(CLASSES):
        is_it = [(one == digit).astype(np.float64) for one in found]
        change = is_it[1] - is_it[0]
        terms = Distance(float(change.mean()), change - change.mean())
        terms = terms if units is None else terms.of_groups(units)
        spread = terms.se if paired else math.sqrt(sum(one.var() / len(one) for one in is_it))
        half = float(stats.t.ppf(1 - (1 - LEVEL) / 2 / CLASSES, len(terms.own) - 1)) * spread
        value = abs(terms.value)
        checks.append(_limited(f"share of class {digit}", value, max(value - half, 0.0), value + half, margin))
    return max(checks, key=lambda check: (check.low or 0, check.value))


def _grain(inputs: Sequence[Input], described: Sequence[Described], chosen: Sequence[Groups]) -> Iterator[Check | str]:
    """Fine noise beyond that before, in grey levels of 255; or why it is not compared."""
    first, size = inputs[0], described[0].size
    if not isinstance(first, ImageSet):
        yield "features are given, so fine noise of pixels is not compared"
    elif size is None or min(size) < 2 or described[1].size != size:
        sizes = ["several sizes" if one.size is None else "{1}x{0}".format(*one.size) for one in described]
        yield f"images are {sizes[0]} before and {sizes[1]} after, so fine noise is not compared"
    else:
        curve, std = real_texture(first, chosen[0])
        before, after = (float(one.texture.mean()) for one in described)
        yield _limited("more grain", std * curve.more_noise(after - before), None, None, GRAIN, "grey levels")


# --- images ---


def _described(
    inputs: Sequence[Input], chosen: Sequence[Groups], extractor: Extractor, store: Cache
) -> tuple[list[Described], tuple[Array, Array]]:
    """What is measured of the images before and after, and their features in float64."""
    both = [compare.features_of(one, extractor, store).at(order) for one, order in zip(inputs, chosen, strict=True)]
    compare.check_scale(inputs, both)
    return both, (both[0].features.astype(np.float64), both[1].features.astype(np.float64))


def _crops_of(
    inputs: Sequence[Input], chosen: Sequence[Groups], crops: int
) -> tuple[tuple[ImageSet, ...], tuple[Groups, ...]]:
    """Sets of crops at native resolution, `crops` of each image at the same places of all, and their order.

    Places are those of Halton's sequence (1960). ValueError if they hold no images, or an image is smaller than a crop.
    """
    places = qmc.Halton(2, scramble=False)
    places.fast_forward(1)  # beyond the corner
    at_of, cut = places.random(max(crops, 1)), list[ImageSet]()
    for one in inputs:
        if not isinstance(one, ImageSet):
            raise ValueError(f"crops={crops}: {one.name} holds features, no images")

        def read(index: int, one: ImageSet = one) -> NDArray[np.uint8]:
            at, place = divmod(index, crops)
            image = one.read(at)
            if min(image.shape[:2]) <= SIDE:
                size = f"{image.shape[1]}x{image.shape[0]}"
                raise ValueError(f"crops={crops}: image {at} of {one.name} is {size}; crops of {SIDE}x{SIDE} need more")
            y, x = (int(share * (side - SIDE + 1)) for share, side in zip(at_of[place], image.shape[:2], strict=True))
            return image[y : y + SIDE, x : x + SIDE]

        content = hashlib.sha256(f"{crops} crops of {SIDE} of {one.content}".encode()).hexdigest()
        cut.append(ImageSet(one.name, one.n * crops, content, read))
    return tuple(cut), tuple((order[:, None] * crops + np.arange(crops)).ravel() for order in chosen)


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


def _same_place(before: str, after: str) -> bool:
    """Whether two names are one folder or file, or one name of a data set."""
    places = [Path(one).expanduser() for one in (before, after)]
    return before == after or (all(place.exists() for place in places) and places[0].samefile(places[1]))


def _value(check: Check, value: float) -> str:
    """A value of a check with its unit."""
    return f"{_percent(value)} %" if check.unit == "share" else f"{value:.2g} {check.unit}"


def _percent(share: float) -> str:
    """Two digits of a share as per cent."""
    return f"{float(f'{100 * share:.2g}'):g}"


def _name(images: Input, index: int) -> str:
    return images.names[index] if images.names else f"image {index}"
