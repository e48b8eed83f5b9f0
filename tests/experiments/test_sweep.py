"""A sweep of one's own: what is planned, what comes of it, and by what its classes are known."""

from pathlib import Path

import pandas as pd
import pytest
from own_sweep import FILE, RUN, noisy, run, written
from short_sweep import known_images
from smoke import smoke

from diffusion_core.samplers import Euler
from experiments.config.comparison import BestSet
from experiments.config.identity import identity
from experiments.config.trial import Trial
from experiments.engine.rehearsal import rehearse
from experiments.studies.sweep import PRESETS
from experiments.sweep import OwnFile, contrasts, read, trials


def own(tmp_path: Path) -> OwnFile:
    return read(written(tmp_path, FILE))


def test_every_setting_runs_with_every_network_and_the_first_is_also_the_control(tmp_path: Path) -> None:
    planned = list(trials(own(tmp_path), PRESETS["smoke"]))
    names = [(trial.mode, trial.setting) for trial in planned[:3]]
    assert names == [("all", "euler"), ("control", "euler"), ("all", "mine")]
    assert len(planned) == 6 and {trial.model.seed for trial in planned if isinstance(trial, Trial)} == {0, 1}
    setting, best, control = contrasts(planned)
    assert not isinstance(setting, BestSet) and (setting.a, setting.b, len(setting.pairs)) == ("mine", "euler", 2)
    assert isinstance(best, BestSet) and not isinstance(control, BestSet) and control.kind == "control"


def test_evaluations_that_a_sampler_does_not_plan_are_counted(tmp_path: Path) -> None:
    text = FILE.replace("def planned_nfe", "def other").replace(RUN, RUN.replace("Euler(0.0)", "Heun()"))
    planned = trials(read(written(tmp_path, text)), PRESETS["smoke"])
    costs = {trial.setting: trial.samples.planned_nfe for trial in planned if isinstance(trial, Trial)}
    assert costs == {"euler": 2, "mine": 4}


def test_the_files_own_preset_counts_and_what_is_typed_counts_more(tmp_path: Path) -> None:
    presets = "PRESETS = {'smoke': Study(train_images=128, train_seeds=3, n_samples=50)}"
    written(tmp_path, f"{FILE}from experiments.config import Study\n{presets}\n")
    done = smoke(tmp_path, "sweep", str(tmp_path / "mine.py"), "--n-samples", "132", "--dry-run")
    assert done.summary["trainings"]["unique"] == 3 and done.summary["samplings"]["left"] == 3 * 3
    assert done.summary["evaluations"] == 3 * (128 * 3.5 + 3 * 132 * 2)  # 132 is also the usual preset's


@pytest.mark.slow
@pytest.mark.usefixtures("drawn")
def test_a_sampler_of_ones_own_scores_as_the_one_it_is_made_of(tmp_path: Path) -> None:
    written(tmp_path, FILE)
    plan = run(tmp_path, "--dry-run").summary
    assert plan["trainings"] == {"unique": 1, "left": 1} and plan["samplings"]["left"] == 3
    assert plan["evaluations"] == 128 * 3.5 + 3 * 40 * 2 and not (tmp_path / "store").exists()
    known_images(tmp_path / "store")
    said = run(tmp_path).summary
    table = pd.read_csv(said["table"])
    assert (said["experiment"], said["rows"], said["failed"]) == ("sweep", 3, 0) == ("sweep", len(table), 0)
    assert said["evaluations"] == plan["evaluations"]
    by_name = table[table["mode"] == "all"].set_index("sampler")
    assert by_name.loc["mine", "kd"] == by_name.loc["euler(eta=0)", "kd"]
    assert "# Does it run?" in Path(said["report"]).with_suffix(".md").read_text()


def test_a_class_of_ones_own_is_not_taken_for_one_of_ours_nor_for_what_it_was_before(tmp_path: Path) -> None:
    text = FILE.replace("from diffusion_core.samplers import Euler\n", "", 1)
    text = text.replace("class Mine(Sampler):", "class Euler(Sampler):\n    eta: float = 0.0").replace(
        "Mine()", "Euler(0.0)"
    )
    found = []
    for edited in (text, text.replace('return "mine"', 'return "yours"')):
        *_, last = read(written(tmp_path, edited)).runs()
        found.append(identity(last.sampler))
    assert len({*found, identity(Euler(0.0))}) == 3


def test_a_noise_distribution_of_ones_own_is_accepted_and_known_by_its_source(tmp_path: Path) -> None:
    found = []
    for text in (noisy(), noisy("torch.rand(n, generator=generator) + 1")):
        planned = list(trials(read(written(tmp_path, text)), PRESETS["smoke"]))
        rehearse([trial for trial in planned if isinstance(trial, Trial)], None)
        found.append({identity(trial.model) for trial in planned if isinstance(trial, Trial)})
    assert [len(models) for models in found] == [4, 4] and len(found[0] & found[1]) == 2  # the other setting's networks
