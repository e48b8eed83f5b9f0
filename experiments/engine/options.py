"""Options that all experiments share. This module imports only fast modules, so that --help appears at once."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from diffusion_core.fields import check_fields, check_range
from experiments.config.study import AnyStudy, Study, shown

if TYPE_CHECKING:
    from experiments.config.config import ReferenceConfig
    from experiments.config.denoisers import ForeignConfig, Machine

PRECISIONS = ("auto", "fp32", "bf16")


@dataclass(frozen=True)
class Result:
    """How large the run is, and where its result goes."""

    preset: Literal["smoke", "laptop", "gpu"] = "laptop"
    """smoke: 8 to 21 seconds on two cores; laptop: minutes on two CPU cores; gpu: the full size."""
    out: Annotated[Path | None, shown("FOLDER", "runs/NAME-PRESET")] = None
    """Folder of the result."""


@dataclass(frozen=True)
class ModelAndScores:
    """A network from elsewhere, and in which feature space samples are scored."""

    data_root: Annotated[Path | None, shown("FOLDER", "$SIGMABENCH_DATA, else ~/.cache/sigmabench")] = None
    """Where downloaded data sets lie."""
    model: Annotated[str | None, shown("KIND:WHERE", "networks are trained")] = None
    """A network trained elsewhere: python:PACKAGE.MODULE:FUNCTION, diffusers:FOLDER or checkpoint:FOLDER."""
    model_label: Annotated[int | Literal["balanced"] | None, shown("CLASS|balanced", "none")] = None
    """The class that a class-conditional diffusers model samples. balanced: sample i has class i mod their number."""
    features: Annotated[str | None, shown("NAME", "digits for MNIST, else natural")] = None
    """Feature space of all distances: digits, natural, one of torch-fidelity's, or your own, python:MODULE:FUNCTION. In
    inception-v3-compat FD and KD are called FID and KID."""
    feature_weights: Annotated[Path | None, shown("FILE", "downloaded if needed")] = None
    """Weights of the feature extractor."""


@dataclass(frozen=True)
class Running:
    """Where results go, on which device, and which part is run."""

    store: Annotated[str | Path, tyro.conf.arg(metavar="FOLDER")] = "runs/store"
    """Folder where networks, samples and scores are kept; nothing in it is computed again. Machines may share it."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: CUDA if there is a CUDA device."""
    precision: Annotated[
        Literal["auto", "fp32", "bf16"], tyro.conf.arg(help_behavior_hint="(default: $SIGMABENCH_PRECISION, else auto)")
    ] = "auto"
    """auto: the faster one, eager or compiled, as timed on this machine once; the command machine shows the times."""
    threads: Annotated[int | None, shown("N", "one per core; a worker's share with --workers")] = None
    """CPU threads per run. They are part of a run's identity."""
    dry_run: bool = False
    """Print the plan and run nothing: how many trainings and samplings, how many are done, how long the rest takes."""
    only: Annotated[str | None, shown("CONDITION", "everything")] = None
    """Run a part: a condition on the columns of table.csv, such as 'mode == "same-ladder" and seed == 1'."""
    json: bool = False
    """End with a summary as one line of JSON. Where the output is no terminal, it always does."""


@dataclass(frozen=True)
class Cluster:
    """Several runs at a time, on this machine or on a Ray cluster."""

    workers: Annotated[int | None, shown("N", "one run after another, in this process")] = None
    """Runs at a time on this machine. Its cards are shared out evenly."""
    ray_address: Annotated[str | None, shown("ADDRESS", "none")] = None
    """Run on a Ray cluster (pip install -e '.[cluster]'): auto, host:port or ray://host:port. All nodes need this
    package and see the store."""
    gpus_per_run: Annotated[float | None, shown("SHARE", "1")] = None
    """With --ray-address: share of a card per run, such as 0.25 for four small networks on one card."""


