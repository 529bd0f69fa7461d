"""Revise: samples of the previous release whose identities the new voices have changed.

Shards stay as they are, and only their part of the samples manifest is written again, unless a sample goes to another split: then
its shard is written again without it, and a small one beside it in that split.
"""

import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import apache_beam as beam
import pyarrow as pa

from voxbeam.pipeline.error_reports import reporting_errors
from voxbeam.pipeline.job import Job
from voxbeam.pipeline.steps.identify import open_identities
from voxbeam.pipeline.steps.pack import WriterOutput, shard_files
from voxbeam.pipeline.steps.release_writer import put_part
from voxbeam.pipeline.steps.shards import PackedSample, write_shards
from voxbeam.schemas.columns import from_table
from voxbeam.schemas.errors import StorageError
from voxbeam.schemas.formats import SPLITS
from voxbeam.schemas.manifest import SampleRow
from voxbeam.schemas.release import ReleaseFile
from voxbeam.storage.releases import read_part_table, read_release
from voxbeam.storage.store import Store


def previous_samples(job: Job) -> Iterator[tuple[str, ReleaseFile]]:
    """The parts of the samples manifest that a build keeps of the release that it extends, by path."""
    with reporting_errors(job):
        if job.previous is not None and job.extends_previous:
            for file in read_release(job.store, job.previous).files_of_kind("samples"):
                yield file.path, file


class ReviseSamples(beam.DoFn):
    """A part of the previous samples manifest → what replaces it and its shards; nothing if all stays as it is."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def process(self, keyed: tuple[str, Iterable[ReleaseFile]], identities: tuple[str, ...]) -> Iterator[WriterOutput]:
        with reporting_errors(self.job):
            if identities:
                yield from self._revise(self.job.store, keyed[0], identities)

    def _revise(self, store: Store, path: str, identities: tuple[str, ...]) -> Iterator[WriterOutput]:
        table = read_part_table(store, SampleRow, path)
        revised = _revised(table, open_identities(self.job.output, identities).of_speaker)
        if revised.equals(table):
            return
        if revised["split"].equals(table["split"]):
            stem = path.rsplit("/", 1)[-1].rsplit("-", 1)[0]
            yield WriterOutput(files=[put_part(store, "samples", stem, revised)], replaced=[path])
            return
        yield from self._move(store, path, list(from_table(SampleRow, revised)))

    def _move(self, store: Store, path: str, rows: list[SampleRow]) -> Iterator[WriterOutput]:
        """Writes the shards of a part again, each sample in its split."""
        replaced, max_bytes = [path], self.job.config.pack.max_shard_mb << 20
        for shard, in_shard in groupby(rows, attrgetter("shard")):
            samples = list(in_shard)
            replaced.append(shard)
            group = int(shard.rsplit("-", 2)[1])
            with store.local_copy(shard) as tar:
                for split in SPLITS:
                    chosen = [row for row in samples if row.split == split]
                    for made, made_rows in write_shards(store, split, group, packed_samples(store, tar, chosen), max_bytes):
                        yield WriterOutput(files=shard_files(store, made, made_rows), shards=[made])
        yield WriterOutput(replaced=replaced)


def _revised(table: pa.Table, find: Callable[[str, str], tuple[str, float | None, str]]) -> pa.Table:
    """The rows with the splits, identities and confidences that they have now."""
    known: dict[tuple[str, str], tuple[str, float | None, str]] = {}
    rows = []
    for key in zip(table["recording"].to_pylist(), table["speaker"].to_pylist(), strict=True):
        if key not in known:
            known[key] = find(*key)
        rows.append(known[key])
    values = {"identity": [r[0] for r in rows], "identity_confidence": [r[1] for r in rows], "split": [r[2] for r in rows]}
    for name, column in values.items():
        place, field = table.schema.get_field_index(name), table.schema.field(name)
        table = table.set_column(place, field, pa.chunked_array([pa.array(column, field.type)]))
    return table


def packed_samples(store: Store, tar: Path, rows: Iterable[SampleRow]) -> Iterator[PackedSample]:
    """Samples with the bytes of their members. Raises StorageError for codes that are not those of the manifest."""
    with tar.open("rb") as file:

        def member(offset: int, size: int) -> bytes:
            file.seek(offset)
            return file.read(size)

        for row in rows:
            places = [(None, row.codes_offset, row.codes_bytes, row.codes_crc32)]
            places += [(one["codec"], one["offset"], one["bytes"], one["crc32"]) for one in row.further_codes or ()]
            found = {codec: (member(offset, size), crc32) for codec, offset, size, crc32 in places}
            if any(zlib.crc32(codes) != crc32 for codes, crc32 in found.values()):
                raise StorageError(
                    f"codes of {row.key} in {store.uri(row.shard)} are damaged",
                    remedy="run `voxbeam verify --repair`, then the same build again",
                )
            flac = member(row.flac_offset, row.flac_bytes) if row.flac_offset is not None and row.flac_bytes is not None else None
            codes = found.pop(None)[0]
            further = tuple((str(codec), content) for codec, (content, _) in found.items())
            yield PackedSample(row=row, codes=codes, flac=flac, further=further)
