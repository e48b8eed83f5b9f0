"""UNets saved by diffusers, through the wrapper, against diffusers' own loop: the largest relative differences are
printed by `pytest tests/experiments/user/test_diffusers_unet.py -q -rP`.
"""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import warm
from arrays import normal
from refusals import refused
from tables import cells
from torch import Tensor
from torch.testing import assert_close
from user_images import MEAN, STD, black

from diffusion_core import adapters
from diffusion_core.adapters.adapter import Labels
from diffusion_core.samplers import Euler, checked_steps
from diffusion_core.schedules import ddpm_table
from experiments.user.pretrained import describe, fingerprint, load_network, notes

SCALE, SHIFT = STD / 127.5, MEAN / 127.5 - 1  # standard deviation and mean of the data in [-1, 1]
SIDE = 16
N_STEPS = 12
LIMIT = 1e-4  # of relative differences
Save = Callable[..., Path]
Trajectory = tuple[tuple[float, ...], Tensor]


@pytest.fixture(scope="module")
def diffusers() -> Any:
    return pytest.importorskip("diffusers", reason="diffusers is not installed (extra `peers`)")


@pytest.fixture
def save(diffusers: Any, tmp_path: Path) -> Save:
    """Saves a small random UNet2DModel and a scheduler as a pipeline folder, or the network alone."""

    def saved(scheduler: Any = None, *, bare: bool = False, name: str = "ddpm-mine", **changes: Any) -> Path:
        torch.manual_seed(3)
        config = {"sample_size": SIDE, "in_channels": 1, "out_channels": 1, "block_out_channels": (32, 32)}
        config |= {"layers_per_block": 1, "norm_num_groups": 8}
        config |= {f"{way}_block_types": (f"{way.title()}Block2D",) * 2 for way in ("down", "up")}
        unet = diffusers.UNet2DModel(**config | changes)
        with torch.no_grad():
            unet.conv_out.weight *= 5  # a fresh network returns little, which would hide what is done with it
        folder = tmp_path / name
        if bare:
            unet.save_pretrained(folder)
        else:
            diffusers.DDPMPipeline(unet, scheduler or diffusers.DDPMScheduler()).save_pretrained(folder)
        return folder

    return saved


def theirs(diffusers: Any, folder: Path, label: int | None = None, **options: Any) -> Trajectory:
    """DDIM by diffusers from its own folder: the levels visited and x after each, in [-1, 1] and at scale one."""
    unet = diffusers.UNet2DModel.from_pretrained(folder / "unet")
    peer = diffusers.DDIMScheduler.from_pretrained(folder / "scheduler", clip_sample=False, **options)
    peer.set_timesteps(N_STEPS)
    abar = torch.cat([peer.alphas_cumprod[peer.timesteps], peer.final_alpha_cumprod.view(1)]).double()
    z = normal(3, 1, SIDE, SIDE, seed=7)
    labels = None if label is None else torch.full((3,), label)
    out = [z]
    with torch.no_grad():
        for timestep in peer.timesteps:
            eps = unet(out[-1], timestep, class_labels=labels).sample[:, :1]
            out.append(peer.step(eps, timestep, out[-1], return_dict=False)[0])
    scale = abar.rsqrt().view(-1, 1, 1, 1, 1)
    return tuple(((1 - abar) / abar).sqrt().tolist()), torch.stack(out).double() * scale


def loaded(folder: Path, label: Labels = None, side: int = SIDE) -> adapters.Adapter:
    model = load_network(f"diffusers:{folder}", black(side), label, "cpu")
    assert isinstance(model, adapters.Adapter)
    return model


def difference(folder: Path, of: Trajectory, label: int | None = None) -> float:
    """The largest difference at a level over the largest value there: Euler through the wrapper against `theirs`."""
    levels, expected = of
    x = ((expected[0] - SHIFT) / SCALE).float()
    sigmas = tuple(sigma / SCALE for sigma in levels)
    with torch.no_grad():
        steps = checked_steps(loaded(folder, label), Euler(), sigmas, x, lambda: x.new_zeros(()))
        visited = [x.double(), *(x.double() for x in steps)]
    errors = (torch.stack(visited) * SCALE + SHIFT - expected).abs().amax((1, 2, 3, 4))
    largest = (errors / expected.abs().amax((1, 2, 3, 4))).max().item()
    print(f"largest relative difference {largest:.1e}")
    return largest


