"""The main effects and interactions of factors, from the cells of a grid.

For level a of factor A, a0 being the first level of A, and b and b0 of factor B:

    main effect:  a - a0, averaged over the combinations of the other factors in which both ran
    interaction:  (a - a0 at b) - (a - a0 at b0), averaged over those of all others

Each is taken network by network and image by image, as a contrast is (Montgomery 2017, Design and Analysis of
Experiments, Chapter 5). All of them are one family of tests.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from experiments.run.compare import Effect, Side

Factors = Mapping[str, Sequence[str]]  # name -> its levels, the baseline first
Cell = tuple[str, ...]  # a level of each factor


def find_effects(factors: Factors, cells: Mapping[Cell, Side]) -> Iterator[Effect]:
    """All main effects, then all interactions of two factors. `cells`: those in which every network succeeded."""

    def swap(cell: Cell, levels: Mapping[int, str]) -> Side | None:
        return cells.get(tuple(levels.get(place, level) for place, level in enumerate(cell)))

    def collect(names: tuple[str, ...], swaps: Sequence[Mapping[int, str]]) -> Iterator[Effect]:
        by_cell = [tuple(swap(cell, levels) for levels in swaps) for cell in cells if _has(cell, swaps[0])]
        if whole := [tuple(filter(None, sides)) for sides in by_cell if None not in sides]:
            yield Effect(names, whole)

    numbered = list(enumerate(factors.items()))
    for at, (factor, (first, *levels)) in numbered:
        for level in levels:
            yield from collect((factor, level, first), [{at: level}, {at: first}])
    for (at, (factor, (first, *levels))), (at_b, (factor_b, (first_b, *levels_b))) in combinations(numbered, 2):
        for level in levels:
            for level_b in levels_b:
                corners = ((level, level_b), (first, first_b), (first, level_b), (level, first_b))
                names = (factor, level, first, factor_b, level_b, first_b)
                yield from collect(names, [{at: a, at_b: b} for a, b in corners])


def _has(cell: Cell, levels: Mapping[int, str]) -> bool:
    return all(cell[place] == level for place, level in levels.items())
