"""Bad arguments of any experiment: one line that says what is wrong, and exit status 2. A new case is one line."""

from pathlib import Path

import pytest
from smoke import typed

CASES = {
    "tune": [
        (["--budgets", "0"], "error: budgets=0: it must be at least 1"),
        (["--search-seed", "99999999999999999999"], "error: search_seed=99999999999999999999: it must be between 0"),
        (["--samplers", "euler-split(split=-1)"], "error: split=-1.0: it must be at least 0"),
    ],
    "beta": [
        (["--setting", "/nowhere.json"], "error: setting='/nowhere.json': it must be a settings.json that tune wrote"),
        (["--betas", "0.99"], "error: beta=0.99: "),
        (["--train-seeds", "0"], "error: train_seeds=0: "),
        (["--n-samples", "1667"], "error: n_samples=1667: "),
        (["--workers", "0"], "error: workers=0: it must be at least 1"),
        (["--workers", "2", "--ray-address", "auto"], "error: workers, ray_address: give one of them"),
        (["--gpus-per-run", "0.5"], "error: gpus_per_run=0.5: it needs --ray-address"),
        (["--workers", "2", "--gpus-per-run", "-1"], "error: gpus_per_run=-1.0: it must be above 0"),
        (["--n-samples", "20"], "error: n_samples=20: it must be between 40 and 1,000,000"),
        (["--etas", "inf"], "error: etas=inf: it must be finite"),
        (["--etas", "nan"], "error: etas=(nan,): it must be a tuple: each a number"),
        (["--etas", "0.5", "0.50000001"], "error: etas: 0.5 is given twice, or differs too little"),
        (["--etas", "0", "-0.0"], "error: etas: 0 is given twice"),
        (["--pareto-steps", "4", "4"], "error: pareto_steps: 4 is given twice"),
        (["--threads", "0"], "error: threads=0: it must be between 1 and"),
        (["--threads", "100000"], "error: threads=100000: it must be between 1 and"),
        (["--seeds", "1000000000"], "error: train_seeds=1000000000: it must be between 1 and 1,000"),
        (["--data", ""], "error: --data: its value is empty; perhaps a variable of the shell has no value"),
        (["--features", ""], "error: --features: its value is empty"),
        (["--store", ""], "error: --store: its value is empty"),
        (["--store", "s3://b/f"], "error: store='s3://b/f': it must be a folder; copy one that lies elsewhere"),
        (["--store", "/dev/null/x"], "error: store /dev/null/x: it is no folder: choose another place (--store)"),
        (["--out", "a\udcff"], "error: out='a\\udcff': 'utf-8' codec can't encode"),
        (["--out", "~nobody-of-this-name/x"], "error: out='~nobody-of-this-name/x': Could not determine home"),
        (["--store", "s", "--out", "s/tmp/x"], "/s/tmp/x': it lies in a folder of the store "),
        (["--out", "/dev/null/x"], "error: out='/dev/null/x': nothing can be written there: Not a directory"),
    ],
    "ladders": [
        (["--samplers", "dpm++2n"], "; did you mean dpm++2m?"),
        (["--sigma-min", "40"], "error: sigma_min=40.0: it must be above 0 and below sigma_max=30.0"),
        (["--etas", "99", "--samplers"], "error: nothing to run: no setting that was asked for is feasible"),
    ],
    "noise_levels": [
        (["--laws", "log-normal(p_mean=0,p_mean=1)"], "a parameter is given twice"),
        (["--laws", "log-normal(p_std=1e308)"], "error: noise log-normal(-0.507, 1e+308): its levels must be finite"),
        (["--laws"], "error: laws: at least one is needed"),
        (["--model", "python:a:b"], "error: model: this experiment compares ways to train"),
    ],
    "run": [
        (["--sampler", "euler(1, eta=0)"], "error: sampler='euler(1, eta=0)': a parameter is given twice"),
        (["--sampler", "euler(eta=50)"], "sigma_down^2 = sigma'^2 - sigma_up^2 would be negative"),
        (["--model", "somewhere"], "error: "),
        (["--model", "python:a:b", "--law", "vp"], "error: law: they train a network, but --model brings one"),
        (["--model", "python:a:b", "--train-images", "9"], "error: train_images=9: nothing is trained"),
        (["--model-label", "3"], "error: model_label=3: it needs --model"),
    ],
}


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [(name, *case) for name, cases in CASES.items() for case in cases],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_bad_arguments_are_one_line_and_status_2(name: str, arguments: list[str], message: str, tmp_path: Path) -> None:
    ended = typed(name, "--preset", "smoke", "--out", str(tmp_path), "--store", str(tmp_path), *arguments)
    assert ended.refused(message), ended


@pytest.mark.parametrize(("name", "meant"), [("bta", "beta"), ("noise-levels", "noise_levels"), ("stor", "store")])
def test_a_name_that_is_nearly_right_is_suggested(name: str, meant: str) -> None:
    ended = typed(name)
    assert ended.status == 2
    assert ended.stderr == f"error: {name}: there is no such experiment; did you mean {meant}?\n"
