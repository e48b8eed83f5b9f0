"""A sweep of one's own: what is planned, what comes of it, and by what its classes are known."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fresh import python
from own_sweep import FILE, noisy, run, written
from smoke import known_images, smoke
from studies import plan

import experiments
from diffusion_core.samplers import Euler
from experiments.questions import read_study
from experiments.run.identity import identity
from experiments.run.runs import Run
from experiments.user.imports import TEXTS


def planned(folder: Path, text: str) -> list[Run]:
    TEXTS.clear()  # as a new process
    study = read_study(written(folder, text))
    return plan(study(**study.presets["smoke"]))


PRESET = '''    presets = {"smoke": {"train_images": 128, "seeds": 3, "n_samples": 50}}
    n_steps: int = 2
    """Steps of the schedule."""
'''


def test_the_files_own_preset_and_options_count_and_what_is_typed_counts_more(tmp_path: Path):
    question = '    question = "Does it run?"\n'
    written(tmp_path, FILE.replace(question, question + PRESET).replace("n_steps=2", "n_steps=self.n_steps"))
    for n_steps, more in ((2, []), (4, ["--n-steps", "4"])):
        arguments = ["sweep", str(tmp_path / "mine.py"), "--n-samples", "132", "--dry-run", *more]
        done = smoke(tmp_path, *arguments).summary
        assert done["networks"]["unique"] == 3 and done["samples"]["left"] == 3 * 2
        assert done["evaluations"] == 3 * (128 * 3.5 + 2 * 132 * n_steps)  # 132 is also the usual preset's
    shown = smoke(tmp_path, "sweep", str(tmp_path / "mine.py"), "--help").stdout
    assert "Does it run?" in shown and "Steps of the schedule. (default: 2)" in shown


@pytest.mark.slow
@pytest.mark.usefixtures("drawn")
def test_a_sampler_of_ones_own_scores_as_the_one_it_is_made_of(tmp_path: Path):
    written(tmp_path, FILE)
    plan = run(tmp_path, "--dry-run").summary
    assert plan["networks"] == {"unique": 1, "left": 1} and plan["samples"]["left"] == 2
    assert plan["evaluations"] == 128 * 3.5 + 2 * 40 * 2 and not (tmp_path / "store").exists()
    known_images(tmp_path / "store")
    done = run(tmp_path)
    table: pd.DataFrame = done.rows()
    assert list(table["section"]) == ["all", "all"]
    assert (done.summary["experiment"], done.summary["failed"], len(table)) == ("sweep", 0, done.summary["rows"])
    assert done.summary["evaluations"] == plan["evaluations"]
    by_name = table.set_index("sampler")
    assert by_name.loc["mine", "kd"] == by_name.loc["euler", "kd"]
    assert "\n# Does it run?\n" in done.report and set(done.rows("contrasts")["family"]) == {"exploration"}


@pytest.mark.slow
def test_what_a_sweep_file_needs_is_in_experiments_and_imports_no_torch():
    assert dir(experiments) == sorted(experiments.__all__)  # what Tab offers
    for name in experiments.__all__:
        assert getattr(experiments, name).__name__ == name
    with pytest.raises(AttributeError, match="module 'experiments' has no attribute 'nothing'"):
        _ = experiments.nothing
    names = "Euler, Grid, Pair, Schedule, Sampler, Setting, Study"
    code = f"import sys; from experiments import {names}; print('torch' in sys.modules)"
    assert python(code).stdout == "False\n"


def test_a_class_of_ones_own_is_not_taken_for_one_of_ours_nor_for_what_it_was_before(tmp_path: Path):
    text = FILE.replace("import Euler, Heun, Sampler", "import Sampler").replace("Mine()", "Euler(0.0)")
    text = text.replace("class Mine(Sampler):", "class Euler(Sampler):\n    eta: float = 0.0")
    text = text.replace("return Euler(0.0).planned_nfe(sigmas)", "return 2")
    sampler_ids: list[Any] = []
    for edited in (text, text.replace('return "mine"', 'return "yours"')):
        sampler_ids.append(identity(planned(tmp_path, edited)[-1].setting.sampler))
    assert len({*sampler_ids, identity(Euler(0.0))}) == 3


def test_a_noise_distribution_of_ones_own_is_known_by_its_source(tmp_path: Path):
    texts = (noisy(), noisy("torch.rand(n, generator=generator) + 1"))
    identities = [{identity(run.network) for run in planned(tmp_path, text)} for text in texts]
    assert [*map(len, identities)] == [4, 4] and len(identities[0] & identities[1]) == 2  # the other setting's networks


@pytest.mark.slow
def test_what_a_file_replaces_in_our_tables_is_known_as_its_own(tmp_path: Path):
    """In a new process, in which FILE is read before our networks are imported."""
    change = "from diffusion_core.weightings import WEIGHTINGS\nWEIGHTINGS['karras'] = WEIGHTINGS['unit-eps']\n"
    file = written(tmp_path, change + FILE)
    code = (
        f"from pathlib import Path; from experiments.questions import read_study; read_study(Path({str(file)!r}));"
        "from experiments.run.networks import Trained; from experiments.run.identity import uses_user_code;"
        "print(uses_user_code(Trained()))"
    )
    assert python(code).stdout == "True\n"
