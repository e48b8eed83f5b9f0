"""Sets of images as sides of comparisons, like the settings of an experiment, and their rows in one feature space."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce

import numpy as np
import pandas as pd
from torch import Tensor

from experiments.console import progress_bar
from experiments.distances import duplicates
from experiments.distances.distance import Distance, columns_of, renumber
from experiments.distances.duplicates import ClusterIds
from experiments.distances.intervals import CONFIDENCE, estimate_one, estimate_pairs, holm
from experiments.distances.reference import ReferenceSet, precision_recall, summarise
from experiments.judge import judge
from experiments.run.pairs import Pair
from reports.schema import (
    BETTER,
    METRICS,
    NO_DIFFERENCE,
    NO_VERDICT,
    PRIMARY_METRIC,
    WORSE,
    Row,
)

NAME = "score"  # of the experiment
COPIES = "copies"  # metric and family of a contrast
FEW_REPEATS = 512  # feature dimensions above which the floor is measured less often
REPEATS = (10, 4)  # of the floor, up to that and above
QUALITY_IMAGES = 10_000  # of each set, for precision and recall
KERNEL_IMAGES = 20_000  # of each set, of which kernel distances take the first ones: their cost grows with the square


@dataclass(frozen=True)
class Duplicates:
    """Which images of a set are copies."""

    clusters: ClusterIds  # of each image (n,) with its copies
    searched: int  # number of first images among which copies are looked for
    of_real: int = 0  # number of these that are copies of real images

    def share(self, most: int | None = None) -> tuple[int, int]:
        """How many images repeat an earlier one, and of how many that were searched."""
        n = self.searched if most is None else min(most, self.searched)
        first = renumber(self.clusters[:n])
        return (0 if duplicates.uniform_clusters(self.clusters) is not None else n - int(first.max()) - 1), n


@dataclass(frozen=True)
class SpaceResult:
    """The rows of one feature space."""

    features: str
    dimension: int
    tables: Mapping[str, Sequence[Row]]  # by the name of their file
    copies: Sequence[Duplicates]  # among the real images, and in each set

    def deciding(self) -> list[Row]:
        """Each set against the first, in the metric that decides."""
        return [row for row in self.tables["contrasts.csv"] if row["metric"] == PRIMARY_METRIC]


def score_in_space(
    shared: Row, names: Sequence[str], real: Tensor, sets: Sequence[Tensor], paired: bool,
    noise_levels: Sequence[float | None], prompts: Sequence[ClusterIds] | None = None,
) -> SpaceResult:  # fmt: skip
    """All rows in one feature space. `shared`: the columns that they share.

    `real` (R, d) and each of the sets (n, d) are on one device, in random order; if `paired`, rows of the sets
    at one place come from the same noise. Images of one of the `prompts` (n,) of each set are one unit of intervals,
    and do not meet in MMD.
    """
    table = list[Row]()
    added: dict[str, Mapping[str, Distance]] = {}
    repeats = REPEATS[real.shape[1] > FEW_REPEATS]
    with progress_bar(1 + 3 * len(sets) + repeats) as advance:
        advance("distances between the real images")
        reference = ReferenceSet.of(real.double(), most=KERNEL_IMAGES)
        against = reference.whole(most=KERNEL_IMAGES)
        near = duplicates.tolerance(reference.features)
        copies = [_copies(reference.features, near)]
        for name, rows in zip(names, sets, strict=True):
            advance(f"copies in {name}")
            copies.append(_copies(rows.double(), near, reference.features))
        of_real, *units = _units(copies, paired, prompts)
        for index, (name, rows, ids, noise) in enumerate(zip(names, sets, units, noise_levels, strict=True), start=1):
            features = rows.double()
            advance(f"distances of {name}")
            distances = _by_real_units(against.distances(features, ids), of_real)
            advance(f"precision and recall of {name}")
            quality = precision_recall(features[:QUALITY_IMAGES], reference.features[:QUALITY_IMAGES])
            table.append(shared | _row(f"set-{index}", name, distances, quality, noise))
            added[f"set-{index}"] = distances
        floors = _floors(shared, reference, len(sets[0]), repeats, advance)
    tables = _tabulate(table, added, floors, [*_copies_rows(shared["data"], copies, names)], paired)
    return SpaceResult(shared["features"], real.shape[1], tables, copies)


def _by_real_units(distances: Mapping[str, Distance], units: ClusterIds | None) -> Mapping[str, Distance]:
    """The distances with each group of real images as one, if these have `units` (R,)."""
    if units is None:
        return distances
    return {
        metric: distance.by_unit(np.arange(len(distance.own)), renumber(units[: len(distance.real)]))
        for metric, distance in distances.items()
    }


def _tabulate(
    table: Sequence[Row], added: Mapping[str, Mapping[str, Distance]], floors: Sequence[Row], of_copies: Sequence[Row],
    paired: bool,
) -> Mapping[str, Sequence[Row]]:  # fmt: skip
    """Each set against the first, and the set of the best, which has none that repeats its images."""
    repeating = {row["a"] for row in of_copies if row["verdict"] == WORSE}
    eligible = [row for row in table if row["setting"] not in repeating]
    first, *others = (((NAME, 0, row["setting"]),) for row in table)
    pairs = [Pair(NAME, side, first) for side in others]
    runs = pd.DataFrame(table).assign(budget=None, train_seed="", nfe=None)
    judged = judge(runs, pairs, pd.DataFrame(floors), added, paired=paired)
    judged = judged[judged["metric"].isin([*METRICS])]
    contrasts = judged.astype(object).where(judged.notna(), None).to_dict("records")
    with_set = len(table) > 2 and len(eligible) > 1 and table[0] in eligible
    return {
        "table.csv": table,
        "contrasts.csv": [*_with_copies(contrasts, of_copies), *of_copies],
        "best_sets.csv": best_set_rows(eligible, added, contrasts, paired) if with_set else [],
        "floors.csv": floors,
        "scores.csv": [_interval(row, metric, added) for row in table for metric in METRICS],
    }


def best_set_rows(
    table: Sequence[Row], added: Mapping[str, Mapping[str, Distance]], contrasts: Sequence[Row], paired: bool
) -> list[Row]:
    """Rows of best_sets.csv of `score`, one per set of images.

    One is in the set of the best unless its difference to the lowest score is detectable, by Holm over these
    differences; a difference that is a contrast too has the verdict of that.
    """
    lowest, *others = sorted(table, key=lambda row: row[PRIMARY_METRIC])
    to_lowest = added[lowest["run_id"]][PRIMARY_METRIC]
    found = {
        row["setting"]: estimate_pairs([(added[row["run_id"]][PRIMARY_METRIC], to_lowest)], paired=paired)
        for row in others
    }
    corrected = dict(zip(found, holm([estimate.p for estimate in found.values()]), strict=True))
    deciding = [row for row in contrasts if row["metric"] == PRIMARY_METRIC]
    detected = {frozenset((row["a"], row["b"])): row["verdict"] in (BETTER, WORSE) for row in deciding}
    reason = next((row["reason"] for row in deciding if row["reason"]), "")
    out = list[Row]()
    for row in table:
        name = row["setting"]
        differs = detected.get(frozenset((name, lowest["setting"])), corrected.get(name, 1.0) <= 1 - CONFIDENCE)
        ends = {end: getattr(found.get(name), end, 0.0) for end in ("difference", "low", "high")}
        of_set: Row = {"setting": name, "value": row[PRIMARY_METRIC], "in_set": None if reason else not differs}
        out.append(of_set | {"best": row is lowest, **ends, "reason": reason})
    return out


def _row(set_id: str, name: str, distances: Mapping[str, Distance], quality: tuple[float, float], noise: object) -> Row:
    return columns_of(distances) | dict(zip(("precision", "recall"), quality, strict=True)) | {
        "setting": name, "status": "ok", "visible_noise": noise, "samples_id": set_id, "run_id": set_id,
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }  # fmt: skip


def _interval(row: Row, metric: str, added: Mapping[str, Mapping[str, Distance]]) -> Row:
    found = estimate_one(added[row["run_id"]][metric])
    where = {"features": row["features"], "setting": row["setting"], "metric": metric}
    return where | {"value": found.difference, "low": found.low, "high": found.high}


def _copies(rows: Tensor, near: float, real: Tensor | None = None) -> Duplicates:
    """The copies among the first images of a set, and of the first real ones.

    In a larger set every image may stand twice: that is found by equal images, not by near ones.
    """
    first = rows[:KERNEL_IMAGES]
    of_real = 0 if real is None else int(duplicates.duplicate_mask(first, real[:KERNEL_IMAGES], near).sum())
    if len(rows) > len(first):
        equal = duplicates.find_clusters(rows, 0.0)
        if duplicates.uniform_clusters(equal) is not None:
            return Duplicates(equal, len(first), of_real)
    clusters = duplicates.find_clusters(first, near)
    alone = clusters.max() + 1 + np.arange(len(rows) - len(first))
    return Duplicates(np.concatenate([clusters, alone]), len(first), of_real)


def _units(copies: Sequence[Duplicates], paired: bool, prompts: Sequence[ClusterIds] | None) -> list[ClusterIds | None]:
    """The units of intervals of the real images and of each set: prompts, and copies where all images have as many."""
    of_real, *units = (duplicates.uniform_clusters(images.clusters) for images in copies)
    if paired:
        uniform = [ids for ids in units if ids is not None]
        units = [reduce(duplicates.merge_duplicates, uniform) if len(uniform) == len(units) else None] * len(units)
    if prompts is not None:
        pairs = zip(units, prompts, strict=True)
        units = [prompt if ids is None else duplicates.merge_duplicates(ids, prompt) for ids, prompt in pairs]
    return [of_real, *units]


def _copies_rows(data: str, copies: Sequence[Duplicates], names: Sequence[str]) -> Iterator[Row]:
    """The share of copies of each set beyond that of the first set, and of that beyond as many real images."""
    real, *sets = copies
    for name, images in zip(names, sets, strict=True):
        repeats, n = images.share()
        other, (others, m) = (data, real.share(n)) if images is sets[0] else (names[0], sets[0].share())
        difference, low, high = duplicates.excess_share(repeats, n, others, m)
        word = WORSE if low > duplicates.MAX_SHARE else BETTER if high < -duplicates.MAX_SHARE else NO_DIFFERENCE
        yield {
            "family": COPIES, "metric": COPIES, "a": name, "b": other,
            "value_a": repeats / n, "value_b": others / m, "difference": difference, "low": low, "high": high,
            "compared": 1, "verdict": word,
        }  # fmt: skip


def _with_copies(rows: Sequence[Row], of_copies: Sequence[Row]) -> Iterator[Row]:
    """Contrasts in which a set that repeats its images is worse, also if no distance says so, and never better."""
    more = {(row["a"], row["b"]): row["difference"] for row in of_copies if row["verdict"] == WORSE}
    for row in rows:
        share = more.get((row["a"], row["b"]))
        if share and row["verdict"] == NO_DIFFERENCE:
            row["verdict"] = WORSE
        elif share and row["verdict"] == BETTER:
            row |= {"verdict": NO_VERDICT, "reason": f"nearer, with {100 * share:.1f} % more copies"}
        yield row


def _floors(shared: Row, reference: ReferenceSet, n: int, repeats: int, advance: Callable[[str], None]) -> list[Row]:
    """The score of n real images against the others, or of half of them if there are fewer."""

    def draws() -> Iterator[int]:
        for draw in range(1, repeats + 1):
            advance(f"score of real images, {draw} of {repeats}")
            yield draw

    total = len(reference.features)
    n = min(n, total // 2)
    counts = {"n_samples": n, "n_reference": total - n, "repeats": repeats}
    columns = {name: shared[name] for name in ("data", "features")} | counts
    scores = reference.floor(n, draws(), QUALITY_IMAGES)
    return [columns | {"metric": metric} | summarise(values) for metric, values in scores.items()]
