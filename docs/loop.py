"""Draws figures/loop.gif, digits while they are made, without and with noise: `python docs/loop.py runs/beta-mnist`.

The network is the first one of the run, and both halves start from the same noise.
"""

import sys
from pathlib import Path

import pandas as pd
import torch
from PIL import Image, ImageDraw

from diffusion_core import load
from diffusion_core.samplers import Euler, sample
from experiments import Schedule
from experiments.user.pretrained import load_network

ROWS, COLUMNS = 4, 6  # digits of each half
GAP = 16  # pixels between the halves
EVERY = 3  # steps between frames
HOLD = 12  # frames for which the last one stays
HEAD = 18  # pixels of the labels above the halves
LABELS = ("eta 0: no fresh noise", "eta 1: fresh noise")


def main(run: Path) -> None:
    table = pd.read_csv(run / "table.csv").query("section == 'primary'")
    data = load(table["data"].iloc[0])
    file = run.parent / "store" / "networks" / f"{table['model_id'].iloc[0]}.safetensors"
    model = load_network(f"checkpoint:{file}", data, None, "cpu")
    halves = []
    for eta in (0.0, 1.0):
        sigmas = Schedule(n_steps=66).sigmas()
        x = sample(
            model, sigmas, Euler(eta), n_samples=ROWS * COLUMNS, shape=data.shape, seed=0, trajectory=True
        )  # (67, 24, 1, 32, 32)
        scale = (1 + torch.tensor(sigmas).square()).rsqrt().view(-1, 1, 1, 1, 1)
        tiles = torch.stack([data.to_pixels(frame) for frame in x * scale]).view(-1, ROWS, COLUMNS, 32, 32)
        halves.append(tiles.permute(0, 1, 3, 2, 4).flatten(3).flatten(1, 2))
    gap = torch.full((len(halves[0]), 32 * ROWS, GAP), 255, dtype=torch.uint8)
    frames = torch.cat([halves[0], gap, halves[1]], dim=2)
    frames = torch.cat([frames[:-1:EVERY], frames[-1:].expand(HOLD, -1, -1)])
    write([Image.fromarray(frame.numpy()) for frame in frames])


def write(frames: list[Image.Image]) -> None:
    """Writes figures/loop.gif, with a label above each half."""
    pictures = []
    for frame in frames:
        picture = Image.new("L", (frame.width, frame.height + HEAD), 255)
        picture.paste(frame, (0, HEAD))
        for place, label in zip((0, (frame.width + GAP) // 2), LABELS, strict=True):
            ImageDraw.Draw(picture).text((place, 2), label, fill=0)
        pictures.append(picture.quantize(16))
    path = Path(__file__).parent / "figures" / "loop.gif"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=120, loop=0, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
