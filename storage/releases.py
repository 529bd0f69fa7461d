"""Releases: which ones a corpus has, and the rows of their tables."""

import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from voxbeam.schemas.columns import Record, check_schema, completed, from_table, require
from voxbeam.schemas.errors import NotInCorpusError, SchemaError, StorageError
from voxbeam.schemas.further_codes import columns_to_read, with_codes_of
from voxbeam.schemas.manifest import TABLES, SampleRow
from voxbeam.schemas.release import Release, ReleaseFile
from voxbeam.storage.local_copies import sha256_of
from voxbeam.storage.own_paths import is_own
from voxbeam.storage.release_copies import find_copy
from voxbeam.storage.store import Store

R = TypeVar("R", bound=Record)
MAX_PART_ROWS = 20_000_000
"""a Parquet file of 400 kB can state 100 million rows, which no reader could hold"""
_RELEASE = re.compile(r"releases/(\d{6,})\.json")


def release_path(number: int) -> str:
    """Path of a release below the corpus."""
    return f"releases/{number:06d}.json"


def release_numbers(store: Store) -> list[int]:
    """Numbers of all releases, in order."""
    found = (_RELEASE.fullmatch(path) for path, _ in store.walk("releases/"))
    return sorted(int(match[1]) for match in found if match)


def require_corpus(store: Store) -> None:
    """Raises StorageError unless there is a corpus: a release, or what a build has left or is writing."""
    folders = ("releases", "units", "progress", "shards", "manifests")
    if not any(is_own(path) for folder in folders for path, _ in store.walk(f"{folder}/")):
        raise StorageError(f"there is no corpus at {store.root}", remedy="check the address; `voxbeam build` makes a corpus")


def read_release(store: Store, number: int) -> Release:
    """A release by number. Raises FileNotFoundError, and SchemaError naming a file that is not that release, with a remedy."""
    path = release_path(number)
    content = store.get(path)
    try:
        release = Release.from_json(content)
        require(release.number == number, f"it says that it is release {release.number}")
    except SchemaError as error:
        message = f"{store.uri(path)}: {error.message}"
        raise SchemaError(message, remedy=error.remedy or _remedy(store, number, content)) from error
    return release


def _remedy(store: Store, number: int, damaged: bytes) -> str:
    """What to do about a damaged release file."""
    if find_copy(store, number, damaged) is not None:
        return f"run `voxbeam verify --release {number} --repair`, which puts back what it was, from its copy"
    if number == max(release_numbers(store)):
        again = "delete it and run the `voxbeam build` command of this corpus, which makes it again from finished units"
    else:
        again = "delete it: later releases stay as they are, and this one is lost"
    return f"it has no copy to put back: restore the file from a backup, or {again}"


def latest_release(store: Store) -> Release | None:
    """The release with the highest number: the one that readers see."""
    numbers = release_numbers(store)
    return read_release(store, numbers[-1]) if numbers else None


def load_release(store: Store, number: int | None = None) -> Release:
    """A release by number, else the latest. Raises StorageError when there is no such release."""
    require_corpus(store)
    if number is None:
        release = latest_release(store)
        if release is None:
            raise StorageError(f"there is no release in {store.root}", remedy="`voxbeam build` makes one")
        return release
    try:
        return read_release(store, number)
    except FileNotFoundError as error:
        numbers = ", ".join(map(str, release_numbers(store))) or "none"
        raise StorageError(f"{store.root} has no release {number}; there are: {numbers}") from error


def changed_file_error(store: Store, file: ReleaseFile) -> StorageError:
    """The error of a file that is not the one that its release names."""
    return StorageError(
        f"{store.uri(file.path)} is not the file of the release: its SHA-256 or its number of rows differs",
        remedy="run `voxbeam verify --repair`, then the `voxbeam build` command of this corpus",
    )


def damaged_files(store: Store, release: Release) -> list[ReleaseFile]:
    """The files of a release that are missing or have another size. Only listings are read, and what they do not show."""
    folders = {"/".join(file.path.split("/")[:2]) for file in release.files}
    sizes = dict(entry for folder in sorted(folders) for entry in store.walk(f"{folder}/"))
    return [file for file in release.files if sizes.get(file.path) != file.bytes and store.size(file.path) != file.bytes]


