"""Noise as a function of (seed, sample index, step), at the cost of a plain `torch.randn`.

Samples come in blocks of 64. Block b of seed s has its own generator on the sampling device. It draws the block's
initial noise, then one (64, C, H, W) tensor for each step that adds noise. So a sample does not depend on the other
samples that are drawn with it. CPU and CUDA generators draw different noise for the same seed.
"""

import hashlib
import struct

import torch
from torch import Tensor

BLOCK = 64


def block_seed(seed: int, block: int) -> int:
    """The generator seed of one block: the first 8 bytes, little-endian, of BLAKE2b over two little-endian int64.

    PyTorch's CPU generator keeps 32 bits of it, so among 10,000 blocks (640,000 images) two share their noise with a
    probability of about 1 %.
    """
    digest = hashlib.blake2b(struct.pack("<qq", seed, block), digest_size=8).digest()
    return int.from_bytes(digest, "little")


class BlockNoise:
    """The noise of samples `first` to `first + n - 1` of (C, H, W): a call returns the next draw, float32 (n, C, H, W).

    The result lives in a buffer that the next call overwrites.
    """

    def __init__(self, seed: int, first: int, n: int, shape: tuple[int, ...], device: torch.device) -> None:
        blocks = range(first // BLOCK, (first + n - 1) // BLOCK + 1)
        self.generators = [torch.Generator(device).manual_seed(block_seed(seed, block)) for block in blocks]
        self.buffer = torch.empty(len(blocks) * BLOCK, *shape, device=device)
        self.wanted = self.buffer[first % BLOCK : first % BLOCK + n]

    def __call__(self) -> Tensor:
        for block, generator in enumerate(self.generators):
            self.buffer[block * BLOCK : (block + 1) * BLOCK].normal_(generator=generator)
        return self.wanted
