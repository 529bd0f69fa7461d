"""A corpus of an earlier voxbeam: what it lacks, and what cannot be released again."""

import hashlib
import io
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from voxbeam.exports.describe import DESCRIPTIONS
from voxbeam.pipeline.steps.unit_file import read_header_and_table, unit_path
from voxbeam.pipeline.verify import verify_release
from voxbeam.schemas.errors import DamagedUnitError, StorageError
from voxbeam.schemas.manifest import RecordingRow, SampleRow
from voxbeam.schemas.release import Release
from voxbeam.storage.release_tables import ReleaseTables
from voxbeam.storage.releases import table_batches
from voxbeam.storage.store import Store

from tests.pipeline.made_up_corpus import base, latest, output, release_with, rows

__all__ = ["base", "output"]  # fixtures


def test_a_missing_unit_and_older_units_are_named(output: Path) -> None:
    store, found = latest(output)
    unit = rows(output, RecordingRow)[0].units[0]
    store.delete([unit_path(unit)])
    for dry_run in (True, False):
        with pytest.raises(DamagedUnitError, match=f"{unit_path(unit)}.*is missing"):
            release_with({"filter": {"min_snr_db": 11.0}}, output, dry_run=dry_run)
    (output / "releases" / "000001.json").write_bytes(Release(**{**vars(found), "code_version": 6}).to_json())
    with pytest.raises(StorageError, match="made by an earlier voxbeam"):
        release_with({"filter": {"min_snr_db": 11.0}}, output)


def test_a_corpus_of_earlier_versions_is_read_and_released(output: Path) -> None:
    """Without the columns that came later: they are null, queries find them, and rules about them do not apply."""
    store, found = latest(output)
    _as_before(output, store, found)
    store, found = latest(output)
    assert list(verify_release(store, found)) == []
    with ReleaseTables(store, found) as tables:
        told = tables.row("SELECT count(*) AS n, count(edge_jump) AS jumps, count(snr_db) AS levels FROM segments WHERE accepted")
    assert (told["n"], told["jumps"], told["levels"]) == (found.counts["samples"], 0, found.counts["samples"])
    (batch, *_) = table_batches(store, found, SampleRow, ["edge_jump", "key"])
    assert batch.schema.names == ["edge_jump", "key"] and batch["edge_jump"].null_count == len(batch)
    made = release_with({"filter": {"min_dnsmos_ovrl": 3.5, "max_edge_jump": 0.0}}, output).release
    assert made is not None and list(verify_release(store, made)) == []
    assert 0 < made.counts["samples"] < found.counts["samples"] and {row.edge_jump for row in rows(output, SampleRow)} == {None}


def _as_before(output: Path, store: Store, found: Release) -> None:
    """Writes the tables and units of a release again without the columns that came with the last two versions."""

    def older(table: pa.Table) -> pa.Table:
        metadata = dict(table.schema.metadata)
        metadata[b"version"] = str(int(metadata[b"version"]) - 2).encode()
        return table.drop_columns(["edge_jump", "spectral_pace", "codec_trace"]).replace_schema_metadata(metadata)

    files = []
    for file in found.files:
        if file.kind in ("samples", "rejected"):
            pq.write_table(older(pq.read_table(output / file.path)), output / file.path)
            content = (output / file.path).read_bytes()
            file = replace(file, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
        if file.kind not in DESCRIPTIONS:
            files.append(file)
    for path, _ in store.walk("units/"):
        table, sink = older(read_header_and_table(store.get(path))[1]), io.BytesIO()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        body = sink.getvalue()
        store.replace(path, store.get(path)[:16] + hashlib.sha256(body).digest() + body)
    store.replace("releases/000001.json", replace(found, files=tuple(files)).to_json())
