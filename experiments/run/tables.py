"""From the cache to the tables and pictures of a result."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from PIL import Image

from diffusion_core.data_set import Values
from experiments.distances.real import METRICS, QUALITY
from experiments.own.user_code import of_user
from experiments.run import folder, steps
from experiments.run.artifact import Artifact
from experiments.run.cache import Cache
from experiments.run.cache import Made as Content
from experiments.run.compare import BestSet, Comparison, Row, Side, named
from experiments.run.contrasts import Judge, best_set_rows, comparable, contrast_rows, summary
from experiments.run.foreign import Foreign
from experiments.run.identity import has_own_code
from experiments.run.machine import pin_scores
from experiments.run.networks import data_of
from experiments.run.plan import VALUES, Reference, Run
from experiments.run.scatter import SHOWN, Scatter
from experiments.run.study import Of, Study

REPEATS = 20  # of the floor
BELOW = 4  # standard errors, by which chance brings no MMD below 0


@dataclass(frozen=True)
class Files:
    """The files of a run that was made."""

    score: Artifact
    samples: Artifact
    network: Artifact | None


@dataclass(frozen=True)
class Made:
    """What the runs of a study gave. A run that was not made has no files; one that failed has a row.

    `failed`: why, by score_id.
    """

    page: str
    runs: Sequence[Run]
    files: Mapping[Run, Files]
    rows: Mapping[Run, Row]
    cache: Cache
    failed: Mapping[str, str]

    @classmethod
    def of(cls, page: str, runs: Sequence[Run], cache: Cache, failed: Mapping[str, str]) -> "Made":
        """What is in the cache of some runs. `failed` says by score_id why some are not."""
        pin_scores()
        files = {run: _files(run, cache) for run in runs if not run.impossible and _is_there(run, cache, failed)}
        return cls(page, runs, files, _rows(page, runs, files, failed), cache, failed)

    @cached_property
    def sides(self) -> Of:
        """The settings as they were measured, without impossible ones."""
        out: dict[tuple[str, int | None], dict[str, Side]] = {}
        runs: dict[tuple[str, int | None, str], list[Run]] = {}
        for run in self.runs:
            if not run.impossible:
                runs.setdefault((run.setting.group, run.setting.budget, run.setting.label), []).append(run)
        for (group, budget, label), same in runs.items():
            one = same[0].setting
            what = (one.ladder, one.sampler, one.final_denoise, one.training, same[0].n)
            there = {run.number: run for run in same if run in self.files}
            rows = {seed: self.rows[run] for seed, run in there.items()}
            distances = {seed: steps.distances_of(self.files[run].score) for seed, run in there.items()}
            out.setdefault((group, budget), {})[label] = Side(
                label, group, budget, len(same), rows, distances, what=what
            )
        return out

    def find(self, side: Side) -> Run:
        """The first run of a setting that was made."""
        same = (run for run in self.files if (run.setting.group, run.setting.budget) == side.place)
        return next(run for run in same if run.setting.label == side.label)

    @property
    def floors(self) -> list[Row]:
        """Rows of floors.csv."""
        pairs = dict.fromkeys((run.reference, run.n) for run in self.files)
        return [row for pair in pairs for row in floor_rows(*pair, self.cache)]

    @property
    def pictures(self) -> dict[str, Image.Image]:
        """The first samples of each run, and of real images, by name."""
        return dict(_pictures(self.files))

    @property
    def doubts(self) -> list[str]:
        """Warnings if samples are nearer to the data than real images are, or settings that differ gave the same."""
        first, found = dict[str, Run](), list[str]()
        for run, row in self.rows.items():
            if row["status"] == "ok" and row["mmd"] < -BELOW * row["mmd_se"]:
                size = f"MMD ×1000 {1000 * row['mmd']:.3g}, standard error {1000 * row['mmd_se']:.2g}"
                what = f"samples of {run.setting.label!r} are nearer to the data than other real images would be"
                found.append(f"{what} ({size}): are they copies of it?")
                break
        for run, file in self.files.items():
            other = first.setdefault(file.score.sum, run)
            if other.samples_id != run.samples_id and has_own_code(run.setting):
                both = named(other.setting, run.setting)
                return [*found, f"{both} gave exactly the same images; does its code see what differs?"]
        return found

    @property
    def autoencoder(self) -> list[str]:
        """What the autoencoder of a network on latents costs, if samples are compared with real images."""
        run = max(self.files, key=lambda run: run.n, default=None)
        network, data = run and run.network, run and data_of(run.network.data)
        if run is None or not (isinstance(network, Foreign) and isinstance(data, Values)):
            return []
        if network.data == run.reference.data:
            return []
        n = min(run.n, len(data))
        alone = steps.distances_of(steps.of_autoencoder(network, run.reference, n, self.cache))
        values = f"FD {alone['fd'].value:.3g}, MMD ×1000 {1000 * alone['mmd'].value:.3g}"
        return [f"the autoencoder alone: {n:,} latents of the data, decoded, have {values}"]


@dataclass(frozen=True)
class Result:
    """A result: rows by the name of their file, and pictures by name."""

    tables: Mapping[str, Sequence[Row]]
    pictures: Mapping[str, Image.Image]


def tabulated(study: Study, made: Made) -> Result:
    """The tables and pictures of a study's runs."""
    floors = made.floors
    with of_user("compare()"):
        comparisons = list(study.compare(made.sides))
    if others := [one for one in comparisons if not isinstance(one, Comparison)]:
        known = "Contrast(kind, a, b), Interaction(a, b) or BestSet(sides)"
        raise ValueError(f"compare(): {others[0]!r:.80}: it must yield {known}")
    with of_user("more()"):
        more = dict(study.more(made))
    comparisons = comparable(comparisons)
    judge = Judge.of(comparisons, floors)
    tables = {
        "table.csv": [*made.rows.values()],
        "floors.csv": floors,
        "contrasts.csv": list(contrast_rows(comparisons, judge)),
    }
    if any(isinstance(one, BestSet) for one in comparisons):
        tables["best_sets.csv"] = list(best_set_rows(comparisons, judge))
    if wrong := [name for name in more if name in tables or name not in folder.TABLES]:
        raise ValueError(f"more(): {wrong[0]!r}: it may give {', '.join(sorted(folder.TABLES.keys() - tables.keys()))}")
    return Result(tables | more, made.pictures)


