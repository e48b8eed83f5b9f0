"""The runs of a study: each setting with each network."""

import inspect
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from diffusion_core.data import check_name, resolve
from diffusion_core.data_set import Images, Values
from diffusion_core.fields import check_fields, check_range, one_of
from diffusion_core.networks.build import TRUNKS
from diffusion_core.networks.small import SIDE
from diffusion_core.samplers.sampling import default_batch
from diffusion_core.schedules.sigma import check_ladder
from experiments.distances.intervals import MIN_SAMPLES
from experiments.distances.spaces import PYTHON, check_features, suited
from experiments.own import external, form
from experiments.own.features import features_id
from experiments.own.user_code import of_user
from experiments.run.compare import CONTROL, Row
from experiments.run.folder import is_formula
from experiments.run.foreign import Foreign
from experiments.run.identity import LABEL, LATER, check_distinct, has_own_code, identity
from experiments.run.machine import Machine
from experiments.run.networks import OF_POINTS, RECIPES, Exact, Network, Trained, data_of
from experiments.run.setting import Setting
from experiments.run.study import Study

OTHER = 10_000  # added to a seed for other noise, or for another network
OF_SAMPLERS = ("alpha", "beta", "eta", "s_churn", "mu", "beta_ks")  # columns that a sampler may fill
VALUES = "values"  # the feature space of floats: their own values
MOST_DECODED = 10_000  # latents of the data that are decoded to compare samples with


@dataclass(frozen=True)
class Reference:
    """The real images that samples are compared with, in one feature space."""

    data: str  # images or points; latents only if `decoder` says what they show
    features: str  # see distances/spaces.py; VALUES for samples that are floats
    features_id: str  # hash of the extractor's weights
    weights: Path | None = field(default=None, metadata=LABEL)  # their file; None for the extractor's own
    decoder: Foreign | None = field(default=None, metadata=LATER)  # the network that decodes them
    most: int | None = field(default=None, metadata=LATER)  # of the images, the first; None for all

    def __post_init__(self) -> None:
        check_name(self.data)
        if self.features != VALUES:
            check_features(self.features)

    @property
    def n(self) -> int:
        """How many real images there are."""
        return min(len(data_of(self.data)), self.most or sys.maxsize)

    @property
    def foreign(self) -> bool:
        """Whether the features come from a user's code."""
        return self.features.startswith(PYTHON)


@dataclass(frozen=True)
class Run:
    """A setting with one network and n images. Its identity is that of its samples; `score_id` that of its row."""

    setting: Setting
    network: Network
    n: int
    machine: Machine
    reference: Reference = field(metadata=LABEL)
    batch: int = 0  # samples per network evaluation; 0 for the machine's default

    def __post_init__(self) -> None:
        check_fields(self)
        check_range("batch", self.batch, 0)

    @property
    def seed(self) -> int:
        """Runs with the same seed start from the same noise."""
        return self.network.seed + OTHER * self.setting.draw

    @property
    def number(self) -> int:
        """Which network of its setting it has, as a training seed: retrained ones share the numbers of the others."""
        return self.network.seed - OTHER * self.setting.retrained

    @property
    def batch_size(self) -> int:
        return min(self.batch or default_batch(self.machine.device, self.machine.threads), self.n)

    @cached_property
    def sigmas(self) -> tuple[float, ...]:
        return self.setting.ladder.sigmas()

    @cached_property
    def nfe(self) -> int:
        """Planned network evaluations per image. Tables have the counted number."""
        return self.setting.sampler.planned_nfe(self.sigmas) + self.setting.final_denoise

    @cached_property
    def impossible(self) -> str:
        """Why it cannot be run, such as an eta that is too large for the ladder; "" if it can."""
        if self.setting.impossible:
            return self.setting.impossible
        try:
            if has_own_code(ladder := self.setting.ladder):
                with of_user(f"ladder {ladder.name}"):
                    if not isinstance(self.sigmas, tuple):
                        raise ValueError(f"sigmas: ladder {ladder.name} gave no tuple, but {self.sigmas!r:.80}")
                    check_ladder(self.sigmas)
            nfe, budget = self.nfe, self.setting.budget
        except ValueError as error:
            return str(error)
        if self.n < MIN_SAMPLES:
            return f"n_samples={self.n}: it must be at least {MIN_SAMPLES}"
        over = budget is not None and nfe > budget
        return f"{self.setting.sampler.name} takes {nfe} evaluations, above the budget of {budget}" if over else ""

    @cached_property
    def samples_id(self) -> str:
        return identity(self)

    @property
    def scored(self) -> tuple[Any, ...]:
        """What its score follows from."""
        return (self, self.reference)

    @cached_property
    def score_id(self) -> str:
        return identity(self.scored)

    def row(self) -> Row:
        """The columns of table.csv that are known before the run."""
        setting, sampler, ladder = self.setting, self.setting.sampler, self.setting.ladder
        values: Row = {"mode": setting.group, "setting": setting.label, "budget": setting.budget}
        values |= {"schedule": ladder.name, "sampler": sampler.name, "train_seed": self.network.seed}
        if self.impossible:
            with suppress(ValueError):  # a ladder of a user's
                values["n_steps"] = len(self.sigmas) - 1
            return values | {"eta": getattr(sampler, "eta", None), "status": "infeasible", "error": self.impossible}
        values |= {
            "data": self.network.data,
            "sigma_max": self.sigmas[0] if has_own_code(ladder) else ladder.sigma_max,
            "sigma_min": self.sigmas[-1] if has_own_code(ladder) else ladder.sigma_min,
            "n_steps": len(self.sigmas) - 1,
            "final_denoise": setting.final_denoise,
            "n_samples": self.n,
            "sample_seed": self.seed,
            "features": self.reference.features,
            "features_id": self.reference.features_id,
            "precision_mode": self.machine.precision,
            "compiled": self.machine.compiled,
            "threads": self.machine.threads,
            "model_id": identity(self.network),
            "samples_id": self.samples_id,
            "run_id": self.score_id,
        }
        with of_user(f"row() of {sampler.name}", ValueError):
            own = dict(sampler.row(self.sigmas))
            if others := sorted(map(str, own.keys() - {*OF_SAMPLERS})):
                raise ValueError(f"it has {others[0]!r}; a sampler's own columns are {', '.join(OF_SAMPLERS)}")
        return values | self.network.row() | own


