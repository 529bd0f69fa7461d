"""Parts: a release's samples in pieces of a few hours, in the order of its tables, each with its codes and its kept audio."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pyarrow as pa

from voxbeam.schemas.further_codes import place_of_codes
from voxbeam.schemas.manifest import SampleRow
from voxbeam.schemas.release import Release
from voxbeam.storage.releases import changed_file_error, table_batches
from voxbeam.storage.store import Store

PART_MS = 4 * 3_600_000
"""a part has at most this much speech: 360 MB of FLAC"""
_READ_ROWS = 100
"""samples that are read from a shard at once"""
PLACES = (
    "shard", "codes_offset", "codes_bytes", "codes_crc32", "json_offset", "json_bytes", "flac_offset", "flac_bytes",
    "further_codes",
)  # fmt: skip
"""columns that say where a sample is in the corpus; an export has its samples elsewhere"""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Consecutive rows of the table of samples, all of one shard."""

    split: str
    number: int
    """within the split, from 0"""
    first_row: int
    rows: int


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A sample with its bytes."""

    row: dict[str, Any]
    codes: dict[str | None, bytes]
    """of the first codec (None), then of each further one by name: npy, int16 [8, T]"""
    flac: bytes | None
    """as kept in the shard"""


def plan_parts(store: Store, release: Release, part_ms: int = PART_MS) -> list[Part]:
    """The parts of a release, in order of its table: a pure function of the release."""
    parts: list[Part] = []
    numbers: dict[str, int] = {}
    first_row = 0
    for (split, _), rows in groupby(_places(store, release), key=lambda place: place[:2]):
        sizes, count, total = list[int](), 0, 0
        for _, _, ms in rows:
            if count and total + ms > part_ms:
                sizes.append(count)
                count = total = 0
            count, total = count + 1, total + ms
        for size in (*sizes, count):
            parts.append(Part(split=split, number=numbers.get(split, 0), first_row=first_row, rows=size))
            numbers[split] = numbers.get(split, 0) + 1
            first_row += size
    return parts


def _places(store: Store, release: Release) -> Iterator[tuple[str, str, int]]:
    """Split, shard and duration of every sample."""
    for batch in table_batches(store, release, SampleRow, ["split", "shard", "duration_ms"]):
        yield from zip(*(batch[name].to_pylist() for name in ("split", "shard", "duration_ms")), strict=True)


def part_tables(store: Store, release: Release, parts: list[Part]) -> Iterator[tuple[Part, pa.Table]]:
    """Some of the parts, in order, each with its rows. The table is read once, from beginning to end."""
    waiting = iter(parts)
    part = next(waiting, None)
    pieces: list[pa.RecordBatch] = []
    start = 0
    for batch in table_batches(store, release, SampleRow):
        end = start + batch.num_rows
        while part is not None and part.first_row < end:
            first, last = max(part.first_row, start), min(part.first_row + part.rows, end)
            pieces.append(batch.slice(first - start, last - first))
            if last < part.first_row + part.rows:
                break
            yield part, pa.Table.from_batches(pieces)
            part, pieces = next(waiting, None), []
        start = end


def read_samples(store: Store, release: Release, table: pa.Table, *, kept: bool) -> Iterator[list[Sample]]:
    """The samples of a part, some at a time. With `kept`, each with its FLAC.

    Raises StorageError for codes that do not have the CRC-32 of their row.
    """
    for batch in table.to_batches(max_chunksize=_READ_ROWS):
        rows = batch.to_pylist()
        yield list(_read(store, release, rows, kept=kept))


def _read(store: Store, release: Release, rows: list[dict[str, Any]], *, kept: bool) -> Iterator[Sample]:
    """Samples that lie one after the other in a shard, by one ranged read."""
    shard = rows[0]["shard"]
    places = [{codec: place_of_codes(row, codec) for codec in (None, *release.codecs)} for row in rows]
    spans = [(offset, size) for of_codecs in places for offset, size, _ in of_codecs.values()]
    spans += [(row["flac_offset"], row["flac_bytes"]) for row in rows if kept and row["flac_offset"] is not None]
    start, end = min(offset for offset, _ in spans), max(offset + size for offset, size in spans)
    content = store.get_range(shard, start, end - start)
    for row, of_codecs in zip(rows, places, strict=True):
        codes = {}
        for codec, (offset, size, crc32) in of_codecs.items():
            codes[codec] = _cut(content, start, offset, size)
            if zlib.crc32(codes[codec]) != crc32:
                raise changed_file_error(store, next(file for file in release.files if file.path == shard))
        flac = _cut(content, start, row["flac_offset"], row["flac_bytes"]) if kept and row["flac_offset"] is not None else None
        yield Sample(row={name: value for name, value in row.items() if name not in PLACES}, codes=codes, flac=flac)


def _cut(content: bytes, start: int, offset: int, size: int) -> bytes:
    return content[offset - start : offset - start + size]
