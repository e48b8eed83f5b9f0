"""Writes the recommended settings of `tune`: settings.json, and code to paste. The torch code is run before that."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from diffusion_core.data_set import DataSet
from diffusion_core.samplers import Model
from experiments.export import network
from experiments.export.diffusers_loop import diffusers_loop
from experiments.export.settings_file import FORMAT
from experiments.export.target import Target, Unsupported
from experiments.export.torch_loop import torch_loop
from experiments.export.verify import difference
from experiments.own.behaviour import is_random
from experiments.own.json_io import write_json, write_text
from experiments.run.compare import Row
from experiments.run.identity import identity
from experiments.run.networks import data_of
from experiments.run.runs import Run
from experiments.run.study import Say
from experiments.run.tables import RunResults
from reports.schema import JUDGE

EXPORTS: dict[str, Callable[[Target], str]] = {"torch": torch_loop, "diffusers": diffusers_loop}  # library -> its code


def write_settings(
    directory: Path, results: RunResults, sets: Sequence[Row], say: Say, libraries: Sequence[str] | None = None
) -> None:
    """Writes settings.json and export/: the recommended setting at each budget.

    Args:
        sets: rows of best_sets.csv.
        say: tells the user.
        libraries: the keys of EXPORTS to write code for; None for all that can express the setting.

    Note: torch code that fails or gives other images than the measured sampler is left out. settings.json and the
        terminal say why. Code that is not compared is marked.
    """
    sections = dict[str, list[Row]]()
    for row in sets:
        sections.setdefault(row["section"], []).append(row)
    recommended = {name: rows for name, rows in sections.items() if any(row["recommended"] for row in rows)}
    entries, runs = list[dict[str, Any]](), list[Run]()
    for name, rows in recommended.items():
        best = next(row for row in rows if row["recommended"])
        members = [row for row in rows if row["in_set"]] if best["in_set"] else []
        run = next(run for run in results.files if (run.setting.section, run.setting.label) == (name, best["setting"]))
        entry = _entry(run, best, [row["setting"] for row in members if row is not best])
        wanted = [library for library in EXPORTS if libraries is None or library in libraries]
        network_file = results.files[run].network
        model = run.network.load(network_file)
        code = _exports(directory, run, model, data_of(run.network.data), wanted)
        entries.append(entry | code)
        runs.append(run)
        for library, why in code["no_exports"].items():
            if library == "torch" or libraries is not None:
                say(f"no code for {library}, {run.setting.label}: {why}")
    for library, why in dict.fromkeys(pair for entry in entries for pair in entry["not_compared"].items()):
        say(f"code for {library} is not compared with the measured sampler: {why}")
    missing = {
        name: next((row["no_verdict"] for row in rows if row["no_verdict"]), "")
        for name, rows in sections.items()
        if name not in recommended
    }
    if missing or not sections:
        what = f"no setting for {', '.join(missing)} in settings.json" if entries else "no settings.json and no code"
        say(f"{what}: {'; '.join(dict.fromkeys(missing.values())) or 'no two settings succeeded'}")
    if entries:
        first = runs[0].network
        whose = {"network": first.row()["network"], "model_id": identity(first), "data": first.data}
        write_json(directory / "settings.json", {"format": FORMAT} | whose | {"settings": entries})
        say(f"settings to use: {directory / 'settings.json'}, code: {directory / 'export'}")


def _entry(run: Run, row: Row, ties: list[str]) -> dict[str, Any]:
    ladder = run.setting.ladder
    return {
        "budget": row["budget"],
        "setting": row["setting"],
        "ties": ties,
        "ladder": ladder.name,
        "sampler": run.setting.sampler.name,
        "n_steps": len(run.sigmas) - 1,
        "sigma_max": ladder.sigma_max,
        "sigma_min": ladder.sigma_min,
        "ending_at_0": run.setting.final_denoise,
        "sigmas": list(run.sigmas),
        JUDGE: row["value"],
        "fd": row["fd"],
        "n_samples": run.n,
        "n_networks": row["n_networks"],
        "features": run.reference.features,
        "precision": run.machine.precision,
    }


def _exports(directory: Path, run: Run, model: Model, data: DataSet, libraries: Sequence[str]) -> dict[str, Any]:
    """Writes the code for each library that can express the setting. Returns what settings.json says about it."""
    one = run.setting
    title = " ".join(f"{one.label}: {one.budget} network evaluations per image".split())  # one line
    if run.machine.precision != "fp32":
        title += f"; scored with the network under {run.machine.precision} autocast, which is not used here"
    target = Target(title, one.sampler, run.sigmas, one.final_denoise, model, data)
    written, missing, unchecked, error = dict[str, str](), dict[str, str](), dict[str, str](), None
    for library in libraries:
        try:
            code = EXPORTS[library](target)
            if why := _cannot_check(library, model):
                unchecked[library], (first, rest) = why, code.split("\n", 1)
                code = f"{first}\n# Not compared with the sampler that was measured: {why}.\n{rest}"
            else:
                error = difference(code, run, model)
        except Unsupported as reason:
            missing[library] = str(reason)
            continue
        (directory / "export").mkdir(exist_ok=True)
        written[library] = f"export/{one.budget}-evaluations-{library}.py"
        write_text(directory / written[library], code)
    own = {"model_sigmas": list(target.sigmas), "model_times": list(target.times), "model_shift": target.shift}
    own |= network.settings(target)
    return own | {"exports": written, "no_exports": missing, "not_compared": unchecked, "difference": error}


def _cannot_check(library: str, model: Model) -> str:
    """Why the images of a library's code cannot be compared with ours; empty if they can."""
    if library != "torch":
        return f"{library} is not run here"
    return "the network is random (random = True)" if is_random(model) else ""
