"""Listings as files: every format, and errors that name the row."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from voxbeam.schemas.errors import ListingError

from tests.pipeline.inputs import listed


def write_listing(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n\n" for row in rows))
    elif path.suffix == ".csv":
        columns = list(dict.fromkeys(key for row in rows for key in row))
        lines = [",".join(columns), *(",".join(str(row.get(c, "")) for c in columns) for row in rows)]
        path.write_text("\n".join(lines))
    else:
        names = dict.fromkeys(key for row in rows for key in row)
        text = any(isinstance(row.get("source_snr_db"), str) for row in rows)
        types = {"source_snr_db": pa.string() if text else pa.float32()}
        schema = pa.schema([(column, types.get(column, pa.string())) for column in names])
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    return path


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_listing(suffix: str, tmp_path: Path) -> None:
    rows = [
        {"uri": "sub/a.wav", "recording": "one", "speaker": "7", "source_snr_db": 3.5, "license": "CC0-1.0"},
        {"uri": "/abs/84-1-2.flac"},
        {"uri": "s3://bucket/b c.mp3"},
    ]
    found = {r.uri: r for r in listed(write_listing(tmp_path / f"list.{suffix}", rows), consent_basis="license")}
    one = found[f"{tmp_path}/sub/a.wav"]
    assert (one.recording, one.speaker, one.source_snr_db, one.license, one.consent_basis) == (
        "one",
        "7",
        3.5,
        "CC0-1.0",
        "license",
    )
    assert found["/abs/84-1-2.flac"].speaker == "84" and found["/abs/84-1-2.flac"].recording.startswith("abs-84-1-2-")
    assert found["s3://bucket/b c.mp3"].recording.startswith("s3-bucket-b_c_mp3-")


def test_licence_and_basis_are_accepted_as_column_names(tmp_path: Path) -> None:
    rows = [{"uri": "a.wav", "licence": "CC0-1.0", "basis": "consent"}]
    (found,) = listed(write_listing(tmp_path / "list.jsonl", rows))
    assert (found.license, found.consent_basis) == ("CC0-1.0", "consent")
    (tmp_path / "b.wav").touch()
    (tmp_path / "b.json").write_text(json.dumps({"licence": "CC0-1.0", "basis": "consent"}))
    (found,) = listed(tmp_path)
    assert (found.license, found.consent_basis) == ("CC0-1.0", "consent")


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize(
    "bad",
    [
        {"uri": ""},
        {"speaker": "no uri"},
        {"uri": "b.wav", "recording": "a.b"},
        {"uri": "b.wav", "source_snr_db": "loud"},
        {"uri": "b.wav", "recording": "a"},
        {"uri": "b.wav", "license": "MIT", "licence": "MIT"},
    ],
    ids=str,
)
def test_error_names_the_row(suffix: str, bad: dict[str, Any], tmp_path: Path) -> None:
    path = write_listing(tmp_path / f"list.{suffix}", [{"uri": "a.wav", "recording": "a"}, bad])
    with pytest.raises(ListingError, match=r"row [12]\b"):
        listed(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.jsonl", b"{"), ("a.jsonl", b"3\n"),
     ("a.jsonl", b"\xff\n"), ("a.csv", b"uri\n\xff"), ("a.csv", b"uri\na.wav,x,y\n"), ("a.parquet", b"x")],
)  # fmt: skip
def test_broken_listing(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ListingError):
        listed(tmp_path / name)


def test_missing_listing(tmp_path: Path) -> None:
    with pytest.raises(ListingError, match=r"nowhere\.csv"):
        listed(tmp_path / "nowhere.csv")
