"""Exports and audits in a bucket of a real S3 server, from and to it."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from voxbeam.audit.open import open_audit
from voxbeam.audit.result import read_results
from voxbeam.corpus import Corpus
from voxbeam.exports.export import export
from voxbeam.schemas.errors import StorageError
from voxbeam.storage.store import Store, _open

from tests.servers.s3 import S3, s3_server

pytestmark = pytest.mark.s3


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def bucket(s3: S3, spoken: Corpus, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The corpus in a bucket, by an address without its last part."""
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    _open.cache_clear()
    target = Store("s3://corpora/spoken")
    for path, _ in spoken.store.walk():
        target.put_named_by_content(path, spoken.store.get(path))
    yield "s3://corpora"
    _open.cache_clear()


@pytest.mark.parametrize("name", ["datasets", "shar", "nemo"])
def test_an_export_in_a_bucket_has_the_bytes_of_one_in_a_folder(bucket: str, spoken: Corpus, tmp_path: Path, name: str) -> None:
    class Stopped(Exception):
        pass

    def stop(done: int, total: int) -> None:
        raise Stopped

    out = f"{bucket}/{name}"
    with pytest.raises(Stopped):
        export(Corpus(f"{bucket}/spoken"), name, out, on_part=stop)
    export(Corpus(f"{bucket}/spoken"), name, out)
    export(Corpus(spoken.uri), name, str(tmp_path / "out"))
    there, here = Store(out), Store(str(tmp_path / "out"))
    names = [path for path, _ in here.walk()]
    assert [path for path, _ in there.walk()] == names
    same = [path for path in names if path != "README.md" and path != "croissant.json"]  # those name the corpus
    assert all(there.get(path) == here.get(path) for path in same)
    with pytest.raises(StorageError, match="another export"):
        export(Corpus(f"{bucket}/spoken"), name, out, sound="codes")


def test_an_audit_in_a_bucket(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    corpus = Corpus(f"{bucket}/spoken")
    session = open_audit(corpus, who="Ann", clips=3)
    assert io.BytesIO(session.audio(0)).read(4) == b"fLaC"
    for number in range(3):
        session.answer(number, "right")
    assert open_audit(corpus, who="Ann", clips=3).answered == 3
    (result,) = read_results(corpus.store, corpus.release)
    assert result.heard == 3 and not result.wrong and result.overall.rate == 0