def table(folder: Path) -> Tensor:
    """The table of noise levels that the adapter read."""
    time = loaded(folder).convention.time
    assert isinstance(time, adapters.TableTime)
    return torch.tensor(time.sigmas).double()


def noted(folder: Path) -> str:
    return "\n".join(notes(f"diffusers:{folder}"))


HUB = """
from experiments.user.pretrained import describe, fingerprint
print(describe("diffusers:org/tiny"), fingerprint("diffusers:org/tiny"))
fingerprint("diffusers:org/none")
"""


@pytest.mark.slow
def test_a_name_of_the_hub_is_read_from_its_cache(save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = save()
    repository = tmp_path / "hub" / "models--org--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    shutil.copytree(folder, repository / "snapshots" / ("0" * 40))
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    done = warm.run("-c", HUB)
    assert done.stdout == f"diffusers:org/tiny (UNet2DModel) {fingerprint(f'diffusers:{folder}')}\n"
    assert "ValueError: diffusers:org/none: there is no such folder, nor a copy from the Hugging Face" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prediction", "schedule"),
    [("epsilon", "linear"), ("v_prediction", "scaled_linear"), ("sample", "squaredcos_cap_v2")],
)
def test_euler_is_diffusers_ddim(diffusers: Any, save: Save, prediction: str, schedule: str):
    folder = save(diffusers.DDPMScheduler(prediction_type=prediction, beta_schedule=schedule))
    assert difference(folder, theirs(diffusers, folder)) < LIMIT


def test_a_class_conditional_network_gets_its_label(diffusers: Any, save: Save):
    folder = save(num_class_embeds=4)
    expected = theirs(diffusers, folder, label=2)
    assert difference(folder, expected, label=2) < LIMIT
    assert difference(folder, expected, label=3) > 0.1
    x, sigma = torch.randn(3, 1, SIDE, SIDE), torch.ones(3)
    with torch.no_grad():
        balanced, one = loaded(folder, "balanced")(x, sigma, torch.tensor([2, 6, 1])), loaded(folder, 2)(x, sigma)
    assert_close(balanced[:2], one[:2])
    assert (balanced - one)[2].abs().max() > 1e-3
    for label, words in (("balanced", "balanced labels"), (2, "label 2")):
        assert describe(f"diffusers:{folder}", label) == f"diffusers:ddpm-mine (UNet2DModel, {words})"  # type: ignore[arg-type]


def test_a_smaller_network_gets_the_middle_of_the_images(save: Save):
    folder = save(sample_size=[SIDE, SIDE])
    small, large = loaded(folder), loaded(folder, side=SIDE + 4)
    x, sigma = torch.randn(2, 1, SIDE + 4, SIDE + 4), torch.tensor([0.5, 2.0])
    with torch.no_grad():
        eps = large(x, sigma)
        assert_close(eps[..., 2:-2, 2:-2], small(x[..., 2:-2, 2:-2], sigma))
    assert_close(x[..., 0, 0] - sigma[:, None] * eps[..., 0, 0], torch.full((2, 1), -MEAN / STD))


NO_SNR = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}


@pytest.mark.parametrize(
    ("network", "scheduler", "spacing", "note"),
    [
        ({"out_channels": 2}, {}, {}, "its learned variance, the second half of its output, is not used"),
        ({}, NO_SNR, {"timestep_spacing": "leading"}, "(rescale_betas_zero_snr) have an infinite sigma"),
    ],
)
def test_what_a_network_has_beyond_eps_is_left_out_and_noted(
    network: Any, scheduler: Any, spacing: Any, note: str, diffusers: Any, save: Save
):
    folder = save(diffusers.DDIMScheduler(**scheduler), **network)
    assert difference(folder, theirs(diffusers, folder, **spacing)) < LIMIT
    assert note in noted(folder) and len(table(folder)) == 1000 - (scheduler == NO_SNR)


