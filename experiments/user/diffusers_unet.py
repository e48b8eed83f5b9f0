"""A UNet2DModel saved by diffusers, read from its folder or the Hugging Face hub and put behind the adapter `vp`.

No pickle is read or downloaded. diffusers is the extra `peers`.
"""

import importlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from diffusion_core import adapters
from diffusion_core.adapters.adapter import Labels
from diffusion_core.data.dataset import Images
from diffusion_core.validation import one_of
from experiments.user.imports import user_code_errors
from experiments.user.json_io import read_json

PREDICTIONS = {"epsilon": "eps", "v_prediction": "v", "sample": "x0"}  # diffusers' names and ours
WEIGHTS = "diffusion_pytorch_model.safetensors"
NO_SIGNAL = 2**-24  # the abar that some schedulers of diffusers put in place of 0
HUB_FILES = ["*.json", "diffusion_pytorch_model*.safetensors", "unet/*.safetensors"]  # that are fetched
LATENT = ("vae", "vqvae")  # pipelines with one of these denoise a latent code, not pixels
Config = dict[str, Any]


@dataclass(frozen=True)
class DiffusersFolder:
    """A model folder as `find` read it."""

    unet: Path  # the folder with the network's config.json and weights
    config: Config
    scheduler: Config | None  # None: no scheduler was saved
    files: list[Path]  # all that determine the model; others, such as a README, do not


@cache
def find_folder(name: str) -> Path:
    """The folder of this name; if there is none, that of ORG/NAME on the hub, or in its cache, as diffusers has it.

    ValueError if the hub cannot be asked and the cache lacks it, or there is no such repository.
    """
    path = Path(name).expanduser()
    if path.exists() or not re.fullmatch(r"[\w.-]*\w/[\w.-]+", name):
        return path
    hub = _import("huggingface_hub")
    with user_code_errors(
        f"diffusers:{name}: there is no such folder, nor a copy from the Hugging Face hub", ValueError
    ):
        return Path(hub.snapshot_download(name, allow_patterns=HUB_FILES))


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ValueError(f"diffusers is not installed ({error}); pip install -e '.[peers]'") from error


def find(root: Path) -> DiffusersFolder:
    """The network and scheduler saved in `root`, a UNet2DModel folder or a pipeline folder. diffusers is not needed.

    ValueError if there is no network with safetensors weights, or another network, or a latent pipeline.
    """
    path = _first(root / "unet" / "config.json", root / "config.json")
    if path is None:
        raise ValueError(f"diffusers:{root}: no network is there; save one with save_pretrained, or give ORG/NAME")
    config = read_json(path)
    if config.get("_class_name") != "UNet2DModel":
        raise ValueError(f"{path}: _class_name={config.get('_class_name')!r}, but it must be 'UNet2DModel'")
    index = root / "model_index.json"
    if latent := [name for name in LATENT if index.is_file() and name in read_json(index)]:
        raise ValueError(f"{index}: the pipeline has a {latent[0]!r}, so its network denoises a code and not pixels")
    weights = _first(path.with_name(WEIGHTS), path.with_name(f"{WEIGHTS}.index.json"))
    if weights is None:
        how = "Pickled weights are not read: save them anew with save_pretrained(PATH, safe_serialization=True)"
        raise ValueError(f"{path.parent}: no weights; {WEIGHTS} is not there. {how}")
    files = [path, weights]
    if weights.suffix == ".json":  # large networks are split over several files and an index
        files += map(path.with_name, read_json(weights)["weight_map"].values())
    scheduler = _first(root / "scheduler" / "scheduler_config.json", root / "scheduler_config.json")
    if scheduler is None and root.name == "unet" and (root.parent / "model_index.json").is_file():
        above = "name the folder above it, whose scheduler says what the network predicts"
        raise ValueError(f"diffusers:{root}: this is a part of a pipeline; {above}")
    files += [scheduler] if scheduler else []
    return DiffusersFolder(path.parent, config, read_json(scheduler) if scheduler else None, files)


def _first(*paths: Path) -> Path | None:
    return next((path for path in paths if path.is_file()), None)


class Unet(nn.Module):
    """A UNet2DModel as adapters call a network."""

    def __init__(self, unet: Any) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, z: Tensor, timestep: Tensor, labels: Tensor | None = None) -> Tensor:
        output: Tensor = self.unet(z, timestep, class_labels=labels).sample
        return output


