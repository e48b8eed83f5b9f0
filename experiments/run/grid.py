"""A question with factors: every combination of their levels, on the same networks. It imports no torch."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations, product
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import tyro

from diffusion_core.validation import RULES, one_of
from experiments.console import plural
from experiments.run.compare import Chosen, Comparison, Duel, SidesBySection
from experiments.run.effects import Cell, find_effects
from experiments.run.identity import canonical
from experiments.run.setting import Setting
from experiments.run.study import GPU, SMOKE, ExploringStudy, HiddenOption
from experiments.user.parsing import COMMA
from reports.schema import EXPLORE

if TYPE_CHECKING:
    from experiments.run.tables import RunResults, Tables


@dataclass(frozen=True)
class Grid(ExploringStudy):
    """All combinations run on all networks, which give main effects, interactions and their verdicts.

    The best combination is a choice: as many further networks compare it with the first one.
    """

    question = "Which factor matters, and which combination is best?"
    page = "factors"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "smoke": SMOKE,
        "laptop": {"seeds": 5, "train_images": 50_000},
        "gpu": GPU,
    }
    factors: ClassVar[Mapping[str, Sequence[Any]]] = {}  # name -> levels, the baseline first
    known: ClassVar[Sequence[str]] = ()  # names of factors that may be typed, if not those of `factors`

    vary: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=LEVEL,LEVEL ...")] = ()
    """Factors and their levels; the first level of each is the baseline. One level alone holds for all combinations."""
    confirm: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = True
    """Without this, as many further networks compare the best combination with the baseline."""
    explore_networks: HiddenOption[int] = 1  # hidden: all networks of the grid explore, see `explorers`
    explore_samples: HiddenOption[int | None] = None  # type: ignore[assignment]  # as many as n_samples
    explore_train_images: HiddenOption[int | None] = None
    choices: HiddenOption[None] = None

    def setting(self, **levels: Any) -> Setting:
        """The setting of one combination; its label is set later."""
        raise NotImplementedError

    @cached_property
    def levels(self) -> dict[str, dict[str, Any]]:
        """Factor -> its levels, as text and as `setting` takes them; one, if it is fixed. ValueError without a grid."""
        levels = {name: {_text(value): value for value in values} for name, values in self.factors.items()}
        typed = list[str]()
        for text in self.vary:
            name, _, values = text.partition("=")
            name = one_of("vary: factor", name.strip().replace("-", "_"), self.known or self.factors)
            texts = [value.strip() for value in COMMA.split(values)]
            if name in typed or not all(texts) or len({*texts}) < len(texts):
                rule = "it must be a factor, named once, with different levels, such as eta=0,0.5,1"
                raise ValueError(f"vary={text!r}: {rule}")
            typed.append(name)
            usual = self.factors[name][0] if self.factors else ""
            levels[name] = {value: read_level(name, value, type(usual)) for value in texts}
        if all(len(values) < 2 for values in levels.values()):
            rule = "it must have one factor or more with two levels or more, such as eta=0,1 schedule=karras,vp"
            raise ValueError(f"vary: {rule}")
        return levels

    def check(self) -> None:
        super().check()
        self.levels  # noqa: B018  # which raises errors

    @property
    def shown(self) -> dict[str, list[str]]:
        """The factors with the texts of their levels, named as they are typed."""
        return {name.replace("_", "-"): [*levels] for name, levels in self.levels.items()}

    @property
    def cells(self) -> dict[str, Cell]:
        """The label of each combination -> its levels."""
        shown = self.shown
        return {", ".join(map("=".join, zip(shown, cell, strict=True))): cell for cell in product(*shown.values())}

    @cached_property
    def combined(self) -> Sequence[Setting]:
        """The setting of each combination. ValueError for levels that make the same one."""
        levels = self.levels
        settings = list[Setting]()
        for label, cell in self.cells.items():
            texts = dict(zip(levels, cell, strict=True))
            given = {name: levels[name][text] for name, text in texts.items()}
            setting, again = self.setting(**given), self.setting(**given)
            if not isinstance(setting, Setting):
                raise ValueError(f"setting() of {label}: it gave {setting!r:.40}; it must return a Setting")
            if (canonical(setting), setting.training) != (canonical(again), again.training):
                raise ValueError(f"setting() of {label}: called twice, it gave two settings; only levels may decide")
            if setting.budget is not None:
                raise ValueError(f"setting() of {label}: budget={setting.budget}: leave it out; make it a factor")
            settings.append(replace(setting, label=label, levels=texts))
        unnamed = {s.label: replace(s, label="", levels={}) for s in settings if not s.impossible}
        for a, b in combinations(unnamed, 2):
            if unnamed[a] == unnamed[b]:
                raise ValueError(f"vary: {a} and {b} are the same setting; leave one level out")
        return settings

    def explore(self) -> Iterator[Setting]:
        yield from self.combined

    def settings(self) -> Iterator[Setting]:
        """Without a confirmation the A/A test of the baseline is made on the networks of the grid."""
        if not self.confirm:
            first = self.combined[0]
            yield first.again(self.trains and bool(first.training))

    def compare_explored(self, of: SidesBySection) -> Iterator[Comparison]:
        sides = {label: side for label, side in of.get((EXPLORE, None), {}).items() if side.whole}
        yield from find_effects(
            self.shown, {cell: sides[label] for label, cell in self.cells.items() if label in sides}
        )

    def extra_tables(self, results: "RunResults") -> "Tables":
        """The score of each combination, with its interval."""
        from experiments.run.contrasts import score_interval

        cells = [side for side in results.sides.get((EXPLORE, None), {}).values() if side.whole]
        return {"quality.csv": [{"section": EXPLORE, "setting": s.label} | score_interval(s) for s in cells]}

    def duels(self, chosen: Sequence[Chosen]) -> Iterator[Duel]:
        yield from super().duels(chosen) if self.confirm else ()

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
        names = [name if len(levels) > 1 else f"{name}={levels[0]} (fixed)" for name, levels in self.shown.items()]
        return [f"{len(self.cells)} combinations of {', '.join(names)}, each on {networks}"]

    @property
    def provenance(self) -> Mapping[str, Any]:
        """And the factors with their levels, and the levels of each combination."""
        return {**super().provenance, "factors": [*self.shown.items()], "cells": self.cells}  # run.json sorts keys


def read_level(name: str, text: str, kind: type = float) -> Any:
    """A level of this type from its text. ValueError if it is none."""
    if kind is bool:
        return one_of(name, text.lower(), ("true", "false")) == "true"
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"{name}={text!r}: it must be {RULES[kind]}") from None


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
