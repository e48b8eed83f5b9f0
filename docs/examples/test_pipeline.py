"""Does a change of the pipeline leave its images as good as before? See ../score.md."""

from pathlib import Path

import pytest
import torch
from diffusers import DDIMPipeline, DDIMScheduler, UNet2DModel

from experiments import assert_harmless


def make_images(folder, change=lambda unet: None, n=200):  # your pipeline; resizing stands for a decoder
    torch.manual_seed(0)
    blocks = {"down_block_types": ["DownBlock2D"], "up_block_types": ["UpBlock2D"], "block_out_channels": [16]}
    unet = UNet2DModel(sample_size=8, norm_num_groups=8, **blocks)
    unet.conv_out.weight.data *= 0.2
    change(unet)
    seeds = [torch.Generator().manual_seed(seed) for seed in range(n)]  # one for each image
    images = DDIMPipeline(unet, DDIMScheduler())(n, seeds, num_inference_steps=10).images
    folder.mkdir()
    for seed, image in enumerate(images):
        image.resize((32, 32)).save(folder / f"{seed:04}.png")


def bfloat16(unet):  # weights
    for weight in unet.parameters():
        weight.data = weight.bfloat16().float()


def int8(unet):  # weights, one scale per output channel
    for weight in (weight.data for weight in unet.parameters() if weight.ndim > 1):
        scale = weight.abs().amax(dim=tuple(range(1, weight.ndim)), keepdim=True).clamp(min=1e-8) / 127
        weight.copy_((weight / scale).round() * scale)


def reuse(unet):  # each output for two steps
    evaluate, kept = unet.forward, []

    def forward(*args, **options):
        if kept:
            return kept.pop()
        kept.append(evaluate(*args, **options))
        return kept[0]

    unet.forward = forward


@pytest.mark.parametrize("change", [bfloat16, int8, reuse])
def test_harmless(change, tmp_path):
    if not Path("before").exists():
        make_images(Path("before"))
    make_images(tmp_path / "after", change)
    assert_harmless("before", tmp_path / "after", 0.03)
