"""A question: what is compared, and how. It plans the runs, and makes their tables from the cache.

    @dataclass(frozen=True)
    class Mine(Study):
        question = "Does karras beat geometric?"
        def settings(self):
            for schedule in ("geometric", "karras"):
                yield Setting(schedule, Ladder(schedule, n_steps=16), Euler(0.0))

Its fields are the options of the question, their docstrings the help, and their values in a preset the defaults.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
import tyro
from PIL import Image

from diffusion_core.data import resolve
from diffusion_core.fields import check_fields, check_range
from experiments.distances.real import METRICS, QUALITY
from experiments.distances.spaces import suited
from experiments.own.features import dimension, features_id
from experiments.run import execute, folder, steps
from experiments.run.artifact import Artifact
from experiments.run.cache import Cache, Made
from experiments.run.compare import (
    BestSet,
    Comparison,
    Families,
    Row,
    Side,
    against_first,
    best_set_rows,
    contrast_rows,
    control,
    summary,
)
from experiments.run.identity import identity
from experiments.run.machine import Machine, pin_scores
from experiments.run.networks import RECIPES, Trained, images_of
from experiments.run.setting import MIN_SAMPLES, VALUES, Reference, Run, Setting
from reports.terminal import Terminal

REPEATS = 20  # of the floor
MOST_LOSSES = 5_000  # rows of losses.csv
SMOKE: Mapping[str, Any] = {"first_seed": 0, "train_images": 640, "warmup_images": 320, "n_samples": 132}
GPU: Mapping[str, Any] = {"data": "mnist", "train_images": 50 * 60_000, "seeds": 5, "n_samples": 10_000}
Hidden = tyro.conf.Suppress
Of = Mapping[tuple[str, int | None], Mapping[str, Side]]  # (group, budget) -> label -> side


@dataclass(frozen=True)
class Study:
    """The networks of a question, and how many samples each setting gets."""

    question: ClassVar[str]
    page: ClassVar[str] = "sweep"  # of the report
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"smoke": SMOKE, "laptop": {}, "gpu": GPU}

    data: Annotated[str, tyro.conf.arg(metavar="NAME")] = "mnist5k"
    """mnist5k (no download), mnist, fashion-mnist, cifar10, folder:PATH (images) or npz:PATH."""
    train_images: int = 200_000
    """Images that each network sees in training, repeats counted."""
    recipe: Literal["fast", "plain"] = "fast"
    """The networks and their training. plain: as in Karras et al. 2022. fast: good after fewer images."""
    seeds: int = 2
    """Number of networks, each trained from its own seed. More networks give narrower intervals."""
    n_samples: int = 500
    """Images per network and setting. More images give narrower intervals."""
    features: str | None = None
    """Feature space of all distances. (default: digits for MNIST, else natural)"""
    batch_size: int = 0
    """Samples per network evaluation; part of a run's identity. 0: the machine's default."""
    first_seed: Annotated[int, Hidden] = 1  # of training; recipes are tuned on seed 0
    warmup_images: Annotated[int, Hidden] = 10_000

    def settings(self) -> Iterator[Setting]:
        """What is compared."""
        raise NotImplementedError

    def compare(self, of: Of) -> Iterator[Comparison]:
        """In each group every setting against the first, and the set of the best; then the A/A control."""
        first: Side | None = None
        for (group, _), sides in of.items():
            if group != "control" and len(sides) > 1:
                first = first or next(iter(sides.values()))
                yield from against_first("setting", [*sides.values()])
                yield BestSet([*sides.values()])
        for side in of.get(("control", None), {}).values():
            if first:
                yield control(side, first)

    @property
    def fixed_beforehand(self) -> bool:
        """Whether the primary contrast is one that was fixed before any run."""
        return False

    def runs(self, machine: Machine) -> list[Run]:
        """Every setting with each of its networks. Raises ValueError if nothing can be run, or for too few images."""
        check_fields(self)
        data = resolve(self.data)
        check_range("seeds", self.seeds, 1, 1_000)
        most = len(images_of(data).pixels) // 3  # as many are set aside for the floor
        check_range("n_samples", self.n_samples, MIN_SAMPLES, most)
        features = self.features or suited(data)
        reference = Reference(data, features, "" if features == VALUES else features_id(features))
        budget: dict[str, Any] = {"images_seen": self.train_images, "warmup_images": self.warmup_images}
        network = Trained(data, machine=machine, **budget, **RECIPES[self.recipe])
        settings = list(self.settings())
        names = [(one.group, one.budget, one.label) for one in settings]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"settings: {twice[0]} is there more than once; labels of one group must differ")
        runs = list[Run]()
        for number in range(self.seeds):
            for one in settings:
                if one.networks is None or number < one.networks:
                    own = replace(network, seed=self.first_seed + number, **one.training)
                    runs.append(Run(one, own, one.n or self.n_samples, machine, reference, self.batch_size))
        if all(run.impossible for run in runs):
            raise ValueError(runs[0].impossible if runs else "settings: there are none")
        return runs


@dataclass(frozen=True)
class Answer:
    """A result folder with its report. `interrupted`: its table has the finished rows only, and there is no report."""

    rows: Sequence[Row]
    report: Path | None
    failed: Mapping[str, str]
    interrupted: bool


def answer(
    study: Study,
    machine: Machine,
    cache: Cache,
    out: Path,
    console: Terminal,
    *,
    preset: str = "laptop",
    notes: Sequence[str] = (),
    **how: Any,
) -> Answer:
    """Makes what is missing, and writes the result folder with its report.

    Args:
        preset: from which the study came.
        notes: what the report says besides.
        how: where runs are made, see `execute.execute`.
    """
    runs = study.runs(machine)
    with folder.held(out):
        worked = execute.execute(runs, cache, console, **how)
        if worked.interrupted:
            rows = _rows(study.page, runs, _done(runs, cache), {})
            folder.write_rows(out / "table.csv", rows.values())
            return Answer([*rows.values()], None, {}, True)
        result = tabulated(study, runs, cache, worked.failed)
        info: dict[str, Any] = {"experiment": study.page, "question": study.question, "preset": preset}
        info |= {"fixed_beforehand": study.fixed_beforehand, "notes": [*notes, *remarks(runs)]}
        report = folder.write(out, info, result.tables, result.pictures)
    return Answer([*result.tables["table.csv"]], report, worked.failed, False)


def remarks(runs: Sequence[Run]) -> Iterator[str]:
    """Caveats for readers of the numbers."""
    reference, smallest = runs[0].reference, min(run.n for run in runs)
    if reference.features == VALUES:
        return
    if smallest <= (d := dimension(reference.features, images_of(reference.data).pixels)):
        yield (
            f"{smallest} samples span fewer than the {d} feature dimensions: their covariance is singular, "
            "so FD compares only runs of equally many samples; MMD and KD have no such limit"
        )


# --- from the cache to tables ---


@dataclass(frozen=True)
class Files:
    """The files of a run that was made."""

    score: Artifact
    samples: Artifact
    network: Artifact | None


@dataclass(frozen=True)
class Tabulated:
    """A result: rows by the name of their file, and pictures by name."""

    tables: Mapping[str, Sequence[Row]]
    pictures: Mapping[str, Image.Image]


def tabulated(study: Study, runs: Sequence[Run], cache: Cache, failed: Mapping[str, str]) -> Tabulated:
    """The tables and pictures of a study's runs. `failed` says by score_id why some are not in the cache."""
    pin_scores()
    files = {run: _files(run, cache) for run in runs if not run.impossible and run.score_id not in failed}
    rows = _rows(study.page, runs, files, failed)
    floors = [row for one in dict.fromkeys((run.reference, run.n) for run in files) for row in floor_rows(*one, cache)]
    comparisons = list(study.compare(sides(runs, rows, files)))
    families = Families.over(comparisons)
    tables = {
        "table.csv": [*rows.values()],
        "floors.csv": floors,
        "contrasts.csv": list(contrast_rows(comparisons, families, floors)),
        "films.csv": list(_films(files)),
        "histograms.csv": list(_histograms(files, cache)),
        "losses.csv": list(_losses(files)),
    }
    if any(isinstance(one, BestSet) for one in comparisons):
        tables["best_sets.csv"] = list(best_set_rows(comparisons, families, floors))
    return Tabulated(tables, dict(_pictures(files)))


