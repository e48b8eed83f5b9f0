"""What tests of the store share: faults, races, and disks of their own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RACER = """
import sys, time
from pathlib import Path
from experiments.store import Store

store, meeting, me, other = Store(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:5]
for number in range(20):
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
        if fault != "missing":
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
    """A function of a store: whose copy of twenty artifacts each of two processes sees that write them together."""

    def run(place: str | Path) -> list[str]:
        meeting = tmp_path / "meeting"
        meeting.mkdir()
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", RACER, str(place), str(meeting), *names],
                cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
            for names in ("AB", "BA")
        ]  # fmt: skip
        done = [process.communicate(timeout=120) for process in processes]
        assert [process.returncode for process in processes] == [0, 0], done
        return [out for out, _ in done]

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
