"""A question: what is compared, and how; see sweep.py for an example. It imports no torch: --help appears at once.

Its fields are the options of the question, their docstrings the help, and their values in a preset the defaults.
"""

import inspect
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeVar

import tyro

from diffusion_core.data import DATA_SETS, check_name
from diffusion_core.registry import TRUNKS
from diffusion_core.validation import check_fields, check_range, one_of
from experiments.distances.feature_spaces import check_feature_space
from experiments.run.options import name_option, option_help
from experiments.run.pairs import Pair, against_first
from experiments.settings import Key, Setting
from experiments.user.imports import BUILD, SPELLINGS, is_pretrained, split_name
from reports.schema import CHALLENGER, CHEAPER, CONFIRM, DEFAULT, EXPLORE, PRIMARY_METRIC

if TYPE_CHECKING:
    import pandas as pd

    from experiments.run.tables import RunResults, Tables

FURTHER_PARTS = re.compile(r"\n\n(?:Args|Source|Note|Raises)\b")  # of a docstring
ELSEWHERE = re.compile(r"Arguments (?:and errors )?as [^.]*\.\s*")  # a sentence that helps only where it stands
T = TypeVar("T")
Notify = Callable[[str], object]
Presets = Mapping[str, Mapping[str, Any]]  # name -> field -> its default
HiddenOption = Annotated[T, tyro.conf.Fixed, tyro.conf.Suppress]
DATA_HELP = (
    "{names}, folder:PATH (images) or npz:PATH; mnist5k needs no download. Write folder64:PATH or npz64:PATH for a "
    "network of another image size. Latents of an autoencoder: latents:FILE.npy. Vectors: points:FILE.npy."
)
# What most presets of this name share. n_samples of smoke is just above the dimension of the features.
SMOKE: dict[str, Any] = {"first_seed": 0, "train_images": 640, "warmup_images": 320, "n_samples": 132}
GPU: dict[str, Any] = {"data": "mnist", "train_images": 50 * 60_000, "seeds": 5, "n_samples": 10_000}
# And of those that explore.
EXPLORE_SMOKE: dict[str, Any] = {"explore_networks": 1, "explore_samples": 132}
EXPLORE_GPU: dict[str, Any] = {"explore_samples": 1_000}
EXPLORE_ANEW = "none"  # as --choices
FIRST_EXPLORER = 101  # training seed of the first network that chooses


def read_formulas(described: Mapping[str, Any]) -> dict[str, str]:
    """The first part of the docstring of each class or function, which states its formula; "" without one."""
    texts = {name: inspect.getdoc(getattr(thing, "func", thing)) or "" for name, thing in described.items()}
    return {name: " ".join(ELSEWHERE.sub("", FURTHER_PARTS.split(text)[0]).split()) for name, text in texts.items()}


