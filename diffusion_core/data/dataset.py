"""Data sets in memory: `Images` of pixels, or `Values`, which are latents or points."""

from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion_core.validation import check_fields


class DataSet:
    """The base of `Images` and `Values`: `labels` int64 (n,), one mean and one standard deviation over all numbers.

    Do not sort it by class: where only a part is used, its first or its last images stand for all.
    """

    name: str
    labels: Tensor
    mean: float
    std: float

    def __post_init__(self) -> None:
        """ValueError unless the labels suit the numbers, which have a scale."""
        check_fields(self)
        if self.labels.shape != (n := len(self.numbers),) or not (self.labels.double() % 1 == 0).all():
            got = f"{self.labels.dtype} {tuple(self.labels.shape)}"
            raise ValueError(f"data={self.name!r}: labels must be {n} whole numbers, got {got}")
        object.__setattr__(self, "labels", self.labels.long())
        if not self.std > 0:
            raise ValueError(f"data={self.name!r}: std={self.std}, but images that are all alike have no scale")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def numbers(self) -> Tensor:
        """All pixels uint8 (n, C, H, W), or all values float32 (n, ...), as they are."""
        raise NotImplementedError  # a subclass has it

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one image, latent or point."""
        return tuple(self.numbers.shape[1:])

    def standardised(self, which: slice | Tensor = slice(None)) -> Tensor:
        """The images or values at an index, float32 (n, *shape), with mean 0 and std 1 over all."""
        return (self.numbers[which].float() - self.mean) / self.std

    def decode(self, x: Tensor) -> Tensor:
        """Turns standardised x (n, *shape) into images uint8 (n, C, H, W), or into points as they are in their file."""
        raise NotImplementedError  # a subclass has it

    def n_training(self, held_out: int) -> int:
        """Number of images without the last `held_out` ones. Raises ValueError if none is left."""
        if not 0 <= held_out < len(self):
            raise ValueError(f"held_out={held_out}: data={self.name!r} has {len(self)} images, and some must stay")
        return len(self) - held_out


@dataclass(frozen=True)
class Images(DataSet):
    """Images: pixels uint8 (n, C, H, H). `mean` and `std` are in units of pixel values (0 to 255)."""

    name: str
    pixels: Tensor
    labels: Tensor
    mean: float
    std: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pixels.dtype != torch.uint8 or self.pixels.ndim != 4:
            got = f"{self.pixels.dtype} {tuple(self.pixels.shape)}"
            raise ValueError(f"data={self.name!r}: pixels must be uint8 (n, C, H, W), got {got}")

    def __repr__(self) -> str:
        size = "x".join(map(str, self.shape))
        n_classes = len(self.labels.unique())
        classes = "1 class" if n_classes == 1 else f"{n_classes} classes"
        return f"Images({self.name!r}, {len(self)} x {size}, {classes}, mean {self.mean:.1f}, std {self.std:.1f})"

    @property
    def numbers(self) -> Tensor:
        return self.pixels

    def decode(self, x: Tensor) -> Tensor:
        """Standardised float images x (n, C, H, W) as uint8: scaled back, rounded, clipped to 0..255."""
        return (x.float() * self.std + self.mean).round().clamp(0, 255).to(torch.uint8)

    to_pixels = decode


@dataclass(frozen=True)
class Values(DataSet):
    """Latents of an autoencoder (n, ...), or points (n, d), standardised as a whole, since noise is that of all."""

    name: str
    values: Tensor  # float32
    labels: Tensor
    mean: float
    std: float

    def __repr__(self) -> str:
        size = "x".join(map(str, self.shape))
        return f"Values({self.name!r}, {len(self)} x {size}, mean {self.mean:.4g}, std {self.std:.4g})"

    @property
    def numbers(self) -> Tensor:
        return self.values

    @property
    def are_points(self) -> bool:
        """Whether samples are compared as they are; latents are decoded first."""
        return self.name.startswith(POINTS)

    def decode(self, x: Tensor) -> Tensor:
        """Standardised points (n, d) in the units of the file, float32. ValueError for latents."""
        if not self.are_points:
            raise ValueError(
                f"data={self.name!r}: only a network turns latents into images: give its adapter decode=, a function "
                "from latents to uint8 (n, C, H, W), or the network itself a method decode(x)"
            )
        return x.float() * self.std + self.mean

    def features(self, values: Tensor) -> Tensor:
        """Values (n, ...) in the units of the file as features (n, d): each number in its own standard deviations."""
        std, mean = torch.std_mean(self.values.flatten(1), dim=0, correction=0)
        return (values.float().flatten(1) - mean) / std


# before the name of a file:
POINTS = "points:"
LATENTS = "latents:"
