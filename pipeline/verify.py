"""Verify: reads a whole release as its users would, and lists every problem.

Checks: the hash and size of every file; the schema and the rows of every table; accepted + rejected + non-speech = duration;
keys are unique; a speaker and an identity are in one split; every tar is readable, its members are those of the manifest, at
the stated byte ranges; codes have the right shape and range.
"""

import zlib
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from voxbeam.pipeline.events import VerifyProgress
from voxbeam.pipeline.verify_header import Problem, check_header
from voxbeam.pipeline.verify_identities import check_identities
from voxbeam.schemas.errors import SchemaError, StorageError
from voxbeam.schemas.formats import FRAME_MS
from voxbeam.schemas.manifest import RELEASED, TABLES, RecordingRow, RejectedRow, SampleRow, ShardRow
from voxbeam.schemas.release import Release, ReleaseFile
from voxbeam.schemas.sample_keys import key_digest
from voxbeam.storage.bounded_json import parse_object
from voxbeam.storage.local_copies import sha256_of
from voxbeam.storage.npy_codes import MAX_CODES_BYTES, parse_codes
from voxbeam.storage.releases import load_release, read_part, read_rows
from voxbeam.storage.store import Store
from voxbeam.storage.tar_members import TarMember, tar_members


def verify(
    output_uri: str,
    release: int | None = None,
    *,
    recheck: float = 0.0,
    rederive: int = 0,
    on_progress: Callable[[VerifyProgress], None] | None = None,
) -> list[Problem]:
    """Reads every byte of a release (the latest if None) and returns every problem. An empty list means that it is sound.

    Args:
        output_uri: folder or bucket prefix of the corpus.
        release: number of the release; the latest if None.
        recheck: share of the recordings whose sources are probed again and compared, at least one; 0 for none.
        rederive: number of units that are made again through all stages and compared.
        on_progress: called with an event at every change of phase, and for every recording and unit that is checked again.

    Raises StorageError when the corpus has no such release, and ModelError when its units cannot be made again here. Recordings
    whose source cannot be reached are counted in the events, and are no problem.
    """
    store = Store(output_uri)
    found = load_release(store, release)
    report = on_progress or (lambda event: None)
    report(VerifyProgress(phase="read"))
    problems = list(verify_release(store, found))
    if problems or not (recheck or rederive):
        return problems  # rows of a damaged release say nothing of its sources
    from voxbeam.pipeline.recheck import recheck_sources, rederive_units  # every stage and model: seconds to import

    if recheck:
        problems += recheck_sources(store, found, recheck, report)
    if rederive:
        problems += rederive_units(store, found, rederive, report)
    return problems


def verify_release(store: Store, release: Release) -> Iterator[Problem]:
    """Yields every problem of a release, in bounded memory: the rows of one shard at a time."""
    broken = list(_check_files(store, release))
    yield from broken
    unreadable = {problem.where for problem in broken}
    if any(file.path in unreadable for file in release.files if file.kind != "shard"):
        return  # tables that cannot be trusted cannot be compared
    schema_problems = list(_check_tables(store, release))
    yield from schema_problems
    if schema_problems:
        return  # nor can rows that break their own schema
    yield from check_header(store, release)
    yield from _check_accounting(store, release)
    yield from check_identities(store, release)
    yield from _check_shard_table(store, release)
    for file in release.files_of_kind("samples"):
        yield from _check_shard(store, file, unreadable, release.codecs)


def _check_files(store: Store, release: Release) -> Iterator[Problem]:
    for file in release.files:
        try:
            with store.local_copy(file.path) as path:
                size, digest = path.stat().st_size, sha256_of(path)
        except FileNotFoundError:
            yield Problem(where=file.path, what="is missing")
            continue
        except StorageError as error:
            yield Problem(where=file.path, what=f"cannot be read: {error.message}")
            continue
        if size != file.bytes:
            yield Problem(where=file.path, what=f"has {size} bytes, the release says {file.bytes}")
        elif digest != file.sha256:
            yield Problem(where=file.path, what="has other content than the release says (SHA-256 differs)")


def _check_tables(store: Store, release: Release) -> Iterator[Problem]:
    for kind, record in TABLES.items():
        for file in release.files_of_kind(kind):
            try:
                rows = 0
                for row in read_part(store, record, file.path):
                    row.check()
                    rows += 1
            except SchemaError as error:
                yield Problem(where=file.path, what=str(error))
                continue
            if rows != file.rows:
                yield Problem(where=file.path, what=f"has {rows} rows, the release says {file.rows}")


def _check_accounting(store: Store, release: Release) -> Iterator[Problem]:
    """Compares the recordings table with sums over the samples and the rejected segments."""
    accepted, rejected, samples = Counter[str](), Counter[str](), Counter[str]()
    splits: dict[str, set[str]] = defaultdict(set)
    digests = array("Q")  # 8 bytes per sample; a set of keys would take a hundred
    for sample in read_rows(store, release, SampleRow):
        accepted[sample.recording] += sample.duration_ms
        samples[sample.recording] += 1
        splits[f"speaker {sample.speaker}"].add(sample.split)
        splits[f"identity {sample.identity}"].add(sample.split)
        digests.append(key_digest(sample.key))
    for key in _duplicate_keys(store, release, np.asarray(digests)):
        yield Problem(where=key, what="is in the release twice")
    for rejection in read_rows(store, release, RejectedRow):
        rejected[rejection.recording] += rejection.duration_ms
    seen = Counter[str]()
    for row in read_rows(store, release, RecordingRow):
        seen[row.recording] += 1
        found = (accepted[row.recording], rejected[row.recording], samples[row.recording])
        stated = (row.accepted_ms, row.rejected_ms, row.samples)
        if found != stated:
            yield Problem(
                where=row.recording,
                what=f"accepted, rejected ms and samples are {found}, the recordings table says {stated}",
            )
        if row.status in RELEASED and abs(sum(found[:2]) + row.non_speech_ms + row.failed_ms - row.total_ms) > FRAME_MS:
            yield Problem(where=row.recording, what="accepted + rejected + non-speech + failed is not its duration")
    for recording, count in seen.items():
        if count > 1:
            yield Problem(where=recording, what=f"is {count} times in the recordings table")
    for recording in (accepted.keys() | rejected.keys()) - seen.keys():
        yield Problem(where=recording, what="has segments but is not in the recordings table")
    for person, found_in in splits.items():
        if len(found_in) > 1:
            yield Problem(where=person, what=f"is in more than one split: {', '.join(sorted(found_in))}")


