"""Storage: create-only puts, ranged reads, listings; the same on a local folder and on each kind of bucket that runs here."""

import hashlib
import os
import pickle
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import obstore
import pytest

from voxbeam.schemas.errors import ObjectReplacedError, StorageError
from voxbeam.storage.local_copies import open_local, sha256_of
from voxbeam.storage.store import Store, _open, _temporary, is_bucket, local_path

from tests.servers.azure import azure_server
from tests.servers.false_bucket import QuietHandler, false_bucket
from tests.servers.faulty_proxy import Faults, FaultyProxy
from tests.servers.gcs import gcs_server
from tests.servers.s3 import s3_server


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server.environment()


@pytest.fixture(scope="module")
def az() -> Iterator[dict[str, str]]:
    with azure_server() as environment:
        yield environment


@pytest.fixture(scope="module")
def gs() -> Iterator[dict[str, str]]:
    with gcs_server() as environment:
        yield environment


@pytest.fixture(params=["folder", "gs", *(pytest.param(scheme, marks=getattr(pytest.mark, scheme)) for scheme in ("s3", "az"))])
def store(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """An empty store."""
    if request.param == "folder":
        yield Store(str(tmp_path / "a corpus"))
        return
    for name, value in request.getfixturevalue(request.param).items():
        monkeypatch.setenv(name, value)
    _open.cache_clear()
    yield Store(f"{request.param}://corpora/{uuid.uuid4().hex}")
    _open.cache_clear()


def test_second_put_is_refused_and_changes_nothing(store: Store) -> None:
    assert store.put_if_absent("releases/1.json", b"first")
    assert not store.put_if_absent("releases/1.json", b"second")
    assert store.get("releases/1.json") == b"first"


def test_of_racing_writers_exactly_one_wins(store: Store) -> None:
    for round_ in range(20):
        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(lambda n: store.put_if_absent(f"r/{round_}", b"%d" % n * 10_000), range(8)))  # noqa: B023
        assert won.count(True) == 1
        assert store.get(f"r/{round_}") == b"%d" % won.index(True) * 10_000


def test_empty_object(store: Store) -> None:
    assert store.put_if_absent("empty", b"") and store.get("empty") == b""


def test_ranged_read(store: Store) -> None:
    store.put_if_absent("x", bytes(range(256)))
    assert store.get_range("x", 10, 5) == bytes(range(10, 15))
    assert store.get_range("x", 255, 1) == b"\xff"


def test_missing_object(store: Store) -> None:
    assert not store.exists("nowhere")
    with pytest.raises(FileNotFoundError):
        store.get("nowhere")
    with pytest.raises(FileNotFoundError):
        store.get_range("nowhere", 0, 1)


def test_walk_is_in_order_and_below_its_prefix(store: Store) -> None:
    for path in ("b/2", "a/10", "a/9", "ab/1", "c"):
        store.put_if_absent(path, b"x" * len(path))
    assert list(store.walk()) == [(p, len(p)) for p in ("a/10", "a/9", "ab/1", "b/2", "c")]
    assert [p for p, _ in store.walk("a/")] == ["a/10", "a/9"]
    assert list(store.walk("nothing/")) == []


@pytest.mark.parametrize("name", ["with space", "späce/名", "100%", "a#b", "a?b", "x+y", "a~b"])
def test_odd_names(name: str, store: Store) -> None:
    store.put_if_absent(f"d/{name}", b"x")
    assert store.get(f"d/{name}") == b"x" and store.exists(f"d/{name}")
    (listed,) = (path for path, _ in store.walk("d/"))
    assert store.get(listed) == b"x"
    with store.local_copy(listed) as path:
        assert path.read_bytes() == b"x"


def test_put_file_copy_replace_delete(store: Store, tmp_path: Path) -> None:
    (tmp_path / "local").write_bytes(b"content")
    store.put_file("a", tmp_path / "local")
    store.copy("a", "b/c")
    store.replace("a", b"new")
    assert (store.get("a"), store.get("b/c")) == (b"new", b"content")
    store.delete(["a", "b/c"])
    store.delete(["a"])
    store.delete([])
    assert list(store.walk()) == []


def test_many_objects_are_deleted_at_once(store: Store) -> None:
    """Also where some are not there, and whatever their names have in them."""
    names = [f"d/{n} & <{n}> 名.json" for n in range(30)]
    for name in (*names, "d/stays"):
        store.put_if_absent(name, b"x")
    store.delete([*names[:10], "d/never there", *names[10:], names[0]])
    assert [path for path, _ in store.walk()] == ["d/stays"]


