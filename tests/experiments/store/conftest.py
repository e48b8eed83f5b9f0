"""Stores in a folder, in memory and on an S3-compatible server on loopback: one layout, one set of promises."""

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from experiments.store.store import Store


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The address of a server that keeps its buckets in memory."""
    pytest.importorskip("s3fs", reason="s3:// needs pip install -e '.[remote]'")
    moto = pytest.importorskip("moto.server", reason="an S3 server for tests needs pip install -e '.[dev]'")
    running = moto.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        environment.setenv("AWS_ACCESS_KEY_ID", "any")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "any")
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Store]:
    """A function that opens a store as another computer would: with a cache of its own."""

    def opened(url: str) -> Store:
        monkeypatch.setenv("SIGMABENCH_CACHE", str(tmp_path / f"cache-{time.monotonic_ns()}"))
        return Store(url)

    return opened


@pytest.fixture
def memory(elsewhere: Callable[[str], Store]) -> str:
    """The URL of an empty store in memory; the cache is new too."""
    return elsewhere(f"memory://{uuid.uuid4().hex}/store").shown


@pytest.fixture
def bucket(server: str, elsewhere: Callable[[str], Store]) -> str:
    """The URL of an empty store in a new bucket; the cache is new too."""
    url = f"s3://bucket-{uuid.uuid4().hex}/store"
    elsewhere(url).files.mkdir(url.split("/")[2])
    return url


@pytest.fixture(params=["folder", "memory", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store of each kind."""
    if request.param == "folder":
        return str(tmp_path / "store")
    found: str = request.getfixturevalue({"memory": "memory", "s3": "bucket"}[request.param])
    return found
