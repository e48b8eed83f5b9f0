"""A stored mixture as a data set and as a model: training draws, the exact denoiser, a denoiser with a known error.

A data set called mixture:FOLDER is a mixture that `stages/fit_mixture.py` fitted and stored. Networks train on its
draws as floats, in the units of the data that it was fitted to. Rounding and clipping give another distribution, for
which the exact denoiser is not exact (they change 43 % of the pixels of the default fit, the digits' background). So
only images that are shown or scored are clipped, draws and samples alike.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from diffusion_core.data import Images, load
from diffusion_core.exact import Mixture
from diffusion_core.fields import check_fields, check_range
from diffusion_core.precision import computing_in
from diffusion_core.samplers.seeded_noise import block_seed
from experiments.config.denoisers import EXACT_MACHINE, Loader, Machine, ModelConfig, check_data
from experiments.config.identity import MIXTURE
from experiments.store.checksums import files_folder, read_json

DRAWN_AT_ONCE = 1000
N_DRAWS = 20_000  # draws that represent the distribution
SEEDS = {"": 0, "reference": 1}  # of the draws to train on, and of those to compare with
KERNEL, CHANNELS = 9, 16  # of the random field that is the added error


def mixture_images(mixture: Mixture, shape: tuple[int, int, int], n: int, seed: int, *, first: int = 0) -> Tensor:
    """Clean draws `first` to `first + n - 1` of a seed, in standardised units, unrounded and unclipped.

    Draw i of a seed does not depend on the other draws. Take training, test and reference draws from different seeds.

    Args:
        mixture: sets dtype and device of the draws; float32 draws differ from float64 draws.
        shape: (C, H, W) of one image.

    Returns:
        (n, C, H, W) float32, on the mixture's device.
    """
    device, start = mixture.means.device, first % DRAWN_AT_ONCE
    blocks = range(first // DRAWN_AT_ONCE, (first + n - 1) // DRAWN_AT_ONCE + 1)
    generators = (torch.Generator(device).manual_seed(block_seed(seed, block)) for block in blocks)
    draws = torch.cat([mixture.sample(DRAWN_AT_ONCE, generator).float() for generator in generators])
    return draws[start : start + n].view(n, *shape)


def mixture_data(name: str, data_root: Path | None) -> Images:
    """Draws of a stored mixture as a data set, in the units of the data that it was fitted to.

    Args:
        name: mixture:FOLDER for N_DRAWS draws to train on, mixture:FOLDER#reference for others to compare with,
            mixture:FOLDER#reference=2000 for 2,000 of these.
    """
    place, _, asked = name.removeprefix(MIXTURE).partition("#")
    purpose, _, n = asked.partition("=")
    mixture = mixture_of(name)
    like = load(read_json(files_folder(Path(place)) / "config.json")["data"], root=data_root)
    x0 = mixture_images(mixture, like.shape, int(n or N_DRAWS), SEEDS[purpose])
    labels = torch.zeros(len(x0), dtype=torch.int64)
    return Images(name, like.to_pixels(x0), labels, like.mean, like.std, continuous=x0)


def mixture_of(data: str) -> Mixture:
    """The mixture of a data set called mixture:FOLDER or mixture:FOLDER#..., in float64 on the CPU.

    ValueError if the folder, a mixtures/ID of a store, holds none.
    """
    folder = Path(data.removeprefix(MIXTURE).partition("#")[0])
    path = files_folder(folder) / "mixture.safetensors"
    if not path.is_file():
        raise ValueError(f"data='{MIXTURE}{folder}': no such file: {path}; `why_noise` fits and stores a mixture")
    return Mixture(**load_file(path))


@dataclass(frozen=True)
class ExactConfig(ModelConfig):
    """The exact denoiser of a mixture data set, plus an error of known size if `error` > 0."""

    data: str
    # Root mean square of the error added to F (a network's raw output, see parameterisations.py), the same at every
    # sigma. The error adds its square to the loss with weighting karras.
    error: float = 0.0
    seed: int = 0  # stands in for a training seed: sets the sampling seed and the form of the added error
    machine: Machine = EXACT_MACHINE

    def __post_init__(self) -> None:
        check_fields(self)
        check_data(self.data)
        check_range("error", self.error, 0)

    @property
    def description(self) -> str:
        return f"exact + error {self.error:g}" if self.error else "exact"

    def row(self) -> dict[str, Any]:
        return super().row() | {"denoiser_error": self.error}

    def load(self, loader: Loader) -> nn.Module:
        exact = mixture_of(self.data).float()
        return (WithError(exact, self.error, self.seed) if self.error else exact).to(loader.device)


class WithError(nn.Module):
    """eps + error g(x / sqrt(1 + sigma^2)) / sqrt(1 + sigma^2): a smooth error of F whose size is `error` everywhere.

    g is a fixed random field: convolution, tanh, convolution, scaled per image to a mean square of 1. So the size of
    the error depends only on sigma, not on how much x resembles training data.
    """

    def __init__(self, exact: nn.Module, error: float, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(block_seed(seed, -2))
        self.exact, self.error = exact, error
        self.register_buffer("enter", torch.randn(CHANNELS, 1, KERNEL, KERNEL, generator=generator) / KERNEL)
        self.register_buffer("leave", torch.randn(1, CHANNELS, KERNEL, KERNEL, generator=generator))

    enter: Tensor
    leave: Tensor

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """eps (B, C, H, W) for x (B, C, H, W) and sigma (B,), in data standard deviations."""
        scale = (1 + sigma.square()).rsqrt().view(-1, 1, 1, 1)
        with computing_in("fp32", x.device):
            planes = (x * scale).to(self.enter.dtype).flatten(0, 1)[:, None]
            field = functional.conv2d(planes, self.enter, padding=KERNEL // 2).tanh()
            field = functional.conv2d(field, self.leave, padding=KERNEL // 2).view_as(x)
            size = field.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
            return self.exact(x, sigma) + self.error * scale * field / size
