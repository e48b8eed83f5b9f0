"""A further measurement on a denoiser, which a study brings. It is computed once, like every artifact.

probe_stage   probes/ID/   rows.json
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from experiments.config.denoisers import Loader, Machine, ModelConfig
from experiments.config.identity import identity
from experiments.run.hardware import use_threads
from experiments.stages.common import StoreLoader
from experiments.store.store import Store, read_json, write_json


class Probe(Protocol):
    """A measurement as a config: a frozen dataclass. It is made after the networks of its model are trained."""

    @property
    def model(self) -> ModelConfig: ...
    @property
    def machine(self) -> Machine: ...

    @property
    def cost(self) -> float:
        """The approximate number of network evaluations, for the estimate of the time."""

    def rows(self, loader: Loader) -> Iterable[dict[str, Any]]:
        """The measured numbers and texts. `loader` gives denoisers and data, on the machine's device."""


def probe_stage(probe: Probe, store: Store, data_root: Path | None) -> list[dict[str, Any]]:
    """The rows of a probe, computed once."""
    name = identity(probe)
    if not store.has("probes", name):
        use_threads(probe.machine.threads)
        rows = list(probe.rows(StoreLoader(store, data_root, probe.machine.device)))
        with store.writing("probes", name) as folder:
            write_json(folder / "rows.json", {"rows": rows})
    with store.reading("probes", name) as folder:
        return read_json(folder / "rows.json")["rows"]
