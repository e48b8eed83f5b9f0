"""What is shown before the end: lines and a report after each network but the last, and nothing that decides."""

from pathlib import Path
from typing import Any

import pytest

from experiments.beta import Beta
from experiments.run import early, folder
from experiments.run.answer import answer
from experiments.run.execute import by_network
from experiments.run.options import Options


@pytest.mark.slow
def test_after_each_network_but_the_last_there_is_a_line_and_a_report_without_a_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written, honest = list[tuple[str, set[str]]](), folder.write

    def write(out: Path, info: Any) -> Any:
        page = honest(out, info)
        written.append(((out / "report.md").read_text(), {path.name for path in out.glob("*.csv")}))
        return page

    monkeypatch.setattr(early, "SOON", 0.0)
    monkeypatch.setattr(folder, "write", write)
    study = Beta(**Beta.presets["smoke"] | {"seeds": 3, "only_primary": True})
    answer(study, Options(store=tmp_path / "store", out=tmp_path / "out", precision="fp32", threads=1))
    lines = capsys.readouterr().out.splitlines()
    told = [line for line in lines if line.startswith("network ")]
    assert [line.partition(":")[0] for line in told] == ["network 1 of 3", "network 2 of 3"]
    assert all("with eta 0" in line and line.endswith("no verdict before all 3") for line in told)
    assert sum(line.startswith("its samples: ") for line in lines) == 1
    (first, tables), (second, _), (last, every) = written
    assert "1 of 3 networks, no verdict yet" in first and "2 of 3 networks, no verdict yet" in second
    assert tables == {"table.csv", "floors.csv"} and "contrasts.csv" in every and "yet" not in last
    for word in ("interval", "ifference", "Effect", "Verdict"):
        assert word not in first.partition("<details>")[0] and word in last


def test_runs_go_network_by_network_so_many_at_a_time() -> None:
    class Run:
        def __init__(self, number: int, name: str) -> None:
            self.number, self.name = number, name

    runs = [Run(number, name) for name in "ab" for number in (1, 2, 3)]
    parts = by_network(runs, 2)  # type: ignore[arg-type]
    assert [[f"{run.name}{run.number}" for run in part] for part in parts] == [["a1", "a2", "b1", "b2"], ["a3", "b3"]]
