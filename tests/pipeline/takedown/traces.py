"""What a corpus tells of Anna, found without the scan of the product; and the command that takes her out."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from voxbeam.commands.main import main
from voxbeam.pipeline.steps.unit_file import read_header_and_table
from voxbeam.pipeline.takedown.person import codes_excerpt
from voxbeam.schemas.manifest import RecordingRow, SampleRow
from voxbeam.storage.releases import load_release, read_rows
from voxbeam.storage.store import Store

ANNA = ("anna-0", "anna-1")


def take_anna_down(folder: Path, *more: str) -> int:
    words = ["--corpus", str(folder / "corpus"), "--speaker", "anna", "--out", str(folder / "statement.json")]
    return main(["takedown", *words, *more])


def traces_of(folder: Path, known: set[bytes]) -> dict[str, set[bytes]]:
    """Top folder → what of `known` is in its files: a scan that shares nothing with the product's."""
    found: dict[str, set[bytes]] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        if path.suffix == ".parquet":
            content += _all_values(pq.read_table(io.BytesIO(content)))
        if path.suffix == ".arrow":
            header, table = read_header_and_table(content)
            content += json.dumps(header).encode() + _all_values(table)
        if hits := {word for word in known if word in content}:
            found.setdefault(path.relative_to(folder).parts[0], set()).update(hits)
    return found


def _all_values(table: pa.Table) -> bytes:
    def values(value: object) -> Iterator[bytes]:
        if isinstance(value, dict | list):
            for inner in value.values() if isinstance(value, dict) else value:
                yield from values(inner)
        elif isinstance(value, str | bytes):
            yield value.encode() if isinstance(value, str) else value

    return b"\n".join(values(table.to_pylist()))


def known_of(store: Store, recordings: tuple[str, ...]) -> set[bytes]:
    """Names, texts, hashes and codes of recordings of the latest release."""
    release, known = load_release(store), {b"anna", *(name.encode() for name in recordings)}
    for row in read_rows(store, release, RecordingRow):
        known |= {row.uri.encode(), str(row.sha256).encode()} if row.recording in recordings else set()
    for sample in read_rows(store, release, SampleRow):
        if sample.recording in recordings:
            content = store.get_range(sample.shard, sample.codes_offset, sample.codes_bytes)
            known |= {str(sample.text).encode(), codes_excerpt(content)}
    return known - {b""}
