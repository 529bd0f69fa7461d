"""Shards: samples as WebDataset tars, byte for byte the same whoever writes them.

Members of a sample: `<key>.codes.npy` (int16 [8, T]), the same of each further codec as `<key>.codes.<name>.npy`, `<key>.json`,
and `<key>.flac` if kept. Tar headers contain no time and no owner. A shard is built in a local temporary file and put once,
under a name that contains its hash.
"""

import functools
import io
import json
import tarfile
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from voxbeam.schemas.errors import DamagedUnitError
from voxbeam.schemas.formats import N_CODEBOOKS
from voxbeam.schemas.manifest import SampleRow, ShardRow, UnitRow
from voxbeam.schemas.segment_row import SegmentRow
from voxbeam.storage.local_copies import sha256_of
from voxbeam.storage.store import Store

_SEGMENT_FIELDS = [f.name for f in fields(SegmentRow)]


@dataclass(frozen=True, kw_only=True)
class PackedSample:
    """A sample before it is written: its row without the byte ranges, and the bytes of its members."""

    row: SampleRow
    codes: bytes
    flac: bytes | None
    further: tuple[tuple[str, bytes], ...] = ()
    """name and codes of each further codec"""


def make_sample(
    row: UnitRow,
    *,
    speaker: str,
    identity: str,
    identity_confidence: float | None,
    split: str,
    license: str | None,
    consent_basis: str | None,
) -> PackedSample:
    """A unit's accepted segment as a sample of a named speaker."""
    if row.codes is None:
        raise wrong_codes(row, "was accepted without codes")
    sample = SampleRow(
        **{name: getattr(row, name) for name in _SEGMENT_FIELDS if name != "speaker"},
        speaker=speaker,
        identity=identity,
        identity_confidence=identity_confidence,
        split=split,
        license=license,
        consent_basis=consent_basis,
        phones=row.phones or "",
        phone_ids=row.phone_ids,
        words=row.words,
        frames=row.frames,
        shard="",
        codes_offset=0,
        codes_bytes=0,
        codes_crc32=0,
        json_offset=0,
        json_bytes=0,
    )
    further = tuple((str(one["codec"]), _as_npy(one["codes"], row)) for one in row.further_codes or ())
    return PackedSample(row=sample, codes=_as_npy(row.codes, row), flac=row.flac, further=further)


def wrong_codes(row: UnitRow, what: str) -> DamagedUnitError:
    """The error of a segment of a unit whose codes cannot be packed."""
    return DamagedUnitError(f"{row.key} {what}", remedy=f"remove its unit {row.unit} below units/, and build again")


def _as_npy(codes: bytes, row: UnitRow) -> bytes:
    """Codes of a segment as an npy file."""
    if len(codes) != 2 * N_CODEBOOKS * row.frames:
        raise wrong_codes(row, f"has {len(codes)} bytes of codes for {row.frames} frames")
    return _codes_header(row.frames) + codes


@functools.lru_cache(maxsize=4096)
def _codes_header(frames: int) -> bytes:
    """The header of an npy file of codes [8, frames], cached: NumPy takes longer for it than for the codes."""
    sink = io.BytesIO()
    np.save(sink, np.empty((N_CODEBOOKS, frames), np.int16), allow_pickle=False)
    return sink.getvalue()[: sink.tell() - 2 * N_CODEBOOKS * frames]


def sample_json(row: SampleRow) -> bytes:
    """The JSON member of a sample: every column except its byte ranges, and its identity, which later releases may find anew."""
    hidden = {
        "identity",
        "identity_confidence",
        "shard",
        "codes_offset",
        "codes_bytes",
        "codes_crc32",
        "json_offset",
        "json_bytes",
        "flac_offset",
        "flac_bytes",
        "further_codes",
    }
    tree = {f.name: getattr(row, f.name) for f in fields(row) if f.name not in hidden}
    return json.dumps(tree, ensure_ascii=False, sort_keys=True).encode()


