"""The experiment on why noise helps: its study, the split of the gap, its run and report."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import warm

from experiments.config.comparison import BestOf, Contrast
from experiments.config.denoisers import ExactConfig, TrainConfig
from experiments.config.trial import Trial
from experiments.metrics.distances import jackknife_se
from experiments.metrics.intervals import pooled
from experiments.store.store import Store
from experiments.why_noise import decomposition
from experiments.why_noise.decomposition import split
from experiments.why_noise.experiment import contrasts, trials
from experiments.why_noise.settings import PRESETS

STUDY = replace(PRESETS["laptop"], train=TrainConfig(data="mixture:somewhere", images_seen=150_000))


def test_noise_is_all_that_differs_within_a_pair() -> None:
    found = list(contrasts(list(trials(STUDY))))
    modes = {c.mode for c in found}
    assert {"exact, 66 steps", "trained, 66 steps", "trained on 3000 images", "exact + error 0.1", "where"} <= modes
    for contrast in found:
        if isinstance(contrast, Contrast):
            assert len(contrast.pairs) == 2
            for a, b in contrast.pairs:
                assert a.model == b.model and a.samples.ladder == b.samples.ladder
                assert (a.samples.seed == b.samples.seed) == (contrast.kind != "control")
    assert all(isinstance(c, BestOf) == (c.kind in ("best", "rival")) for c in found)


def test_corrections_cost_what_noise_costs_and_are_chosen_without_it() -> None:
    planned = list(trials(STUDY))
    corrected = [trial for trial in planned if trial.mode.startswith("corrected")]
    assert {trial.samples.planned_nfe for trial in corrected if isinstance(trial, Trial)} == {66}
    rivals = [c for c in contrasts(planned) if c.kind == "rival"]
    assert [c.mode for c in rivals] == ["corrected, 15000 images", "corrected, 150000 images"]
    for choice in rivals:
        assert isinstance(choice, BestOf) and list(choice.rivals) == ["eta 1"] and len(choice.candidates) == 6
        assert not {"eta 0", "eta 1"} & set(choice.candidates)


def test_exact_and_trained_share_their_noise_on_every_ladder() -> None:
    planned = [trial for trial in trials(STUDY) if isinstance(trial, Trial)]
    for mode in ("16 steps", "66 steps", "132 steps"):
        seeds = [
            {trial.samples.seed for trial in planned if trial.mode == f"{name}, {mode}"}
            for name in ("exact", "trained")
        ]
        assert seeds[0] == seeds[1] == {0, 1}
    exact = [trial.model for trial in planned if isinstance(trial.model, ExactConfig)]
    assert exact and all(model.machine.precision == "fp32" for model in exact)


def test_the_parts_of_the_gap_add_up_and_the_interval_leaves_the_same_images_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    generator = np.random.default_rng(0)
    metas: dict[int, dict[str, object]] = {}

    def meta(kind: str, config: object, store: Store) -> dict[str, object]:
        made = {
            "kd": generator.normal(), "fd": generator.normal(),
            "kd_replicates": generator.normal(size=20).tolist(), "fd_replicates": generator.normal(size=20).tolist(),
        }  # fmt: skip
        return metas.setdefault(hash(config), made)

    monkeypatch.setattr(decomposition, "load_meta", meta)
    planned = {(t.mode, t.setting, t.model.seed): t for t in trials(STUDY) if isinstance(t, Trial)}
    rows = pd.DataFrame(split(STUDY, planned, Store(tmp_path)))
    kd = rows[rows["metric"] == "kd"].set_index(["part", "mode", "train_seed"])["difference"]
    for seed in (0, 1):
        assert kd["total", "trained, 66 steps", seed] == pytest.approx(
            kd["steps", "exact, 66 steps", seed] + kd["denoiser", "trained, 66 steps", seed]
        )
    names = [("trained", 1, 1), ("trained", 0, -1), ("exact", 1, -1), ("exact", 0, 1)]
    found = [(s, metas[hash(planned[f"{n}, 66 steps", f"eta {e}", 0].score)]) for n, e, s in names]
    se = jackknife_se(np.sum([s * np.array(m["kd_replicates"]) for s, m in found], axis=0))
    keys = ["part", "mode", "metric", "train_seed"]
    one = rows[(rows[keys] == ["denoiser", "trained, 66 steps", "kd", 0]).all(axis=1)].iloc[0]
    assert (one["se"], one["low"]) == pytest.approx((se, pooled([one["difference"]], [se]).low))
    assert rows["train_seed"].isna().sum() == 2 * (1 + 2 * 7 + 3)


@pytest.mark.slow
def test_smoke_ends_in_a_report(tmp_path: Path) -> None:
    arguments = ["why_noise", "--preset", "smoke", "--out", str(tmp_path / "out"), "--store", str(tmp_path / "store")]
    done = warm.run("-m", "experiments", *arguments)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "out" / "table.csv")
    assert (table["status"] == "ok").all() and set(table["trained_by"]) == {"nobody", "sigmabench"}
    assert table["data"].str.fullmatch("mixture:[0-9a-f]{12}").all()
    probes = pd.read_csv(tmp_path / "out" / "probes.csv")
    assert set(probes["probe"]) == {
        "visited", "level", "spread", "mean", "contraction", "made", "left", "predicted", "deviation"
    }  # fmt: skip
    assert (probes["se"] >= 0).all()
    control = probes[(probes["probe"] == "visited") & (probes["eta"] == -1)]
    assert (control["value"] - 1).abs().max() < 0.5
    report = (tmp_path / "out" / "report.md").read_text()
    wanted = (
        "- **Are the steps too large?**",
        "- **Do networks make errors?**",
        "<b>Are the steps too large?</b>",
        "The answer in detail",
    )
    places = [report.index(text) for text in wanted]
    assert places == sorted(places) and report.count("**Prediction:**") == report.count("**Verdict:**") == 6
