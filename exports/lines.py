"""What NeMo and Kaldi have in common: a line for each sample, and a file for its audio unless the recordings are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from voxbeam.exports.parts import PLACES, Sample, read_samples
from voxbeam.exports.request import ExportRequest
from voxbeam.schemas.errors import StorageError
from voxbeam.schemas.manifest import RecordingRow
from voxbeam.storage.releases import read_rows
from voxbeam.storage.store import is_bucket


def rows_with_audio(
    request: ExportRequest, path_of: Callable[[dict[str, Any]], str], encode: Callable[[Sample], bytes]
) -> Iterator[dict[str, Any]]:
    """The rows of all samples, in order, each after its audio is at its path in the target; a file that is there stays."""
    for part, table in request.tables(request.parts):
        wanted = table.drop_columns([name for name in PLACES if name in table.column_names]).to_pylist()
        missing = [not request.target.has(path_of(row)) for row in wanted]
        if request.sound != "refer" and any(missing):
            kept = request.sound == "kept"
            for samples in read_samples(request.corpus.store, request.corpus.release, table.filter(missing), kept=kept):
                for sample in samples:
                    request.target.put(path_of(sample.row), encode(sample))
        request.done(part)
        yield from wanted


def audio_path(row: dict[str, Any], suffix: str) -> str:
    """Where the audio of a sample is, below the export."""
    return f"audio/{row['recording']}/{row['key']}.{suffix}"


def local_recordings(request: ExportRequest) -> dict[str, RecordingRow]:
    """The recordings of the release, by identifier. Raises StorageError for one in a bucket, which these tools do not read."""
    rows = {row.recording: row for row in read_rows(request.corpus.store, request.corpus.release, RecordingRow)}
    for row in rows.values():
        if is_bucket(row.uri):
            raise StorageError(
                f"{row.uri} is in a bucket, which NeMo and Kaldi cannot read in place",
                remedy="export with the audio: --audio sources, --audio codes or --audio kept",
            )
    return rows


def one_line(text: str) -> str:
    """A text without line breaks and repeated spaces."""
    return " ".join(text.split())
