"""Writes the recommended settings of `tune`: settings.json, and code to paste, which is run before it is written."""

from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from rich.console import Console

from diffusion_core.data import Images
from diffusion_core.samplers import Model
from experiments.config.identity import identity
from experiments.config.settings_file import FORMAT
from experiments.config.trial import Trial
from experiments.export import network
from experiments.export.libraries import diffusers, k_diffusion
from experiments.export.target import Target, Unsupported
from experiments.export.torch_loop import torch_loop
from experiments.export.verify import Mismatch, check_with_diffusers, difference
from experiments.own.behaviour import is_random
from experiments.stages.common import images_of, load_model
from experiments.store.checksums import write_json
from experiments.store.store import Store, write_text

EXPORTS: dict[str, Callable[[Target], str]] = {  # library -> its code
    "torch": torch_loop,
    "diffusers": diffusers,
    "k-diffusion": k_diffusion,
}
RUN = ("torch", "diffusers")  # libraries whose code is run before it is written


def write_settings(
    directory: Path,
    store: Store,
    done: Sequence[Trial],
    console: Console,
    *,
    data_root: Path | None,
    libraries: Sequence[str] | None = None,
) -> None:
    """Writes settings.json and export/: the best setting at each budget, from best_sets.csv.

    Args:
        libraries: the keys of EXPORTS to write code for; None for all that can express the setting.

    Note: code that fails or gives other images than the measured sampler is left out. settings.json and the terminal
        say why. Code that cannot be compared is marked.
    """
    sets = pd.read_csv(directory / "best_sets.csv") if (directory / "best_sets.csv").exists() else pd.DataFrame()
    simplest = [row for _, row in sets.iterrows() if row["simplest"]]
    chosen = [_best(sets[sets["mode"] == row["mode"]]) for row in simplest]
    trials = {(trial.mode, trial.setting): trial for trial in reversed(done)}  # of the first network
    entries = []
    for row, simple in zip(chosen, simplest, strict=True):
        trial = trials[row["mode"], row["setting"]]
        ties = sets[(sets["mode"] == row["mode"]) & sets["in_set"].astype(bool)]["setting"]
        entry = _entry(trial, row, [name for name in ties if name != row["setting"]])
        wanted = [name for name in EXPORTS if libraries is None or name in libraries]
        images = images_of(trial.model.data, data_root)
        model = load_model(trial.model, store, data_root, trial.samples.machine.device)
        code, failed = _exports(directory, trial, model, images, wanted)
        entries.append(entry | {"simplest": simple["setting"]} | code)
        for library, why in code["no_exports"].items():
            if library in failed or libraries is not None:
                style = "yellow" if library in failed else None
                console.print(f"no code for {library}, {trial.setting}: {why}", style=style, soft_wrap=True)
    for library, why in dict.fromkeys(pair for entry in entries for pair in entry["not_compared"].items()):
        console.print(f"code for {library} is not compared with the measured sampler: {why}", soft_wrap=True)
    if missing := _without(sets):
        what = f"no setting for {', '.join(missing)} in settings.json" if entries else "no settings.json and no code"
        console.print(f"{what}: {'; '.join(dict.fromkeys(missing.values()))}", style="yellow", soft_wrap=True)
    if entries:
        first = trials[chosen[0]["mode"], chosen[0]["setting"]]
        whose = {"network": first.model.description, "model_id": identity(first.model), "data": first.model.data}
        write_json(directory / "settings.json", {"format": FORMAT} | whose | {"settings": entries})
        console.print(f"settings to use: {directory / 'settings.json'}, code: {directory / 'export'}", soft_wrap=True)


def _best(rows: pd.DataFrame) -> pd.Series:
    """The member of a set that has the lowest score."""
    members = rows[rows["in_set"].astype(bool)]
    return members.loc[members["value"].idxmin()]


def _without(sets: pd.DataFrame) -> dict[str, str]:
    """Each mode that has no recommended setting, and why."""
    if not len(sets):
        return {"any budget": "no two settings succeeded"}
    missing = {}
    for mode, rows in sets.groupby("mode", sort=False):
        if not rows["simplest"].any():
            missing[str(mode)] = str(rows["no_verdict"].dropna().iloc[0])
    return missing


def _entry(trial: Trial, row: pd.Series, ties: list[str]) -> dict[str, Any]:
    ladder = trial.samples.ladder
    return {
        "budget": int(row["budget"]),
        "setting": row["setting"],
        "ties": ties,
        "ladder": ladder.name,
        "sampler": trial.samples.sampler.name,
        "n_steps": len(ladder.sigmas()) - 1,
        "sigma_max": ladder.sigma_max,
        "sigma_min": ladder.sigma_min,
        "ending_at_0": trial.samples.final_denoise,
        "sigmas": list(ladder.sigmas()),
        row["metric"]: row["value"],
        "fd": row["fd"],
        "n_samples": int(row["n_samples"]),
        "n_networks": int(row["n_networks"]),
        "features": row["features"],
        "precision": trial.samples.machine.precision,
    }


def _exports(
    directory: Path, trial: Trial, model: Model, images: Images, libraries: Iterable[str]
) -> tuple[dict[str, Any], set[str]]:
    """Writes the code for each library that can express the setting.

    Returns what settings.json says about it, and the libraries whose code was run and failed.
    """
    samples = trial.samples
    title = " ".join(f"{trial.setting}: {trial.budget} network evaluations per image".split())  # one line
    if samples.machine.precision != "fp32":
        title += f"; scored with the network under {samples.machine.precision} autocast, which is not used here"
    target = Target(title, samples.sampler, samples.ladder.sigmas(), samples.final_denoise, model, images)
    written, missing, unchecked, error = dict[str, str](), dict[str, str](), dict[str, str](), None
    failed = set[str]()
    for library in libraries:
        try:
            code = EXPORTS[library](target)
            if why := _cannot_check(library, model):
                unchecked[library], (first, rest) = why, code.split("\n", 1)
                code = f"{first}\n# Not compared with the sampler that was measured: {why}.\n{rest}"
            elif library == "torch":
                error = difference(code, samples, model, images)
            elif library == "diffusers":
                check_with_diffusers(code, target, torch.device(samples.machine.device))
        except Unsupported as reason:
            missing[library] = str(reason)
            failed |= {library} if isinstance(reason, Mismatch) else set()
            continue
        (directory / "export").mkdir(exist_ok=True)
        written[library] = f"export/{trial.budget}-evaluations-{library}.py"
        write_text(directory / written[library], code)
    own = {"model_sigmas": list(target.sigmas), "model_times": list(target.times), "model_shift": target.shift}
    own |= network.settings(target)
    return own | {"exports": written, "no_exports": missing, "not_compared": unchecked, "difference": error}, failed


def _cannot_check(library: str, model: Model) -> str:
    """Why the images of a library's code cannot be compared with ours; empty if they can."""
    if library not in RUN:
        return f"{library} is not run here"
    if is_random(model):
        return "the network is random (random = True)"
    return "" if library == "torch" or find_spec("diffusers") else "diffusers is not installed"
