"""Everything that can be made or fetched again lies below one folder, by one rule."""

from pathlib import Path

import pytest

from experiments.stages import calibration
from experiments.store.cache import cache_root
from experiments.store.remote import cache_folder


@pytest.mark.parametrize(
    ("own", "general", "expected"),
    [
        ("/own", "/general", "/own"),
        ("/own", None, "/own"),
        (None, "/general", "/general/sigmabench"),
        ("", "", "/home/me/.cache/sigmabench"),
        (None, None, "/home/me/.cache/sigmabench"),
    ],
)
def test_timings_and_remote_stores_share_the_cache_folder(
    own: str | None, general: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/home/me"))
    for name, value in (("SIGMABENCH_CACHE", own), ("XDG_CACHE_HOME", general)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert cache_root() == calibration.folder().parent == cache_folder("s3://bucket/store").parent == Path(expected)
