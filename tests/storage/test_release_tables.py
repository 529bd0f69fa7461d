"""The tables of a release in DuckDB: in a folder, in a bucket, damaged, and without rows."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from voxbeam.corpus import Corpus
from voxbeam.reporting.report import what_if
from voxbeam.schemas.errors import QueryError, StorageError
from voxbeam.storage.release_tables import ReleaseTables
from voxbeam.storage.store import Store, _open

from tests.pipeline.factories import small_release
from tests.servers.s3 import s3_server


def test_segments_are_samples_and_rejected(tmp_path: Path) -> None:
    store, release = small_release(tmp_path / "it's [a]* corpus?")
    with ReleaseTables(store, release) as tables:
        found = tables.rows("SELECT accepted, count(*) AS n, any_value(reasons) AS reasons FROM segments GROUP BY 1 ORDER BY 1")
        assert found == [{"accepted": False, "n": 1, "reasons": ["low_snr"]}, {"accepted": True, "n": 5, "reasons": []}]
        assert tables.row("SELECT count(*) AS n FROM identities, shards")["n"] == 4


def test_a_table_without_rows(tmp_path: Path) -> None:
    store, release = small_release(tmp_path, tables={"rejected": lambda rows: []})
    with ReleaseTables(store, replace(release, files=tuple(f for f in release.files if f.kind != "voices"))) as tables:
        assert tables.rows("SELECT key, reasons FROM rejected") == [] and tables.rows("SELECT voice FROM voices") == []
        assert tables.row("SELECT count(*) AS n FROM segments")["n"] == 5


def test_another_release_has_a_prefix(tmp_path: Path) -> None:
    store, release = small_release(tmp_path)
    with ReleaseTables(store, release) as tables:
        tables.add(release, "previous_")
        assert tables.row("SELECT count(*) AS n FROM previous_segments JOIN segments USING (key)")["n"] == 6


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    store, release = small_release(tmp_path)
    path = tmp_path / release.files_of_kind("samples")[0].path
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with ReleaseTables(store, release) as tables, pytest.raises(StorageError, match="is not the file of the release"):
        tables.rows("SELECT key FROM segments")


def test_a_query_that_cannot_be_answered(tmp_path: Path) -> None:
    store, release = small_release(tmp_path)
    with ReleaseTables(store, release) as tables:
        with pytest.raises(QueryError, match=r"(?s)the query failed: .*speakr.*the tables are samples, rejected"):
            tables.rows("SELECT speakr FROM samples")
        with pytest.raises(QueryError, match="httpfs"):  # nothing is downloaded
            tables.rows("LOAD httpfs")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return Corpus(small_release(tmp_path_factory.mktemp("corpus"))[0].root)


_COPY = "COPY (SELECT 1 AS one) TO '{file}'"
_BELOW_WITH = f"WITH made AS ({_COPY}) SELECT * FROM made"


@pytest.mark.parametrize(
    "query",
    [
        _COPY,
        f"SELECT 1; {_COPY}",
        f"SELECT 1) AS x; {_COPY}; --",
        _BELOW_WITH,
        f"EXPLAIN ANALYZE {_COPY}",
        f"SELECT * FROM json_execute_serialized_sql(json_serialize_sql($${_BELOW_WITH}$$))",
        f"FROM query($q$FROM json_$q$ || $q$execute_serialized_sql(json_serialize_sql($${_BELOW_WITH}$$))$q$)",
        "EXPORT DATABASE '{file}'",
        "ATTACH '{file}'",
        "SELECT * FROM enable_logging('QueryLog', storage = 'file', storage_path = '{file}')",
        "SELECT * FROM enable_profiling(format = 'json', save_location = '{file}')",
        "CREATE TABLE samples_too AS SELECT 1",
        "SET threads = 1",
        "",
    ],
)
def test_a_query_of_a_user_only_reads(query: str, corpus: Corpus) -> None:
    folder = Path(corpus.uri)
    there = sorted(folder.rglob("*"))
    for ask in (corpus.sql, lambda text: corpus.find(sql=text)):
        with pytest.raises(QueryError):
            ask(query.format(file=folder / "written.json"))
    assert sorted(folder.rglob("*")) == there


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("WITH found AS (SELECT key FROM samples) SELECT count(*) FROM found -- all", 1),
        ("FROM samples SELECT key ORDER BY key;", 5),
        ("SELECT 'it''s', $$it's$$, E'it\\'s'", 1),
        ("(SELECT key FROM samples) EXCEPT (SELECT key FROM rejected)", 5),
        ("SUMMARIZE SELECT snr_db, text FROM segments", 2),
        ("PIVOT samples ON split IN ('train', 'valid') USING count(*) GROUP BY speaker", 2),
    ],
)
def test_every_query_that_reads_is_answered(query: str, rows: int, corpus: Corpus) -> None:
    assert corpus.sql(query).num_rows == rows


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    with s3_server(tmp_path / "s3") as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        _open.cache_clear()
        yield Store("s3://corpora/small")
        _open.cache_clear()


@pytest.mark.s3
def test_a_corpus_in_a_bucket(bucket: Store, tmp_path: Path) -> None:
    small_release(tmp_path / "local")
    for file in (tmp_path / "local").rglob("*"):
        if file.is_file():
            bucket.put_file(str(file.relative_to(tmp_path / "local")), file)
    corpus = Corpus(bucket.root)
    assert corpus.sql("SELECT count(*) AS n FROM segments").to_pylist() == [{"n": 6}]
    assert [segment["reasons"] for segment in corpus.find(reason="low_snr")] == [["low_snr"]]
    (cost,) = what_if(bucket.root, {"min_snr_db": 0})
    assert cost.kept_samples == 5
