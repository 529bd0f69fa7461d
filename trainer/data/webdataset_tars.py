"""The samples of plain WebDataset tars, which have no manifest. Every byte is read once and checked."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from voxbeam.schemas.columns import arrow_schema
from voxbeam.schemas.errors import StorageError
from voxbeam.schemas.manifest import SampleRow
from voxbeam.storage.bounded_json import parse_object
from voxbeam.storage.npy_codes import MAX_CODES_BYTES, parse_codes
from voxbeam.storage.store import Store, is_bucket
from voxbeam.storage.tar_members import DamagedTarError, TarMember, tar_members
from voxbeam.trainer.data.index_writer import COLUMNS

_NAME = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]*)", re.DOTALL)  # key and extension, as WebDataset divides them
_LIMITS = {"codes.npy": MAX_CODES_BYTES, "json": 16 << 20}


def identify_tars(store: Store) -> list[tuple[str, str]]:
    """Path of every tar of a corpus, and what changes when the tar is replaced: size, time, and in a folder the inode."""
    found = []
    for path, size, modified in store.walk_with_mtime():
        if path.endswith(".tar"):
            identity = f"{size} {modified.isoformat()}"
            if not is_bucket(store.root):
                status = Path(store.root, path).stat()
                identity = f"{status.st_size} {status.st_mtime_ns} {status.st_ino}"
            found.append((path, identity))
    return found


def tar_batches(store: Store, paths: Sequence[str], n_phones: int) -> Iterator[pa.RecordBatch]:
    """The samples of tars, in the columns of a manifest; without a phone set, `n_phones` is 0 and any id will do.

    Raises StorageError, naming the place, for a damaged tar, a sample that cannot be used, and tars without samples.
    """
    schema = pa.schema([arrow_schema(SampleRow).field(name).with_nullable(True) for name in COLUMNS])
    rows = _rows(store, paths, n_phones)
    empty = True
    while chunk := list(islice(rows, 10_000)):
        empty = False
        yield pa.RecordBatch.from_pylist(chunk, schema=schema)
    if empty:
        raise StorageError(
            f"there is no sample in the {len(paths)} tars of {store.root}", remedy="a sample is <key>.codes.npy and <key>.json"
        )


def _rows(store: Store, paths: Sequence[str], n_phones: int) -> Iterator[dict[str, Any]]:
    """One row per sample, which has the tar members `<key>.codes.npy` and `<key>.json`."""
    seen: set[bytes] = set()  # digests: keys would take several times the memory
    for path in paths:
        with store.local_copy(path) as local, local.open("rb") as file:
            try:
                yield from _tar_rows(file, path, seen, n_phones)
            except (DamagedTarError, _SampleError) as error:
                raise StorageError(f"{store.uri(path)}: {error}", remedy="recreate the tar, or remove it") from error


class _SampleError(ValueError):
    """A sample that cannot be used. The message names it."""


def _tar_rows(file: BinaryIO, path: str, seen: set[bytes], n_phones: int) -> Iterator[dict[str, Any]]:
    waiting: dict[str, dict[str, Any]] = {}
    for member in tar_members(file):
        match = _NAME.fullmatch(member.name.removeprefix("./"))
        if not match or match[2] not in _LIMITS or member.kind == "folder":
            continue
        key, extension = match[1], match[2]
        content = _content(file, member, _LIMITS[extension])
        digest = hashlib.blake2b(member.name.removeprefix("./").encode(), digest_size=8).digest()
        if digest in seen:
            raise _SampleError(f"{member.name} is there twice, or in an earlier tar too")
        seen.add(digest)
        row = waiting.setdefault(key, {"key": key, "shard": path})
        try:
            row |= _codes_columns(member, content) if extension == "codes.npy" else _json_columns(content, n_phones)
        except ValueError as error:
            raise _SampleError(f"{member.name} at byte {member.offset} cannot be used: {error}") from error
        if "frames" in row and "phone_ids" in row:
            yield waiting.pop(key)
    for key, row in waiting.items():
        raise _SampleError(f"there is no {key}.{'json' if 'frames' in row else 'codes.npy'}, only the rest of {key}")


def _content(file: BinaryIO, member: TarMember, limit: int) -> bytes:
    if member.kind is not None:
        raise _SampleError(f"{member.name} at byte {member.offset} is a {member.kind}, not a regular file")
    if member.size > limit:
        raise _SampleError(f"{member.name} at byte {member.offset} has {member.size} bytes, more than {limit}")
    file.seek(member.offset)
    return file.read(member.size)


def _codes_columns(member: TarMember, content: bytes) -> dict[str, Any]:
    """Position, length and checksum of a sample's codes."""
    frames = parse_codes(content).shape[1]
    return {
        "codes_offset": member.offset,
        "codes_bytes": member.size,
        "codes_crc32": zlib.crc32(content),
        "frames": frames,
    }


def _json_columns(content: bytes, n_phones: int) -> dict[str, Any]:
    """The columns that come from a sample's JSON member. Raises ValueError."""
    tree = parse_object(content)
    ids, words, start = tree.get("phone_ids"), tree.get("words"), tree.get("start_ms")
    if not ids:
        raise ValueError("it has no phone_ids; phonemize its text")
    most = n_phones or 1 << 15
    if not isinstance(ids, list) or not all(type(number) is int and 0 <= number < most for number in ids):
        raise ValueError(f"its phone_ids are not all numbers from 0 to {most - 1}")
    for name in ("speaker", "identity", "text"):
        if not isinstance(tree.get(name), str | None):
            raise ValueError(f"its {name} is not text")
        (tree.get(name) or "").encode()  # half of a surrogate pair is no text: UnicodeEncodeError
    if start is not None and not _is_time(start):
        raise ValueError("its start_ms is not a time")
    if words is not None and not (isinstance(words, list) and all(map(_is_word, words))):
        raise ValueError("its words are not all a text with start_ms and end_ms")
    return {
        **{name: tree.get(name) for name in ("speaker", "identity")},
        "text": tree.get("text"),
        "start_ms": start,
        "phone_ids": ids,
        "words": None if words is None else [_word(word) for word in words],
    }


def _is_time(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 40


def _is_word(word: Any) -> bool:
    return isinstance(word, dict) and all(_is_time(word.get(edge)) for edge in ("start_ms", "end_ms"))


def _word(word: Mapping[str, Any]) -> dict[str, Any]:
    """The times of a word, which is all that training uses."""
    return {"text": "", "start_ms": word["start_ms"], "end_ms": word["end_ms"], "probability": 0.0}