def write_shards(
    store: Store,
    split: str,
    group: int,
    samples: Iterable[PackedSample],
    max_bytes: int,
) -> Iterator[tuple[ShardRow, list[SampleRow]]]:
    """Writes samples in the given order as tars of at most `max_bytes`; yields each shard with the rows of its samples."""
    pending: _OpenShard | None = None
    for sample in samples:
        if pending is not None and pending.bytes_with(sample) > max_bytes:
            yield pending.put(store, split, group)
            pending = None
        pending = pending or _OpenShard()
        pending.add(sample)
    if pending is not None:
        yield pending.put(store, split, group)


class _OpenShard:
    """A tar under construction in a local temporary file."""

    def __init__(self) -> None:
        self._file = tempfile.NamedTemporaryFile(suffix=".tar")  # noqa: SIM115 (open as long as the shard is)
        self._rows: list[tuple[SampleRow, dict[str, Any]]] = []  # without the byte ranges, and those

    def bytes_with(self, sample: PackedSample) -> int:
        further = sum(len(codes) + 2 * tarfile.BLOCKSIZE for _, codes in sample.further)
        known = len(sample.codes) + further + len(sample.flac or b"")
        return self._file.tell() + known + 16 * len(sample.row.text or "") + 16_384

    def add(self, sample: PackedSample) -> None:
        codes_offset = self._append(f"{sample.row.key}.codes.npy", sample.codes)
        further = [self._append_further(sample.row.key, name, codes) for name, codes in sample.further]
        flac_offset = self._append(f"{sample.row.key}.flac", sample.flac) if sample.flac is not None else None
        json_bytes = sample_json(sample.row)
        json_offset = self._append(f"{sample.row.key}.json", json_bytes)
        ranges: dict[str, Any] = {
            "codes_offset": codes_offset,
            "codes_bytes": len(sample.codes),
            "codes_crc32": zlib.crc32(sample.codes),
            "json_offset": json_offset,
            "json_bytes": len(json_bytes),
        }
        if flac_offset is not None and sample.flac is not None:
            ranges |= {"flac_offset": flac_offset, "flac_bytes": len(sample.flac)}
        if further:
            ranges["further_codes"] = further
        self._rows.append((sample.row, ranges))

    def _append_further(self, key: str, codec: str, codes: bytes) -> dict[str, Any]:
        offset = self._append(f"{key}.codes.{codec}.npy", codes)
        return {"codec": codec, "offset": offset, "bytes": len(codes), "crc32": zlib.crc32(codes)}

    def _append(self, name: str, content: bytes) -> int:
        """Adds a member; returns the offset of its first byte."""
        info = tarfile.TarInfo(name)
        info.size = len(content)
        info.mode = 0o644
        self._file.write(info.tobuf(tarfile.GNU_FORMAT))
        offset = self._file.tell()
        self._file.write(content + bytes(-len(content) % tarfile.BLOCKSIZE))
        return offset

    def put(self, store: Store, split: str, group: int) -> tuple[ShardRow, list[SampleRow]]:
        end = self._file.tell() + 2 * tarfile.BLOCKSIZE
        self._file.write(bytes(2 * tarfile.BLOCKSIZE + -end % tarfile.RECORDSIZE))
        self._file.flush()
        local = Path(self._file.name)
        digest, size = sha256_of(local), local.stat().st_size
        path = f"shards/{split}/{split}-{group:06d}-{digest[:16]}.tar"
        store.put_file(path, local)
        self._file.close()
        rows = [replace(row, shard=path, **ranges) for row, ranges in self._rows]
        shard = ShardRow(
            shard=path,
            split=split,
            sha256=digest,
            bytes=size,
            samples=len(rows),
            frames=sum(row.frames for row in rows),
            duration_ms=sum(row.duration_ms for row in rows),
            first_key=rows[0].key,
            last_key=rows[-1].key,
        )
        return shard, rows
