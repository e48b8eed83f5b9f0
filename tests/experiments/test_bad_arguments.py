"""Bad arguments of any command: one line that says what is wrong, and exit status 2. A new case is one line.

What a function of its own refuses is tested beside it: names of parts, networks, data, --only.
"""

import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from smoke import typed

from diffusion_core import load

OWN = """
from diffusion_core import GaussianDenoiser
plain = GaussianDenoiser()
"""
EXPERIMENTS = [
    ("schedules --budgets 0", "error: budgets=0: it must be at least 1"),
    ("schedules --time 10", "error: time='10': it must read like 90s, 10min or 2h"),
    ("schedules --schedules karas", "; did you mean karras?"),
    ("beta --betas 0.99", "error: beta=0.99: "),
    ("beta --samplers heun", "error: samplers: nothing is explored, since mnist5k.json says what was chosen"),
    ("beta --n-samples 1667", "error: n_samples=1667: it must be between 40 and 1666"),
    ("beta --n-steps 0", "error: n_steps=0: it must be between 1 and"),
    ("beta --sigma-min 0", "error: sigma_min=0.0: it must be above 0 and below sigma_max=30.0"),
    ("beta --workers 0", "error: workers=0: it must be at least 1"),
    ("beta --workers 2 --ray-address auto", "error: workers, ray_address: give one of them"),
    ("beta --gpus-per-run 0.5", "error: gpus_per_run=0.5: it needs --ray-address"),
    ("beta --curve-etas inf", "error: eta=inf: it must be finite"),
    ("beta --curve-etas 0.5 0.50000001", "error: curve_etas: 0.5 is given twice, or differs too little"),
    ('beta --data ""', "error: --data: its value is empty; is a shell variable unset?"),
    ("beta --store s3://b/f", "error: store='s3:/b/f': it must be a folder; copy one that lies elsewhere"),
    ("beta --out /dev/null/x", "error: out='/dev/null/x': nothing can be written there: Not a directory"),
    ("beta --first-seed 100", "error: first_seed=100: networks [101] chose the settings; take others"),
    ("beta --explore-networks 0 --choices none", "error: explore_networks=0: then nothing chooses; it needs"),
    ("schedules --last-levels 0.3 30", "error: last_levels=30: it must be above 0 and below sigma_max=30"),
    ("schedules --last-levels 0.3 0.3", "error: last_levels: 0.3 is given twice, or differs too little to be told"),
    ('schedules --last-levels 0.3 --schedules "karras(30, 1)"', "has sigma_min of its own; give one of them"),
    ("schedules --etas 99 --samplers", "error: eta=99.0: at sigma'/sigma = "),  # nothing can be run
    ("noise_levels --train-noise vp", "error: settings: there are none, or none to compare with the first"),
    ('noise_levels --train-noise "log-normal(p_mean=0,p_mean=1)"', "it must read like log-normal(p_mean=1)"),
    ('noise_levels --train-noise vp "log-normal(p_std=1e308)"',
     "error: noise log-normal(-0.507, 1e+308): its levels must be finite"),
    ("noise_levels --network python:a:b",
     "it must be trained here, as small, paper, mlp and build:MODULE:FUNCTION are"),
    ('run "karras, euler(1, eta=0), 8"', "error: sampler='euler(1, eta=0)': multiple values for argument 'eta'"),
    ("run --network build:my.py:net", "error: build:my.py:net: it must be spelt build:package.module:function"),
    ("run --network build:nowhere:net --label 3", "error: label=3: it needs --network diffusers:FOLDER"),
    ('run --network exact "karras, heun, 8; lr=0.1"', "after ';' is only for training; remove it, or --network"),
    ('run "karras, heun"', "error: setting='karras, heun': it must read like karras(30, 0.03), heun, 16"),
    ('run "heun, 16"', "error: setting='heun, 16': it needs a schedule, such as karras(30, 0.03), heun, 16"),
    ('run "karras, heun, 8; train-nois=vp"', "error: factor='train_nois': it must be one of train_noise"),
]  # fmt: skip
OTHERS = [
    ("check --network python:my_nets:plain --device cuda",
     "device='cuda': PyTorch sees no CUDA device here; use --device cpu\n"),
    ("check --network python:my_nets:plain --device mps",
     "device='mps': PyTorch sees no MPS device here; use --device cpu\n"),
    ("check --network python:my_nets:plain --threads 0", "threads=0: it must be at least 1"),
    ("run --data npz:digits.npz", "it has 60 images; 500 samples need 1,500, and 40, the fewest, 120"),
]  # fmt: skip


@pytest.mark.parametrize("command, message", OTHERS)
def test_bad_arguments_of_other_commands_are_one_line_and_status_2(
    command: str, message: str, here: Path, monkeypatch: pytest.MonkeyPatch
):
    (here / "my_nets.py").write_text(OWN)
    np.savez("digits.npz", images=load("mnist5k").pixels[:60, 0].numpy())
    monkeypatch.syspath_prepend(here)
    for backend in (torch.cuda, torch.backends.mps):
        monkeypatch.setattr(backend, "is_available", lambda: False)
    ended = typed(*shlex.split(command))
    assert ended.refused(message), ended


@pytest.mark.parametrize("command, message", EXPERIMENTS)
def test_bad_arguments_are_one_line_and_status_2(command: str, message: str, here: Path):
    name, *arguments = shlex.split(command)
    ended = typed(name, *"--preset smoke --out out --store s".split(), *arguments)
    assert ended.refused(message), ended
    assert not (here / "s").exists()  # nothing was made


@pytest.mark.parametrize("name, meant", [("bta", "beta"), ("noise-levels", "noise_levels"), ("stor", "store")])
def test_a_name_that_is_nearly_right_is_suggested(name: str, meant: str):
    ended = typed(name)
    assert ended.status == 2
    assert ended.stderr == f"error: {name}: there is no such experiment; did you mean {meant}?\n"
