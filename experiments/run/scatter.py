"""Pictures of points: where a page has images, scatter plots of pairs of their coordinates."""

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SHOWN = 500  # points in a picture
SIDE, SMALL, GAP = 127, 64, 2  # pixels of a plot, of one in a strip, and between plots
SPREAD = 0.15  # of the range of the data around them
DOT = (31, 84, 150)


@dataclass(frozen=True)
class Scatter:
    """Plots of pairs of coordinates, on the same axes for all points: up to four in a square, two in a strip."""

    low: NDArray[np.float64]  # (d,)
    high: NDArray[np.float64]

    @classmethod
    def of(cls, real: torch.Tensor) -> "Scatter":
        """The axes on which the data (n, d) lie with some room around."""
        values = real.double().numpy()
        low, high = values.min(axis=0), values.max(axis=0)
        room = SPREAD * np.maximum(high - low, 1e-12)
        return cls(low - room, high + room)

    def square(self, points: torch.Tensor) -> Image.Image:
        """Up to four plots of points (n, d)."""
        pairs = self._pairs(4)
        rows = [pairs[at : at + 2] for at in range(0, len(pairs), 2)]
        return self._drawn(points, rows, SIDE if len(pairs) > 1 else 2 * SIDE + GAP)

    def strip(self, points: torch.Tensor) -> Image.Image:
        """Up to two small ones."""
        return self._drawn(points, [self._pairs(2)], SMALL)

    def _pairs(self, most: int) -> list[tuple[int, int]]:
        """The pairs of coordinates that are shown: neighbours first."""
        d = len(self.low)
        pairs = sorted(itertools.combinations(range(d), 2), key=lambda pair: (pair[1] - pair[0] > 1, pair)) or [(0, 0)]
        return pairs[:most]

    def _drawn(self, points: torch.Tensor, rows: list[list[tuple[int, int]]], side: int) -> Image.Image:
        """Points beyond the axes are left out."""
        values = (points[:SHOWN].double().numpy() - self.low) / (self.high - self.low)
        size = [count * side + (count - 1) * GAP for count in (len(rows[0]), len(rows))]
        whole = Image.new("RGB", (size[0], size[1]), "silver")
        for row, pairs in enumerate(rows):
            for column, pair in enumerate(pairs):
                plot = Image.new("RGB", (side, side), "white")
                across, up = (values[:, each] for each in pair)
                pen, inside = ImageDraw.Draw(plot), (np.abs(across - 0.5) < 0.5) & (np.abs(up - 0.5) < 0.5)
                for x, y in zip(across[inside], up[inside], strict=True):
                    at = (int(x * (side - 1)), int((1 - y) * (side - 1)))
                    pen.rectangle((*at, at[0] + side // 100, at[1] + side // 100), DOT)
                whole.paste(plot, (column * (side + GAP), row * (side + GAP)))
        return whole
