"""Columns: a record, its Arrow schema and its document say the same."""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from voxbeam.schemas.columns import arrow_schema, check_schema, from_table, to_table
from voxbeam.schemas.document import columns_markdown
from voxbeam.schemas.errors import SchemaError
from voxbeam.schemas.manifest import RecordingRow, RejectedRow, SampleRow, ShardRow, UnitRow
from voxbeam.schemas.recording import Recording


def test_schema_says_what_the_record_says() -> None:
    schema = arrow_schema(Recording)
    assert schema.names[:2] == ["recording", "uri"]
    assert not schema.field("uri").nullable and schema.field("speaker").nullable
    assert schema.field("source_snr_db").metadata[b"unit"] == b"dB"
    assert schema.metadata == {b"record": b"Recording", b"version": str(Recording.VERSION).encode()}


def test_round_trip_through_parquet() -> None:
    rows = [Recording(recording="a", uri="x.wav"), Recording(recording="b-1", uri="é 名\n.wav", source_snr_db=1.5)]
    sink = io.BytesIO()
    pq.write_table(to_table(Recording, rows), sink)
    table = pq.read_table(io.BytesIO(sink.getvalue()))
    check_schema(Recording, table.schema)
    assert list(from_table(Recording, table)) == rows


@pytest.mark.parametrize("record", [SampleRow, RejectedRow, RecordingRow, ShardRow, UnitRow])
def test_every_schema_survives_parquet(record: type[Recording]) -> None:
    sink = io.BytesIO()
    pq.write_table(arrow_schema(record).empty_table(), sink)
    check_schema(record, pq.read_table(io.BytesIO(sink.getvalue())).schema)


def test_other_version_is_refused() -> None:
    table = to_table(Recording, [Recording(recording="a", uri="x")])
    for metadata in ({"record": "Recording", "version": "0"}, None):
        with pytest.raises(SchemaError, match="version"):
            check_schema(Recording, table.replace_schema_metadata(metadata).schema)


def test_other_columns_are_refused_by_name() -> None:
    table = to_table(Recording, [Recording(recording="a", uri="x")])
    with pytest.raises(SchemaError, match="license"):
        check_schema(Recording, table.drop_columns(["license"]).schema)
    wrong = pa.schema([f.with_type(pa.large_string()) if f.name == "uri" else f for f in table.schema], table.schema.metadata)
    with pytest.raises(SchemaError, match="uri"):
        check_schema(Recording, table.cast(wrong).schema)
    with pytest.raises(SchemaError, match="order"):
        check_schema(Recording, table.select(table.schema.names[::-1]).schema)


def test_impossible_rows_are_not_written() -> None:
    for row in (
        Recording(recording="a.b", uri="x"),
        Recording(recording="", uri="x"),
        Recording(recording="a", uri=""),
    ):
        with pytest.raises(SchemaError):
            to_table(Recording, [row])


def test_document_is_up_to_date() -> None:
    document = Path(__file__).resolve().parents[2] / "docs" / "columns.md"
    assert document.read_text() == columns_markdown(), "run `python -m voxbeam.schemas.document`"
