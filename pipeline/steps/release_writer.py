"""Release writer: manifest parts, then one conditional put of `releases/<number>.json`, which commits the release."""

import hashlib
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.parquet as pq

from voxbeam.exports.describe import describe_within
from voxbeam.pipeline.collection_mark import require_no_collection, require_same_collection
from voxbeam.safety.tombstones import Tombstones, find_taken_down, read_tombstones
from voxbeam.schemas.columns import Record, to_table
from voxbeam.schemas.errors import CommitConflictError, ConsentError, StorageError
from voxbeam.schemas.formats import SPLITS
from voxbeam.schemas.manifest import TABLES
from voxbeam.schemas.release import FeedHead, Release, ReleaseFile
from voxbeam.storage.release_copies import keep_copy
from voxbeam.storage.releases import damaged_files, read_release, release_path
from voxbeam.storage.store import Store


def table_bytes(table: pa.Table) -> bytes:
    """A table as the bytes of a Parquet file; the same rows give the same bytes."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", row_group_size=50_000)
    return sink.getvalue()


def write_part(store: Store, kind: str, stem: str, rows: list[Record]) -> ReleaseFile:
    """Puts rows as a part of a manifest, under a name that contains their hash; the commit copies it to its release."""
    return put_part(store, kind, stem, to_table(TABLES[kind], rows))


def put_part(store: Store, kind: str, stem: str, table: pa.Table) -> ReleaseFile:
    """The same of a table of the right schema."""
    content = table_bytes(table)
    digest = hashlib.sha256(content).hexdigest()
    path = f"manifests/parts/{kind}/{stem}-{digest[:16]}.parquet"
    store.put_named_by_content(path, content)
    return ReleaseFile(path=path, kind=kind, sha256=digest, bytes=len(content), rows=len(table))


def shard_list(files: Iterable[ReleaseFile], split: str) -> bytes:
    """The shards of a split, one path below the corpus per line, in order: what WebDataset readers and shells take."""
    paths = sorted(file.path for file in files if file.kind == "shard" and file.path.startswith(f"shards/{split}/"))
    return "".join(f"{path}\n" for path in paths).encode()


def _write_shard_lists(store: Store, folder: str, files: list[ReleaseFile]) -> list[ReleaseFile]:
    lists: list[ReleaseFile] = []
    for split in SPLITS:
        content = shard_list(files, split)
        lists.append(_put_lines(store, f"{folder}/shards-{split}.txt", "shard_list", content))
    return lists


def _write_descriptions(store: Store, folder: str, release: Release) -> list[ReleaseFile]:
    """The card and the Croissant description of a release that has all of its other files.

    Named by their content: they state the configuration, in which two builds that race and find the same may differ.
    """
    return [
        _put_lines(store, f"{folder}/{kind}-{hashlib.sha256(content).hexdigest()[:16]}.{suffix}", kind, content)
        for (kind, suffix), content in describe_within(store, release, folder).items()
    ]


def _put_lines(store: Store, path: str, kind: str, content: bytes) -> ReleaseFile:
    """Puts a text that follows from the other files of a release."""
    store.put_named_by_content(path, content)
    digest = hashlib.sha256(content).hexdigest()
    return ReleaseFile(path=path, kind=kind, sha256=digest, bytes=len(content), rows=content.count(b"\n"))


def _in_order(files: Iterable[ReleaseFile]) -> tuple[ReleaseFile, ...]:
    return tuple(sorted(files, key=lambda file: (file.kind, file.path)))


def _require_files(store: Store, release: Release) -> None:
    """Raises StorageError when a file of a release is gone or has another size: it must not be committed then."""
    for file in damaged_files(store, release):
        raise StorageError(
            f"{store.uri(file.path)} is gone or does not have {file.bytes} bytes",
            remedy="run the same command again: what is finished is kept, and this file is made again",
        )


def _require_nobody_taken_down(store: Store, release: Release, tombstones: Tombstones) -> None:
    """Raises ConsentError for a release with a recording that was taken down, if need be while it was made."""
    if (found := find_taken_down(store, release, {store.root: tombstones})) is not None:
        raise ConsentError(
            f"{found[0]} was taken down ({found[1]}), so there is no release with it",
            remedy="run the same command again, which leaves it out; if the latest release has it, finish the takedown first",
        )


def _seen_tombstones(store: Store, number: int, tombstones: Tombstones) -> FeedHead | None:
    """What a release sees of the tombstones: all, or what it saw when it was made first, if it is made again."""
    try:
        return read_release(store, number).tombstones
    except FileNotFoundError:
        return tombstones.head


@dataclass(frozen=True, kw_only=True)
class ReleaseHeader:
    """What is known of a release before its files are."""

    number: int
    parent: int | None
    code_version: int
    fingerprint: str
    config: dict[str, object]
    models: dict[str, str]
    collection: str = ""
    """the last garbage collection when the work on the release began"""


def commit(
    store: Store,
    header: ReleaseHeader,
    written: list[ReleaseFile],
    counts: dict[str, int],
    phones: bytes,
    labels: dict[str, float] | None = None,
) -> Release:
    """Copies every manifest part to `manifests/<release>-<content>/` and puts the release.

    Raises CommitConflictError when another build was faster. Calling it again with the same arguments changes nothing.
    """
    phones_file = ReleaseFile(
        path="phones.json",
        kind="phones",
        sha256=hashlib.sha256(phones).hexdigest(),
        bytes=len(phones),
        rows=len(json.loads(phones)["phones"]),
    )
    written = sorted([*written, phones_file], key=lambda file: (file.kind, file.sha256))
    content_id = hashlib.sha256("".join(file.sha256 for file in written).encode()).hexdigest()[:8]
    folder = f"manifests/{header.number:06d}-{content_id}"
    files: list[ReleaseFile] = []
    for file in written:
        if file.kind == "shard":
            files.append(file)
            continue
        name = f"{folder}/phones.json" if file.kind == "phones" else f"{folder}/{file.kind}/{file.path.rsplit('/', 1)[-1]}"
        if file.kind == "phones":
            store.put_named_by_content(name, phones)
        elif store.size(name) != file.bytes:
            try:
                store.copy(file.path, name)
            except FileNotFoundError as error:  # a faster build wrote the same part and has deleted it
                raise CommitConflictError.of_release(header.number) from error
        files.append(ReleaseFile(path=name, kind=file.kind, sha256=file.sha256, bytes=file.bytes, rows=file.rows))
    files += _write_shard_lists(store, folder, files)
    release = Release(
        number=header.number,
        parent=header.parent,
        code_version=header.code_version,
        fingerprint=header.fingerprint,
        config=header.config,
        models=header.models,
        counts=counts,
        labels=labels or {},
        files=_in_order(files),
    )
    _require_files(store, release)
    tombstones = read_tombstones(store)
    release = replace(release, tombstones=_seen_tombstones(store, header.number, tombstones))
    _require_nobody_taken_down(store, release, tombstones)
    release = replace(release, files=_in_order([*files, *_write_descriptions(store, folder, release)]))
    require_no_collection(store)
    require_same_collection(store, header.collection)
    content = release.to_json()
    if not store.put_if_absent(release_path(release.number), content) and store.get(release_path(release.number)) != content:
        raise CommitConflictError.of_release(release.number)
    keep_copy(store, release)
    store.delete([file.path for file in written if file.path.startswith("manifests/parts/")])
    return release
