"""Train the network of the feature extractor `digits`. It takes about 5 minutes on two CPU cores.

    python -m experiments.metrics.train_digits --data-root DIR [--out FILE]

`features.py` gives the reasons for the network and its loss. The committed weights determine every FD and KD. New
weights change every score; `features_id` tells old and new apart.
"""

import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import tyro
from rich.console import Console
from rich.progress import track
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from diffusion_core.data import load
from experiments.metrics.features import WEIGHTS, DigitsNetwork


@dataclass(frozen=True)
class TrainDigits:
    """How the `digits` network is trained."""

    data_root: Path  # folder with torchvision's MNIST; downloaded into it if missing
    out: Path = WEIGHTS / "digits.safetensors"  # where the weights go
    epochs: int = 14  # passes over the 60,000 training digits
    batch_size: int = 250  # images per step; must divide 60,000
    learning_rate: float = 2e-3  # AdamW's peak; OneCycle warms up over the first 15 % and decays to zero
    weight_decay: float = 0.02
    reconstruction: float = 0.1  # weight of the image's mean squared error (in image variances) next to cross-entropy
    rotation: float = 0.15  # augmentation: std of a random rotation, radians
    scale: float = 0.08  # std of the log of a random scale factor
    shift: float = 1.0  # std of a random shift along each axis, pixels
    seed: int = 0


def augment(pixels: torch.Tensor, config: TrainDigits) -> torch.Tensor:
    """Float pixels (B, 1, 32, 32), each rotated, scaled and shifted at random (bilinear, zeros outside)."""
    n, side = len(pixels), pixels.shape[-1]
    angle, log_scale = config.rotation * torch.randn(n), config.scale * torch.randn(n)
    cos, sin = log_scale.exp() * angle.cos(), log_scale.exp() * angle.sin()
    shift_x, shift_y = config.shift * 2 / side * torch.randn(2, n)
    theta = torch.stack([cos, -sin, shift_x, sin, cos, shift_y], dim=1).view(n, 2, 3)
    grid = functional.affine_grid(theta, list(pixels.shape), align_corners=False)
    return functional.grid_sample(pixels, grid, align_corners=False)


@torch.inference_mode()
def accuracy(network: DigitsNetwork, pixels: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of `pixels` (n, 1, 32, 32) that are classified correctly, in float32."""
    network.eval()
    correct = sum(
        int((network(batch)[1].argmax(1) == truth).sum())
        for batch, truth in zip(pixels.split(500), labels.split(500), strict=True)
    )
    network.train()
    return correct / len(pixels)


@torch.inference_mode()
def set_rms(network: DigitsNetwork, pixels: torch.Tensor) -> None:
    """Scale the features to mean square 1 over `pixels` (n, 1, 32, 32)."""
    network.eval()
    squares = torch.stack([network(batch)[0].double().square().mean() for batch in pixels.split(500)])
    network.rms.mul_(squares.mean().sqrt())


def main(config: TrainDigits) -> float:
    """Train, write the weights to `config.out`, and return the accuracy on the 10,000 test digits."""
    console = Console(markup=False)
    train = load("mnist", root=config.data_root)
    test = load("mnist", root=config.data_root, train=False)
    torch.manual_seed(config.seed)
    network = DigitsNetwork()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    decoder = nn.Linear(128, 32 * 32)
    optimizer = torch.optim.AdamW(
        [*network.parameters(), *decoder.parameters()], lr=config.learning_rate, weight_decay=config.weight_decay
    )
    n_steps = config.epochs * (len(train.pixels) // config.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=n_steps, pct_start=0.15, anneal_strategy="linear"
    )
    start = time.perf_counter()
    for epoch in range(config.epochs):
        batches = torch.randperm(len(train.pixels)).view(-1, config.batch_size)
        for indices in track(batches, f"epoch {epoch + 1}/{config.epochs}", console=console, transient=True):
            pixels = augment(train.pixels[indices].float(), config)
            with torch.autocast("cpu", torch.bfloat16):
                features, logits = network(pixels)
                image = decoder(features)
            classification = functional.cross_entropy(logits.float(), train.labels[indices])
            reconstruction = functional.mse_loss(image.float(), network.standardise(pixels).flatten(1))
            optimizer.zero_grad()
            (classification + config.reconstruction * reconstruction).backward()
            optimizer.step()
            schedule.step()
        console.print(
            f"epoch {epoch + 1}: test accuracy {accuracy(network, test.pixels, test.labels):.2%}, "
            f"last losses {classification.item():.4f} and {reconstruction.item():.4f}, "
            f"{time.perf_counter() - start:.0f} s"
        )
    set_rms(network, train.pixels)
    test_accuracy = accuracy(network, test.pixels, test.labels)
    provenance = {
        **{name: str(value) for name, value in asdict(config).items() if name not in ("data_root", "out")},
        "test_accuracy": f"{test_accuracy:.4f}",
        "n_test": str(len(test.pixels)),
        "data": "the 60,000 MNIST training images, padded to 32x32",
        "script": "experiments/metrics/train_digits.py",
        "torch": torch.__version__,
        "threads": str(torch.get_num_threads()),
    }
    config.out.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, config.out, provenance)
    console.print(f"test accuracy {test_accuracy:.2%}; weights in {config.out}")
    return test_accuracy


if __name__ == "__main__":
    main(tyro.cli(TrainDigits, description=__doc__))
