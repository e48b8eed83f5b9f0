"""Which images are compared: pairs by name or place, the same number of each set, in random order."""

import re

import numpy as np
import pytest

from experiments.run.image_features import ImageSet
from experiments.scoring.inputs import FeatureSet, Input
from experiments.scoring.pairing import Pairs, pair


def named(name: str, names: list[str]) -> ImageSet:
    return ImageSet(name, len(names), "", lambda index: (np.zeros((4, 4), np.uint8), np.zeros(4, bool)), tuple(names))


def numbered(name: str, n: int) -> FeatureSet:
    return FeatureSet(name, np.zeros((n, 2), np.float32))


HUNDRED = [f"{place:03}" for place in range(100)]
A, REVERSED, LATER = named("a", HUNDRED), named("b", HUNDRED[::-1]), named("c", [f"{p:03}" for p in range(50, 160)])


@pytest.mark.parametrize("pairs", ["auto", "names"])
def test_equal_names_are_pairs(pairs: Pairs):
    pairing = pair([A, REVERSED], pairs)
    assert (pairing.by, pairing.note) == ("names", "")
    first, second = pairing.chosen
    assert sorted(first) == list(range(100)) and (second == 99 - first).all()
    assert (np.diff(first) != 1).any()  # in random order: files are often sorted by class


def test_names_that_pair_in_part():
    pairing = pair([A, LATER], "names")
    assert [A.names[i] for i in pairing.chosen[0]] == [LATER.names[i] for i in pairing.chosen[1]]  # type: ignore[index]
    assert pairing.note == "50 images have the same names in all sets and are compared: a has 100, c has 110"
    assert pair([A, LATER], "auto").by == "none"


def test_sets_without_pairs_get_equal_numbers():
    pairing = pair([numbered("a", 300), numbered("b", 80)], "auto")
    assert [len(set(part)) for part in pairing.chosen] == [80, 80] and pairing.by == "none"
    assert pairing.note == "80 images of each are compared, since FD falls with their number: a has 300, b has 80"


def test_arrays_of_one_length_are_offered_as_pairs():
    sets = [numbered("a", 80), numbered("b", 80)]
    assert pair(sets).note.startswith("all sets have 80 images without names: --pairs order pairs those at one place")
    assert not pair(sets, "none").note and not pair([A, named("d", list("x" * 100))]).note


def test_places_are_pairs_if_asked_for():
    pairing = pair([numbered("a", 80), numbered("b", 80)], "order")
    assert pairing.by == "order" and (pairing.chosen[0] == pairing.chosen[1]).all()


@pytest.mark.parametrize(
    "sets, pairs, message",
    [
        ([numbered("a", 80), numbered("b", 81)], "order", "pairs='order': all sets must have equally many images, but"),
        ([A, numbered("b", 100)], "names", "pairs='names': the images of b have no names; use --pairs order or none"),
        ([A, named("b", HUNDRED[:30] + ["x"] * 70)], "names", "pairs='names': x is the name of 70 images of b"),
        ([A, named("b", [f"x{p}" for p in range(99)] + ["001"])], "names", "1 names are in all sets, and an interval"),
        ([A, numbered("b", 39)], "auto", "b: 39 images; an interval needs at least 40"),
    ],
)
def test_what_does_not_suit_is_refused(sets: list[Input], pairs: Pairs, message: str):
    with pytest.raises(ValueError, match=re.escape(message)):
        pair(sets, pairs)
