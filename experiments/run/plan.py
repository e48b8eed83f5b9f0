"""The plan of a study: its settings, each with each of its networks. It is made once per command."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from diffusion_core.data import SIDE, parse
from diffusion_core.data.dataset import Images, Values
from diffusion_core.data.load import resolve
from diffusion_core.networks.compiled import can_compile
from diffusion_core.validation import one_of
from experiments.console import duration
from experiments.distances.feature_spaces import default_features
from experiments.distances.intervals import MIN_SAMPLES
from experiments.run.autotune import BenchmarkKey, TimedMachines, autotune
from experiments.run.cache import Cache
from experiments.run.identity import identity, uses_user_code
from experiments.run.image_features import features_id
from experiments.run.machine import Machine, double_device
from experiments.run.networks import OF_POINTS, RECIPES, Exact, Network, Pretrained, Trained, data_of
from experiments.run.options import Options
from experiments.run.pairs import Pair, name_both
from experiments.run.runs import VALUES, Reference, Run
from experiments.run.study import ExploringStudy, Notify, Study
from experiments.settings import Key, Setting
from experiments.user import network_io
from experiments.user.architecture import check_architecture, takes_inputs
from experiments.user.imports import BUILD, errors_in, is_pretrained
from experiments.user.json_io import read_json
from reports.schema import CONFIRM

FIXED = {"data", "machine", "seed"}  # fields of a network that all settings of a study share
OTHER_NOISE = 2  # draw of the confirmation by a network that is not trained here; explorers have 0
WORTH_COMPILING = 600.0  # seconds of sampling
MAX_DECODED = 10_000  # latents of the data that are decoded to compare samples with


@dataclass(frozen=True)
class Planner:
    """The network, the real images and the machines of a study: all that its settings share. Files are read once."""

    study: Study
    network: Network
    reference: Reference
    machine: Machine  # of sampling
    note: str = ""  # why this machine
    seconds: float = 0.0  # of an evaluation of one image, if compilation may be chosen

    @classmethod
    def of(cls, study: Study, options: Options, cache: Cache, notify: Notify) -> "Planner":
        """Loads data and network, and times the network if the precision is to be chosen."""
        data = resolve(study.data)
        images = study.images and resolve(study.images)
        plain = options.machine()
        network = make_network(study, data, plain)
        if isinstance(network, Exact):  # it has its own machine, in fp32
            if options.measure:
                raise ValueError(f"measure: network={study.network!r} is not timed; remove it")
            return cls(study, network, _reference(study, data, images, network), network.machine)
        timed = TimedMachines(plain, plain)
        if options.measure and options.chosen_precision != "auto":
            raise ValueError("measure: a given precision is not timed; remove it, --precision or SIGMABENCH_PRECISION")
        if options.chosen_precision == "auto":
            if options.measure:
                cache.path("timings", BenchmarkKey.of(network, plain)).unlink(missing_ok=True)
            alone = options.threads is not None or options.workers is not None or options.ray_address is not None
            timed = autotune(network, plain, cache, 1 if alone else study.seeds, notify)
        network = replace(network, machine=timed.training)
        machine = replace(timed.sampling, compiled=options.compile)
        may_compile = isinstance(network, Trained) and not (options.compile or options.no_compile)
        seconds = timed.seconds if may_compile and can_compile(machine.device) else 0.0
        return cls(study, network, _reference(study, data, images, network), machine, timed.why, seconds)

    def compiled_if_long(self, runs: Sequence[Run]) -> "Planner":
        """Returns a planner that compiles sampling if that of all runs takes over ten minutes. Compiling takes one."""
        samplings = {run.samples_id: run for run in runs if not run.impossible}
        seconds = self.seconds * sum(run.n * run.nfe for run in samplings.values())
        if seconds <= WORTH_COMPILING:
            return self
        note = f"{self.note}; compiled, since sampling would take {duration(seconds)}"
        return replace(self, machine=replace(self.machine, compiled=True), note=note)

    def plan(self, settings: Iterable[Setting], earlier: Sequence[Run] = ()) -> list[Run]:
        """The runs of some settings, network by network. `earlier`: runs of the study that are planned already.

        ValueError for settings or options that do not suit each other or their data.
        """
        settings = list(settings)
        _check_settings([*dict.fromkeys(run.setting for run in earlier), *settings])
        study = self.study
        explorer = self.network
        explorers: Sequence[int] = ()
        seeds: Sequence[int] = range(study.first_seed, study.first_seed + study.seeds)
        if not isinstance(explorer, Trained):
            seeds = seeds[:1]
        elif isinstance(study, ExploringStudy):
            explorers = study.explorers
            seeds = study.confirmers or explorers
            explorer = replace(explorer, images_seen=study.explore_train_images or study.train_images)
        runs = list[Run]()
        exploring = [setting for setting in settings if setting.section == study.explored_in]
        for index, seed in enumerate(explorers or seeds[:1]):
            runs += [self._run(setting, explorer, seed) for setting in exploring if self._takes(setting, index)]
        testing = [setting for setting in settings if setting.section != study.explored_in]
        for index, seed in enumerate(seeds):
            runs += [self._run(setting, self.network, seed) for setting in testing if self._takes(setting, index)]
        _check_runs(runs)
        return runs

    def _run(self, setting: Setting, network: Network, seed: int) -> Run:
        """The run of a setting with the network of one seed. ValueError for a number of images out of range."""
        study = self.study
        n, _ = study.sizes(setting.section)
        most = self.reference.n // 3
        if most < MIN_SAMPLES:
            needed = f"{n} samples need {3 * n:,}, and {MIN_SAMPLES}, the fewest, {3 * MIN_SAMPLES}"
            raise ValueError(f"data={self.reference.data!r}: it has {self.reference.n} images; {needed}")
        if not MIN_SAMPLES <= n <= most:
            rule = f"it must be between {MIN_SAMPLES} and {most} for data={self.reference.data!r}"
            raise ValueError(f"n_samples={n}: {rule}, a third of its images; as many are the floor")
        if setting.network is not None:
            if not isinstance(network, Pretrained) or not is_pretrained(setting.network):
                rule = "it must be a ready one, such as python:MODULE:FUNCTION, as --network is"
                raise ValueError(f"network={setting.network!r} of {setting.label!r}: {rule}")
            network = Pretrained.of(setting.network, network.data, study.label, network.machine)
        network = _network_of(setting, network, seed)
        draw = OTHER_NOISE if setting.section == CONFIRM and not study.trains else 0
        return Run(setting, network, n, self.machine, self.reference, study.batch_size, draw)

    def _takes(self, setting: Setting, index: int) -> bool:
        """Whether a setting is sampled from network `index`."""
        _, networks = self.study.sizes(setting.section)
        return networks is None or index < networks


def _reference(study: Study, data: str, images: str | None, network: Network) -> Reference:
    """The reference of samples: the data, or --images, or latents of the data as the network decodes them."""
    pretrained = network if isinstance(network, Pretrained) else None
    if study.images is not None and not pretrained:
        raise ValueError(f"images={study.images!r}: only a pretrained network decodes its samples; use --data")
    real = data_of(images or data)
    points = isinstance(real, Values) and real.are_points
    double = double_device(network.machine.device)
    device = None if double == "cpu" else double
    latents = isinstance(real, Values) and not points
    if pretrained and not latents and (decoded := pretrained.decoded_shape):
        network_io.check_size(decoded, real)
    if points and study.features not in (None, VALUES):
        raise ValueError(f"features={study.features!r}: points are compared as they are; leave it out")
    if points:
        return Reference(real.name, VALUES, "", device=device)
    if latents and (study.images is not None or not pretrained):
        rule = "--images must be images" if study.images else "--network must be one that decodes them"
        raise ValueError(f"data={real.name!r}: {rule}; latents alone cannot be compared")
    features = study.features or default_features(real.name)
    most = MAX_DECODED if latents and len(real) > MAX_DECODED else None
    content = features_id(features, study.feature_weights)
    decoder = pretrained if latents else None
    return Reference(real.name, features, content, study.feature_weights, decoder, most, device)


def make_network(study: Study, data: str, machine: Machine) -> Network:
    """The network that the option --network names; if it is trained here, the first of them."""
    if study.network == "exact":
        return Exact(data, held_out=study.held_out, machine=replace(machine, precision="fp32", compiled=False))
    if is_pretrained(study.network):
        return Pretrained.of(study.network, data, study.label, machine)
    images = data_of(data)
    name = study.network
    from_user = name.startswith(BUILD)
    recipe = RECIPES["plain" if from_user and not takes_inputs(name) else study.recipe]
    if isinstance(images, Values):
        if not images.are_points:
            reason = "networks that are trained here do not decode latents"
            raise ValueError(f"data={data!r}: {reason}; use --network KIND:WHERE")
        name = "mlp" if name == "small" else name
        recipe = OF_POINTS if study.recipe == "fast" else recipe
    if isinstance(images, Images) and (pixels := images.shape[1]) != SIDE and not from_user:
        reason = f"images of {pixels}x{pixels}, but {name} takes {SIDE}x{SIDE}"
        raise ValueError(f"data={data!r}: {reason}; other sizes need --network build:MODULE:FUNCTION or KIND:WHERE")
    if not from_user and (name == "mlp") != isinstance(images, Values):
        raise ValueError(f"network={name!r}: mlp is for points and others are for images, but the data are {data!r}")
    budget: dict[str, Any] = {"images_seen": study.train_images, "warmup_images": study.warmup_images}
    held_out = min(study.held_out, len(images) // 10)
    network = Trained(data, network=name, held_out=held_out, machine=machine, **budget, **recipe)
    if from_user:  # before it is timed
        check_architecture(name, network.shape, network.parameterisation, machine.device)
    return network


def _network_of(setting: Setting, network: Network, seed: int) -> Network:
    """The network as this setting trains it."""
    training = setting.training
    if not isinstance(network, Trained):
        if training:
            raise ValueError(f"training={dict(training)} of {setting.label!r}: --network brings a trained network")
        return network
    if fixed := sorted(FIXED & training.keys()):
        rule = "all settings of a study share it; use --data, --seeds and the other options"
        raise ValueError(f"training={fixed[0]!r} of {setting.label!r}: {rule}")
    for name in training:
        one_of("training", name, sorted({field.name for field in fields(network)} - FIXED))
    return replace(network, seed=seed, **training)


# --- what a study asks for, and what is refused ---


def collect_settings(study: Study) -> list[Setting]:
    """The settings. ValueError, with the line, if the user's code fails."""
    with errors_in(type(study), "settings()"):
        settings = [*study.settings()]
    _check_settings(settings)
    return settings


