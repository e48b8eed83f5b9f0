"""Writes the recommended settings of `tune`: settings.json, and code to paste, which is run before it is written."""

import importlib.util
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from rich.console import Console
from torch import Tensor

from diffusion_core.adapters import Adapter
from diffusion_core.data import Images
from diffusion_core.samplers import Model, sample
from diffusion_core.samplers.sampling import at_samples, model_device
from diffusion_core.samplers.seeded_noise import BlockNoise
from experiments.config.denoisers import ForeignConfig
from experiments.config.identity import identity
from experiments.config.settings_file import FORMAT
from experiments.config.trial import Trial, described
from experiments.export.libraries import comfyui, diffusers, k_diffusion
from experiments.export.target import Target, Unsupported
from experiments.export.torch_loop import torch_loop
from experiments.stages.common import images_of, load_model
from experiments.store.checksums import write_json
from experiments.store.store import Store, write_text

N_IMAGES = 8  # that code is checked on
TOLERANCE = 1e-3  # in standard deviations of the data
EXPORTS: dict[str, tuple[str, Callable[[Target], str]]] = {  # library -> end of the file's name, its code
    "torch": (".py", torch_loop),
    "diffusers": (".py", diffusers),
    "k-diffusion": (".py", k_diffusion),
    "comfyui": (".txt", comfyui),
}


def write_settings(
    directory: Path,
    store: Store,
    done: Sequence[Trial],
    console: Console,
    *,
    data_root: Path | None,
    libraries: Sequence[str] | None = None,
) -> None:
    """Writes settings.json and export/: the simplest of the best settings at each budget, from best_sets.csv.

    Args:
        libraries: the keys of EXPORTS to write code for; None for all that can express the setting.

    Raises:
        ValueError: the torch code gives other images than the sampler that was measured.
    """
    sets = pd.read_csv(directory / "best_sets.csv") if (directory / "best_sets.csv").exists() else pd.DataFrame()
    chosen = [row for _, row in sets.iterrows() if row["simplest"]]
    trials = {(trial.mode, trial.setting): trial for trial in reversed(done)}  # of the first network
    entries = []
    for row in chosen:
        trial = trials[row["mode"], row["setting"]]
        images = images_of(trial.model.data, data_root)
        model = load_model(trial.model, store, data_root, trial.samples.machine.device)
        ties = sets[(sets["mode"] == row["mode"]) & sets["in_set"].astype(bool)]["setting"]
        entry = _entry(trial, row, [name for name in ties if name != row["setting"]])
        entry |= _exports(directory, trial, model, images, EXPORTS if libraries is None else libraries)
        entries.append(entry)
        for library, why in entry["no_exports"].items():
            if libraries is not None and library in libraries:
                console.print(f"no code for {library}, {trial.setting}: {why}", soft_wrap=True)
    if entries:
        first = trials[chosen[0]["mode"], chosen[0]["setting"]]
        name = first.model.name if isinstance(first.model, ForeignConfig) else described(first)["network"]
        whose = {"network": name, "model_id": identity(first.model), "data": first.model.data}
        write_json(directory / "settings.json", {"format": FORMAT} | whose | {"settings": entries})
        console.print(f"settings to use: {directory / 'settings.json'}, code: {directory / 'export'}", soft_wrap=True)


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
        "kd": row["value"],
        "fd": row["fd"],
        "n_samples": int(row["n_samples"]),
        "n_networks": int(row["n_networks"]),
        "features": row["features"],
    }


def _exports(directory: Path, trial: Trial, model: Model, images: Images, libraries: Iterable[str]) -> dict[str, Any]:
    """Writes the code for each library that can express the setting. Returns what settings.json says about it."""
    title = " ".join(f"{trial.setting}: {trial.budget} network evaluations per image".split())  # one line
    samples = trial.samples
    target = Target(title, samples.sampler, samples.ladder.sigmas(), samples.final_denoise, model, images)
    found, missing, error = dict[str, str](), dict[str, str](), None
    for library in libraries:
        if library not in EXPORTS:  # json
            continue
        end, make = EXPORTS[library]
        try:
            code = make(target)
            if library == "torch":
                error = difference(code, trial, model, images)
            elif library == "diffusers":
                check_with_diffusers(code, target, model, images)
        except Unsupported as why:
            missing[library] = str(why)
            continue
        if library == "torch" and not (error is not None and error <= TOLERANCE):
            raise ValueError(f"export: the code for {trial.setting} gives other images, by {error:.2g}")
        (directory / "export").mkdir(exist_ok=True)
        found[library] = f"export/{trial.budget}-evaluations-{library}{end}"
        write_text(directory / found[library], code)
    own = {"model_sigmas": list(target.sigmas), "model_times": list(target.times), "model_shift": target.shift}
    return own | {"exports": found, "no_exports": missing, "difference": error}


