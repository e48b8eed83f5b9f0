"""The new spine gives the tables of the old engine, to the last bit: the gate of the change from one to the other."""

from pathlib import Path

import pandas as pd
import pytest
from beta_study import Beta
from smoke import smoke

from experiments.run.cache import Cache
from experiments.run.machine import Machine
from experiments.run.study import answer
from reports.terminal import Terminal

NAMES = {"run_id", "model_id", "samples_id"}  # of other configs
TIMES = {"seconds", "finished_at", "train_seconds", "shared_device"}
NEW = {"mmd_se", "kd_se"}  # from what each image adds
CONTRAST = ["kind", "mode", "a", "b", "budget", "n_steps", "metric", "train_seed"]


@pytest.mark.slow
def test_beta_has_the_same_values(tmp_path: Path) -> None:
    smoke(tmp_path, "beta", "--precision", "fp32")
    study = Beta(**Beta.presets["smoke"])
    answer(study, Machine(), Cache(tmp_path / "cache"), tmp_path / "new", Terminal(), preset="smoke")

    def read(name: str) -> list[pd.DataFrame]:
        return [pd.read_csv(tmp_path / folder / f"{name}.csv", low_memory=False) for folder in ("out", "new")]

    old, new = read("table")
    left = [name for name in old if name in new and name not in NAMES | TIMES | NEW]
    assert {"fd", "kd", "mmd", "precision", "recall", "grain", "nfe", "train_loss", "mode", "setting"} <= set(left)
    pd.testing.assert_frame_equal(old[left], new[left], check_exact=True)
    for name in ("floors", "losses", "films", "histograms"):
        old, new = (frame.drop(columns=[*NAMES & set(frame)]) for frame in read(name))
        pd.testing.assert_frame_equal(old, new, check_exact=True)
    old, new = (frame.set_index(CONTRAST).sort_index() for frame in read("contrasts"))
    pd.testing.assert_frame_equal(old[["difference"]], new[["difference"]], rtol=1e-12)
    pd.testing.assert_frame_equal(old[["value_a", "value_b", "verdict"]], new[["value_a", "value_b", "verdict"]])
