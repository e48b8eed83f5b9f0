"""From a network of your own to a sampler that can be pasted, with the time that each step takes.

    python -m bench.take_home flow                   a class-conditional flow on 28x28 digits, labels "balanced"
    python -m bench.take_home diffusers              a UNet2DModel as diffusers saves it (pip install -e '.[peers]')

Trains the network on the digits of mnist5k (--images), checks it, tunes it, runs the exported code as its user would,
and compares the images with those of the sampler that was measured, for the same noise.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from diffusion_core import load, sample
from diffusion_core.samplers.seeded_noise import BlockNoise
from experiments.config import names
from experiments.config.settings_file import ladder_from
from experiments.export.verify import N_IMAGES, as_users_call, run
from experiments.models.external import load_foreign

DATA = load("mnist5k")
BATCH, WIDTH = 64, 64
MODEL = """
from safetensors.torch import load_file
from bench.take_home import DATA, FlowNet
from diffusion_core import adapters

net = FlowNet()
net.load_state_dict(load_file("flow.safetensors"))
model = adapters.flow(net.eval(), DATA, side=28, labels="balanced", n_classes=10)
"""


class FlowNet(nn.Module):
    """The velocity of a flow on 28x28 images with a class: convolutions at 14x14 and 7x7."""

    def __init__(self) -> None:
        super().__init__()
        self.label, self.time = nn.Embedding(10, WIDTH), nn.Linear(32, WIDTH)
        self.enter, self.down = nn.Conv2d(1, 32, 3, 2, 1), nn.Conv2d(32, WIDTH, 3, 2, 1)
        self.blocks = nn.ModuleList(nn.Conv2d(WIDTH, 2 * WIDTH, 3, padding=1) for _ in range(4))
        self.back = nn.ModuleList(nn.Conv2d(WIDTH, WIDTH, 3, padding=1) for _ in range(4))
        self.scales = nn.ModuleList(nn.Linear(WIDTH, 2 * WIDTH) for _ in range(4))
        self.up, self.leave = nn.ConvTranspose2d(WIDTH, 32, 2, 2), nn.ConvTranspose2d(64, 1, 4, 2, 1)
        self.skip = nn.Conv2d(1, 1, 5, padding=2)

    def forward(self, z: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        waves = t.float().view(-1, 1) * torch.exp(torch.linspace(0, 4, 16, device=z.device))
        told = F.silu(self.time(torch.cat([waves.sin(), waves.cos()], dim=1)) + self.label(labels))
        high = F.silu(self.enter(z))
        low = self.down(high)
        for there, back, scale in zip(self.blocks, self.back, self.scales, strict=True):
            gain, shift = scale(told)[:, :, None, None].chunk(2, dim=1)
            a, b = there(F.group_norm(low, 8) * (1 + gain) + shift).chunk(2, dim=1)
            low = low + back(a * F.silu(b))
        return self.leave(torch.cat([high, self.up(F.silu(low))], dim=1)) + self.skip(z)


def batches(n_images: int, side: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Images in [-1, 1] and labels, n_images in all, drawn with a fixed seed."""
    edge, generator = (32 - side) // 2, torch.Generator().manual_seed(0)
    pixels = DATA.pixels[..., edge : 32 - edge, edge : 32 - edge].float() / 127.5 - 1
    for _ in range(n_images // BATCH):
        chosen = torch.randint(len(pixels), (BATCH,), generator=generator)
        yield pixels[chosen], DATA.labels[chosen]


def trained(net: nn.Module, n_images: int, side: int, loss: Callable[[Tensor, Tensor], Tensor]) -> nn.Module:
    """The average of the weights over training."""
    n_steps = n_images // BATCH
    average = torch.optim.swa_utils.AveragedModel(net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.995))
    optimiser = torch.optim.AdamW(net.parameters(), 2e-3)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=n_steps + 1, pct_start=0.05)
    for step, (x, labels) in enumerate(batches(n_images, side)):
        with torch.autocast("cpu", torch.bfloat16):
            error = loss(x, labels)
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
        plan.step()
        average.update_parameters(net)
        if step % 200 == 0:
            print(f"{step * BATCH:7,} images, loss {error.item():.3f}", flush=True)
    return average.module


def train_flow(folder: Path, n_images: int) -> str:
    """Trains a FlowNet. Returns what --model names."""
    torch.manual_seed(0)
    net = FlowNet()

    def loss(y: Tensor, labels: Tensor) -> Tensor:
        t, noise = torch.randn(len(y)).sigmoid(), torch.randn_like(y)
        share = t.view(-1, 1, 1, 1)
        return F.mse_loss(net((1 - share) * y + share * noise, t, labels).float(), noise - y)

    save_file(trained(net, n_images, 28, loss).state_dict(), folder / "flow.safetensors")
    (folder / "my_model.py").write_text(MODEL)
    return "python:my_model:model"


