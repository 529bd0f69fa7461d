"""Rewrite: a new release without some recordings, in which only the shards and parts that had them are written again.

All other shards are those of the previous release, by name and by byte. Nothing is packed anew: identities, splits and groups of
what stays are as they were, so that nobody else's samples move. The next build finds identities anew, as every build does.
"""

import hashlib
import io
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import attrgetter

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from voxbeam.exports.describe import DESCRIPTIONS
from voxbeam.pipeline.steps.pack import shard_files
from voxbeam.pipeline.steps.release_writer import ReleaseHeader, commit, put_part, write_part
from voxbeam.pipeline.steps.revise import packed_samples
from voxbeam.pipeline.steps.shards import write_shards
from voxbeam.pipeline.takedown.traces import clean_decisions, clean_identities
from voxbeam.pipeline.verify_header import count_rows
from voxbeam.schemas.columns import from_table, to_table
from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.identity import IdentityRow, VoiceRow
from voxbeam.schemas.manifest import TABLES, SampleRow, ShardRow
from voxbeam.schemas.release import Release, ReleaseFile
from voxbeam.storage.releases import changed_file_error, read_part_table, read_rows
from voxbeam.storage.store import Store
from voxbeam.transforms.identity.naming import CHANGES

_BY_RECORDING = ("samples", "rejected", "voices", "recordings")
"""tables with a row for what is of a recording"""


@dataclass
class Rewritten:
    """What a release without some recordings has instead of files of the previous one."""

    files: list[ReleaseFile] = field(default_factory=list)
    shards: list[ShardRow] = field(default_factory=list)
    replaced: set[str] = field(default_factory=set)
    """paths of files that it does not take over"""
    voices: set[str] = field(default_factory=set)
    """that it does not have any more"""
    people: set[str] = field(default_factory=set)
    """speakers and identities of whom it may have nothing any more"""


def release_without(store: Store, previous: Release, recordings: set[str], collection: str = "") -> Release:
    """Commits the release after `previous` without recordings, and returns it. `collection` is the last one that was seen.

    Raises CommitConflictError when a build was faster, StorageError for files that are not those of the release.
    """
    made = Rewritten()
    for kind in _BY_RECORDING:
        for file in previous.files_of_kind(kind):
            mask = _named(_verified(store, file), recordings)
            if not pc.any(mask).as_py():
                continue
            made.replaced.add(file.path)
            table = read_part_table(store, TABLES[kind], file.path)
            gone = table.filter(mask)
            made.voices |= set(gone["voice"].to_pylist()) if kind == "voices" else set()
            made.people |= set(gone["speaker"].to_pylist())
            left = table.filter(pc.invert(mask))
            if kind == "samples":
                _rewrite_samples(store, previous, list(from_table(SampleRow, table)), left, recordings, made)
            elif len(left):
                made.files.append(put_part(store, kind, _stem(file.path), left))
    _rewrite_identities(store, previous, made)
    shards = [row for row in read_rows(store, previous, ShardRow) if row.shard not in made.replaced] + made.shards
    replaced_kinds = ("shards", "phones", "shard_list", *DESCRIPTIONS)
    kept = [file for file in previous.files if file.kind not in replaced_kinds and file.path not in made.replaced]
    shards_file = write_part(store, "shards", "shards", list(sorted(shards, key=attrgetter("shard"))))
    files = [*kept, *made.files, shards_file]
    if not any(file.kind == "recordings" for file in files):
        files.append(write_part(store, "recordings", "done-000000", []))
    header = ReleaseHeader(
        number=previous.number + 1,
        parent=previous.number,
        code_version=previous.code_version,
        fingerprint=previous.fingerprint,
        config=clean_decisions(previous.config, recordings, made.voices, made.people - _speakers(store, kept + made.files)),
        models=previous.models,
        collection=collection,
    )
    CorpusConfig.model_validate(header.config)
    counted = count_rows(store, replace(previous, files=tuple(files)))
    phones = store.get(previous.files_of_kind("phones")[0].path)
    labels = {name: 0 if name in CHANGES else value for name, value in previous.labels.items()}
    return commit(store, header, files, {name: counted[name] for name in sorted(previous.counts)}, phones, labels)


def _verified(store: Store, file: ReleaseFile) -> bytes:
    """The bytes of a part. Raises StorageError unless they are those that the release names."""
    content = store.get(file.path)
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise changed_file_error(store, file)
    return content


def _named(content: bytes, recordings: set[str]) -> pa.ChunkedArray:
    """Which rows of a part are of recordings."""
    names = pq.read_table(io.BytesIO(content), columns=["recording"])["recording"]
    return pc.is_in(names, value_set=pa.array(sorted(recordings), pa.string()))


def _stem(path: str) -> str:
    """The name of a part without the hash of its content."""
    return path.rsplit("/", 1)[-1].rsplit("-", 1)[0]


def _rewrite_samples(
    store: Store, previous: Release, rows: list[SampleRow], left: pa.Table, recordings: set[str], made: Rewritten
) -> None:
    """Writes the shards of a part again that have samples of recordings; samples of its other shards stay in the table."""
    max_bytes = CorpusConfig.model_validate(previous.config).pack.max_shard_mb << 20
    touched = {row.shard for row in rows if row.recording in recordings}
    made.replaced |= touched
    if others := [row for row in from_table(SampleRow, left) if row.shard not in touched]:
        stem = others[0].shard.rsplit("/", 1)[-1].removesuffix(".tar")
        made.files.append(write_part(store, "samples", stem, list(others)))
    for shard, in_shard in groupby(rows, attrgetter("shard")):
        samples = [row for row in in_shard if row.recording not in recordings]
        if shard not in touched or not samples:
            continue
        group = int(shard.rsplit("-", 2)[1])
        with store.local_copy(shard) as tar:
            packed = packed_samples(store, tar, samples)
            for written, written_rows in write_shards(store, samples[0].split, group, packed, max_bytes):
                made.files += shard_files(store, written, written_rows)
                made.shards.append(written)


def _rewrite_identities(store: Store, previous: Release, made: Rewritten) -> None:
    """Writes parts of the identities table again that have voices that are gone, or that name an identity that is gone."""
    tables = {file.path: read_part_table(store, IdentityRow, file.path) for file in previous.files_of_kind("identities")}
    rows = {path: list(from_table(IdentityRow, table)) for path, table in tables.items()}
    pack = CorpusConfig.model_validate(previous.config).pack
    cleaned, dropped = clean_identities(rows, made.voices, _speech(store, previous), pack)
    made.people |= dropped
    for path, table in tables.items():
        new = to_table(IdentityRow, list(cleaned[path]))
        if new.equals(table):
            continue
        made.replaced.add(path)
        if len(new):
            made.files.append(put_part(store, "identities", _stem(path), new))


def _speech(store: Store, release: Release) -> dict[str, tuple[str, int]]:
    """Voice → recording and time of speech."""
    columns = ("voice", "recording", "speech_ms")
    tables = [read_part_table(store, VoiceRow, file.path).select(columns) for file in release.files_of_kind("voices")]
    return {row["voice"]: (row["recording"], row["speech_ms"]) for table in tables for row in table.to_pylist()}


def _speakers(store: Store, files: list[ReleaseFile]) -> set[str]:
    """The speakers that tables of a release still have, as listed or as they were named."""
    found: set[str] = set()
    for file in files:
        if file.kind in ("voices", "recordings"):
            table = pq.read_table(io.BytesIO(store.get(file.path)), columns=["speaker"])
            found |= set(pc.unique(table["speaker"]).to_pylist())
    return found
