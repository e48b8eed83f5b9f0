"""An autoencoder of digits of 32x32 to latents of 4x8x8, and a network on them, trained in seconds: as users have them.

`write` makes the files; this module is then named as --network python:latent_pair:NAME in their folder.
"""

from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from diffusion_core import LogNormal, adapters, load, train
from diffusion_core.data.dataset import Values
from diffusion_core.networks.parameterisations import Preconditioned
from diffusion_core.networks.small import Embedding, PatchBlock

FILE, SHAPE = "latents.npz", (4, 8, 8)
N_IMAGES = 1_500  # digits, of which there are 5,000
AUTOENCODER_STEPS, IMAGES_SEEN = 200, 30_000


class Autoencoder(nn.Module):
    """Latents of images in [-1, 1], and images uint8 of latents."""

    def __init__(self) -> None:
        super().__init__()
        halve_or_double = {"kernel_size": 4, "stride": 2, "padding": 1}
        down, up = (partial(layer, **halve_or_double) for layer in (nn.Conv2d, nn.ConvTranspose2d))
        self.encoder = nn.Sequential(down(1, 16), nn.SiLU(), down(16, 4))
        self.decoder = nn.Sequential(up(4, 16), nn.SiLU(), up(16, 1))

    def forward(self, latents: Tensor) -> Tensor:
        return ((self.decoder(latents) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


class Trunk(nn.Module):
    """Convolutions, and between them a matrix over all positions."""

    def __init__(self, width: int = 32, embedding: int = 64, n_blocks: int = 2) -> None:
        super().__init__()
        self.embed, self.enter = Embedding(embedding), nn.Conv2d(4, width, 3, padding=1)
        self.blocks = nn.ModuleList([PatchBlock(width, embedding) for _ in range(n_blocks)])
        self.mix = nn.ModuleList([nn.Linear(64, 64) for _ in range(n_blocks)])
        self.leave = nn.Conv2d(width, 4, 3, padding=1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        h, embedding = self.enter(x), self.embed(condition)
        for block, mix in zip(self.blocks, self.mix, strict=True):
            h = block(h, embedding)
            h = h + mix(h.flatten(2)).view_as(h)
        return self.leave(h)  # type: ignore[no-any-return]


class Net(nn.Module):
    """eps of latents z in their own units, told the noise level in these units."""

    def __init__(self, mean: float, std: float) -> None:
        super().__init__()
        self.model, self.mean, self.std = Preconditioned(Trunk()), mean, std

    def forward(self, z: Tensor, sigma: Tensor) -> Tensor:
        eps: Tensor = self.model((z - self.mean) / self.std, sigma / self.std)
        return eps


def write(folder: Path) -> None:
    """Trains both, and writes their weights and the latents of the digits, with their classes."""
    data = load("mnist5k")
    generator = torch.Generator().manual_seed(0)
    pixels = data.pixels[:N_IMAGES].float() / 127.5 - 1
    with torch.random.fork_rng():
        torch.manual_seed(0)
        autoencoder = Autoencoder()
    optimiser = torch.optim.Adam(autoencoder.parameters(), 3e-3)
    for _ in range(AUTOENCODER_STEPS):
        batch = pixels[torch.randint(len(pixels), (64,), generator=generator)]
        latents = autoencoder.encoder(batch)
        noisy = latents + 0.1 * torch.randn(latents.shape, generator=generator)
        loss = (autoencoder.decoder(noisy) - batch).square().mean() + 1e-3 * latents.square().mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    with torch.no_grad():
        values = torch.cat([autoencoder.encoder(part) for part in pixels.split(500)])
    np.savez(folder / FILE, latents=values.numpy(), labels=data.labels[:N_IMAGES].numpy())
    mean, std = values.mean().item(), values.std().item()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Net(mean, std)
    x0 = (values - mean) / std
    for _ in train(net.model, x0, LogNormal(-0.5, 1.4), n_images=IMAGES_SEEN, stratified=True):
        pass
    weights = {"autoencoder": autoencoder.state_dict(), "net": net.state_dict()}
    torch.save({**weights, "units": (mean, std)}, folder / "w.pt")


@cache
def _loaded() -> tuple[Net, Autoencoder]:
    weights = torch.load("w.pt", weights_only=True)
    net, autoencoder = Net(*weights["units"]), Autoencoder()
    net.load_state_dict(weights["net"])
    autoencoder.load_state_dict(weights["autoencoder"])
    return net, autoencoder


def __getattr__(name: str) -> adapters.Adapter:
    """The adapters, made in the folder of the files when they are asked for."""
    net, autoencoder = _loaded()
    data = load(f"latents:{FILE}")
    assert isinstance(data, Values)
    made = {
        "right": lambda: adapters.edm(net, data, predicts="eps", decode=autoencoder),
        "unscaled": lambda: adapters.edm(lambda z, t: net(z / 0.18215, t / 0.18215), data, predicts="eps"),
        "bare": lambda: adapters.edm(net, data, predicts="eps"),
        "floats": lambda: adapters.edm(net, data, predicts="eps", decode=lambda z: autoencoder.decoder(z)),
    }
    if name not in made:
        raise AttributeError(name)
    return made[name]()