def floor_rows(reference: Reference, n: int, cache: Cache) -> Iterator[Row]:
    """Rows of floors.csv: the score of n real images against the rest."""
    file, images = steps.reference(reference, cache)

    def make() -> Content:
        scores = images.real.floor(n, range(1, REPEATS + 1))
        return {name: torch.from_numpy(values) for name, values in scores.items()}, {}

    floor = cache.cached("floors", (reference, n, REPEATS), make, [file]).tensors
    shared = {"data": reference.data, "features": reference.features, "n_samples": n, "repeats": REPEATS}
    shared |= {"n_reference": len(images.real.features) - n}
    for metric in (*METRICS, *QUALITY):
        yield shared | {"metric": metric} | summary(floor[metric].numpy())


def _nothing(evaluations: float) -> None:
    """What is in the cache takes no evaluations."""


def _files(run: Run, cache: Cache) -> Files:
    score, samples = steps.score(run, cache, _nothing), steps.sample(run, cache, _nothing)
    return Files(score, samples, run.network.made(cache, _nothing))


def _is_there(run: Run, cache: Cache, failed: Mapping[str, str]) -> bool:
    return run.score_id not in failed and cache.path("scores", run.scored).exists()


def _rows(page: str, runs: Sequence[Run], files: Mapping[Run, Files], failed: Mapping[str, str]) -> dict[Run, Row]:
    """Rows of table.csv. Runs that neither failed nor were made have none."""
    out: dict[Run, Row] = {}
    for run in runs:
        known = {"experiment": page, "status": "ok"} | run.row()
        if run in files:
            parts = (files[run].network, files[run].samples, files[run].score)
            out[run] = known | {name: value for part in parts if part for name, value in part.facts.items()}
        elif run.impossible:
            out[run] = known
        elif run.score_id in failed:
            out[run] = known | {"status": "failed", "error": failed[run.score_id]}
    return out


def _pictures(files: Mapping[Run, Files]) -> Iterator[tuple[str, Image.Image]]:
    """The first samples of each run, and real images: in a square, and fewer in a row."""
    if not files:
        return
    config = next(iter(files)).reference
    points = config.features == VALUES
    real = steps.real_samples(config, slice(SHOWN if points else folder.SHOWN))
    plots = Scatter.of(real) if points else folder
    for name, file in {run.samples_id: each.samples for run, each in files.items()}.items():
        samples = file.tensors["samples"]  # one file at a time: all would not fit into memory
        yield name, plots.square(samples)
        yield f"{name}-{folder.FEW}", plots.strip(samples)
    yield "real", plots.square(real)
    yield f"real-{folder.FEW}", plots.strip(real)
