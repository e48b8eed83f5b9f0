"""What a study asks, and whether it can be asked."""

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from diffusion_core import data_user
from experiments.own.user_code import of_user
from experiments.run.cache import Cache
from experiments.run.compare import CONTROL
from experiments.run.options import Options
from experiments.run.plan import Run
from experiments.run.setting import Setting
from experiments.run.study import Study

MOST_SETTINGS = 100_000
KINDS = "networks references samples scores floors timings checks curves features".split()  # of the cache


def check_given(study: Study, options: Options, out: Path, cache: Cache) -> None:
    """Raises ValueError for options that do not suit the network, or a result folder among the files of the cache."""
    if not study.trains and (typed := sorted(options.given & {*study.of_training})):
        raise ValueError(f"{', '.join(typed)}: nothing is trained, since --network brings a network")
    if options.machine().device == "mps" and (study.network == "exact" or (study.trains and study.recipe == "fast")):
        why = "it has no float64, which --recipe fast and --network exact need"
        raise ValueError(f"device='mps': {why}; use --recipe plain, or --device cpu")
    if any(out.resolve().is_relative_to(cache.root.resolve() / kind) for kind in KINDS):
        raise ValueError(f"out={str(out)!r}: it lies in a folder of the store {cache.root}; choose another folder")
    images = data_user.parse(study.data)
    if images and out.resolve().is_relative_to(Path(images.path).expanduser().resolve()):
        raise ValueError(f"out={str(out)!r}: it lies in the folder of the images; choose another folder")


def settings_of(study: Study) -> list[Setting]:
    """The settings; with an A/A control of the first if several are compared as usual and none of them is a control."""
    settings = taken("settings()", study, study.settings)
    if type(study).compare is not Study.compare or len(settings) < 2:
        return settings
    if any(not isinstance(one, Setting) or one.group == CONTROL for one in settings):
        return settings
    trained = any(one.training for one in settings)
    return [*settings, replace(settings[0], group=CONTROL, budget=None, draw=int(not trained), retrained=trained)]


def taken(what: str, study: Study, yields: Callable[[], Iterable[Setting]]) -> list[Setting]:
    """What a method of a user's yields. ValueError if it fails, or does not end."""
    file = getattr(sys.modules.get(type(study).__module__), "__file__", None)
    with of_user(what, file=file and Path(file)):
        settings = [*islice(yields(), MOST_SETTINGS + 1)]
    if len(settings) > MOST_SETTINGS:
        raise ValueError(f"{what}: it yields more than {MOST_SETTINGS:,} settings")
    return settings


def check_baselines(study: Study, runs: Sequence[Run]) -> None:
    """Raises ValueError if a setting with which all others of its group would be compared cannot be run."""
    if type(study).compare is not Study.compare:
        return
    for pair in study.interactions:
        if len(pair) != 2 or {*pair} - {run.setting.label for run in runs}:
            raise ValueError(f"interactions: {pair!r}: it must be a pair of labels of settings()")
    first: dict[Any, Run] = {}
    for run in runs:
        first.setdefault((run.setting.group, run.setting.budget), run)
    for run in runs:
        one, other = run.setting, first[run.setting.group, run.setting.budget].setting
        if one.group != CONTROL and (one.n, one.networks, one.draw) != (other.n, other.networks, other.draw):
            raise ValueError(
                f"{one.label!r} and {other.label!r} of {one.group!r} cannot be compared: n, networks and draw must be "
                "equal in a group, since images are compared one by one"
            )
    for run in first.values():
        if run.impossible and any(other.setting != run.setting for other in runs):
            raise ValueError(
                f"{run.setting.label!r} is the first setting of {run.setting.group!r}, so all others are compared with "
                f"it, but it cannot be run: {run.impossible}"
            )