@pytest.mark.parametrize("beside", [False, True])
def test_a_bare_network_is_a_ddpm_with_the_scheduler_beside_it_or_default_noise(
    beside: bool, diffusers: Any, save: Save
):
    pipeline = save(diffusers.DDPMScheduler(prediction_type="v_prediction") if beside else None, name="pipeline")
    bare = save(bare=True, name="bare")
    if beside:
        shutil.copy(pipeline / "scheduler" / "scheduler_config.json", bare)
    assert difference(bare, theirs(diffusers, pipeline)) < LIMIT
    assert ("no scheduler was saved with it" in noted(bare)) == (not beside)
    assert "no scheduler" not in noted(pipeline)


COPY = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
SCHEDULERS = ["DDPM", "DDIM", "PNDM", "EulerDiscrete", "EulerAncestralDiscrete", "DPMSolverMultistep", "UniPCMultistep"]


@COPY  # diffusers 0.42 turns tensors into arrays in a way that numpy 2 deprecates
@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_variance_preserving_scheduler_gives_its_levels(diffusers: Any, save: Save, name: str):
    """diffusers' table is a cumulative product in float32: 1 - abar has four digits at its lowest level.

    Where DDPM and DDIM have abar = 0 the other schedulers have 2^-24, which may be above the level before it.
    """
    make = getattr(diffusers, f"{name}Scheduler")
    expected = torch.tensor(ddpm_table(500, 2e-4, 0.03, data_std=1.0), dtype=torch.float64)
    folder = save(make(beta_start=2e-4, beta_end=0.03, num_train_timesteps=500))
    assert_close(table(folder), expected, rtol=3e-4, atol=0)
    for schedule in ("linear", "scaled_linear") if name != "PNDM" else ():
        options = {"beta_schedule": schedule, **NO_SNR}
        abar = diffusers.DDPMScheduler(**options).alphas_cumprod[:-1].double()
        assert_close(table(save(make(**options), name=schedule)), ((1 - abar) / abar).sqrt(), rtol=1e-5, atol=0)


def test_a_network_that_centres_its_input_expects_images_from_zero_to_one(save: Save):
    folder = save(center_input_sample=True)
    model = loaded(folder)
    assert model.convention.pixels == (0.0, 1.0)
    seen: list[Tensor] = []
    model.net.unet.conv_in.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))  # type: ignore[union-attr]
    black_and_white = torch.tensor([-MEAN / STD, (255 - MEAN) / STD]).view(2, 1, 1, 1).expand(2, 1, SIDE, SIDE)
    with torch.no_grad():
        model(black_and_white, torch.full((2,), 0.02))
    assert seen[0].flatten(1).mean(dim=1).tolist() == pytest.approx([-1.0, 1.0], abs=1e-2)  # as it was trained
    assert "images in [0, 1]" in noted(folder) and "images in [-1, 1]" not in noted(folder)


def test_the_fingerprint_follows_what_determines_the_model_and_not_where_it_lies(
    diffusers: Any, save: Save, tmp_path: Path
):
    folder = save()
    unet = diffusers.UNet2DModel.from_pretrained(folder / "unet")
    expected = theirs(diffusers, folder)
    ids = [fingerprint(f"diffusers:{folder}")]
    (folder / "README.md").write_text("a digit model")
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert fingerprint(f"diffusers:{tmp_path / 'elsewhere'}") == ids[0]
    for name in ("unet/config.json", "scheduler/scheduler_config.json"):
        (folder / name).write_text((folder / name).read_text() + "\n")
        ids.append(fingerprint(f"diffusers:{folder}"))
    shutil.rmtree(folder / "unet")
    unet.save_pretrained(folder / "unet", max_shard_size="200KB")  # in several files
    shards = sorted((folder / "unet").glob("*-of-*.safetensors"))
    assert difference(folder, expected) < LIMIT
    ids.append(fingerprint(f"diffusers:{folder}"))
    weights = bytearray(shards[-1].read_bytes())
    weights[-1] ^= 1
    shards[-1].write_bytes(weights)
    assert len(shards) > 1 and len({*ids, fingerprint(f"diffusers:{folder}")}) == 5


