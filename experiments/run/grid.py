"""A question with factors: every combination of their values, on the same networks. It imports no torch.

Its main effects and interactions: for value a of factor A, a0 being the first value of A, and b and b0 of factor B:

    main effect:  a - a0, averaged over the combinations of the other factors in which both ran
    interaction:  (a - a0 at b) - (a - a0 at b0), averaged over those of all others

Each is taken network by network and image by image, as a contrast is (Montgomery 2017, Design and Analysis of
Experiments, Chapter 5). All of them are one family of tests.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations, product
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import tyro

from diffusion_core.validation import one_of
from experiments.console import plural
from experiments.names import split
from experiments.run.identity import canonical
from experiments.run.pairs import Pair
from experiments.run.study import GPU, SMOKE, ExploringStudy, HiddenOption
from experiments.settings import Key, Setting, read_value
from reports.schema import COMBINATIONS, EFFECTS

if TYPE_CHECKING:
    import pandas as pd

Factors = Mapping[str, Sequence[str]]  # name -> its values, the baseline first
Cell = tuple[str, ...]  # a value of each factor


@dataclass(frozen=True)
class Grid(ExploringStudy):
    """All combinations run on all networks, which give main effects, interactions and their verdicts.

    The best combination is a choice: as many further networks compare it with the first one.
    """

    question = "Which factor matters, and which combination is best?"
    page = "factors"
    explored_in = COMBINATIONS
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "smoke": SMOKE,
        "laptop": {"seeds": 5, "train_images": 50_000},
        "gpu": GPU,
    }
    factors: ClassVar[Mapping[str, Sequence[Any]]] = {}  # name -> values, the baseline first
    known: ClassVar[Sequence[str]] = ()  # names of factors that may be typed, if not those of `factors`

    vary: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE,VALUE ...")] = ()
    """Factors and their values; the first of each is the baseline. One value alone holds for all combinations."""
    confirm: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = True
    """Without this, as many further networks compare the best combination with the baseline."""
    explore_networks: HiddenOption[int] = 1  # hidden: all networks of the grid explore, see `explorers`
    explore_samples: HiddenOption[int | None] = None  # type: ignore[assignment]  # as many as n_samples
    explore_train_images: HiddenOption[int | None] = None
    choices: HiddenOption[None] = None

    def setting(self, **values: Any) -> Setting:
        """The setting of one combination; its label is set later."""
        raise NotImplementedError

    @cached_property
    def values(self) -> dict[str, dict[str, Any]]:
        """Factor -> its values, as text and as `setting` takes them; one, if it is fixed. ValueError without a grid."""
        factors = {name: {_text(value): value for value in values} for name, values in self.factors.items()}
        typed = list[str]()
        for text in self.vary:
            name, _, values = text.partition("=")
            name = one_of("vary: factor", name.strip().replace("-", "_"), self.known or self.factors)
            texts = [value.strip() for value in split(values)]
            if name in typed or not all(texts) or len({*texts}) < len(texts):
                rule = "it must be a factor, named once, with different values, such as eta=0,0.5,1"
                raise ValueError(f"vary={text!r}: {rule}")
            typed.append(name)
            usual = self.factors[name][0] if self.factors else ""
            factors[name] = {value: read_value(name, value, type(usual)) for value in texts}
        if all(len(values) < 2 for values in factors.values()):
            rule = "it must have one factor or more with two values or more, such as eta=0,1 schedule=karras,vp"
            raise ValueError(f"vary: {rule}")
        return factors

    def check(self) -> None:
        super().check()
        self.values  # noqa: B018  # which raises errors

    @property
    def shown(self) -> dict[str, list[str]]:
        """The factors with the texts of their values, named as they are typed."""
        return {name.replace("_", "-"): [*values] for name, values in self.values.items()}

    @property
    def cells(self) -> dict[str, Cell]:
        """The label of each combination -> its values."""
        shown = self.shown
        return {", ".join(map("=".join, zip(shown, cell, strict=True))): cell for cell in product(*shown.values())}

    @cached_property
    def combined(self) -> Sequence[Setting]:
        """The setting of each combination. ValueError for values that make the same one."""
        settings = list[Setting]()
        for label, cell in self.cells.items():
            texts = dict(zip(self.values, cell, strict=True))
            values = {name: self.values[name][text] for name, text in texts.items()}
            setting, again = self.setting(**values), self.setting(**values)
            if not isinstance(setting, Setting):
                raise ValueError(f"setting() of {label}: it gave {setting!r:.40}; it must return a Setting")
            if (canonical(setting), setting.training) != (canonical(again), again.training):
                raise ValueError(
                    f"setting() of {label}: called twice, it gave two settings; only its values may decide"
                )
            if setting.budget is not None:
                raise ValueError(f"setting() of {label}: budget={setting.budget}: leave it out; make it a factor")
            settings.append(replace(setting, label=label, values=texts))
        unnamed = {s.label: replace(s, label="", values={}) for s in settings if not s.impossible}
        for a, b in combinations(unnamed, 2):
            if unnamed[a] == unnamed[b]:
                raise ValueError(f"vary: {a} and {b} are the same setting; leave one value out")
        return settings

    def explore(self) -> Iterator[Setting]:
        yield from self.combined

    def pairs(self, settings: Sequence[Setting]) -> Iterator[Pair]:
        """Yields all effects of the combinations."""
        labels = {setting.label for setting in settings}
        yield from effect_pairs(self.shown, {cell: label for label, cell in self.cells.items() if label in labels})

    def confirm_pairs(self, chosen: "pd.DataFrame") -> Iterator[Pair]:
        yield from super().confirm_pairs(chosen) if self.confirm else ()

    def name_question(self, kind: str, label: str) -> str:
        return "The best combination against the baseline"

    @property
    def explorers(self) -> Sequence[int]:
        return range(self.first_seed, self.first_seed + self.seeds) if self.trains else ()

    @property
    def confirmers(self) -> Sequence[int]:
        first = self.first_seed + self.seeds
        return range(first, first + self.seeds) if self.trains and self.confirm else ()

    @property
    def notes(self) -> Sequence[str]:
        """How many combinations there are."""
        networks = plural(self.seeds if self.trains else 1, "network")
        names = [name if len(values) > 1 else f"{name}={values[0]} (fixed)" for name, values in self.shown.items()]
        return [f"{len(self.cells)} combinations of {', '.join(names)}, each on {networks}"]

    @property
    def provenance(self) -> Mapping[str, Any]:
        """And the factors with their values, and those of each combination."""
        return {**super().provenance, "factors": [*self.shown.items()], "cells": self.cells}  # run.json sorts keys


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def effect_pairs(factors: Factors, cells: Mapping[Cell, str]) -> Iterator[Pair]:
    """All main effects, then all interactions of two factors, as pairs of means. `cells`: labels of combinations."""
    numbered = list(enumerate(factors.items()))
    for at, (factor, (first, *values)) in numbered:
        for value in values:
            names = f"{factor} {value}", f"{factor} {first}"
            yield from _pair_means(cells, factor, names, [{at: value}, {at: first}])
    for (at, (factor, (first, *values))), (at_b, (factor_b, (first_b, *values_b))) in combinations(numbered, 2):
        for value, value_b in product(values, values_b):
            corners = ((value, value_b), (first, first_b), (first, value_b), (value, first_b))
            names = f"{factor} {value} with {factor_b} {value_b}", f"{factor} {first} with {factor_b} {first_b}"
            yield from _pair_means(cells, f"{factor} × {factor_b}", names, [{at: x, at_b: y} for x, y in corners])


def _pair_means(
    cells: Mapping[Cell, str], question: str, names: tuple[str, str], swaps: Sequence[Mapping[int, str]]
) -> Iterator[Pair]:
    """The pair of means over the cells of the other factors. Half of `swaps` is added, half subtracted."""
    sides: list[list[Key]] = [[], []]
    for cell in cells:
        if any(cell[place] != value for place, value in swaps[0].items()):
            continue
        swapped = [tuple(values.get(place, value) for place, value in enumerate(cell)) for values in swaps]
        if all(other in cells for other in swapped):
            for at, other in enumerate(swapped):
                sides[2 * at // len(swaps)].append((COMBINATIONS, 0, cells[other]))
    if sides[0]:
        a, b = sides
        yield Pair(question, a, b, EFFECTS, "", names=names, times=len(swaps) // 2)
