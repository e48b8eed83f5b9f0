"""The fast path does not change what is measured: its scores differ from fp32's by far less than their uncertainty."""

import pytest

from bench import guard


@pytest.mark.slow
def test_bf16_scores_what_fp32_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    """tests/diffusion_core/networks/test_compiled.py holds compiled networks to the error of bf16."""
    monkeypatch.setattr(guard, "can_compile", lambda device: False)
    rows = guard.main(images_seen=6_400, n_samples=200, n_steps=8)
    assert list(rows["mode"].unique()) == ["fp32", "bf16"]
    fast = rows[rows["mode"] != "fp32"]
    worst = fast[["low", "high"]].abs().max(axis=1)
    assert (worst < 0.5 * fast["se"]).all(), rows.to_string()
    assert (fast["mean_change"] > 0).all() and (fast["mean_change"] < 0.5).all(), "grey levels of 255"
