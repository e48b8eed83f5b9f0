"""Noise as a function of (seed, sample index, step), at the cost of a plain `torch.randn`.

Samples come in blocks of 64. A block of a seed has its own generator on the sampling device, which draws one
(64, C, H, W) tensor for the start and for each step that adds noise. CPU and CUDA draw different noise: on CUDA, blocks
of small images are larger, because each block is a launch.
"""

import hashlib
import math
import struct
from collections.abc import Sequence

import torch
from torch import Tensor

BLOCK = 64
CARD_BLOCKS = 16  # times as many images of up to 1,024 values in a block on CUDA; of larger images fewer


def block_size(shape: tuple[int, ...], device: torch.device) -> int:
    """Images (C, H, W) in a block of noise on a device."""
    if device.type != "cuda":
        return BLOCK
    return BLOCK * max(1, min(CARD_BLOCKS, CARD_BLOCKS * 1024 // math.prod(shape)))


def block_seed(seed: int, block: int) -> int:
    """The generator seed of one block: the first 8 bytes, little-endian, of BLAKE2b over two little-endian int64.

    PyTorch's CPU generator keeps 32 bits of it, so among 10,000 blocks (640,000 images) two share their noise with a
    probability of about 1 %.
    """
    digest = hashlib.blake2b(struct.pack("<qq", seed, block), digest_size=8).digest()
    return int.from_bytes(digest, "little")


class BlockNoise:
    """The noise of the samples with these indices: a call returns the next draw, a new float32 (n, C, H, W)."""

    def __init__(self, seed: int, samples: Sequence[int], shape: tuple[int, ...], device: torch.device) -> None:
        self.size = size = block_size(shape, device)
        blocks = sorted({index // size for index in samples})
        self.generators = [torch.Generator(device).manual_seed(block_seed(seed, block)) for block in blocks]
        self.shape = (len(blocks) * size, *shape)
        self.device = device
        rows = [blocks.index(index // size) * size + index % size for index in samples]
        in_a_row = rows == list(range(rows[0], rows[0] + len(rows)))  # then a view will do
        self.rows: slice | Tensor = slice(rows[0], rows[-1] + 1) if in_a_row else torch.tensor(rows, device=device)

    def __call__(self) -> Tensor:
        draws = torch.empty(self.shape, device=self.device)
        for block, generator in zip(draws.split(self.size), self.generators, strict=True):
            block.normal_(generator=generator)
        return draws[self.rows]