def check_folder(study: Study, out: Path, typed: bool) -> None:
    """Raises ValueError for a result folder inside the folder of images.

    And unless it was `typed`, for one with a result of another network or other data: they have the same usual folder.
    """
    images = parse(study.data)
    if images and out.resolve().is_relative_to(Path(images.path).expanduser().resolve()):
        raise ValueError(f"out={str(out)!r}: it lies in the folder of the images; choose another folder")
    if not typed and (path := out / "run.json").is_file():
        options = read_json(path).get("options", {})
        network, data = (options.get(name, getattr(study, name)) for name in ("network", "data"))
        if (network, data) != (study.network, study.data):
            rule = "give --out another folder, or remove it"
            raise ValueError(f"out={str(out)!r}: it holds a result of {network} on {data}; {rule}")


def _check_settings(settings: Sequence[Setting]) -> None:
    """Raises ValueError for settings that cannot be told apart."""
    keys = Counter((setting.section, setting.budget, " ".join(setting.label.split())) for setting in settings)
    if twice := next((key for key, count in keys.items() if count > 1), None):
        raise ValueError(f"settings(): {twice[2]!r} of {twice[0]!r} more than once; labels of one section must differ")


def _check_runs(runs: Iterable[Run]) -> None:
    """Raises ValueError for runs that have no identity, for a value of a grid that its setting does not have, and for a
    user's schedule whose levels change or are miscounted.
    """
    for run in runs:
        identity(run.scored)
        row = run.row() if run.setting.values and not run.impossible else {}
        for name, text in run.setting.values.items():
            of_factor, of_row = _read_number(text), _read_number(row.get(name))
            if of_factor and of_row and of_factor != of_row:
                rule = f"its setting has {of_row} in this column of table.csv; correct setting(), or rename the factor"
                raise ValueError(f"setting() of {run.setting.label}: {name}={text}: {rule}")
    for schedule in dict.fromkeys(run.setting.schedule for run in runs if not run.impossible):
        if not uses_user_code(schedule):
            continue
        if (sigmas := schedule.sigmas()) != schedule.sigmas():
            raise ValueError(f"schedule {schedule.name}: called twice, its schedule gave other levels")
        n_steps = getattr(schedule, "n_steps", None)
        if isinstance(n_steps, int) and len(sigmas) != n_steps + 1:
            raise ValueError(
                f"schedule {schedule.name}: {len(sigmas)} levels; it must give n_steps + 1 = {n_steps + 1}"
            )