class Names(NamedTuple):
    """The data of a study under names that hold their content. All files are read for these: once per command."""

    data: str
    images: str | None

    @classmethod
    def of(cls, study: Study) -> "Names":
        return cls(resolve(study.data), study.images and resolve(study.images))


def planned(
    study: Study,
    settings: Iterable[Setting],
    training: Machine,
    sampling: Machine,
    batch: int = 0,
    names: Names | None = None,
) -> list[Run]:
    """The runs of some settings: every one with each of its networks.

    Args:
        training, sampling: the machines of networks that are trained here, and of everything else.
        batch: samples per network evaluation; 0 for the machine's default.
        names: of its data, if they are known.

    Raises:
        ValueError: settings, or options of the study, that do not suit each other or their data.
    """
    names, settings = names or Names.of(study), list(settings)
    check_settings(settings)
    network = _network(study, names.data, training, sampling)
    reference = _reference(study, names, network)
    most = reference.n // 3
    numbers = range(study.seeds) if isinstance(network, Trained) else range(1)
    machine = network.machine if isinstance(network, Exact) else sampling  # what is exact has its own, in fp32
    runs = list[Run]()
    for number in numbers:
        for one in settings:
            if one.networks is not None and number >= one.networks:
                continue
            n = one.n or study.n_samples
            if not MIN_SAMPLES <= n <= most:
                raise ValueError(
                    f"n_samples={n}: it must be between {MIN_SAMPLES} and {most} for data={reference.data!r}, a third "
                    "of its images: as many are set aside for the floor, and intervals hold only for a reference "
                    "larger than that"
                )
            own = _trained_as(one, network, study.first_seed + number)
            runs.append(Run(one, own, n, machine, reference, study.batch_size or batch))
    return runs


def _reference(study: Study, names: Names, network: Network) -> Reference:
    """What samples are compared with: the data, or --images, or latents of the data as the network decodes them."""
    if study.images is not None and not isinstance(network, Foreign):
        raise ValueError(f"images={study.images!r}: only a network from elsewhere decodes its samples; use --data")
    real = data_of(names.images or names.data)
    latents = isinstance(real, Values) and not real.are_points
    if isinstance(network, Foreign) and (shown := network.shown) and not latents:
        form.check_size(shown, real)
    if isinstance(real, Values) and real.are_points:
        if study.features not in (None, VALUES):
            raise ValueError(f"features={study.features!r}: points are compared as they are; leave it out")
        return Reference(real.name, VALUES, "")
    features = study.features or suited(real.name)
    decoder, most = None, None
    if latents:
        if study.images is not None or not isinstance(network, Foreign):
            what = "--images must be images" if study.images else "--network must be one that decodes them"
            raise ValueError(f"data={real.name!r}: {what}; latents alone cannot be compared")
        decoder, most = network, MOST_DECODED if len(real) > MOST_DECODED else None
    content = features_id(features, study.feature_weights)
    return Reference(real.name, features, content, study.feature_weights, decoder, most)


