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
from experiments.config.names import PYTHON
from experiments.metrics import features_user
from experiments.metrics.features import features_id
from experiments.models import external
from experiments.models.behaviour import behaviour
from experiments.stages.common import images_of
from experiments.stages.hardware import use_threads


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
            features_user.load(config.features)
        return features_id(config.features, config.weights) == config.features_id
    use_threads(config.machine.threads)
    images = images_of(config.data, data_root)
    network = external.load_foreign(config.source, images, config.label, config.machine.device)
    shown = behaviour(network, images, config.machine.device)
    return external.known_by(external.fingerprint(config.source), shown) == config.fingerprint