@pytest.mark.s3
def test_a_bucket_deletes_by_one_request(s3: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    with FaultyProxy(s3["AWS_ENDPOINT_URL"], Faults(), lambda request: seen.append(request.method)) as proxy:
        for name, value in (s3 | {"AWS_ENDPOINT_URL": proxy.url}).items():
            monkeypatch.setenv(name, value)
        _open.cache_clear()
        store = Store(f"s3://corpora/{uuid.uuid4().hex}")
        for n in range(20):
            store.put_if_absent(f"{n}", b"x")
        seen.clear()
        store.delete([f"{n}" for n in range(20)])
        assert len([method for method in seen if method in ("POST", "DELETE")]) <= 2 and not list(store.walk())
    _open.cache_clear()


def test_a_large_file_goes_up_in_parts_and_comes_down_whole(store: Store, tmp_path: Path) -> None:
    content = os.urandom(1 << 20) * 12 + b"end"
    (tmp_path / "large").write_bytes(content)
    store.put_file("shard.tar", tmp_path / "large")
    assert store.get("shard.tar") == content and store.get_range("shard.tar", len(content) - 3, 3) == b"end"
    if store.root.startswith("s3://"):  # S3 writes the number of parts into the tag
        assert str(obstore.head(store.object_store, "shard.tar")["e_tag"]).strip('"').endswith("-3")


def test_a_corpus_may_lie_here(store: Store) -> None:
    store.require_conditional_create()
    assert list(store.walk()) == []


def test_as_local_and_open_local(store: Store, tmp_path: Path) -> None:
    store.put_if_absent("x/y.bin", b"content")
    with store.local_copy("x/y.bin") as path, open_local(store.uri("x/y.bin")) as same:
        assert path.read_bytes() == same.read_bytes() == b"content"
        assert sha256_of(path) == hashlib.sha256(b"content").hexdigest()
    assert local_path("file:///a/b") == Path("/a/b")


def test_a_sparse_file_is_filled_with_what_is_asked_for(store: Store) -> None:
    content = os.urandom(1 << 20)
    store.put_if_absent("x/y.bin", content)
    with store.sparse_copy("x/y.bin") as (path, fill):
        assert fill and path.name == "y.bin" and path.read_bytes() == bytes(1 << 20)
        fill(1000, 5000)
        fill((1 << 20) - 1, 1)
        filled = path.read_bytes()
    assert filled == bytes(1000) + content[1000:6000] + bytes((1 << 20) - 6001) + content[-1:]
    with pytest.raises(FileNotFoundError), store.sparse_copy("x/nowhere.bin"):
        pass


def test_a_sparse_file_is_of_one_object(store: Store) -> None:
    store.put_if_absent("x", b"first" * 1000)
    with store.sparse_copy("x") as (_, fill):
        assert fill
        fill(0, 10)
        store.replace("x", b"other" * 1000)
        with pytest.raises(ObjectReplacedError, match="was replaced while it was read"):
            fill(10, 10)
        store.delete(["x"])
        with pytest.raises((FileNotFoundError, ObjectReplacedError)):  # Azure says no more than that the condition does not hold
            fill(10, 10)


def test_a_temporary_file_has_the_name_of_its_object(store: Store) -> None:
    store.put_if_absent("x/späce and 名.flac", b"content")
    with store.local_copy("x/späce and 名.flac") as path:
        assert path.name == "späce and 名.flac" and path.read_bytes() == b"content"
    with _temporary("x/" + "名" * 100 + ".flac") as (path, _):  # longer than a file's name may be
        assert path.name == "名" * 83 + ".flac"


def test_pickled_store_is_the_same(store: Store) -> None:
    store.put_if_absent("x", b"1")
    assert pickle.loads(pickle.dumps(store)).get("x") == b"1"


class Busy(QuietHandler):
    """A bucket that answers two puts of three with 409, as S3 does while another request touches the object."""

    puts = 0

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        Busy.puts += 1
        self.answer(200 if Busy.puts % 3 == 0 else 409)

    def do_HEAD(self) -> None:
        self.answer(404)

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("ETag", '"e"')
        self.send_header("Content-Length", "0")
        self.end_headers()


def test_a_busy_store_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shard").write_bytes(b"content")
    with false_bucket(Busy, monkeypatch):
        store = Store(f"s3://corpora/{uuid.uuid4().hex}")
        store.replace("progress/1", b"content")
        store.put_named_by_content("manifests/1", b"content")
        store.put_file("shards/1", tmp_path / "shard")
    assert Busy.puts == 9


def test_buckets_are_told_from_paths() -> None:
    assert is_bucket("s3://b/k") and is_bucket("gs://b") and is_bucket("az://c/x")
    assert not any(map(is_bucket, ("/a/b", "a", "file:///a", "c:/x", "http://x/y")))


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="choose another"):
        Store(str(tmp_path / "file" / "below")).put_if_absent("x", b"")
