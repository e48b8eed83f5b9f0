"""Checks in a worker that a user's model and features are still the code that was planned.

A worker imports them when it first needs them. If their file was edited meanwhile, its results would be those of other
code under the old identity.
"""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

from experiments.config.config import ReferenceConfig
from experiments.config.denoisers import ForeignConfig
from experiments.distances.spaces import PYTHON
from experiments.own import external, features
from experiments.own.behaviour import behaviour
from experiments.own.features import features_id
from experiments.run.hardware import use_threads
from experiments.stages.common import images_of


def unchanged(config: Any, data_root: Path | None) -> bool:
    """Whether the hashes in a config still fit its networks from elsewhere and its feature spaces."""
    return all(_same(part, data_root) for part in _parts(config) if isinstance(part, ForeignConfig | ReferenceConfig))


def _parts(config: Any) -> Iterator[Any]:
    if is_dataclass(config):
        yield config
        for each in fields(config):
            yield from _parts(getattr(config, each.name))


@cache
def _same(config: ForeignConfig | ReferenceConfig, data_root: Path | None) -> bool:
    """Code is imported before its file is hashed, so that what runs is not older than what was hashed."""
    if isinstance(config, ReferenceConfig):
        if config.features.startswith(PYTHON):
            features.load(config.features)
        return features_id(config.features, config.weights) == config.features_id
    use_threads(config.machine.threads)
    images = images_of(config.data, data_root)
    network = external.load_foreign(config.source, images, config.label, config.machine.device)
    shown = behaviour(network, images, config.machine.device)
    return external.known_by(external.fingerprint(config.source), shown) == config.fingerprint
