"""Shards: samples as WebDataset tars, byte for byte the same whoever writes them.

Members of a sample: `<key>.codes.npy` (int16 [8, T]), `<key>.json`, and `<key>.flac` if kept. Tar headers hold no time, no owner.
A shard is built in a local temporary file and put once, under a name that carries its hash.
"""

import functools
import io
import json
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from voxbeam.schemas.formats import N_CODEBOOKS
from voxbeam.schemas.manifest import SampleRow, SegmentRow, ShardRow, UnitRow
from voxbeam.storage.store import Store, sha256_of

_SEGMENT_FIELDS = [f.name for f in fields(SegmentRow)]


@dataclass(frozen=True, kw_only=True)
class Member:
    """A sample ready to be packed: its row without a place, and the bytes of its members."""

    row: SampleRow
    codes: bytes
    flac: bytes | None


def sample_of(row: UnitRow, *, speaker: str, split: str, license: str | None, consent_basis: str | None) -> Member:
    """A unit's accepted segment as a sample of a named speaker."""
    if row.codes is None:
        raise ValueError(f"{row.key} was accepted without codes; remove its unit {row.unit} and build again")
    sample = SampleRow(
        **{name: getattr(row, name) for name in _SEGMENT_FIELDS if name != "speaker"},
        speaker=speaker,
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
    header = _codes_header(row.frames)
    if len(row.codes) != 2 * N_CODEBOOKS * row.frames:
        raise ValueError(f"{row.key} has {len(row.codes)} bytes of codes for {row.frames} frames; remove its unit {row.unit}")
    return Member(row=sample, codes=header + row.codes, flac=row.flac)


@functools.lru_cache(maxsize=4096)
def _codes_header(frames: int) -> bytes:
    """What an npy file of codes [8, frames] begins with; NumPy takes longer to write it than to write the codes."""
    sink = io.BytesIO()
    np.save(sink, np.empty((N_CODEBOOKS, frames), np.int16), allow_pickle=False)
    return sink.getvalue()[: sink.tell() - 2 * N_CODEBOOKS * frames]


def sample_json(row: SampleRow) -> bytes:
    """What travels with the codes: all that is known of the sample but its place."""
    hidden = {"shard", "codes_offset", "codes_bytes", "codes_crc32", "json_offset", "json_bytes", "flac_offset", "flac_bytes"}
    tree = {f.name: getattr(row, f.name) for f in fields(row) if f.name not in hidden}
    return json.dumps(tree, ensure_ascii=False, sort_keys=True).encode()


def write_shards(
    store: Store,
    split: str,
    bucket: int,
    members: Iterable[Member],
    max_bytes: int,
    tick: Callable[[], None] = lambda: None,
) -> Iterator[tuple[ShardRow, list[SampleRow]]]:
    """Writes members, in the order given, as tars of at most `max_bytes`; yields each shard with the rows of its samples."""
    pending: _OpenShard | None = None
    for member in members:
        if pending is not None and pending.bytes_with(member) > max_bytes:
            yield pending.put(store, split, bucket)
            pending = None
        pending = pending or _OpenShard()
        pending.add(member)
        tick()
    if pending is not None:
        yield pending.put(store, split, bucket)


class _OpenShard:
    """A tar under construction in a local temporary file."""

    def __init__(self) -> None:
        self._file = tempfile.NamedTemporaryFile(suffix=".tar")  # noqa: SIM115 (it lives as long as the shard)
        self._rows: list[tuple[SampleRow, dict[str, Any]]] = []  # without its place, and the place

    def bytes_with(self, member: Member) -> int:
        return self._file.tell() + len(member.codes) + len(member.flac or b"") + 16 * len(member.row.text or "") + 16_384

    def add(self, member: Member) -> None:
        codes_offset = self._append(f"{member.row.key}.codes.npy", member.codes)
        flac_offset = self._append(f"{member.row.key}.flac", member.flac) if member.flac is not None else None
        json_bytes = sample_json(member.row)
        json_offset = self._append(f"{member.row.key}.json", json_bytes)
        place: dict[str, Any] = {
            "codes_offset": codes_offset,
            "codes_bytes": len(member.codes),
            "codes_crc32": zlib.crc32(member.codes),
            "json_offset": json_offset,
            "json_bytes": len(json_bytes),
        }
        if flac_offset is not None and member.flac is not None:
            place |= {"flac_offset": flac_offset, "flac_bytes": len(member.flac)}
        self._rows.append((member.row, place))

    def _append(self, name: str, content: bytes) -> int:
        """Adds a member; returns the offset of its first byte."""
        info = tarfile.TarInfo(name)
        info.size = len(content)
        info.mode = 0o644
        self._file.write(info.tobuf(tarfile.GNU_FORMAT))
        offset = self._file.tell()
        self._file.write(content + bytes(-len(content) % tarfile.BLOCKSIZE))
        return offset

    def put(self, store: Store, split: str, bucket: int) -> tuple[ShardRow, list[SampleRow]]:
        end = self._file.tell() + 2 * tarfile.BLOCKSIZE
        self._file.write(bytes(2 * tarfile.BLOCKSIZE + -end % tarfile.RECORDSIZE))
        self._file.flush()
        local = Path(self._file.name)
        digest, size = sha256_of(local), local.stat().st_size
        path = f"shards/{split}/{split}-{bucket:06d}-{digest[:16]}.tar"
        store.put_file(path, local)
        self._file.close()
        rows = [replace(row, shard=path, **place) for row, place in self._rows]
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
