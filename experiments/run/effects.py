"""The main effects and interactions of factors, from the cells of a grid.

For value a of factor A, a0 being the first value of A, and b and b0 of factor B:

    main effect:  a - a0, averaged over the combinations of the other factors in which both ran
    interaction:  (a - a0 at b) - (a - a0 at b0), averaged over those of all others

Each is taken network by network and image by image, as a contrast is (Montgomery 2017, Design and Analysis of
Experiments, Chapter 5). All of them are one family of tests.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from experiments.run.comparisons import Effect, Side

Factors = Mapping[str, Sequence[str]]  # name -> its values, the baseline first
Cell = tuple[str, ...]  # a value of each factor


def find_effects(factors: Factors, cells: Mapping[Cell, Side]) -> Iterator[Effect]:
    """All main effects, then all interactions of two factors. `cells`: those in which every network succeeded."""

    def swap(cell: Cell, values: Mapping[int, str]) -> Side | None:
        return cells.get(tuple(values.get(place, value) for place, value in enumerate(cell)))

    def collect(names: tuple[str, ...], swaps: Sequence[Mapping[int, str]]) -> Iterator[Effect]:
        by_cell = [tuple(swap(cell, values) for values in swaps) for cell in cells if _has(cell, swaps[0])]
        if whole := [tuple(filter(None, sides)) for sides in by_cell if None not in sides]:
            yield Effect(names, whole)

    numbered = list(enumerate(factors.items()))
    for at, (factor, (first, *values)) in numbered:
        for value in values:
            yield from collect((factor, value, first), [{at: value}, {at: first}])
    for (at, (factor, (first, *values))), (at_b, (factor_b, (first_b, *values_b))) in combinations(numbered, 2):
        for value in values:
            for value_b in values_b:
                corners = ((value, value_b), (first, first_b), (first, value_b), (value, first_b))
                names = (factor, value, first, factor_b, value_b, first_b)
                yield from collect(names, [{at: a, at_b: b} for a, b in corners])


def _has(cell: Cell, values: Mapping[int, str]) -> bool:
    return all(cell[place] == value for place, value in values.items())