def _duplicate_keys(store: Store, release: Release, digests: NDArray[np.uint64]) -> Iterator[str]:
    """Keys that more than one sample has. The samples are read again only if digests are equal."""
    values, times = np.unique(digests, return_counts=True)
    if not len(equal := set(values[times > 1].tolist())):
        return
    rows = read_rows(store, release, SampleRow)
    yield from (key for key, n in Counter(row.key for row in rows if key_digest(row.key) in equal).items() if n > 1)


def _check_shard(store: Store, part: ReleaseFile, unreadable: set[str], codecs: tuple[str, ...]) -> Iterator[Problem]:
    """Compares one part of the samples manifest with its shard. `codecs` are the further ones of the release."""
    rows = list(read_part(store, SampleRow, part.path))
    for shard in sorted({row.shard for row in rows} - unreadable):
        expected: dict[str, _Member] = {}
        for row in (row for row in rows if row.shard == shard):
            expected |= _members(row)
            if [one["codec"] for one in row.further_codes or ()] != list(codecs):
                yield Problem(where=row.key, what=f"has not the codes of the further codecs {', '.join(codecs) or '(none)'}")
        try:
            with store.local_copy(shard) as path, path.open("rb") as file:
                for member in tar_members(file):
                    yield from _check_member(shard, file, member, expected.pop(member.name, None))
        except StorageError:
            raise
        except (OSError, ValueError) as error:
            yield Problem(where=shard, what=f"cannot be read: {error}")
            continue
        for name in expected:
            yield Problem(where=shard, what=f"does not contain {name}, which the manifest lists")


class _Member(NamedTuple):
    """What the manifest says of a member of a shard."""

    offset: int
    size: int
    row: SampleRow
    crc32: int | None = None
    """of codes"""


def _members(row: SampleRow) -> dict[str, _Member]:
    """The members of a sample, by name."""
    found = {
        f"{row.key}.codes.npy": _Member(row.codes_offset, row.codes_bytes, row, row.codes_crc32),
        f"{row.key}.json": _Member(row.json_offset, row.json_bytes, row),
    }
    for one in row.further_codes or ():
        found[f"{row.key}.codes.{one['codec']}.npy"] = _Member(one["offset"], one["bytes"], row, one["crc32"])
    if row.flac_offset is not None and row.flac_bytes is not None:
        found[f"{row.key}.flac"] = _Member(row.flac_offset, row.flac_bytes, row)
    return found


def _check_member(shard: str, file: BinaryIO, member: TarMember, expected: _Member | None) -> Iterator[Problem]:
    if expected is None or member.kind is not None:
        yield Problem(where=shard, what=f"contains {member.name}, which the manifest does not list")
        return
    offset, size, row, crc32 = expected
    if (member.offset, member.size) != (offset, size):
        yield Problem(
            where=shard,
            what=f"{member.name} is at {member.offset}+{member.size}, the manifest says {offset}+{size}",
        )
        return
    if member.name.endswith(".flac"):
        return
    if size > MAX_CODES_BYTES:
        yield Problem(where=shard, what=f"{member.name} has {size} bytes, more than {MAX_CODES_BYTES}")
        return
    file.seek(offset)
    content = file.read(size)
    if crc32 is not None:
        if zlib.crc32(content) != crc32:
            yield Problem(where=shard, what=f"{member.name} has another CRC-32 than in the manifest")
        try:
            frames = parse_codes(content).shape[1]
        except ValueError as error:
            yield Problem(where=shard, what=f"{member.name} has no codes that can be used: {error}")
            return
        if frames != row.frames:
            yield Problem(where=shard, what=f"{member.name} has {frames} frames, the manifest says {row.frames}")
    elif member.name.endswith(".json"):
        try:
            tree = parse_object(content)
        except ValueError as error:
            yield Problem(where=shard, what=f"{member.name} cannot be read: {error}")
            return
        if tree.get("key") != row.key or tree.get("text") != row.text:
            yield Problem(where=shard, what=f"{member.name} differs from the manifest")


def _check_shard_table(store: Store, release: Release) -> Iterator[Problem]:
    """Compares the shards table with the release's list of files."""
    listed = {file.path: file for file in release.files_of_kind("shard")}
    for row in read_rows(store, release, ShardRow):
        file = listed.pop(row.shard, None)
        if file is None or (file.sha256, file.bytes, file.rows) != (row.sha256, row.bytes, row.samples):
            yield Problem(where=row.shard, what="the shards table and the release disagree on it")
    for path in listed:
        yield Problem(where=path, what="is not in the shards table")
