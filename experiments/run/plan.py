"""The plan of a study: its settings, each with each of its networks. It is made once per command."""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from diffusion_core import data_user
from diffusion_core.data import resolve
from diffusion_core.data_set import Images, Values
from diffusion_core.networks import TRUNKS
from diffusion_core.networks.compiled import can_compile
from diffusion_core.networks.small import SIDE
from diffusion_core.validation import one_of
from experiments.distances.intervals import MIN_SAMPLES
from experiments.distances.spaces import suited
from experiments.own import external, form
from experiments.own.features import features_id
from experiments.own.user_code import of_user
from experiments.run.autotune import MachineChoice, autotune
from experiments.run.cache import Cache
from experiments.run.compare import CONTROL
from experiments.run.identity import identity, uses_user_code
from experiments.run.machine import Machine
from experiments.run.networks import OF_POINTS, RECIPES, Exact, Network, Pretrained, Trained, data_of
from experiments.run.options import Options
from experiments.run.result_folder import is_formula
from experiments.run.runs import OTHER, VALUES, Reference, Run
from experiments.run.setting import Setting
from experiments.run.study import Study
from experiments.terminal import duration

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
    def of(cls, study: Study, options: Options, cache: Cache, say: Callable[[str], object]) -> "Planner":
        """Loads data and network, and times the network if the precision is to be chosen."""
        data, images = resolve(study.data), study.images and resolve(study.images)
        plain = options.machine()
        network = make_network(study, data, plain)
        choice = MachineChoice(plain, plain)
        if options.given_precision == "auto" and not isinstance(network, Exact):
            together = 1 if options.alone else study.seeds
            choice = autotune(network, plain, cache, together, say)
        machine = replace(choice.sampling, compiled=options.compile)
        if isinstance(network, Pretrained):
            network = make_network(study, data, choice.sampling) if choice.sampling != plain else network
        elif isinstance(network, Trained):
            network = replace(network, machine=choice.training)
        else:  # what is exact has its own machine, in fp32
            machine = network.machine
        may = isinstance(network, Trained) and not (options.compile or options.no_compile)
        seconds = choice.seconds if may and can_compile(machine.device) else 0.0
        return cls(study, network, _reference(study, data, images, network), machine, choice.why, seconds)

    def compiled_if_long(self, runs: Sequence[Run]) -> "Planner":
        """The same with compiled sampling, if that of all runs takes more than ten minutes. Compilation takes one."""
        samplings = {run.samples_id: run for run in runs if not run.impossible}
        seconds = self.seconds * sum(run.n * run.nfe for run in samplings.values())
        if seconds <= WORTH_COMPILING:
            return self
        note = f"{self.note}; compiled, since sampling would take {duration(seconds)}"
        return replace(self, machine=replace(self.machine, compiled=True), note=note)

    def plan(self, settings: Iterable[Setting]) -> list[Run]:
        """The runs of some settings, network by network.

        Raises:
            ValueError: settings, or options of the study, that do not suit each other or their data.
        """
        settings, study, runs = list(settings), self.study, list[Run]()
        check_settings(settings)
        most = self.reference.n // 3
        for number in range(study.seeds) if isinstance(self.network, Trained) else range(1):
            for setting in settings:
                if setting.networks is not None and number >= setting.networks:
                    continue
                n = setting.n or study.n_samples
                if not MIN_SAMPLES <= n <= most:
                    raise ValueError(
                        f"n_samples={n}: it must be between {MIN_SAMPLES} and {most} for data={self.reference.data!r}, "
                        "a third of its images: as many are set aside for the floor, and intervals hold only for a "
                        "reference larger than that"
                    )
                network = _trained_as(setting, self.network, study.first_seed + number)
                runs.append(Run(setting, network, n, self.machine, self.reference, study.batch_size))
        _check_runs(runs)
        return runs


def _reference(study: Study, data: str, images: str | None, network: Network) -> Reference:
    """What samples are compared with: the data, or --images, or latents of the data as the network decodes them."""
    if study.images is not None and not isinstance(network, Pretrained):
        raise ValueError(f"images={study.images!r}: only a network from elsewhere decodes its samples; use --data")
    real = data_of(images or data)
    latents = isinstance(real, Values) and not real.are_points
    if isinstance(network, Pretrained) and (shown := network.decoded_shape) and not latents:
        form.check_size(shown, real)
    if isinstance(real, Values) and real.are_points:
        if study.features not in (None, VALUES):
            raise ValueError(f"features={study.features!r}: points are compared as they are; leave it out")
        return Reference(real.name, VALUES, "")
    features = study.features or suited(real.name)
    decoder, most = None, None
    if latents:
        if study.images is not None or not isinstance(network, Pretrained):
            what = "--images must be images" if study.images else "--network must be one that decodes them"
            raise ValueError(f"data={real.name!r}: {what}; latents alone cannot be compared")
        decoder, most = network, MAX_DECODED if len(real) > MAX_DECODED else None
    content = features_id(features, study.feature_weights)
    return Reference(real.name, features, content, study.feature_weights, decoder, most)


