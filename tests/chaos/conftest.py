"""What the tests of chaos share: the corpus that they build, and an S3 server."""

from collections.abc import Iterator

import pytest

from voxbeam.storage.store import _open

from tests.chaos.builds import Corpus, make_corpus
from tests.servers.s3 import S3, s3_server


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return make_corpus(tmp_path_factory.mktemp("chaos"))


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def client(s3: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process as a client of the server, past the proxy."""
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    _open.cache_clear()
    yield
    _open.cache_clear()
