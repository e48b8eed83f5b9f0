"""From the cache to the tables and pictures of a result."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from diffusion_core.data.dataset import Values
from experiments.distances.distance import Distance, unpack_distances
from experiments.distances.reference import QUALITY, summarise
from experiments.run import images, stages
from experiments.run.cache import Artifact, Cache
from experiments.run.identity import uses_user_code
from experiments.run.machine import pin_scores
from experiments.run.networks import LOSSES, Pretrained, data_of
from experiments.run.pairs import name_both
from experiments.run.runs import VALUES, Run
from reports.schema import METRICS, Row

Tables = Mapping[str, Sequence[Row] | pd.DataFrame]  # rows by the name of their file
BELOW = 4  # standard errors, by which chance brings no MMD below 0


@dataclass(frozen=True)
class RunFiles:
    score: Artifact
    samples: Artifact
    network: Artifact | None


@dataclass(frozen=True)
class RunResults:
    """The results of the runs of a study. A run that was not made has no files; one that failed has a row."""

    page: str
    runs: Sequence[Run]
    files: Mapping[Run, RunFiles]
    rows: Mapping[Run, Row]
    cache: Cache
    failed: Mapping[str, str]  # why, by score_id

    @classmethod
    def of(cls, page: str, runs: Sequence[Run], cache: Cache, failed: Mapping[str, str]) -> "RunResults":
        """Loads what the cache holds of these runs."""
        pin_scores()
        files = dict[Run, RunFiles]()
        rows = dict[Run, Row]()
        for run in runs:
            row: Row = {"experiment": page, "status": "ok"} | run.row()
            if run.setting.values:
                row["factors"] = [*run.setting.values]
            if run.impossible:
                rows[run] = row
                continue
            if run.score_id in failed:
                rows[run] = row | {"status": "failed", "error": failed[run.score_id]}
                continue
            score = cache.load("scores", run.scored)
            samples = cache.load("samples", run)
            if score and samples:  # otherwise it was not made, and has no row
                network = cache.load("networks", run.network) if run.network.cost else None
                files[run] = RunFiles(score, samples, network)
                of_network = network.facts if network else {}
                rows[run] = {**row, **of_network, **samples.facts, **score.facts, **_visible_noise(run, score.facts)}
                rows[run] |= stages.read_apart(run, cache)
        return cls(page, runs, files, rows, cache, failed)

    @property
    def table(self) -> pd.DataFrame:
        """All rows, and those of runs that were not begun, which table.csv lacks."""
        return pd.DataFrame(
            [self.rows.get(run) or {"status": "not begun", **run.row(), "run_id": run.score_id} for run in self.runs]
        )

    @property
    def added(self) -> dict[str, dict[str, Distance]]:
        """What each image adds to the distances of a run, by run_id."""
        return {run.score_id: unpack_distances(files.score.tensors) for run, files in self.files.items()}

    def plus(self, others: "RunResults") -> "RunResults":
        """These results and those of other runs."""
        return replace(
            self, runs=[*self.runs, *others.runs], files={**self.files, **others.files},
            rows={**self.rows, **others.rows}, failed={**self.failed, **others.failed},
        )  # fmt: skip

    @cached_property
    def floors(self) -> list[Row]:
        """Rows of floors.csv: the score of n real images against the rest."""
        rows = list[Row]()
        for config, n in dict.fromkeys((run.reference, run.n) for run in self.files):
            shared = {"data": config.data, "features": config.features, "n_samples": n, "repeats": stages.REPEATS}
            shared |= {"n_reference": config.n - n}
            scores = stages.floor(config, n, self.cache)
            rows += [shared | {"metric": name} | summarise(scores[name].numpy()) for name in (*METRICS, *QUALITY)]
        return rows

    @property
    def tables(self) -> dict[str, Any]:
        """The tables of the runs alone."""
        tables = {"table.csv": [*self.rows.values()], "floors.csv": self.floors}
        return tables | ({"training.csv": losses} if (losses := self.losses) else {})

    @property
    def losses(self) -> list[Row]:
        """Rows of training.csv: the loss of each network while it was trained."""
        rows = list[Row]()
        networks = {run.network: (self.rows[run], files.network) for run, files in self.files.items()}
        for row, file in networks.values():
            curve = file.tensors.get(LOSSES, torch.empty(0)).tolist() if file else []
            shared = {name: row[name] for name in ("model_id", "train_seed")}
            rows += [shared | {"images_seen": seen, "loss": loss} for seen, loss in curve]
        return rows

    @property
    def pictures(self) -> dict[str, Image.Image]:
        """The first samples of each run, and of real images, by name."""
        return dict(_pictures(self.files))

    @property
    def warnings(self) -> list[str]:
        """Warnings if samples are nearer to the data than real images are, or settings that differ gave the same."""
        warnings = list[str]()
        for run, row in self.rows.items():
            if row["status"] == "ok" and row["mmd"] < -BELOW * row["mmd_se"]:
                size = f"MMD ×1000 {1000 * row['mmd']:.3g}, standard error {1000 * row['mmd_se']:.2g}"
                nearer = f"samples of {run.setting.label!r} are nearer to the data than other real images would be"
                warnings.append(f"{nearer} ({size}): are they copies of it?")
                break
        if not any(uses_user_code(run.setting) for run in self.files):
            return warnings
        first = dict[bytes, Run]()
        for run, files in self.files.items():
            digest = hashlib.sha256(files.samples.tensors["samples"].numpy().tobytes()).digest()
            other = first.setdefault(digest, run)
            if other.samples_id != run.samples_id and uses_user_code(run.setting):
                both = name_both(other.setting, run.setting)
                return [*warnings, f"{both} produced identical images; is the changed parameter used?"]
        return warnings

    @property
    def autoencoder_notes(self) -> list[str]:
        """The distances of a latent network's autoencoder alone, in words, if samples are compared with real images."""
        run = max(self.files, key=lambda run: run.n, default=None)
        if run is None or not isinstance(run.network, Pretrained) or run.network.data == run.reference.data:
            return []
        data = data_of(run.network.data)
        if not isinstance(data, Values):
            return []
        n = min(run.n, len(data))
        alone = stages.autoencoder_distances(run.network, run.reference, n, self.cache)
        values = f"FD {alone['fd'].value:.3g}, MMD ×1000 {1000 * alone['mmd'].value:.3g}"
        return [f"the autoencoder alone: {n:,} latents of the data, decoded, have {values}"]


def _visible_noise(run: Run, facts: Mapping[str, float]) -> Row:
    """The level of noise that one sees in samples. Scores hold it as grain: less what the schedule leaves."""
    if facts.get("grain") is None:
        return {}
    return {"visible_noise": facts["grain"] + run.noise_left, "visible_noise_se": facts["grain_se"]}


def _pictures(files: Mapping[Run, RunFiles]) -> Iterator[tuple[str, Image.Image]]:
    """The first samples of each run, and real images: in a square, and fewer in a row."""
    if not files:
        return
    config = next(iter(files)).reference
    real = stages.real_samples(config, slice(images.SHOWN_POINTS if config.features == VALUES else images.SHOWN))

    def both(name: str, samples: Tensor) -> Iterable[tuple[str, Image.Image]]:
        return zip((name, f"{name}-{images.FEW}"), images.grid_and_strip(samples, real), strict=True)

    for name, file in {run.samples_id: stored.samples for run, stored in files.items()}.items():
        yield from both(name, file.tensors["samples"])  # one file at a time: all would not fit into memory
    yield from both("real", real)