def read_part(store: Store, record: type[R], path: str) -> Iterator[R]:
    """Rows of one part of a manifest, in bounded memory. Raises SchemaError when it is not of its schema."""
    where = store.uri(path)
    table = _open_table(record, store.get(path), where)
    batches = table.iter_batches(batch_size=10_000)
    while (batch := _next_batch(batches, where)) is not None:
        yield from from_table(record, pa.Table.from_batches([batch]))


def read_part_table(store: Store, record: type[Record], path: str) -> pa.Table:
    """One part of a manifest as a table. Raises SchemaError when it is not of its schema."""
    where = store.uri(path)
    table = _open_table(record, store.get(path), where)
    try:
        rows = table.read()
        rows.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _damaged(where, error) from error
    return completed(record, rows)


def _next_batch(batches: Iterator[pa.RecordBatch], where: str) -> pa.RecordBatch | None:
    try:
        batch = next(batches, None)
        if batch is not None:
            batch.validate(full=True)  # texts that are not UTF-8
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _damaged(where, error) from error
    return batch


def _damaged(where: str, error: Exception) -> SchemaError:
    return SchemaError(f"{where} is damaged: {error}", remedy="run `voxbeam verify` to find all damage, and build again")


def _open_table(record: type[Record], source: bytes | Path, where: str) -> pq.ParquetFile:
    """A Parquet file of a record's schema. Raises SchemaError, naming the file, for another, or one of too many rows."""
    try:
        table = pq.ParquetFile(io.BytesIO(source) if isinstance(source, bytes) else source)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _damaged(where, error) from error
    check_schema(record, table.schema_arrow)
    if table.metadata.num_rows > MAX_PART_ROWS:
        raise SchemaError(f"{where} has {table.metadata.num_rows} rows; no part of a manifest has more than {MAX_PART_ROWS}")
    return table


def read_rows(store: Store, release: Release, record: type[R]) -> Iterator[R]:
    """Every row of a release's table, part by part."""
    for file in release.files_of_kind(_kind(record)):
        yield from read_part(store, record, file.path)


def table_batches(
    store: Store, release: Release, record: type[Record], columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """A release's table, or some of its columns, in bounded memory and in the order in which it is stored.

    Raises SchemaError for a manifest of another version, StorageError for a file that is not the one that the release names.
    """
    for file in sorted(release.files_of_kind(_kind(record)), key=lambda file: file.path):
        with store.local_copy(file.path) as local:
            if sha256_of(local) != file.sha256:
                raise changed_file_error(store, file)
            table = _open_table(record, local, store.uri(file.path))
            if table.metadata.num_rows != file.rows:
                raise changed_file_error(store, file)
            there = table.schema_arrow.names
            wanted = None if columns is None else [name for name in columns if name in there] or there[:1]
            for batch in table.iter_batches(batch_size=10_000, columns=wanted):
                yield completed(record, batch, columns)


def sample_batches(
    store: Store, release: Release, split: str | None, columns: Sequence[str], codec: str | None = None
) -> Iterator[pa.RecordBatch]:
    """Some columns of the samples of a split, or of all, and `split`, in bounded memory and in the order of the files.

    With the name of a further codec, `codes_offset`, `codes_bytes` and `codes_crc32` are those of its codes. Raises
    NotInCorpusError if the release does not have it.
    """
    require_codec(release, codec)
    wanted = columns_to_read(list(dict.fromkeys((*columns, "split"))), codec)
    for batch in table_batches(store, release, SampleRow, wanted):
        yield with_codes_of(batch if split is None else batch.filter(pc.equal(batch["split"], split)), codec)


def require_codec(release: Release, codec: str | None) -> None:
    """Raises NotInCorpusError for the name of a further codec that a release does not have."""
    if codec is not None and codec not in release.codecs:
        raise NotInCorpusError(
            f"release {release.name} has no further codec {codec!r}",
            remedy=f"it has {', '.join(release.codecs) or 'none'}; `codecs` of the configuration of a build names them",
        )


def sample_columns(store: Store, release: Release, split: str, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The same, row by row."""
    for batch in sample_batches(store, release, split, columns):
        yield from batch.to_pylist()


def _kind(record: type[Record]) -> str:
    """The kind of the files that contain a table's rows."""
    return next(name for name, known in TABLES.items() if known is record)
