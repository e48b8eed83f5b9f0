"""The script for a card: what of it runs without one, and that one failure costs one line."""

import pytest

from bench import gpu_check


def test_a_failure_is_a_line_and_the_exit_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def fails() -> str:
        raise RuntimeError("no\nluck")

    lines = [gpu_check.attempt("first", fails), gpu_check.attempt("second", lambda: ("close", True))]
    monkeypatch.setattr(gpu_check, "lines", lambda device, batch_sizes: iter(lines))
    assert gpu_check.main("cpu", ()) == 1
    out = capsys.readouterr().out.splitlines()
    assert "RuntimeError: no luck FAILED" in out[1] and out[2].startswith("second") and out[2].endswith("ok")


def test_without_a_card_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(gpu_check.torch.cuda, "is_available", lambda: False)
    assert gpu_check.main() == 2
    assert "no CUDA device" in capsys.readouterr().err


@pytest.mark.slow
def test_what_needs_no_card_passes_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_check, "can_compile", lambda device: False)
    monkeypatch.setattr(gpu_check, "LADDER", gpu_check.geometric(6))
    lines = list(gpu_check.lines("cpu", (8,)))
    assert [line.ok for line in lines] == [True] * 4 + [None] * 6, "\n".join(map(str, lines))