def difference(code: str, trial: Trial, model: Model, images: Images) -> float:
    """How far the images of the torch code are from ours, for the same noise, in our units.

    It is the largest difference of a pixel, as the median over N_IMAGES images: rounding grows in a few images, and
    wrong code shows in all.
    """
    config, device = trial.samples, model_device(model)
    ours = sample(
        model,
        config.ladder.sigmas(),
        config.sampler,
        n_samples=N_IMAGES,
        shape=images.shape,
        seed=config.seed,
        device=device,
        final_denoise=config.final_denoise,
    )
    net, noise, back = as_users_call(model, BlockNoise(config.seed, 0, N_IMAGES, images.shape, device))
    theirs = back(run(code)(net, noise))
    edge = (images.shape[1] - theirs.shape[2]) // 2
    inner = ours[..., edge : images.shape[1] - edge, edge : images.shape[2] - edge]
    return _apart(inner, theirs)


def check_with_diffusers(code: str, target: Target, model: Model, images: Images) -> None:
    """Runs the code for diffusers, if diffusers is installed, and compares its images with those of the torch code.

    Raises:
        Unsupported: it fails, or the images differ, so this version of diffusers is another one than the code is for.
    """
    if importlib.util.find_spec("diffusers") is None:
        return
    device = model_device(model)
    net, block, back = as_users_call(model, BlockNoise(0, 0, N_IMAGES, images.shape, device))
    shape = block().shape

    def sampled(text: str, *more: object) -> Tensor:
        generator = torch.Generator().manual_seed(0)  # on the CPU, from which diffusers draws too, in the same order
        drawn = (generator,) if more else ()
        return back(run(text)(net, *more, lambda: torch.randn(shape, generator=generator).to(device), *drawn))

    ours = sampled(torch_loop(target))
    try:
        with warnings.catch_warnings(action="ignore"):  # its own, about numpy and others
            from diffusers import DDPMScheduler

            kind = {"eps": "epsilon", "v": "v_prediction"}[target.predicts]
            config = DDPMScheduler(prediction_type=kind).config
            error = _apart(ours, sampled(code, dict(config)))
    except Exception as reason:  # of a library that we do not know
        raise Unsupported(f"the installed diffusers fails: {' '.join(str(reason).split())}") from None
    if not error <= TOLERANCE:
        raise Unsupported(f"the installed diffusers gives other images, by {error:.2g}; use the torch code")


def run(code: str) -> Callable[..., Tensor]:
    """The function `sample` that our own text defines."""
    defined: dict[str, Any] = {}
    exec(code, defined)
    found: Callable[..., Tensor] = defined["sample"]
    return found


def _apart(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference of a pixel, median over images."""
    return float((ours - theirs).abs().flatten(1).amax(dim=1).median())


def as_users_call(
    model: Model, noise: BlockNoise
) -> tuple[Callable[[Tensor, Tensor], Tensor], Callable[[], Tensor], Callable[[Tensor], Tensor]]:
    """The network as the user calls it, net(z, time); our noise for its images; and its images in our units."""
    index = torch.arange(N_IMAGES, device=noise.buffer.device)
    if not isinstance(model, Adapter):
        return at_samples(model, index), noise, lambda x: x
    edge, scale, shift = model.edge, model.scale, model.shift

    def inner() -> Tensor:
        whole = noise()
        return whole[..., edge : whole.shape[2] - edge, edge : whole.shape[3] - edge]

    return lambda z, time: model.outputs(z, time, index), inner, lambda x: (x - shift) / scale
