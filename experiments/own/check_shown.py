"""How `check` shows what it found: a table with the doubts on the terminal, and a picture."""

from collections.abc import Callable, Sequence

import torch
from PIL import Image, ImageDraw
from rich.table import Table
from torch import Tensor

from diffusion_core.tensors import broadcast_like
from experiments.console import Terminal
from experiments.own.best_linear import SLACK, WORSE
from experiments.own.examine import NEARLY, CheckResult

ZOOM, TEXT = 2, 14  # of the picture: size of a pixel, and height of the line with the levels
CAPTION = "mean squared error of eps; predicting no noise has error 1"
VERDICTS = f"good: error below {{good}}; doubtful: above {WORSE:g} times best linear plus {SLACK:g}; fair: between"
TRAINED = f"{NEARLY:g} times that of a well-trained network"
LINEAR = "best linear, which is all that is known of these data"


def show(name: str, notes: Sequence[str], result: CheckResult) -> None:
    """Prints the errors by level, the notes and the doubts."""
    console = Terminal()
    table = Table(title=name, title_justify="left", caption=CAPTION, caption_justify="left")
    trained = result.levels[0].trained is not None
    for heading in ("sigma", "time", "error", "best linear", *["trained"] * trained):
        table.add_column(heading, justify="right")
    table.add_column("verdict")
    for level in result.levels:
        verdict = "doubtful" if level.doubtful else "good" if level.good else "fair"
        errors = [f"{error:.3g}" for error in (level.error, level.linear, level.trained) if error is not None]
        numbers = (f"{level.sigma:.3g}", "" if level.time is None else f"{level.time:.4g}", *errors)
        table.add_row(*numbers, verdict if level.known else "beyond its times")
    console.print(table, soft_wrap=False)
    console.print(VERDICTS.format(good=TRAINED if trained else LINEAR))
    for note in notes:
        console.print(f"note: {note}")
    for doubt in result.doubts:
        console.print(f"doubt: {doubt}", style="yellow")
    doubtful = sum(level.doubtful for level in result.levels)
    verdict = f"of no use: its error is doubtful at {doubtful} of {sum(level.known for level in result.levels)} levels"
    if result.usable:
        low, high = result.usable
        verdict = f"{len(result.doubts) or 'no'} doubt{'s' * (len(result.doubts) != 1)}; "
        verdict += f"usable from sigma {high:.3g} to {low:.3g}"
    console.print(f"verdict: {verdict}", style="bold")


def picture(result: CheckResult, shown: Callable[[Tensor], Tensor]) -> Image.Image | None:
    """One column per level: the real image, the noisy one at unit variance, and the denoised one.

    `shown`: what x shows; None if these are points.
    """
    sigmas = broadcast_like(result.noisy, torch.tensor([level.sigma for level in result.levels]))
    rows = [shown(row) for row in (result.clean, result.noisy * (1 + sigmas.square()).rsqrt(), result.denoised)]
    if rows[0].ndim != 4:
        return None
    pixels = torch.cat([torch.cat(tuple(row), dim=2) for row in rows], dim=1)
    tiles = Image.fromarray(pixels.permute(1, 2, 0).squeeze(2).numpy()).convert("RGB")
    tiles = tiles.resize((tiles.width * ZOOM, tiles.height * ZOOM), Image.Resampling.NEAREST)
    whole = Image.new("RGB", (tiles.width, tiles.height + TEXT), "white")
    whole.paste(tiles, (0, TEXT))
    for column, level in enumerate(result.levels):
        place = (column * tiles.width // len(result.levels) + 2, 1)
        ImageDraw.Draw(whole).text(place, f"{level.sigma:.2g}", fill="black")
    return whole
