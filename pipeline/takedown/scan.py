"""Scan: reads every object of a corpus and looks for what is known of a person: identifiers, names, texts, hashes and codes.

Tables are compressed, so their values are read; of shards the bytes and each member; of everything else the bytes, and the
path. What cannot be read is a finding.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from voxbeam.pipeline.steps.unit_file import read_header_and_table
from voxbeam.pipeline.takedown.person import NAMED, Person
from voxbeam.schemas.errors import SchemaError, StorageError
from voxbeam.storage.own_paths import is_own
from voxbeam.storage.staged import name_when_done, walk_staged
from voxbeam.storage.store import Store
from voxbeam.storage.tar_members import tar_members

_NOT_SCANNED = ("tombstones/", "gc/")
"""what says by hashes alone that something was taken down; and marks of collections"""
_CHUNK, _OVERLAP = 16 << 20, 64 << 10
UNREADABLE = "something that cannot be read"


@dataclass(frozen=True)
class Finding:
    """Something of a person in an object."""

    path: str
    what: str


def scan(store: Store, person: Person, skip: Collection[str] = ()) -> tuple[int, list[Finding]]:
    """How many objects of a corpus were read, and what was found of a person in each."""
    read, findings = 0, list[Finding]()
    for path in sorted((*(path for path, *_ in store.walk()), *(path for path, *_ in walk_staged(store)))):
        if path.startswith(_NOT_SCANNED) or path in skip:
            continue
        read += 1
        found = _search(store, path, person)
        if not is_own(path) and person.is_named_in(path.encode()):
            found.add(NAMED)
        findings += [Finding(path, what) for what in sorted(found)]
    return read, findings


def _search(store: Store, path: str, person: Person) -> set[str]:
    found, kind = set[str](), Path(name_when_done(path)).suffix
    try:
        with store.local_copy(path) as local, local.open("rb") as file:
            if kind == ".parquet":
                for batch in pq.ParquetFile(file).iter_batches():
                    found |= _in_columns(batch, person)
            elif kind == ".arrow":
                header, table = read_header_and_table(file.read())
                found |= _in_columns(table, person) | person.in_values(_leaves(header))
            elif kind == ".tar":
                found |= _in_members(file, person) | _in_file(file, person, words_only=True)
            elif kind == ".gz":
                with gzip.open(file) as unpacked:
                    found |= _in_file(unpacked, person, words_only=False)
            else:
                found |= _in_file(file, person, words_only=False)
    except (SchemaError, StorageError, pa.ArrowException, OSError, EOFError, zlib.error, ValueError):
        found.add(UNREADABLE)
    return found


def _in_file(file: BinaryIO | gzip.GzipFile, person: Person, *, words_only: bool) -> set[str]:
    """What is in the bytes of a file, read in pieces that overlap."""
    found, before = set[str](), b""
    file.seek(0)
    while chunk := file.read(_CHUNK):
        piece = before + chunk
        if not words_only:
            found |= person.in_bytes(piece)
        elif person.is_named_in(piece):
            found.add(NAMED)
        before = piece[-_OVERLAP:]
    return found


def _in_members(file: BinaryIO, person: Person) -> set[str]:
    """What is in the members of a shard: values of its JSON, and codes."""
    found = set[str]()
    for member in tar_members(file):
        file.seek(member.offset)
        content = file.read(member.size)
        if member.name.endswith(".json"):
            found |= person.in_values(_leaves(json.loads(content)))
        elif member.name.endswith(".npy"):
            found |= person.in_values([content])
    return found


def _in_columns(table: pa.Table | pa.RecordBatch, person: Person) -> set[str]:
    found = set[str]()
    for column in table.columns:
        for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
            for values in _texts(chunk):
                found |= person.in_values(pc.unique(values).to_pylist())
    return found


def _texts(array: pa.Array) -> Iterator[pa.Array]:
    """The arrays of texts and bytes in an array, whatever they are nested in."""
    kind = array.type
    if pa.types.is_struct(kind):
        for inner in array.flatten():
            yield from _texts(inner)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        yield from _texts(array.flatten())
    elif pa.types.is_dictionary(kind):
        yield from _texts(array.dictionary)
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind):
        yield array


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield str(name)
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