def _network(study: Study, data: str, training: Machine, sampling: Machine) -> Network:
    """The network that the option --network names; a trained one is the first."""
    if study.label is not None and ":" not in study.network:
        raise ValueError(f"label={study.label}: it needs --network diffusers:FOLDER")
    if study.network == "exact":
        return Exact(data, study.held_out, machine=replace(sampling, precision="fp32", compiled=False))
    if ":" in study.network:
        return Foreign.of(study.network, data, study.label, sampling)
    one_of("network", study.network, (*TRUNKS, "exact", *external.SPELLINGS))
    images = data_of(data)
    if isinstance(images, Values) and not images.are_points:
        raise ValueError(
            f"data={data!r}: networks that are trained here do not decode latents; use --network KIND:WHERE"
        )
    if isinstance(images, Images) and (side := images.shape[1]) != SIDE:
        raise ValueError(
            f"data={data!r}: images of {side}x{side}, but networks that are trained here take {SIDE}x{SIDE}; other "
            "sizes need --network KIND:WHERE"
        )
    held_out = min(study.held_out, len(images) // 10)
    budget: dict[str, Any] = {"images_seen": study.train_images, "warmup_images": study.warmup_images}
    name, recipe = study.network, RECIPES[study.recipe]
    if isinstance(images, Values):
        name = "mlp" if name == "small" else name
        recipe = OF_POINTS if study.recipe == "fast" else recipe
    if (name == "mlp") != isinstance(images, Values):
        raise ValueError(f"network={name!r}: mlp is for points and others are for images, but the data are {data!r}")
    return Trained(data, name, held_out=held_out, machine=training, **budget, **recipe)


def _trained_as(one: Setting, network: Network, seed: int) -> Network:
    """The network with what is special in a setting's training."""
    if not isinstance(network, Trained):
        if one.training or one.retrained:
            raise ValueError(f"training={dict(one.training)} of {one.label!r}: --network brings a trained network")
        return network
    if unknown := sorted(map(str, one.training.keys() - {part.name for part in fields(Trained)})):
        raise ValueError(f"training of {one.label!r}: Trained has no {', '.join(unknown)}")
    if fixed := sorted({"data", "machine", "seed"} & one.training.keys()):
        raise ValueError(
            f"training={fixed[0]!r} of {one.label!r}: all settings of a study share it, since they are scored against "
            "the same images; use --data, --seeds and the other options"
        )
    with of_user(f"training of {one.label!r}"):
        return replace(network, seed=seed + OTHER * one.retrained, **one.training)


def check_settings(settings: Sequence[Setting]) -> None:
    """Raises ValueError for settings that cannot be told apart, or whose texts cannot be printed in a line."""
    for number, one in enumerate(settings):
        if not isinstance(one, Setting):
            raise ValueError(f"settings(): number {number + 1} is {one!r}; it must be a Setting")
        for name in ("label", "group"):
            text = getattr(one, name)
            if not (text.strip() and text.isprintable()):
                raise ValueError(f"{name}={text!r}: it must be a text that can be printed in a line")
            if is_formula(text):
                raise ValueError(f"{name}={text!r}: a spreadsheet would calculate it; begin it with another character")
        for what, value in {"sampler": one.sampler, "noise": one.training.get("noise")}.items():
            _check_name(f"name of the {what} of {one.label!r}", value)
        if one.group == CONTROL and not (one.draw or one.retrained):
            raise ValueError(f"group={one.group!r} of {one.label!r}: the A/A control of a setting is called so")
    keys = [(one.group, one.budget, " ".join(one.label.split())) for one in settings]
    if twice := next((key for key, count in Counter(keys).items() if count > 1), None):
        raise ValueError(f"settings(): {twice[2]!r} of {twice[0]!r} more than once; labels of one group must differ")


def _check_name(what: str, value: Any) -> None:
    """Raises ValueError for a name that is no text, or an empty one."""
    if inspect.getattr_static(value, "name", None) is None:
        return
    with of_user(what, ValueError):
        name = value.name
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"{what}: {name!r}: it must be a text that is not empty")


def check_plan(runs: Iterable[Run]) -> None:
    """Raises ValueError for runs that have no identity, or share one though they differ, or cannot be planned."""
    runs = list(runs)
    check_distinct(runs)
    for parts in ((run.network for run in runs), (run.reference for run in runs)):
        check_distinct(dict.fromkeys(parts))
    for run in runs:
        with of_user(f"planned_nfe of {run.setting.label}"):  # a ValueError is why a run is impossible
            planned = 0 if run.impossible else run.nfe
        if type(planned) is not int:
            raise ValueError(f"planned_nfe of {run.setting.label} is {planned!r}; it must be a whole number")
    for ladder in dict.fromkeys(run.setting.ladder for run in runs if not run.impossible):
        if has_own_code(ladder) and ladder.sigmas() != ladder.sigmas():
            raise ValueError(f"ladder {ladder.name}: called twice, its schedule gave other levels")