@dataclass(frozen=True)
class Study:
    """The networks of a question, and how many samples each setting gets."""

    question: ClassVar[str]
    text: ClassVar[str] = ""  # what it does, for --help
    page: ClassVar[str] = "sweep"  # of the report
    presets: ClassVar[Presets] = {"smoke": SMOKE, "laptop": {}, "gpu": GPU}
    minutes: ClassVar[str] = "minutes on two cores"  # of the preset laptop
    examples: ClassVar[Mapping[str, str]] = {}  # arguments to show -> what they do
    explored_in: ClassVar[str] = EXPLORE  # the section of what explorers try, if there are any
    of_training: ClassVar[Sequence[str]] = ("recipe", "train_images", "seeds")  # options of networks trained here

    data: Annotated[str, name_option(DATA_HELP, DATA_SETS)] = "mnist5k"
    images: Annotated[str | None, option_help("NAME", "decoded latents of the data")] = None
    """For latents: the real images that decoded samples are compared with, of the size that is decoded, such as
    folder256:PATH."""
    network: Annotated[str, tyro.conf.arg(metavar="NAME|KIND:WHERE")] = "small"
    """small (mlp for points), paper (for GPUs) or build:MODULE:FUNCTION, your architecture, trained here; or
    python:PACKAGE.MODULE:FUNCTION, diffusers:FOLDER, diffusers:ORG/NAME or checkpoint:FILE, trained elsewhere; or
    exact, the closed form for the training images."""
    label: Annotated[int | Literal["balanced"] | None, option_help("CLASS|balanced", "none")] = None
    """The class that a class-conditional diffusers network samples. balanced: sample i has class i mod their number."""
    train_images: int = 200_000
    """Images that each network sees in training, repeats counted."""
    recipe: Literal["fast", "plain"] = "fast"
    """The networks and their training. fast: a second input, the image as a mixture of Gaussians denoises it, targets
    of less variance at high noise, and more training there: good after fewer images. plain: as in Karras et al.
    2022."""
    seeds: int = 2
    """Number of networks, each trained from its own seed. More networks give narrower intervals."""
    first_seed: int = 1
    """Seed of the first network; the others have the seeds that follow. A repetition needs seeds of its own."""
    n_samples: int = 500
    """Images per network and setting. More images give narrower intervals."""
    features: Annotated[str | None, option_help("NAME", "digits for MNIST, else natural")] = None
    """Feature space of all distances: digits, natural, one of torch-fidelity's, or your own, python:MODULE:FUNCTION. In
    inception-v3-compat FD and KD are called FID and KID."""
    feature_weights: Annotated[Path | None, option_help("FILE", "downloaded if needed")] = None
    """Weights of the feature extractor."""
    batch_size: Annotated[int, tyro.conf.arg(help_behavior_hint="(default: the machine's)")] = 0
    """Samples per network evaluation; part of a run's identity. Lower it if memory runs out."""
    warmup_images: HiddenOption[int] = 10_000
    held_out: HiddenOption[int] = 0  # images at the end of the data set that training does not see; at most a tenth

    def check(self) -> None:
        """Gives equal values one form. ValueError for a value of a wrong type or range, or two that look the same."""
        check_fields(self)
        for name in filter(None, (self.data, self.images)):
            check_name(name)
        if self.network.startswith(BUILD):
            split_name(self.network.removeprefix(BUILD), BUILD)
        elif not is_pretrained(self.network):
            one_of("network", self.network, (*TRUNKS, "exact", f"{BUILD}module:function", *SPELLINGS))
        if self.label is not None and not is_pretrained(self.network):
            raise ValueError(f"label={self.label}: it needs --network diffusers:FOLDER")
        if self.features and not self.data.startswith("points:"):  # which are compared as they are
            check_feature_space(self.features)
        for name, low, high in (("seeds", 1, 1_000), ("n_samples", 1, 1_000_000), ("batch_size", 0, 1_000_000)):
            check_range(name, getattr(self, name), low, high)
        for name, value in vars(self).items():
            values = value if isinstance(value, tuple) else ()
            labels = [f"{item:g}" if isinstance(item, float) else str(item) for item in values]
            if twice := [label for label in labels if labels.count(label) > 1]:
                raise ValueError(f"{name}: {twice[0]} is given twice, or differs too little to be told apart")

    def check_typed(self, typed: frozenset[str]) -> None:
        """Raises ValueError for typed options of training if no network is trained here."""
        if not self.trains and (unused := sorted(typed & {*self.of_training})):
            raise ValueError(f"{', '.join(unused)}: only for training; remove it, or --network")

    def settings(self) -> Iterator[Setting]:
        """Yields the settings to compare."""
        raise NotImplementedError

    def pairs(self, settings: Sequence[Setting]) -> Iterator[Pair]:
        """Yields what is compared: in each section every setting against the first.

        `settings`: those that can be run. What explorers only choose from, and what confirmers compare, is not among
        them.
        """
        yield from against_first(settings)

    def sizes(self, section: str) -> tuple[int, int | None]:
        """Images per network of the settings of a section, and from how many networks, the first ones; None for all."""
        return self.n_samples, None

    def extra_tables(self, results: "RunResults") -> "Tables":
        """Further tables of its report."""
        return {}

    @property
    def time_limit(self) -> float:
        """Seconds after which nothing is begun any more; the settings begin nothing after 60 % of them."""
        return math.inf

    @property
    def notes(self) -> Sequence[str]:
        """Further sentences for the terminal and the report."""
        return ()

    @property
    def provenance(self) -> Mapping[str, Any]:
        """The entries of run.json that say when its comparisons were chosen."""
        return {"fixed_beforehand": False}

    @property
    def size(self) -> str:
        """How large it is, in words."""
        return f"{self.seeds} networks, {self.train_images:,} images each, {self.n_samples:,} samples per setting"

    @property
    def trains(self) -> bool:
        """Whether its networks are trained here."""
        return self.network != "exact" and not is_pretrained(self.network)

    @cached_property
    def data_std(self) -> float:
        """Standard deviation of the data on the scale of the network's adapter, else in [-1, 1], for vp and ddpm."""
        from diffusion_core.data.dataset import Images
        from diffusion_core.data.load import resolve
        from experiments.run.networks import adapter_of, data_of

        data = resolve(self.data)
        if (adapter := adapter_of(self.network, data, self.label)) is not None:
            return float(f"{adapter.scale:.6g}")
        return round(data_of(data).std / 127.5, 4) if isinstance(data_of(data), Images) else 1.0