@dataclass(frozen=True)
class Options(Result, ModelAndScores, Running, Cluster):
    """All options above, and the names of all options that were typed, also of the study's.

    Relative paths start at `home`, the working folder of the command, even if a user's code later changes that.
    """

    given: frozenset[str] = frozenset()
    home: Path = field(default_factory=Path.cwd)

    def __post_init__(self) -> None:
        for name in ("out", "data_root", "feature_weights", "store"):
            path = str(getattr(self, name) or "")
            if path and "://" not in path:
                try:
                    object.__setattr__(self, name, self.home / Path(path).expanduser())
                    path.encode()  # as reports will
                except (RuntimeError, UnicodeEncodeError) as error:  # ~NAME, but there is no such user; no text
                    raise ValueError(f"{name}={path!r}: {error}") from None

    def apply(self, study: AnyStudy) -> AnyStudy:
        """The study on this machine, with what the options say about data, network and scores.

        Raises:
            ValueError: options that do not go together, or a value outside its range.
        """
        from diffusion_core.data import resolve
        from experiments.config.config import MIN_SAMPLES
        from experiments.stages.common import images_of

        check_fields(study)
        if study.foreign or study.reference or study.training:
            raise ValueError(
                "foreign, reference, training: a study has none; --model, --features and --device set them"
            )
        self._check_running()
        machine, data = self.machine(), resolve(study.data, self.data_root)
        typed = [field.name for field in fields(study) if field.name in self.given]
        values = {name: _checked(name, getattr(study, name)) for name in typed}
        held_out = min(study.held_out, len(images_of(data, self.data_root).pixels) // 10)
        study = replace(study, **(values | {"data": data, "training": machine, "held_out": held_out}))
        check_range("train_seeds", study.train_seeds, 1, 1_000)
        check_range("n_samples", study.n_samples, MIN_SAMPLES, 1_000_000)
        return replace(study, foreign=self._foreign(study, machine), reference=self._reference(data))

    def machine(self) -> Machine:
        """The machine before calibrated.py chooses: in plain fp32, unless a precision is given."""
        from experiments.config.denoisers import Machine
        from experiments.run.hardware import cores

        threads = self.threads
        if threads is None and (self.workers or self.ray_address):  # several runs at a time
            threads = max(cores() // self.workers, 1) if self.workers else 1
        return Machine.resolve(self.device, "fp32" if self.given_precision == "auto" else self.given_precision, threads)

    @property
    def given_precision(self) -> str:
        """--precision, or what SIGMABENCH_PRECISION says in place of auto. Raises ValueError for an unknown name."""
        said = os.environ.get("SIGMABENCH_PRECISION") or "auto"
        if said not in PRECISIONS:
            raise ValueError(f"SIGMABENCH_PRECISION={said!r}: it must be one of {', '.join(PRECISIONS)}")
        return said if self.precision == "auto" else self.precision

    def directory(self, name: str) -> Path:
        """The result folder of experiment `name`."""
        return self.out or self.home / "runs" / f"{name}-{self.preset}"

    def shown(self, path: Path | str) -> str:
        """A path as the terminal shows it: relative, if it lies in the working folder of the command."""
        return str(path).removeprefix(f"{self.home}{os.sep}")

    def data_std(self, study: Study) -> float:
        """The standard deviation of the data on the scale of the adapter of a network from elsewhere, else in [-1, 1].

        The former to six significant digits, all of which names of ladders show; the latter to four decimals.
        """
        from diffusion_core.adapters import Adapter
        from experiments.own.external import load_foreign
        from experiments.stages.common import images_of

        images = images_of(study.train.data, self.data_root)
        if study.foreign is not None:
            model = load_foreign(study.foreign.source, images, study.foreign.label, study.machine.device)
            if isinstance(model, Adapter):
                return float(f"{model.scale:.6g}")
        return round(images.std / 127.5, 4)

    def _check_running(self) -> None:
        """Raises ValueError for options of running that do not go together or are out of range."""
        from experiments.run.hardware import check_threads

        check_threads(self.threads)
        if self.workers is not None:
            check_range("workers", self.workers, 1)
        if self.workers is not None and self.ray_address is not None:
            raise ValueError("workers, ray_address: give one of them; workers are on this machine, Ray is for clusters")
        if self.gpus_per_run is not None:
            if not self.gpus_per_run > 0:
                raise ValueError(f"gpus_per_run={self.gpus_per_run}: it must be above 0")
            if self.ray_address is None:
                raise ValueError(f"gpus_per_run={self.gpus_per_run}: it needs --ray-address")

    def _foreign(self, study: Study, machine: Machine) -> ForeignConfig | None:
        from diffusion_core.networks.small import SIDE
        from experiments.config.denoisers import ForeignConfig
        from experiments.own import external
        from experiments.own.behaviour import behaviour
        from experiments.run.hardware import use_threads
        from experiments.stages.common import images_of

        data = study.data
        if self.model is None:
            if self.model_label is not None:
                raise ValueError(f"model_label={self.model_label}: it needs --model")
            side = images_of(data, self.data_root).shape[1]
            if side != SIDE:
                raise ValueError(
                    f"data={data!r}: images of {side}x{side}, but networks that are trained here take {SIDE}x{SIDE}; "
                    "other sizes need --model"
                )
            return None
        if trained := self.given & {"recipe", "train_images", "train_seeds"}:
            name = min(trained)
            raise ValueError(f"{name}={getattr(study, name)}: nothing is trained, since --model brings a network")
        name, files = external.describe(self.model, self.model_label), external.fingerprint(self.model)
        use_threads(machine.threads)  # outputs depend on the number of threads
        images = images_of(data, self.data_root)
        network = external.load_foreign(self.model, images, self.model_label, machine.device)
        content = external.known_by(files, behaviour(network, images, machine.device))
        return ForeignConfig(self.model, content, name, data, self.model_label, machine=machine)

    def _reference(self, data: str) -> ReferenceConfig:
        from experiments.config.config import ReferenceConfig
        from experiments.distances.spaces import DIGITS
        from experiments.own.features import features_id

        usual = "digits" if data.partition("@")[0] in DIGITS else "natural"
        features = usual if self.features is None else self.features
        content = features_id(features, self.feature_weights)
        return ReferenceConfig(data, features, content, weights=self.feature_weights)


def _checked(name: str, value: Any) -> Any:
    """`value` of the option `name`. In a list, -0 becomes 0.

    Raises:
        ValueError: a list has a number that is not finite, or two values that look the same in a table.
    """
    if not isinstance(value, tuple):
        return value
    value = tuple(item + 0.0 if isinstance(item, float) else item for item in value)
    labels = [f"{item:g}" if isinstance(item, float) else str(item) for item in value]
    if bad := [item for item in value if isinstance(item, float) and not math.isfinite(item)]:
        raise ValueError(f"{name}={bad[0]}: it must be finite")
    if len(set(labels)) < len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        raise ValueError(f"{name}: {twice} is given twice, or differs too little to be told apart in a table")
    return value
