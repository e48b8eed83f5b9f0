"""The line that shows how far `score` is."""

import io

import pytest
from rich.console import Console

from experiments.scoring import progress
from experiments.scoring.progress import PART, ahead


@pytest.mark.parametrize("live", [True, False])
def test_steps_say_what_is_done_and_how_much(live: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=live, width=60)
    monkeypatch.setattr(progress, "Terminal", lambda: console)
    monkeypatch.setattr(progress, "is_live", lambda _: live)
    with progress.steps(4) as step:
        for what in ("[bold]reading a", "MMD of a", "a third"):
            step(what)
    assert ("50 %" in shown.getvalue() and "a third" in shown.getvalue()) == live
    assert "reading a" not in shown.getvalue() or "[bold]" in shown.getvalue()  # names are no markup


def test_work_ahead_keeps_its_order_and_its_errors() -> None:
    def half(item: int) -> int:
        if item == 3 * PART:
            raise ValueError(f"{item} is bad")
        return item // 2

    assert list(ahead(half, range(3 * PART))) == [item // 2 for item in range(3 * PART)]
    assert list(ahead(half, [])) == []
    results = ahead(half, range(100))
    assert [next(results) for _ in range(3 * PART)] == [item // 2 for item in range(3 * PART)]
    with pytest.raises(ValueError, match=f"{3 * PART} is bad"):
        next(results)