def test_names_and_notes_need_no_diffusers(save: Save, monkeypatch: pytest.MonkeyPatch):
    folder = save()
    source = f"diffusers:{folder}/"
    monkeypatch.setitem(sys.modules, "diffusers", None)
    assert describe(source, None) == "diffusers:ddpm-mine (UNet2DModel)"
    assert len(fingerprint(source)) == 12
    said = noted(folder)
    assert "images in [-1, 1]" in said and "clip_sample" in said and "thresholding" not in said
    with refused(r"diffusers is not installed .*pip install -e '\.\[peers\]'"):
        load_network(source, black(SIDE), None, "cpu")


def edit(path: Path, **values: Any):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


UNFIT: dict[str, dict[str, dict[str, Any]]] = {  # file of a pipeline -> what the error says -> what is changed there
    "scheduler/scheduler_config.json": {
        "prediction_type='flow': it must be one of epsilon, v_prediction, sample": {"prediction_type": "flow"},
        "'ScoreSdeVeScheduler' .* no attribute 'alphas_cum": {"_class_name": "ScoreSdeVeScheduler"},
        r"timestep_type='continuous', so it receives ln\(sigma\) / 4": {
            "_class_name": "EulerDiscreteScheduler", "timestep_type": "continuous", "prediction_type": "v_prediction"},
        "use_flow_sigmas=True, so it is one of a flow": {
            "_class_name": "DPMSolverMultistepScheduler", "use_flow_sigmas": True},
    },
    "unet/config.json": {
        "_class_name='UNet2DConditionModel', but it must be 'UNet2DModel'": {"_class_name": "UNet2DConditionModel"},
        "side=32: data='mine' has images of 16x16": {"sample_size": 32},
        "time_embedding_type='fourier': it must be 'positional'": {"time_embedding_type": "fourier"},
        "diffusers cannot load it": {"block_out_channels": [32, 64]},
        "its weights lack down_blocks": {"layers_per_block": 2},
        "its weights have, unlike its config, mid_block": {"mid_block_type": None},
    },
}  # fmt: skip


@pytest.mark.slow
@cells(UNFIT)
def test_a_folder_that_does_not_suit_is_refused(save: Save, row: str, cell: str):
    folder = save()
    edit(folder / row, **UNFIT[row][cell])
    with refused(cell):
        loaded(folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    "n_classes, label, message",
    [
        (None, 1, "label=1: .* is unconditional"),
        (4, None, "label=None: .* needs a label from 0 to 3, or balanced"),
        (4, 4, "labels=4: it must be between 0 and 3"),
    ],
)
def test_a_label_that_a_network_does_not_have_is_refused(
    save: Save, n_classes: int | None, label: int | None, message: str
):
    with refused(message):
        loaded(save(num_class_embeds=n_classes), label)


@pytest.mark.parametrize("function", [fingerprint, describe, notes])
def test_a_folder_that_holds_no_model_is_refused(save: Save, function: Callable[..., Any]):
    with refused("no network is there; save one with save_pretrained, or"):
        function(f"diffusers:{__file__}")
    folder = save()
    with refused("part of a pipeline; name the folder above it"):
        function(f"diffusers:{folder / 'unet'}")
    edit(folder / "model_index.json", vae=["diffusers", "AutoencoderKL"])
    with refused("the pipeline has a 'vae', so its network denoises a code"):
        function(f"diffusers:{folder}")


def test_pickled_weights_are_not_read(diffusers: Any, save: Save):
    folder = save()
    unet = diffusers.UNet2DModel.from_pretrained(folder / "unet")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    unet.save_pretrained(folder / "unet", safe_serialization=False)
    assert (folder / "unet" / "diffusion_pytorch_model.bin").is_file()
    with refused(r"no weights; diffusion_pytorch_model\.safetensors is not there\. Pickled"):
        loaded(folder)