def sides(runs: Sequence[Run], rows: Mapping[Run, Row], files: Mapping[Run, Files]) -> Of:
    """The settings as they were measured, without impossible ones."""
    out: dict[tuple[str, int | None], dict[str, Side]] = {}
    for run in runs:
        if run.impossible:
            continue
        one, seed = run.setting, run.network.seed
        group = out.setdefault((one.group, one.budget), {})
        side = group.get(one.label) or Side(one.label, one.group, one.budget, 0, {}, {})
        side = replace(side, planned=side.planned + 1)
        if run in files:
            known = steps.distances_of(files[run].score)
            side = replace(side, rows={**side.rows, seed: rows[run]}, distances={**side.distances, seed: known})
        group[one.label] = side
    return out


def floor_rows(reference: Reference, n: int, cache: Cache) -> Iterator[Row]:
    """Rows of floors.csv: the score of n real images against the rest."""
    file, images = steps.reference(reference, cache)

    def make() -> Made:
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


def _done(runs: Sequence[Run], cache: Cache) -> dict[Run, Files]:
    """The files of runs that are scored."""
    there = (run for run in runs if not run.impossible and cache.path("scores", (run, run.reference)).exists())
    return {run: _files(run, cache) for run in there}


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


def _films(files: Mapping[Run, Files]) -> Iterator[Row]:
    for samples_id, samples in {run.samples_id: each.samples for run, each in files.items()}.items():
        for frame, sigma in enumerate(samples.facts["film_sigmas"]):
            yield {"samples_id": samples_id, "frame": frame, "sigma": sigma}


