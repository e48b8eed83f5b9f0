"""What a store does about damaged files, and about disks that are full, read-only or limited."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError
from safetensors.numpy import save_file
from small_artifact import CONTENT, full, process, put

from experiments.store.checksums import MANIFEST
from experiments.store.store import Store, StoreError


def test_what_a_bad_disk_cannot_read_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = put(Store(tmp_path)) / "file"

    def unreadable(path: Path) -> str:
        raise OSError(5, "Input/output error", str(path))

    monkeypatch.setattr("experiments.store.checksums._sha256", unreadable)
    assert not Store(tmp_path).has("models", "abc") and not file.exists()
    assert "models/abc is damaged: file cannot be read: Input/output error" in caplog.text


def test_a_full_disk_is_said_and_what_is_finished_is_kept(mounted: Callable[..., Path]) -> None:
    disk = mounted("-t", "tmpfs", "-o", "size=1m", "tmpfs")
    store = Store(disk / "store")
    put(store, "first")
    message = f"store {disk}/store: no space left on device: free some space or choose another place (--store)"
    for write in (
        lambda folder: save_file({"x": np.zeros(2**19)}, folder / "x.safetensors"),
        lambda folder: (folder / "x").write_bytes(bytes(2**21)),
    ):
        with pytest.raises(StoreError) as caught, store.writing("models", "second") as folder:
            write(folder)
        assert message in str(caught.value)
        assert not store.has("models", "second") and list((disk / "store" / "tmp").iterdir()) == []
    filler = disk / "filler"
    with pytest.raises(OSError, match="No space left"), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    with pytest.raises(StoreError) as caught:
        store.check_writable()  # before the computation, not after it
    assert message in str(caught.value)
    assert Store(disk / "store").has("models", "first")
    filler.unlink()
    store.check_writable()
    put(store, "second")


def test_a_full_disk_can_be_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where not even an empty folder has room."""
    store = Store(tmp_path)
    put(store)
    monkeypatch.setattr(Path, "mkdir", full)
    store.discard("models", "abc")
    assert store.artifacts() == [] and not (tmp_path / "models" / "abc").exists()


@pytest.mark.slow
def test_a_limit_on_file_sizes_is_said(tmp_path: Path) -> None:
    code = (
        "import resource, sys; import numpy; from safetensors.numpy import save_file\n"
        "from experiments.store import Store\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, 2**16))\n"
        "with Store(sys.argv[1]).writing('models', 'abc') as folder:\n"
        "    save_file({'x': numpy.zeros(2**16)}, folder / 'x.safetensors')"
    )
    _, error = process(code, str(tmp_path)).communicate()
    assert f"StoreError: store {tmp_path}: a file is larger than this place allows" in error
    assert Store(tmp_path).artifacts() == [] and list((tmp_path / "tmp").iterdir()) == []


def test_a_read_only_store_is_read_and_says_so_when_it_cannot_repair(
    tmp_path: Path, mounted: Callable[..., Path], spoil: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    for identity in ("good", "bad"):
        put(Store(tmp_path / "store"), identity)
    spoil(Store(tmp_path / "store").path("models", "bad") / "file", "truncated")
    mount = mounted("--bind", "-o", "ro", str(tmp_path / "store"))
    store = Store(mount)
    store.sweep_temporaries()
    assert store.has("models", "good") and (store.path("models", "good") / "file").read_bytes() == CONTENT
    assert caplog.records == []
    for _ in range(2):
        assert not store.has("models", "bad")
    report = (
        "models/bad is damaged: file truncated: 12 bytes instead of 4096; it cannot be removed (Read-only file system)"
    )
    assert caplog.text.count(report) == 1
    with pytest.raises(StoreError) as caught:
        store.check_writable()
    assert f"store {mount}: it is read-only: choose another place (--store)" in str(caught.value)


def test_a_forbidden_folder_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    user = os.geteuid()
    os.seteuid(user or 65534)  # root may write everywhere, nobody may not
    try:
        with pytest.raises(StoreError, match=r"permission denied: change the permissions or choose another place"):
            Store(tmp_path / "store").check_writable()
    finally:
        os.seteuid(user)


ODD = {  # file -> how it is spoilt
    "a waiting pipe": ("file", lambda path: os.mkfifo(path)),
    "an endless device": ("file", lambda path: path.symlink_to("/dev/zero")),
    "a loop of links": ("file", lambda path: path.symlink_to(path.name)),
    "names outside": (MANIFEST, lambda path: path.write_text('{"../../x": {"sha256": "", "bytes": 1}}')),
    "an absolute name": (MANIFEST, lambda path: path.write_text('{"/dev/zero": {"sha256": "", "bytes": 1}}')),
    "a name with a zero": (MANIFEST, lambda path: path.write_text('{"a\\\\u0000": {"sha256": "", "bytes": 1}}')),
    "nested too deep": (MANIFEST, lambda path: path.write_text("[" * 100_000)),
    "an infinite size": (MANIFEST, lambda path: path.write_text('{"file": {"sha256": "", "bytes": Infinity}}')),
}


@pytest.mark.parametrize(("file", "spoil"), ODD.values(), ids=ODD)
def test_odd_files_are_damage_and_are_neither_followed_nor_waited_for(
    file: str, spoil: Callable[[Path], object], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = put(Store(tmp_path))
    path = (folder.parent if file == MANIFEST else folder) / file
    path.unlink()
    spoil(path)
    assert not Store(tmp_path).has("models", "abc") and not path.exists()
    assert "models/abc is damaged: " in caplog.text
    assert list(Store(tmp_path).artifacts()) == []


@pytest.mark.parametrize("error", [KeyError("nfe"), ValueError("not JSON"), SafetensorError("header too small")])
def test_an_artifact_whose_content_cannot_be_used_is_damaged(error: Exception, tmp_path: Path) -> None:
    put(Store(tmp_path))
    message = f"models/abc is damaged: {type(error).__name__}: .*; it was removed, so run"
    with pytest.raises(StoreError, match=message), Store(tmp_path).reading("models", "abc"):
        raise error
    assert not Store(tmp_path).has("models", "abc")


def test_too_little_memory_is_no_damage(tmp_path: Path) -> None:
    put(Store(tmp_path))
    with pytest.raises(RuntimeError, match="unable to mmap"), Store(tmp_path).reading("models", "abc"):
        raise RuntimeError("unable to mmap 10186408 bytes from file: Cannot allocate memory (12)")
    assert Store(tmp_path).has("models", "abc")


def test_a_manifest_that_does_not_fit_on_the_disk_makes_no_artifact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def writes_half(path: Path, data: bytes) -> None:
        with path.open("wb") as file:
            file.write(data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", writes_half)
        with (
            pytest.raises(StoreError, match="no space left on device"),
            Store(tmp_path).writing("models", "abc") as place,
        ):
            (place / "weights").touch()
    assert Store(tmp_path).artifacts() == []