def make_network(study: Study, data: str, machine: Machine) -> Network:
    """The network that the option --network names; a trained one is the first."""
    if study.label is not None and ":" not in study.network:
        raise ValueError(f"label={study.label}: it needs --network diffusers:FOLDER")
    if study.network == "exact":
        return Exact(data, held_out=study.held_out, machine=replace(machine, precision="fp32", compiled=False))
    if ":" in study.network:
        return Pretrained.of(study.network, data, study.label, machine)
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
    return Trained(data, network=name, held_out=held_out, machine=machine, **budget, **recipe)


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
    return replace(network, seed=seed + OTHER * one.retrained, **one.training)


def check_settings(settings: Sequence[Setting]) -> None:
    """Raises ValueError for settings that cannot be told apart, or whose texts cannot be printed in a line."""
    for number, one in enumerate(settings):
        if not isinstance(one, Setting):
            raise ValueError(f"settings(): number {number + 1} is {one!r}; it must be a Setting")
        for name in ("label", "section"):
            text = getattr(one, name)
            if not (text.strip() and text.isprintable()):
                raise ValueError(f"{name}={text!r}: it must be a text that can be printed in a line")
            if is_formula(text):
                raise ValueError(f"{name}={text!r}: a spreadsheet would calculate it; begin it with another character")
        if one.section == CONTROL and not (one.draw or one.retrained):
            raise ValueError(f"section={one.section!r} of {one.label!r}: the A/A control of a setting is called so")
    keys = [(one.section, one.budget, " ".join(one.label.split())) for one in settings]
    if twice := next((key for key, count in Counter(keys).items() if count > 1), None):
        raise ValueError(f"settings(): {twice[2]!r} of {twice[0]!r} more than once; labels of one section must differ")


def _check_runs(runs: Iterable[Run]) -> None:
    """Raises ValueError for runs that have no identity, whose cost is no number, or whose ladder changes."""
    for run in runs:
        identity(run.scored)
        planned = 0 if run.impossible else run.nfe
        if type(planned) is not int:
            raise ValueError(f"planned_nfe of {run.setting.label} is {planned!r}; it must be a whole number")
    for ladder in dict.fromkeys(run.setting.ladder for run in runs if not run.impossible):
        if uses_user_code(ladder) and ladder.sigmas() != ladder.sigmas():
            raise ValueError(f"ladder {ladder.name}: called twice, its schedule gave other levels")


def collect_settings(study: Study) -> list[Setting]:
    """The settings; with an A/A control of the first if several are compared as usual and none of them is a control."""
    settings = take_settings("settings()", study, study.settings)
    if type(study).compare is not Study.compare or len(settings) < 2:
        return settings
    if any(not isinstance(one, Setting) or one.section == CONTROL for one in settings):
        return settings
    trained = any(one.training for one in settings)
    return [*settings, replace(settings[0], section=CONTROL, budget=None, draw=int(not trained), retrained=trained)]


def take_settings(what: str, study: Study, method: Callable[[], Iterable[Setting]]) -> list[Setting]:
    """What a method of a user's yields. ValueError, with the line, if it fails."""
    file = getattr(sys.modules.get(type(study).__module__), "__file__", None)
    with of_user(what, file=file and Path(file)):
        return [*method()]


def check_options(study: Study, options: Options, out: Path) -> None:
    """Raises ValueError for options that do not suit the network, or a result folder among the images."""
    if not study.trains and (typed := sorted(options.given & {*study.of_training})):
        raise ValueError(f"{', '.join(typed)}: only for training; remove it, or --network")
    if options.machine().device == "mps" and (study.network == "exact" or (study.trains and study.recipe == "fast")):
        why = "it has no float64, which --recipe fast and --network exact need"
        raise ValueError(f"device='mps': {why}; use --recipe plain, or --device cpu")
    images = data_user.parse(study.data)
    if images and out.resolve().is_relative_to(Path(images.path).expanduser().resolve()):
        raise ValueError(f"out={str(out)!r}: it lies in the folder of the images; choose another folder")


def check_baselines(study: Study, runs: Sequence[Run]) -> None:
    """Raises ValueError if a setting with which all others of its section would be compared cannot be run."""
    if type(study).compare is not Study.compare:
        return
    for pair in study.interactions:
        if len(pair) != 2 or {*pair} - {run.setting.label for run in runs}:
            raise ValueError(f"interactions: {pair!r}: it must be a pair of labels of settings()")
    first: dict[Any, Run] = {}
    for run in runs:
        first.setdefault((run.setting.section, run.setting.budget), run)
    for run in runs:
        one, base = run.setting, first[run.setting.section, run.setting.budget]
        if one.section != CONTROL and (one.n, one.networks, one.draw) != (
            base.setting.n, base.setting.networks, base.setting.draw
        ):  # fmt: skip
            raise ValueError(
                f"{one.label!r} and {base.setting.label!r} of {one.section!r} cannot be compared: n, networks and draw "
                "must be equal in a section, since images are compared one by one"
            )
        if base.impossible and one != base.setting:
            raise ValueError(
                f"{base.setting.label!r} is the first setting of {one.section!r}, so all others are compared with it, "
                f"but it cannot be run: {base.impossible}"
            )
