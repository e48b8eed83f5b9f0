"""The card of a report, which other sites show with a link to it: question, answer, effects, data."""

import textwrap
from collections.abc import Mapping

import matplotlib.figure
from matplotlib.image import imread

from reports.document import About, Effect, Opening
from reports.figures.canvas import BLUE, FAINT, INK, ORANGE

SIZE = (12.0, 6.3)  # inches: 1200x630 at 100 dots per inch
GREY = "#5c5c5c"
COLORS = {"better": BLUE, "worse": ORANGE, "unclear": GREY}


def card(about: About, opening: Opening) -> matplotlib.figure.Figure:
    """A figure of 1200x630 pixels at 100 dots per inch, with the pictures of the first screen or several effects."""
    question, answer, effects = about.question, opening.answer, opening.effects
    figure = matplotlib.figure.Figure(figsize=SIZE, dpi=100)
    figure.set_layout_engine("none")
    figure.text(0.045, 0.9, question, fontsize=min(24, 1500 / (len(question) + 1)), color=GREY)
    size, letters = (30, 50) if len(answer) <= 100 else (25, 60)
    figure.text(0.045, 0.85, textwrap.fill(answer, letters), fontsize=size, color=INK, va="top", linespacing=1.25)
    figure.text(0.045, 0.04, textwrap.fill(f"Sigmabench · {about.line}", 120), fontsize=13, color=GREY, linespacing=1.3)
    if effects:
        _draw_effects(figure, effects)
    height, bottom = (0.27, 0.36) if effects else (0.42, 0.14)
    for at, (picture, _) in enumerate(opening.pictures[:3] if len(effects) < 2 else []):
        width = height * SIZE[1] / SIZE[0]
        ax = figure.add_axes((0.045 + at * (width + 0.02), bottom, width, height))
        ax.imshow(imread(picture), cmap="gray", interpolation="nearest")
        ax.axis("off")
    return figure


def _draw_effects(figure: matplotlib.figure.Figure, effects: Mapping[str, Effect]) -> None:
    height = min(0.085 * len(effects), 0.34)
    ax = figure.add_axes((0.42, 0.2, 0.535, height))
    for at, (name, effect) in enumerate(effects.items()):
        color = COLORS[effect.verdict]
        ax.errorbar(effect.at, -at, xerr=[[effect.at - effect.low], [effect.high - effect.at]], fmt="o", color=color,
                    markersize=13, markerfacecolor="white" if effect.verdict == "unclear" else color,
                    markeredgewidth=2.5, elinewidth=4)  # fmt: skip
        label = textwrap.shorten(name, 42, placeholder=" …")
        ax.text(-0.02, -at, label, transform=ax.get_yaxis_transform(), fontsize=15, ha="right", va="center", color=INK)
    ax.axvline(0, color=INK, linewidth=1.5)
    ax.set(ylim=(0.6 - len(effects), 0.6), yticks=[])
    unit = f"difference in {next(iter(effects.values())).metric}, with its interval; below 0 is better"
    ax.set_xlabel(unit, fontsize=15, color=GREY)
    ax.tick_params(labelsize=14, colors=GREY)
    ax.grid(visible=False)
    for side in ("left", "right", "top"):
        ax.spines[side].set_visible(False)
    ax.spines["bottom"].set_color(FAINT)