def _read_number(value: Any) -> str:
    """A number, or a text of one, in six digits; "" for anything else."""
    try:
        return f"{float(value):g}"
    except (TypeError, ValueError):
        return ""


def list_pairs(study: Study, runs: Sequence[Run]) -> list[Pair]:
    """The pairs of these planned runs. ValueError, with the line, if the user's code fails or pairs cannot be compared.

    Those of which a side cannot be run are left out, but for a first setting, with which all others are compared.
    """
    first = {run.setting.key: run for run in reversed(runs)}
    if type(study).pairs is Study.pairs:
        for pair in study.pairs([run.setting for run in first.values()][::-1]):
            (base,) = pair.sides[1]
            if reason := first[base].impossible:
                role = f"{base[2]!r} is the first setting of {base[0]!r}, so all others are compared with it"
                raise ValueError(f"{role}, but it cannot be run: {reason}")
    with errors_in(type(study), "pairs()"):
        pairs = [*study.pairs([run.setting for run in first.values() if not run.impossible][::-1])]
    for pair in pairs:
        _check_pair(pair, first, study)
    return pairs


def _check_pair(pair: Pair, runs: Mapping[Key, Run], study: Study) -> None:
    """Raises ValueError if the images of a pair are not from the same networks and noise, or it has no such setting."""
    (first, *others) = [key for side in pair.sides[::-1] for key in side]
    for key in (first, *others):
        if key not in runs:
            raise ValueError(f"pairs(): {key[2]!r} of {key[0]!r} is not among the settings that can be run")
        base, setting = runs[first].setting, runs[key].setting
        if study.sizes(setting.section) != study.sizes(base.section):
            rule = "sizes() of their sections must be equal, since images are compared one by one"
            raise ValueError(f"{name_both(setting, base)} cannot be compared: {rule}")
