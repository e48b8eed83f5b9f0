"""Checks that a harmless change must pass: the share of images, and of copies, which it could miss."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd
import torch
from torch import Tensor

from experiments.distances import duplicates
from experiments.distances.duplicates import ClusterIds
from experiments.distances.equivalence import EquivalenceTest, compare_distributions, is_reordered
from experiments.run.cache import Cache
from experiments.run.image_features import FeatureSpace, ImageFeatures
from experiments.run.machine import double_device
from experiments.scoring import compare
from experiments.scoring.inputs import Input
from experiments.scoring.pairing import Pairing
from reports.schema import HARMFUL, HARMLESS

UNRELATED = 0.1  # correlation of features below which pairs share nothing: 0.3 to 1 for images of the same seeds


@dataclass(frozen=True)
class EquivalenceCheck:
    """One thing that must hold, a row of harms.csv: its value with its interval (None without one), and its limit."""

    check: str
    value: float
    low: float | None
    high: float | None
    limit: float
    verdict: str

    def __str__(self) -> str:
        return f"  {self.check}: {self.value:.3g}, limit {self.limit:.3g}: {self.verdict}"


@dataclass(frozen=True)
class EquivalenceInputs:
    """Both sets in one feature space, image by image in the order of `pairing`; `prompts`: (n,) of each pair."""

    images: Sequence[Input]
    pairing: Pairing
    prompts: ClusterIds | None
    space: FeatureSpace
    store: Cache
    margin: float
    clips: bool  # whether images are frames of clips, which are the prompts

    @cached_property
    def described(self) -> Sequence[ImageFeatures]:
        return compare.measure_sets(self.images, self.pairing.chosen, self.space, self.store)

    @cached_property
    def features(self) -> tuple[Tensor, Tensor]:  # float64 (n, d), before and after
        device = double_device(self.space.device)
        before, after = (torch.from_numpy(images.features).to(device, torch.float64) for images in self.described)
        return before, after

    @cached_property
    def copies(self) -> list[ClusterIds]:
        """Which images are copies of each other, before and after."""
        near = duplicates.tolerance(self.features[0])
        return [duplicates.find_clusters(rows, near) for rows in self.features]

    @property
    def repeats(self) -> ClusterIds | None:
        """The copies before, if every image stands there several times: then they count as one."""
        return duplicates.uniform_clusters(self.copies[0])

    @cached_property
    def units(self) -> ClusterIds | None:
        """The units that can fail together: prompts, with the copies before if all images stand there several times."""
        if self.repeats is None or self.prompts is None:
            return self.repeats if self.prompts is None else self.prompts
        return duplicates.merge_duplicates(self.repeats, self.prompts)

    @cached_property
    def test(self) -> EquivalenceTest:
        return compare_distributions(*self.features, self.units)

    @property
    def unchanged(self) -> int:
        """The pairs of identical images."""
        before, after = self.described
        return int((before.digests == after.digests).sum()) if self.pairing.paired else 0

    @property
    def unrelated(self) -> bool:
        """Whether partners have nothing in common: their features correlate no more than those of other seeds."""
        before, after = (rows - rows.mean(dim=0) for rows in self.features)
        spread = math.sqrt(float((before**2).sum() * (after**2).sum()))
        return self.pairing.paired and float((before * after).sum()) < UNRELATED * spread

    def check_order(self) -> None:
        """ValueError if most images after are one of those before, but at another place."""
        sides: Sequence[Tensor] = self.features
        if self.clips and self.prompts is not None:  # the means of clips: frames of one are alike
            means = [pd.DataFrame(rows.cpu().numpy()).groupby(self.prompts).mean() for rows in sides]
            sides = [torch.tensor(frame.to_numpy()) for frame in means]
        before, after = self.images
        paired = self.pairing.paired
        if is_reordered(sides[0], sides[1], paired):
            subject = f"{before.name} and {after.name} hold the same images in"
            if not paired and before.n == after.n and not is_reordered(sides[0], sides[1], True):
                raise ValueError(f"{subject} one order: pair them by --pairs order")
            named = before.names and after.names and self.pairing.by != "names"
            remedy = "pair them by --pairs names" if named else "bring both into one order, by names or places"
            raise ValueError(f"{subject} another order: most are nearer to another one's partner; {remedy}")


def run_checks(sets: EquivalenceInputs) -> tuple[EquivalenceCheck, EquivalenceCheck]:
    """The share of images, and how many more are copies. ValueError if they are in another order."""
    sets.check_order()
    test, margin = sets.test, sets.margin
    before, after = (int(groups.max()) for groups in sets.copies)
    more = (before - after) / len(sets.copies[0])
    return (
        EquivalenceCheck(f"share in {sets.space.name} features", *test.shares, margin, test.verdict(margin)),
        EquivalenceCheck("more copies", more, None, None, margin, HARMFUL if more > margin else HARMLESS),
    )
