"""What the figures draw."""

import itertools
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.colors import to_hex

from reports import figures
from reports.drawing import svg
from reports.results import pooled, read_run


def axes() -> Any:
    return figures.panels(1, 1, 2)[1][0, 0]


@pytest.mark.parametrize(
    ("verdict", "color", "filled"),
    [
        ("better", figures.BLUE, True),
        ("worse", figures.ORANGE, True),
        ("not detectable", "#555555", False),
        ("no verdict", "#555555", False),
    ],
)
def test_forest_fills_only_verdicts(directory: Path, verdict: str, color: str, filled: bool) -> None:
    rows = pooled(read_run(directory).of_kind("primary")).head(1).assign(line=0, verdict=verdict)
    ax = figures.forest(rows, ["one"], "kd", axes())
    zero, span, diamond, target = ax.lines
    assert target.get_alpha() == 0 and "95 % interval" in target.get_gid()
    assert list(zero.get_xdata()) == [0, 0]
    assert list(span.get_xdata()) == pytest.approx([1000 * rows["low"].iloc[0], 1000 * rows["high"].iloc[0]])
    assert to_hex(diamond.get_color()) == color
    assert (to_hex(diamond.get_markerfacecolor()) == color) == filled


def test_a_floor_of_one_repeat_has_no_band() -> None:
    floor = pd.Series({"mean": 4.0, "low": 3.0, "high": 5.0, "repeats": 10})
    assert len(figures.floor_band(axes(), floor, "fd").patches) == 1
    assert len(figures.floor_band(axes(), floor.replace({10: 1}), "fd").patches) == 0


@pytest.mark.parametrize(("values", "scale"), [([1, 5], "linear"), ([1, 50], "log"), ([-1, 50], "linear")])
def test_wide_positive_ranges_are_logarithmic(values: list[float], scale: str) -> None:
    ax = axes()
    ax.plot([0, 1], values)
    assert figures.fit_y(ax, pd.Series(values, dtype=float), "fd").get_yscale() == scale


def test_close_ticks_are_thinned() -> None:
    ax = figures.log_ticks(axes(), pd.Series([8, 64, 66, 132]))
    assert ax.get_xscale() == "log"
    assert list(ax.get_xticks()) == [8, 64, 132]


def test_values_are_drawn_as_their_columns_say() -> None:
    networks = pd.DataFrame({"beta": [0.0, 0.0, 0.3], "kd": [0.009, 0.011, 0.02]})
    ax: Any = figures.quality_line(networks, "beta", "kd", axes())
    assert list(ax.lines[0].get_ydata()) == pytest.approx([10, 20])
    assert ax.collections[0].get_offsets()[:, 1].tolist() == pytest.approx([9, 11, 20])
    assert ax.get_xlabel() == "beta"


def draw(names: list[str]) -> Any:
    """A figure of two panels with a rising line per name, named."""
    figure, [axes] = figures.panels(1, 2, 3)
    for ax in axes:
        for at, name in enumerate(names):
            ax.plot([0, 1], [0, 10 + at / 1000], label=name)
    return figures.named(figure)


def test_few_lines_are_named_at_their_ends_and_many_in_a_legend() -> None:
    few, many = draw(["a", "b", "c", "d", "real images"]), draw(["a", "b", "c", "d", "e"])
    assert [len(ax.texts) for ax in few.axes] == [0, 5] and not few.legends  # once per row, in its last panel
    assert [len(ax.texts) for ax in many.axes] == [0, 0] and len(many.legends) == 1
    assert draw(["a", "a name of more than 26 letters"]).legends


def test_names_of_close_lines_do_not_overlap() -> None:
    heights = sorted(text.get_position()[1] for text in draw(["a", "b", "c", "d"]).axes[1].texts)
    assert all(upper - lower > 0.05 for lower, upper in itertools.pairwise(heights)) and heights[-1] <= 1


def test_names_are_no_formulas_and_leave_room_for_the_drawing(directory: Path) -> None:
    rows = pooled(read_run(directory).of_kind("primary")).head(1).assign(line=0)
    with figures.style():
        drawing, [[ax]] = figures.panels(1, 1, 2)
        figures.forest(rows, [r"from $1 to $\2, " + "a long name " * 40], "kd", ax)
        assert "from $1 to" in svg(drawing) and ax.get_position().width > 0.3


def test_a_difference_beyond_the_edge_has_its_values_too(directory: Path) -> None:
    rows = pooled(read_run(directory).of_kind("primary", "control", "same-alpha"))
    rows = rows[rows["metric"] == "kd"].reset_index(drop=True)
    far = rows.assign(line=range(len(rows)))
    far.loc[0, ["low", "difference", "high"]] = [90.0, 91.0, 92.0]
    ax = figures.forest(far, [str(at) for at in far["line"]], "kd", axes())
    assert any("▸" in text.get_text() for text in ax.texts)
    assert sum("difference in" in str(line.get_gid()) for line in ax.lines) == len(far)