def _losses(files: Mapping[Run, Files]) -> Iterator[Row]:
    out = list[Row]()
    for network, file in {run.network: each.network for run, each in files.items()}.items():
        if file is not None:
            shared = {"model_id": identity(network), "train_seed": network.seed, "network": network.row()["network"]}
            for seen, loss in file.tensors["losses"].tolist():
                out.append(shared | {"images_seen": int(seen), "loss": f"{loss:.5g}"})
    yield from out[:: 1 + len(out) // MOST_LOSSES]


def _histograms(files: Mapping[Run, Files], cache: Cache) -> Iterator[Row]:
    counts = {run.score_id: each.score.facts["histogram"] for run, each in files.items()}
    counts = {name: values for name, values in counts.items() if values}
    if counts:
        run = next(iter(files))
        labels = steps.reference(run.reference, cache)[1].labels
        share = labels.bincount(minlength=steps.N_CLASSES) / len(labels)
        counts["real"] = (share * run.n).tolist()
    for name, values in counts.items():
        yield from ({"run_id": name, "label": label, "count": count} for label, count in enumerate(values))


def _pictures(files: Mapping[Run, Files]) -> Iterator[tuple[str, Image.Image]]:
    """The first samples in a square; of a few the film and the estimates, with one line per sample."""
    for samples_id, samples in {run.samples_id: each.samples for run, each in files.items()}.items():
        tensors = samples.tensors
        if not tensors["samples"].is_floating_point():
            yield samples_id, folder.square(tensors["samples"])
        for name in ("film", "denoised"):
            if name in tensors:
                yield f"{samples_id}-{name}", folder.tiled(tensors[name].transpose(0, 1))
    for run in [*files][:1]:
        if run.reference.features != VALUES:
            yield "real", folder.square(images_of(run.network.data).pixels)