def load(root: Path, images: Images, label: Labels, device: str) -> adapters.Adapter:
    """The network of a folder, for `images`, on `device`. One for smaller images gets their middle, see `Adapter`.

    ValueError if diffusers is not installed, or the folder has no model for these images and this label, see `find`.
    """
    folder = find(root)
    embedding = folder.config.get("time_embedding_type", "positional")
    if embedding != "positional":  # fourier takes sigma itself
        raise ValueError(f"{root}: time_embedding_type={embedding!r}: it must be 'positional'")
    diffusers = _import("diffusers")
    with user_code_errors(f"{root}: diffusers cannot load it", ValueError):
        prediction, abar = _process(diffusers, folder.scheduler or {"_class_name": "DDPMScheduler"})
        unet, report = diffusers.UNet2DModel.from_pretrained(
            str(folder.unet),
            use_safetensors=True,
            local_files_only=True,
            low_cpu_mem_usage=False,  # otherwise wrong sizes are reported in another way
            output_loading_info=True,
        )
        config = unet.config  # with diffusers' defaults
        size = config.sample_size
        (size,) = {*size} if isinstance(size, list) else {size}  # images are square
    n_classes = config.num_class_embeds
    if (n_classes is None) != (label is None):
        needs = "is unconditional" if n_classes is None else f"needs a label from 0 to {n_classes - 1}, or balanced"
        raise ValueError(f"label={label}: the network in {folder.unet} {needs}")
    for keys, verb in (("missing_keys", "lack"), ("unexpected_keys", "have, unlike its config,")):
        if report[keys]:  # diffusers only warns, and leaves missing weights at random values
            raise ValueError(f"{folder.unet}: its weights {verb} {', '.join(sorted(report[keys])[:3])}")
    model = adapters.vp(
        Unet(unet.float()),
        images,
        predicts=prediction,
        time=adapters.from_abar(abar),
        # with center_input_sample it maps its input z to 2 z - 1 itself
        pixels=(0.0, 1.0) if config.center_input_sample else (-1.0, 1.0),
        side=size,
        labels=label,
        n_classes=n_classes,
    )
    return model.to(device).eval()


def notes(root: Path) -> list[str]:
    """Assumptions about the model in a folder, and differences from diffusers' pipeline. ValueError as in `find`."""
    folder = find(root)
    config = folder.config
    scheduler = folder.scheduler or {}
    centred = bool(config.get("center_input_sample"))
    touched = "the estimated x0 at every step"
    no_snr = scheduler.get("rescale_betas_zero_snr")
    with_variance = 2 * config.get("in_channels", 0)
    defaults = "1,000 steps, beta linear from 0.0001 to 0.02, predicts eps"
    sentences = {
        "it is taken to expect images in [-1, 1], which diffusers does not record": not centred,
        "it is taken to expect images in [0, 1], because it centres its input itself (center_input_sample)": centred,
        f"no scheduler was saved with it: DDPMScheduler's defaults are assumed ({defaults})": folder.scheduler is None,
        f"its scheduler clips {touched} (clip_sample); here it is not touched": scheduler.get("clip_sample"),
        f"its scheduler thresholds {touched} (thresholding); here it is not touched": scheduler.get("thresholding"),
        "levels without any signal (rescale_betas_zero_snr) have an infinite sigma and are left out": no_snr,
        "its learned variance, the second half of its output, is not used": config.get("out_channels") == with_variance,
    }
    return [sentence for sentence, holds in sentences.items() if holds]


def _process(diffusers: Any, config: Config) -> tuple[str, Tensor]:
    """The prediction type as adapters call it, and the levels abar, of a scheduler's config.

    Any error is one of a scheduler that no network of a variance-preserving process was trained with.
    """
    scheduler = getattr(diffusers, config["_class_name"]).from_config(config)
    abar = scheduler.alphas_cumprod
    options = scheduler.config
    prediction = PREDICTIONS[one_of("prediction_type", options.prediction_type, PREDICTIONS)]
    if options.get("timestep_type") == "continuous" and prediction == "v":
        raise ValueError("timestep_type='continuous', so it receives ln(sigma) / 4 and not the index in a table")
    if options.get("use_flow_sigmas"):
        raise ValueError("use_flow_sigmas=True, so it is one of a flow and not of a variance-preserving process")
    no_signal = options.get("rescale_betas_zero_snr") and abar[-1] <= NO_SIGNAL
    return prediction, abar[:-1] if no_signal else abar
