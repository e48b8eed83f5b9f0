"""What every experiment's command line shares, and how it turns into a study."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import tyro

from diffusion_core.data import resolve
from experiments.config.config import ForeignConfig, Machine, ReferenceConfig
from experiments.config.study import Study
from experiments.metrics.features import features_id
from experiments.models import external
from experiments.stages.common import images_of
from experiments.stages.hardware import cores

AnyStudy = TypeVar("AnyStudy", bound=Study)


@dataclass(frozen=True)
class Options:
    """Options left out take the preset's value."""

    preset: Literal["smoke", "laptop", "gpu"] = "laptop"
    """smoke: under 20 s; laptop: minutes on two CPU cores; gpu: the full size."""
    out: Path | None = None
    """Folder of the result; by default runs/NAME-PRESET."""
    store: Annotated[str | Path, tyro.conf.arg(metavar="FOLDER|URL")] = "runs/store"
    """Where trained networks, samples and scores lie, which runs share: what is there is not computed again. A folder,
    or a URL such as s3://BUCKET/FOLDER (pip install -e '.[remote]')."""
    data: str | None = None
    """mnist5k (embedded, no download), mnist, fashion-mnist, cifar10, folder:PATH (images) or npz:PATH."""
    data_root: Path | None = None
    """Folder of downloaded data; by default $SIGMABENCH_DATA, else ~/.cache/sigmabench."""
    model: str | None = None
    """Sample from a network trained elsewhere: python:PACKAGE.MODULE:FUNCTION, diffusers:FOLDER, checkpoint:FOLDER."""
    model_label: int | None = None
    """The class that a class-conditional --model is asked for."""
    train_images: int | None = None
    """Images each network sees in training, repeats counted."""
    train_seeds: Annotated[int | None, tyro.conf.arg(aliases=["--seeds"])] = None
    """Number of networks, each trained from its own seed."""
    n_samples: int | None = None
    """Images a sampling run."""
    features: str | None = None
    """Feature space of FD and KD: digits (the default for digits), natural (for everything else), or one of
    torch-fidelity's, such as inception-v3-compat, in which they are FID and KID."""
    feature_weights: Path | None = None
    """Weights file of the feature extractor, where it cannot be downloaded."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: CUDA where there is one."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 where the hardware multiplies in it."""
    threads: int | None = None
    """CPU threads of a run, part of its identity. By default PyTorch's choice, one for each core; a worker's share of
    the cores with --workers; 1 with --ray-address."""
    dry_run: bool = False
    """Print the plan and run nothing: what is unique, what is done, what the rest costs."""
    only: str | None = None
    """Run the part of the experiment for which this holds, a pandas query over the columns of table.csv, such as
    'mode == "same-ladder" and seed == 0'. What compares with runs left out is left out too."""
    shard: str | None = None
    """i/n: run part i of n into the same store, each network's runs in one part. At the end the same command without
    --shard makes the report."""
    retry_failed: bool = False
    """Try again what failed for good, such as a training that diverged. All else that failed is tried again anyway."""
    workers: int | None = None
    """Runs at a time, by a Ray on this machine (extra `cluster`). Without it one after the other, in this process."""
    ray_address: str | None = None
    """Run on a Ray cluster: auto, host:port or ray://host:port. All nodes need this package and see the store."""
    gpus_per_run: float | None = None
    """Share of a card that a run on Ray takes (1), such as 0.25 for four small networks on a card."""

    together: bool = False
    """Sample runs of one network in one batch, as many as it holds: faster where a run has too few images to keep the
    device busy, such as 500 on a card. Their seconds are then shared, and count for nothing."""

    def apply(self, study: AnyStudy, *names: str) -> AnyStudy:
        """The preset's study with the options that were given, those in `names` by their own name."""
        self._check_running()
        machine = Machine.resolve(self.device, self.precision, self.threads or self._share_of_cores())
        data = resolve(self.data or study.train.data, self.data_root)
        train = replace(study.train, machine=machine, data=data)
        if self.train_images is not None:
            train = replace(train, images_seen=self.train_images)
        own = {name: getattr(self, name) for name in ("train_seeds", "n_samples", *names)}
        given: dict[str, Any] = {name: value for name, value in own.items() if value is not None}
        study = replace(
            study, train=train, foreign=self._foreign(data, machine), reference=self._reference(data), **given
        )
        if study.train_seeds < 1:
            raise ValueError(f"train_seeds={study.train_seeds}: it must be at least 1")
        return study

    def directory(self, name: str) -> Path:
        """Where the result of experiment `name` goes; a shard's table lies in a folder of its own inside."""
        whole = self.out or Path("runs") / f"{name}-{self.preset}"
        return whole / f"shard-{self.shard.replace('/', '-of-')}" if self.shard else whole

    def data_std(self, study: Study) -> float:
        """The standard deviation of the study's data scaled to [-1, 1], to four decimals."""
        return round(images_of(study.train.data, self.data_root).std / 127.5, 4)

    def _check_running(self) -> None:
        """Raises ValueError for options of running that do not go together."""
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"workers={self.workers}: it must be at least 1")
        if self.workers is not None and self.ray_address is not None:
            raise ValueError("workers, ray_address: the first starts a Ray and the second joins one; give one of them")
        if self.together and (self.workers is not None or self.ray_address is not None):
            raise ValueError("together: workers sample one run each; leave out workers and ray_address, or together")
        if self.gpus_per_run is not None:
            if not self.gpus_per_run > 0:
                raise ValueError(f"gpus_per_run={self.gpus_per_run}: it must be above 0")
            if self.workers is None and self.ray_address is None:
                raise ValueError(f"gpus_per_run={self.gpus_per_run}: it needs --workers or --ray-address")

    def _share_of_cores(self) -> int | None:
        """Threads of a run where several run at a time."""
        if self.ray_address is not None:
            return 1
        return max(cores() // self.workers, 1) if self.workers is not None else None

    def _foreign(self, data: str, machine: Machine) -> ForeignConfig | None:
        if self.model is None:
            if self.model_label is not None:
                raise ValueError(f"model_label={self.model_label}: it needs --model")
            return None
        for name in ("train_images", "train_seeds"):
            if getattr(self, name) is not None:
                raise ValueError(f"{name}={getattr(self, name)}: nothing is trained, since --model brings a network")
        name, content = external.describe(self.model, self.model_label), external.fingerprint(self.model)
        return ForeignConfig(self.model, content, name, data, self.model_label, machine=machine)

    def _reference(self, data: str) -> ReferenceConfig:
        features = self.features or ("digits" if data in ("mnist5k", "mnist") else "natural")
        content = features_id(features, self.feature_weights)
        return ReferenceConfig(
            data, features, content, self.feature_weights.absolute() if self.feature_weights else None
        )
