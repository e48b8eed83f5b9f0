"""The script for a card: what of it runs without one, and that one failure costs one line."""

import pytest

from bench import gpu_check


def test_a_failure_is_a_line_and_the_exit_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def fails(device: str) -> tuple[str, bool]:
        raise RuntimeError("no\nmemory")

    monkeypatch.setattr(gpu_check, "CHECKS", {"first": fails, "second": lambda device: ("close", True)})
    assert gpu_check.main("cpu") == 1
    out = capsys.readouterr().out.splitlines()
    assert "RuntimeError: no memory FAILED" in out[2] and out[3].startswith("second") and out[3].endswith("ok")
    monkeypatch.setattr(gpu_check.torch.cuda, "is_available", lambda: False)
    assert gpu_check.main() == 2
    assert "no CUDA device" in capsys.readouterr().err


@pytest.mark.slow
def test_what_needs_no_card_passes_on_a_cpu(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(gpu_check, "can_compile", lambda device: False)
    monkeypatch.setattr(gpu_check, "LADDER", gpu_check.geometric(6))
    assert gpu_check.main("cpu") == 0
    assert [line.endswith(" ok") for line in capsys.readouterr().out.splitlines()[2:]] == [True] * 4