@dataclass(frozen=True)
class ExploringStudy(Study):
    """A question with more settings than its networks can judge. Explorers try all and choose; others confirm.

    `settings()` has the comparisons that are fixed beforehand, and may have none. Settings of `explore()` with the same
    number of evaluations compete; the first of them is their default.
    """

    presets: ClassVar[Presets] = {
        "smoke": SMOKE | EXPLORE_SMOKE,
        "laptop": {"seeds": 5},
        "gpu": GPU | EXPLORE_GPU,
    }
    kinds: ClassVar[Sequence[str]] = ()  # of settings that are chosen, if they are always the same
    within: ClassVar[bool] = False  # whether fewer evaluations than allowed compete too
    of_training: ClassVar[Sequence[str]] = (*Study.of_training, "explore_networks", "explore_train_images")

    of_exploration: ClassVar[Sequence[str]] = ("explore_networks", "explore_samples", "explore_train_images")

    explore_networks: int = 3
    """Number of networks that try all settings and choose; their seeds begin at 101. 0 needs --choices."""
    explore_samples: int = 250
    """Images per setting from each network that chooses."""
    explore_train_images: Annotated[int | None, option_help("N", "--train-images")] = None
    """Images that each network that chooses sees in training."""
    confirm_samples: Annotated[int | None, option_help("N", "--n-samples")] = None
    """Images per network for each chosen setting and its opponent."""
    choices: Annotated[Path | None, option_help("FILE|none", "none")] = None
    """choices.json of an earlier run: what it chose is confirmed. Nothing is explored; its networks must be others.
    none: explore."""

    def check(self) -> None:
        super().check()
        for name, low in (("explore_networks", 0), ("explore_samples", 1), ("confirm_samples", 1)):
            if (value := getattr(self, name)) is not None:
                check_range(name, value, low, 1_000_000)
        if self.explore_networks == 0 and self.trains and not self.choices_path:
            raise ValueError("explore_networks=0: then nothing chooses; it needs --choices FILE")
        check_seeds(self.confirmers, self.explorers)

    def check_typed(self, typed: frozenset[str]) -> None:
        """And for typed options of an exploration that does not take place."""
        super().check_typed(typed)
        file = self.choices_path
        unused = sorted(typed & {*self.of_exploration})
        if file and unused and self.explore_networks:
            reason = f"nothing is explored, since {file.name} says what was chosen"
            raise ValueError(f"{', '.join(unused)}: {reason}; leave it out, or add --choices none")

    def settings(self) -> Iterator[Setting]:
        yield from ()

    def sizes(self, section: str) -> tuple[int, int | None]:
        several = {self.explored_in: self.explore_samples, CONFIRM: self.confirm_samples}
        return several.get(section) or self.n_samples, None

    def explore(self) -> Iterator[Setting]:
        """All settings that compete."""
        raise NotImplementedError

    def kind_of(self, setting: Setting) -> str:
        """Settings of one kind compete; the default with none, unless fewer evaluations do too."""
        return CHALLENGER

    def candidate_of(self, setting: Setting) -> str:
        """Explored settings with one name are one candidate, chosen by their mean score; all of them are confirmed."""
        return setting.label

    def find(self, place: tuple[str, int | None]) -> Setting | None:
        """The setting of a label and a number of evaluations, as `explore()` has it."""
        return next((s for s in self.explore() if (s.label, s.budget) == place), None)

    def confirm_pairs(self, chosen: "pd.DataFrame") -> Iterator[Pair]:
        """Yields what is confirmed: by default each chosen setting against the default of its number of evaluations.

        `chosen`: as `choose` gives it.
        """
        defaults = {row.within: row for row in chosen.itertuples() if row.kind == DEFAULT}
        for row in chosen[chosen["kind"] != DEFAULT].itertuples():
            if default := defaults.get(row.within):
                for a, b in zip(keys_of(row), keys_of(default), strict=True):
                    yield Pair(self.name_question(row.kind, a[2]), [a], [b], CONFIRM, within=row.within or None)

    def name_question(self, kind: str, label: str) -> str:
        """The question that a chosen setting of a kind answers."""
        return "What was chosen against the default"

    @property
    def explorers(self) -> Sequence[int]:
        """The training seeds of the networks that choose; none if the network is not trained here, or they did."""
        anew = self.trains and not self.choices_path
        return range(FIRST_EXPLORER, FIRST_EXPLORER + self.explore_networks) if anew else ()

    @property
    def confirmers(self) -> Sequence[int]:
        """The training seeds of the networks that test what was chosen."""
        return range(self.first_seed, self.first_seed + self.seeds) if self.trains else ()

    @property
    def choices_path(self) -> Path | None:
        """The file with what was chosen, if it was chosen before this run."""
        return None if self.choices and self.choices.name == EXPLORE_ANEW else self.choices


def check_seeds(confirmers: Sequence[int], explorers: Iterable[int]) -> None:
    """Raises ValueError if a network would test what it chose itself."""
    if shared := sorted({*confirmers} & {*explorers}):
        raise ValueError(f"first_seed={confirmers[0]}: networks {shared} chose the settings; take others")


def keys_of(row: Any) -> list[Key]:
    """The keys of the confirmed settings of a row of what was chosen."""
    return [(CONFIRM, row.budget, label) for label in row.settings]


def price_pair(chosen: "pd.DataFrame") -> Iterator[Pair]:
    """Yields whether more evaluations are worth it: the lowest that takes more than the fewest, against these."""
    competing = chosen[chosen["kind"] != DEFAULT].sort_values(PRIMARY_METRIC, kind="stable")
    fewest = competing["within"].min()
    cheap = competing[competing["within"] == fewest].head(1)
    dear = competing[competing["budget"] > fewest].head(1)
    for a, b in zip(dear.itertuples(), cheap.itertuples(), strict=False):
        question = "More evaluations against the fewest"
        yield Pair(question, keys_of(a)[:1], keys_of(b)[:1], CONFIRM, CHEAPER, within=a.within)
