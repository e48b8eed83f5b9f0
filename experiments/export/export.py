"""Writes the recommended settings of `tune`: settings.json, and code to paste; torch code is run first."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor

from diffusion_core.adapters import Adapter
from diffusion_core.samplers import Model
from diffusion_core.samplers.seeded_noise import BlockNoise
from experiments.export.loops import ExportTarget, UnsupportedError, diffusers_loop, torch_loop
from experiments.export.settings_file import FORMAT
from experiments.run.comparisons import CONFIRM, Row, Side
from experiments.run.identity import identity
from experiments.run.networks import Network, data_of
from experiments.run.runs import Run
from experiments.run.stages import generate
from experiments.run.study import Notify
from experiments.run.tables import RunResults
from experiments.user.conventions import WrappedModel
from experiments.user.imports import format_error
from experiments.user.json_io import write_json, write_text
from experiments.user.network_io import is_random
from reports.schema import PRIMARY_METRIC

EXPORTS: dict[str, Callable[[ExportTarget], str]] = {"torch": torch_loop, "diffusers": diffusers_loop}
N_IMAGES = 8  # that code is checked on
TOLERANCE = 1e-3  # in standard deviations of the data
ROUNDED = 2**-22  # relative change of x, about what another order of the operations gives in float32
MARGIN = 10  # the tolerance for a network that rounds more: times what ROUNDED changes
MOST = 0.1  # that tolerance, at most


def write_settings(
    directory: Path, results: RunResults, contrasts: Sequence[Row], say: Notify, libraries: Sequence[str] | None = None
) -> None:
    """Writes settings.json and export/: at each number of evaluations the recommended setting, or else the default.

    `contrasts`: the rows of contrasts.csv. `libraries`: the keys of EXPORTS to write code for; None for all that can
    express the setting. Torch code that fails or gives other images than the measured sampler is left out, and `say`
    says why. Other code is marked.
    """
    confirmed = [
        row for row in contrasts if row["kind"] == CONFIRM and row["metric"] == PRIMARY_METRIC and "verdict" in row
    ]
    by_budget: dict[int, list[Row]] = {}
    for row in confirmed:
        by_budget.setdefault(row["budget"], []).append(row)
    entries = list[dict[str, Any]]()
    networks = list[Network]()
    missing = dict[int, str]()
    for budget, rows in by_budget.items():
        if all(row["no_verdict"] for row in rows):
            missing[budget] = rows[0]["no_verdict"]
            continue
        best = next((row["a"] for row in rows if row["recommended"]), rows[0]["b"])
        side = results.sides[CONFIRM, budget][best]
        run = results.find(side)
        model = run.network.load(results.files[run].network)
        entry = _setting(run, side) | _write_code(directory, run, model, libraries or [*EXPORTS])
        for library, reason in entry["no_exports"].items():
            if library == "torch" or libraries is not None:
                say(f"no code for {library}, {run.setting.label}: {reason}")
        entries.append(entry)
        networks.append(run.network)
    for library, reason in dict.fromkeys(pair for entry in entries for pair in entry["not_compared"].items()):
        say(f"code for {library} is not compared with the measured sampler: {reason}")
    if missing or not by_budget:
        where = f" for {', '.join(map(str, missing))} evaluations" if missing else ""
        lacking = f"no setting{where} in settings.json" if entries else "no settings.json and no code"
        say(f"{lacking}: {'; '.join(dict.fromkeys(missing.values())) or 'nothing was confirmed'}")
    if entries:
        network = networks[0]
        origin = {"network": network.row()["network"], "model_id": identity(network), "data": network.data}
        write_json(directory / "settings.json", {"format": FORMAT} | origin | {"settings": entries})
        say(f"settings to use: {directory / 'settings.json'}, code: {directory / 'export'}")


def _setting(run: Run, side: Side) -> dict[str, Any]:
    schedule = run.setting.schedule
    rows = side.rows.values()
    return {
        "budget": side.budget, "setting": side.label, "schedule": schedule.name,
        "sampler": run.setting.sampler.name, "n_steps": len(run.sigmas) - 1, "sigma_max": schedule.sigma_max,
        "sigma_min": schedule.sigma_min, "ending_at_0": run.setting.final_denoise, "sigmas": list(run.sigmas),
        PRIMARY_METRIC: side.score, "fd": mean(row["fd"] for row in rows), "n_samples": run.n, "n_networks": len(rows),
        "features": run.reference.features, "precision": run.machine.precision,
    }  # fmt: skip


def _write_code(directory: Path, run: Run, model: Model, libraries: Iterable[str]) -> dict[str, Any]:
    """Writes the code for each library that can express the setting. Returns what settings.json says about it."""
    setting = run.setting
    title = f"{' '.join(setting.label.split())}: {setting.budget} network evaluations per image"  # one line
    if run.machine.precision != "fp32":
        title += f"; scored with the network under {run.machine.precision} autocast, which is not used here"
    target = ExportTarget(title, setting.sampler, run.sigmas, setting.final_denoise, model, data_of(run.network.data))
    about: dict[str, Any] = target.entries() | {"difference": None}
    about |= {name: {} for name in ("exports", "no_exports", "not_compared")}
    for library in (library for library in EXPORTS if library in libraries):
        try:
            code = EXPORTS[library](target)
            unchecked = ""
            if library != "torch":
                unchecked = f"{library} is not run here"
            elif is_random(model):
                unchecked = "the network is random (random = True)"
            else:
                about["difference"] = difference(code, run, model)
        except UnsupportedError as reason:
            about["no_exports"][library] = str(reason)
            continue
        if unchecked:
            about["not_compared"][library] = unchecked
            code = code.replace("\n", f"\n# Not compared with the sampler that was measured: {unchecked}.\n", 1)
        (directory / "export").mkdir(exist_ok=True)
        about["exports"][library] = f"export/{setting.budget}-evaluations-{library}.py"
        write_text(directory / about["exports"][library], code)
    return about


def difference(code: str, measured: Run, model: Model) -> float:
    """How far the images of the torch code are from ours, for the same noise, in standard deviations of the data.

    It is the largest difference of a pixel, as the median over images: rounding grows in a few images, and wrong code
    shows in all. Both are in fp32, as the code is run, whatever the setting was measured in.

    UnsupportedError if the code fails, or if the difference is above TOLERANCE and above what rounding explains.
    """
    measured = replace(measured, machine=replace(measured.machine, precision="fp32", compiled=False))

    def apart(theirs: Tensor) -> float:
        return float((images - theirs).abs().flatten(1).amax(dim=1).median())

    def ours(relative_error: float) -> Tensor:
        """Our images if the network reads x with this error, as rounding may change it."""
        wrapped = WrappedModel(model, images=partial(torch.mul, other=1 + relative_error))
        x = generate(measured, wrapped, range(N_IMAGES), N_IMAGES)
        return model.inner(x) if isinstance(model, Adapter) else x

    try:
        device = torch.device(measured.machine.device)
        block_noise = BlockNoise(measured.seed, range(N_IMAGES), measured.network.shape, device)
        net, noise, back = as_users_call(model, block_noise)
        images = ours(0.0)
        error = apart(back(run_code(code)(net, noise)))
        fits = error <= TOLERANCE or error <= min(MARGIN * apart(ours(ROUNDED)), MOST)
    except Exception as reason:  # of a network that we do not know
        raise UnsupportedError(f"the code fails here: {format_error(reason)}") from None
    if not fits:
        raise UnsupportedError(f"the code gives other images, by {error:.2g} standard deviations of the data")
    return error


def run_code(code: str) -> Callable[..., Tensor]:
    """The function `sample` that our own text defines."""
    defined: dict[str, Any] = {}
    exec(code, defined)
    return defined["sample"]


def as_users_call(
    model: Model, noise: BlockNoise
) -> tuple[Callable[..., Tensor], Callable[[], Tensor], Callable[[Tensor], Tensor]]:
    """The network as the user has it; our noise for its images; and its images in our units."""
    if not isinstance(model, Adapter):
        return model, noise, lambda x: x
    return model.net, lambda: model.inner(noise()), lambda x: (x - model.shift) / model.scale