def train_diffusers(folder: Path, n_images: int) -> str:
    """Trains a small UNet2DModel on DDPM's loss and saves it with its scheduler. Returns what --model names."""
    from diffusers import DDPMScheduler, UNet2DModel

    torch.manual_seed(0)
    kinds = {"down_block_types": ("DownBlock2D",) * 3, "up_block_types": ("UpBlock2D",) * 3}
    size = {"sample_size": 32, "in_channels": 1, "out_channels": 1, "norm_num_groups": 8, "add_attention": False}
    net = UNet2DModel(**size, **kinds, block_out_channels=(16, 32, 64), layers_per_block=1)
    scheduler = DDPMScheduler()

    def loss(y: Tensor, labels: Tensor) -> Tensor:
        t, noise = torch.randint(1000, (len(y),)), torch.randn_like(y)
        return F.mse_loss(net(scheduler.add_noise(y, noise, t), t).sample.float(), noise)

    average = trained(net, n_images, 32, loss)
    average.save_pretrained(folder / "unet")  # type: ignore[operator]  # torch takes it for a tensor
    scheduler.save_pretrained(folder / "scheduler")
    return f"diffusers:{folder.absolute()}"


def differences(folder: Path, source: str) -> dict[str, float]:
    """The largest difference of a pixel between each exported code's images and ours, in data standard deviations."""
    settings = folder / "tuned" / "settings.json"
    model, scheduler = load_foreign(source, DATA, None, "cpu"), folder / "scheduler" / "scheduler_config.json"
    found = {}
    for one in json.loads(settings.read_text())["settings"]:
        sigmas = tuple(one["sigmas"])
        assert ladder_from(settings, one["budget"], DATA.std / 127.5)
        ours = sample(
            model, sigmas, names.sampler(one["sampler"]), n_samples=N_IMAGES, shape=DATA.shape,
            final_denoise=one["ending_at_0"],
        )  # fmt: skip
        for library, file in one["exports"].items():
            if library not in ("torch", "diffusers"):
                continue
            net, noise, back = as_users_call(model, BlockNoise(0, 0, N_IMAGES, DATA.shape, torch.device("cpu")))
            more = (json.loads(scheduler.read_text()),) if library == "diffusers" else ()
            theirs = back(run((folder / "tuned" / file).read_text())(net, *more, noise))
            edge = (32 - theirs.shape[2]) // 2
            inner = ours[..., edge : 32 - edge, edge : 32 - edge]
            found[f"{one['setting']}, {library}"] = (inner - theirs).abs().max().item()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kind", choices=("flow", "diffusers"))
    parser.add_argument(
        "--images", type=int, help="of training, repeats counted (default: flow 120,000; diffusers 50,000)"
    )
    parser.add_argument("--out", type=Path, help="folder (default: runs/take_home-KIND)")
    asked, more = parser.parse_known_args()  # more: further options of tune
    folder = (asked.out or Path(f"runs/take_home-{asked.kind}")).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    train, usual = (train_flow, 120_000) if asked.kind == "flow" else (train_diffusers, 50_000)
    took: dict[str, float] = {}

    def timed(what: str, work: Callable[[], object]) -> object:
        start = time.perf_counter()
        result = work()
        took[what] = time.perf_counter() - start
        return result

    source = str(timed("train", lambda: train(folder, asked.images or usual)))
    path = os.pathsep.join([str(Path(__file__).parents[1]), str(folder)])

    def experiment(*arguments: str) -> None:
        command = [sys.executable, "-m", "experiments", *arguments, "--model", source]
        subprocess.run(command, check=True, cwd=folder, env=os.environ | {"PYTHONPATH": path})

    timed("check", lambda: experiment("check", "--out", "check"))
    timed("tune", lambda: experiment("tune", "--budgets", "8", "--out", "tuned", "--store", "store", *more))
    sys.path[:0] = [str(folder)]
    os.chdir(folder)
    if (folder / "tuned" / "settings.json").exists():
        for what, error in differences(folder, source).items():
            print(f"{what}: its images differ from ours by at most {error:.2g} standard deviations")
    else:
        print("no setting is recommended, so nothing is exported: train on more images (--images)")
    print(", ".join(f"{what} {seconds:.0f} s" for what, seconds in took.items()))


if __name__ == "__main__":
    main()
