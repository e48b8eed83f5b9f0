"""`compare BEFORE AFTER`: did a change help? And what an earlier run gives to a later one: its options, its store."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from own_sweep import FILE, RUN, written
from scipy import stats
from smoke import Ended, Finished, smoke, typed

from experiments.compare_results import UNCHANGED
from experiments.distances.distance import unpack_distances
from experiments.run.cache import read_tensors
from experiments.user.imports import TEXTS

pytestmark = [pytest.mark.slow(15), pytest.mark.usefixtures("drawn")]
FEW = ["--network", "exact", "--n-samples", "40"]
BLANK = """
    def run(self, eps, x, sigmas, noise):
        for sigma in sigmas[1:]:
            x = 0 * eps(x, sigma)
            yield x
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two results: in the second one, the sampler `mine` gives the same grey image for every noise."""
    folder = tmp_path_factory.mktemp("compared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reports.figures.svg", lambda drawing: "<svg/>")
        file = FILE.replace("n_steps=2", "n_steps=8")
        for name, text in (("before", file), ("after", file.replace(RUN, BLANK))):
            TEXTS.clear()  # as a new process
            smoke(folder, "sweep", str(written(folder, text)), *FEW, out=name)
    return folder


def compare(folder: Path, before: str, after: str, *options: str, status: int = 0) -> Finished:
    out = folder / "compared"
    ended = typed("compare", str(folder / before), str(folder / after), "--out", str(out), *options)
    assert ended.status == status, ended.stderr
    return Finished(*vars(ended).values(), out)


def edited(folder: Path, old: str, new: str) -> Path:
    """A copy of the result `before` with another text in its table."""
    shutil.copytree(folder / "before", folder / "edited", dirs_exist_ok=True)
    text = (folder / "before" / "table.csv").read_text()
    assert old in text
    (folder / "edited" / "table.csv").write_text(text.replace(old, new))
    return folder / "edited"


def over_networks(done: Finished) -> pd.DataFrame:
    rows = done.rows("contrasts")
    return rows[rows["metric"] == "mmd"].set_index("section")


def test_only_the_setting_that_changed_differs_by_its_scores_and_what_each_image_adds(folder: Path):
    done = compare(folder, "before", "after", "--fail-if-worse", status=1)
    rows, tables = over_networks(done), [pd.read_csv(folder / name / "table.csv") for name in ("before", "after")]
    assert [*rows.index] == ["euler", "mine"] and set(rows["compared"]) == {2}
    assert (rows.loc["euler", ["difference", "low", "high"]] == 0).all() and rows.loc["mine", "verdict"] == "worse"
    mine = [table.set_index("setting").loc["mine"] for table in tables]
    assert rows.loc["mine", "difference"] == mine[1]["mmd"] - mine[0]["mmd"] > 0
    terms = [
        unpack_distances(read_tensors(folder / "store" / "scores" / f"{row['run_id']}.safetensors"))["mmd"].own
        for row in mine
    ]
    changes = terms[1] - terms[0]
    se = (changes**2).sum() ** 0.5 / (len(changes) * (len(changes) - 1)) ** 0.5
    half = stats.t(len(changes) - 1).isf(0.025) * se
    assert rows.loc["mine", "high"] - rows.loc["mine", "difference"] == pytest.approx(half)
    assert done.summary["verdicts"] == {"no difference detected": 1, "worse": 1}
    assert (
        "**Worse.** mine: " in done.report
        and UNCHANGED not in done.report
        and "Of 2 settings: 1 no difference detected and 1 worse." in done.report
    )
    assert (
        len({path.read_bytes() for path in (done.out / "images").glob("set-*.png")}) == 2
    )  # before, both samplers are one


def test_a_result_compared_with_itself_differs_by_exactly_nothing(folder: Path):
    done = compare(folder, "before", "before", "--fail-if-worse")
    rows = over_networks(done)
    assert UNCHANGED in done.report
    assert (rows[["difference", "low", "high"]] == 0).all(axis=None)
    assert set(rows["verdict"]) == {"no difference detected"}


def test_a_grid_can_be_compared_with_itself(folder: Path):
    smoke(folder, "sweep", "--vary", "eta=0,1", "evaluations=4", *FEW, "--no-confirm", out="grid")
    rows = over_networks(compare(folder, "grid", "grid"))
    assert len(rows) == 2 and (rows["difference"] == 0).all()


def test_results_that_cannot_be_compared_are_refused_by_what_differs(folder: Path):
    def refused(old: str, new: str) -> Ended:
        return typed("compare", str(folder / "before"), str(edited(folder, old, new)), "--out", str(folder / "no"))

    assert refused(",40,", ",41,").refused("n_samples of 'euler' is 41 in ")
    assert refused("mnist5k", "cifar10").refused("data of 'euler' is cifar10 in ")
    assert refused("all,", "other,").refused("they have no setting of the same train_seed in common")
    mmd = str(pd.read_csv(folder / "before" / "table.csv", dtype=str)["mmd"][0])
    assert refused(mmd, "0.5").refused("run the change with its own --store")
    assert typed("compare", str(folder), str(folder)).refused("it must be a result folder, which has a run.json")
    assert not (folder / "no").exists()


def test_a_quiet_run_prints_the_verdict_and_warnings_only(folder: Path):
    done = smoke(folder, "sweep", str(folder / "mine.py"), *FEW, "--quiet", out="after")
    assert done.status == 0 and {line.partition(":")[0] for line in done.stdout.splitlines()} <= {"verdict", "warning"}
    assert "verdict: " in done.stdout and "note" not in done.stderr
