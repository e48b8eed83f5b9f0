"""What every experiment's command line shares."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from experiments.config import Machine


@dataclass(frozen=True)
class Options:
    """Options left out take the preset's value."""

    preset: Literal["smoke", "laptop", "gpu"] = "laptop"
    """smoke: under 20 s; laptop: minutes on two CPU cores; gpu: the full size."""
    out: Path | None = None
    """Folder of the result; by default runs/NAME-PRESET."""
    store: Path = Path("runs/store")
    """Folder of trained networks, samples and scores, which runs share: what is there is not computed again."""
    data: str | None = None
    """Data set: mnist5k (embedded, no download) or mnist."""
    data_root: Path | None = None
    """Folder of downloaded data; by default $SIGMABENCH_DATA, else ~/.cache/sigmabench."""
    train_images: int | None = None
    """Images each network sees in training, repeats counted."""
    train_seeds: int | None = None
    """Number of networks, each trained from its own seed."""
    n_samples: int | None = None
    """Images a sampling run."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: CUDA where there is one."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 where the hardware multiplies in it."""
    threads: int | None = None
    """CPU threads; by default PyTorch's choice, one for each core."""

    def apply(self, grid: Any, *names: str) -> Any:
        """The preset's grid with the options that were given, those in `names` by their own name."""
        machine = Machine.resolve(self.device, self.precision, self.threads)
        given = {"data": self.data, "images_seen": self.train_images}
        train = replace(grid.train, machine=machine, **{k: v for k, v in given.items() if v is not None})
        own = {name: getattr(self, name) for name in ("train_seeds", "n_samples", *names)}
        grid = replace(grid, train=train, **{k: v for k, v in own.items() if v is not None})
        if grid.train_seeds < 1:
            raise ValueError(f"train_seeds={grid.train_seeds}: it must be at least 1")
        return grid

    def directory(self, name: str) -> Path:
        """Where the result of experiment `name` goes."""
        return self.out or Path("runs") / f"{name}-{self.preset}"
