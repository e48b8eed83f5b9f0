"""What tests of the store and of sweeps share: faults, races, and disks of their own."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from small_artifact import process

RACER = """
import sys, time
from pathlib import Path
from experiments.store import Store

store, meeting, me, other = Store(sys.argv[1]), Path(sys.argv[2]), *sys.argv[4:6]
for number in range(int(sys.argv[3])):
    with store.writing("models", f"{number:012}") as folder:
        for file in "abc":
            (folder / file).write_text(me * 1000)
        (meeting / f"{number}{me}").touch()
        while not (meeting / f"{number}{other}").exists():
            time.sleep(1e-4)
    assert store.has("models", f"{number:012}")
    texts = {(store.path("models", f"{number:012}") / file).read_text() for file in "abc"}
    assert len(texts) == 1, "two copies are mixed"
    print(texts.pop()[0], end="")
"""


@pytest.fixture
def spoil() -> Callable[[Path, str], None]:
    """A function that damages a file in the way that is named."""

    def damage(path: Path, fault: str) -> None:
        content = path.read_bytes()
        middle = len(content) // 2
        path.unlink()
        if fault == "folder":
            path.mkdir()
        elif fault != "missing":
            ways = {
                "truncated": content[:12],
                "halved": content[:middle],
                "flipped": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
                "too long": content + b"x",
                "replaced": b'{"file": 3}',
            }
            path.write_bytes(ways[fault])

    return damage


@pytest.fixture
def race(tmp_path: Path) -> Callable[..., list[str]]:
    """A function of a store: whose copy of each artifact each of two processes sees that write them together."""

    def run(place: str | Path, n_artifacts: int) -> list[str]:
        meeting = tmp_path / "meeting"
        meeting.mkdir()
        racers = [process(RACER, str(place), str(meeting), str(n_artifacts), *names) for names in ("AB", "BA")]
        try:
            said = [racer.communicate(timeout=60) for racer in racers]
        finally:
            for racer in racers:
                racer.kill()  # one that fails leaves the other waiting
        assert [racer.returncode for racer in racers] == [0, 0], said
        return [out for out, _ in said]

    return run


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mounts things below tmp_path, where that is permitted."""
    points: list[Path] = []

    def mount(*arguments: str) -> Path:
        point = tmp_path / f"mount{len(points)}"
        point.mkdir()
        done = subprocess.run(["mount", *arguments, str(point)], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")
        points.append(point)
        return point

    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("only root may mount")
    yield mount
    for point in points:
        subprocess.run(["umount", str(point)], check=True)
