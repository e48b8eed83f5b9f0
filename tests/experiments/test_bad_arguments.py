"""Bad arguments of any command: one line that says what is wrong, and exit status 2. A new case is one line.

What a function of its own refuses is tested beside it: names of parts, networks, data, --only, --config.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from smoke import typed

from diffusion_core import load

OWN = """
from diffusion_core import GaussianDenoiser
plain = fine = GaussianDenoiser()
def flat(index, sigma): return 1 + index % 7 / 7
def steep(index, sigma): return 2 + index % 7 / 7
"""
FLAT = "networks_of_mine:flat"
STEEP = "networks_of_mine:steep"
PLAIN = "python:networks_of_mine:plain"
FINE = "python:networks_of_mine:fine"
HELD_OUT = ["--held-out", "npz:digits.npz"]
EXPERIMENTS = {
    "tune": [
        (["--budgets", "0"], "error: budgets=0: it must be at least 1"),
        (["--search-seed", "99999999999999999999"], "error: search_seed=99999999999999999999: it must be between 0"),
        (["--time", "10"], "error: time='10': it must read like 90s, 10min or 2h"),
        (["--settings", "karras, heun, at 0"], "error: settings='karras, heun, at 0': it must be a schedule and"),
        (["--settings", "karas, heun"], "; did you mean karras?"),
    ],
    "beta": [
        (["--setting", "/nowhere.json"], "error: setting='/nowhere.json': it must be a settings.json that tune wrote"),
        (["--setting", "x.json", "--sigma-min", "1"], "error: sigma_min, setting: the setting has its own schedule"),
        (["--betas", "0.99"], "error: beta=0.99: "),
        (["--samplers", "heun"], "error: samplers: nothing is explored, since mnist5k.json says what was chosen"),
        (["--n-samples", "1667"], "error: n_samples=1667: it must be between 40 and 1666"),
        (["--n-steps", "0"], "error: n_steps=0: it must be between 1 and"),
        (["--sigma-min", "0"], "error: sigma_min=0.0: it must be above 0 and below sigma_max=30.0"),
        (["--workers", "0"], "error: workers=0: it must be at least 1"),
        (["--workers", "2", "--ray-address", "auto"], "error: workers, ray_address: give one of them"),
        (["--gpus-per-run", "0.5"], "error: gpus_per_run=0.5: it needs --ray-address"),
        (["--curve-etas", "inf"], "error: eta=inf: it must be finite"),
        (["--curve-etas", "0.5", "0.50000001"], "error: curve_etas: 0.5 is given twice, or differs too little"),
        (["--data", ""], "error: --data: its value is empty; is a shell variable unset?"),
        (["--store", "s3://b/f"], "error: store='s3:/b/f': it must be a folder; copy one that lies elsewhere"),
        (["--out", "/dev/null/x"], "error: out='/dev/null/x': nothing can be written there: Not a directory"),
        (["--first-seed", "100"], "error: first_seed=100: networks [101] chose the settings; take others"),
        (["--explore-networks", "0", "--choices", "none"], "error: explore_networks=0: then nothing chooses; it needs"),
    ],
    "schedules": [
        (["--last-levels", "0.3", "30"], "error: last_levels=30: it must be above 0 and below sigma_max=30"),
        (["--last-levels", "0.3", "0.3"], "error: last_levels: 0.3 is given twice, or differs too little to be told"),
        (["--last-levels", "0.3", "--schedules", "karras(sigma_min=1)"], "has sigma_min of its own; give one of them"),
        (["--etas", "99", "--samplers"], "error: eta=99.0: at sigma'/sigma = "),  # nothing can be run
    ],
    "noise_levels": [
        (["--train-noise", "vp"], "error: settings: there are none, or none to compare with the first"),
        (["--train-noise", "log-normal(p_mean=0,p_mean=1)"], "it must read like log-normal(p_mean=1)"),
        (
            ["--train-noise", "vp", "log-normal(p_std=1e308)"],
            "error: noise log-normal(-0.507, 1e+308): its levels must be finite",
        ),
        (
            ["--network", "python:a:b"],
            "it must be trained here, as small, paper, mlp and build:MODULE:FUNCTION are",
        ),
    ],
    "run": [
        (["--sampler", "euler(1, eta=0)"], "error: sampler='euler(1, eta=0)': multiple values for argument 'eta'"),
        (["--network", "build:my.py:net"], "error: build:my.py:net: it must be spelt build:package.module:function"),
        (["--network", "build:nowhere:net", "--label", "3"], "error: label=3: it needs --network diffusers:FOLDER"),
        (
            ["--network", "exact", "--train-noise", "vp"],
            "error: train_noise: only for training; remove it, or --network",
        ),
    ],
}
MACHINE = [
    (["--device", "cuda"], "device='cuda': PyTorch sees no CUDA device here; use --device cpu\n"),
    (["--device", "mps"], "device='mps': PyTorch sees no MPS device here; use --device cpu\n"),
    (["--threads", "0"], "threads=0: it must be at least 1"),
]
OTHERS = {
    "check": [
        *((["--network", PLAIN, *words], message) for words, message in MACHINE),
    ],
    "run": [(["--data", "npz:digits.npz"], "it has 60 images; 500 samples need 1,500, and 40, the fewest, 120")],
    "losses": [
        ([FLAT], "it must be two or more of different names"),
        ([FLAT, FLAT], "it must be two or more of different names"),
        ([f"a={FLAT},{STEEP}", FLAT], "each of as many networks"),
        ([FLAT, PLAIN], "a function brings its own images and units"),
        ([FLAT, STEEP, *HELD_OUT], "a function brings its own images"),
        ([FLAT, STEEP, "--n", "20"], "n, the number of images,=20: it must be at least 40"),
        ([PLAIN, FINE], "'mnist5k' has no test split; data='mnist' has one; --held-out NAME names"),
        ([PLAIN, FINE, "--held-out", "npz48:digits.npz"], "its shape is"),
    ],
}


def rows(table: dict[str, list[tuple[list[str], str]]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "name, arguments, message",
        [(name, *case) for name, cases in table.items() for case in cases],
        ids=lambda value: value if isinstance(value, str) else " ".join(value),
    )


@rows(OTHERS)
def test_bad_arguments_of_other_commands_are_one_line_and_status_2(
    name: str, arguments: list[str], message: str, here: Path, monkeypatch: pytest.MonkeyPatch
):
    (here / "networks_of_mine.py").write_text(OWN)
    np.savez("digits.npz", images=load("mnist5k").pixels[:60, 0].numpy())
    monkeypatch.syspath_prepend(here)
    for backend in (torch.cuda, torch.backends.mps):
        monkeypatch.setattr(backend, "is_available", lambda: False)
    ended = typed(name, *arguments)
    assert ended.refused(message), ended


@rows(EXPERIMENTS)
def test_bad_arguments_are_one_line_and_status_2(name: str, arguments: list[str], message: str, here: Path):
    ended = typed(name, "--preset", "smoke", "--out", "out", "--store", "s", *arguments)
    assert ended.refused(message), ended
    assert not (here / "s").exists()  # nothing was made


@pytest.mark.parametrize("name, meant", [("bta", "beta"), ("noise-levels", "noise_levels"), ("stor", "store")])
def test_a_name_that_is_nearly_right_is_suggested(name: str, meant: str):
    ended = typed(name)
    assert ended.status == 2
    assert ended.stderr == f"error: {name}: there is no such experiment; did you mean {meant}?\n"
