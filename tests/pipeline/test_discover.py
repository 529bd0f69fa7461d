"""Listings: every layout, every odd name, and errors that name the row."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxbeam.pipeline.steps.discover import list_recordings, recording_id, speaker_from_path
from voxbeam.schemas.config import ListingConfig
from voxbeam.schemas.errors import ListingError
from voxbeam.schemas.recording import Recording

KEY = re.compile(r"[A-Za-z0-9_-]+")
NAMES = st.lists(
    st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=150).filter(
        lambda name: name not in (".", "..")
    ),
    min_size=1,
    max_size=3,
).map(lambda parts: "/".join(parts) + ".wav")


def listed(folder: Path | str, **config: Any) -> list[Recording]:
    return list(list_recordings(str(folder), ListingConfig(**config)))


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_librilight_sidecar(tmp_path: Path) -> None:
    touch(tmp_path, "100/emma/01.flac", "100/emma/02.flac", "100/emma/03.flac")
    sidecar = {"speaker": 100, "snr": 7.5, "book_meta": {"title": "Emma", "id": "1"}}
    (tmp_path / "100/emma/01.json").write_text(json.dumps(sidecar))
    (tmp_path / "100/emma/02.json").write_text("{broken")
    (tmp_path / "100/emma/03.json").write_bytes(b'["\xff"]')
    first, second, third = listed(tmp_path, license="CC0-1.0")
    assert (first.recording, first.speaker, first.title, first.source_snr_db) == ("100-emma-01", "100", "Emma", 7.5)
    assert first.license == "CC0-1.0" and first.language == "en"
    assert (second.speaker, second.title, third.speaker) == (None, None, None)


@pytest.mark.parametrize("sidecar", [[], 3, None, {"book_meta": "x"}, {"book_meta": None, "snr": "high", "speaker": None}])
def test_sidecar_of_another_kind_names_nothing(sidecar: Any, tmp_path: Path) -> None:
    touch(tmp_path, "a.wav")
    (tmp_path / "a.json").write_text(json.dumps(sidecar))
    (only,) = listed(tmp_path)
    assert (only.speaker, only.title, only.source_snr_db) == (None, None, None)


def test_librispeech_names(tmp_path: Path) -> None:
    touch(tmp_path, "84/121123/84-121123-0001.flac", "84/121123/84-121123.trans.txt")
    (only,) = listed(tmp_path)
    assert (only.recording, only.speaker) == ("84-121123-84-121123-0001", "84")


@pytest.mark.parametrize(
    ("path", "template", "speaker"),
    [
        ("anna/1.wav", "{speaker}/*", "anna"),
        ("x/anna/1.wav", "*/{speaker}/*", "anna"),
        ("anna_01.wav", "{speaker}_*", "anna"),
        ("anna/deep/1.wav", "{speaker}/*", None),
        ("a.b/1.wav", "{speaker}.b/*", "a"),
        ("84-1-2.wav", None, "84"),
        ("talk.wav", None, None),
    ],
)
def test_speaker_of_a_path(path: str, template: str | None, speaker: str | None) -> None:
    assert speaker_from_path(path, template) == speaker


def test_plain_folder(tmp_path: Path) -> None:
    touch(tmp_path, "b.MP3", "a.m4a", "c.opus", "notes.txt", "sub/d.ogg")
    found = listed(tmp_path)
    assert [r.recording for r in found] == ["a", "b", "c", "sub-d"]
    assert all(Path(r.uri).exists() for r in found)


def test_nothing_to_list(tmp_path: Path) -> None:
    with pytest.raises(ListingError, match="no recordings"):
        listed(tmp_path)
    with pytest.raises(ListingError, match="neither"):
        listed(tmp_path / "nowhere")


@given(NAMES)
def test_any_name_gives_an_identifier(path: str) -> None:
    name = recording_id(path)
    assert KEY.fullmatch(name) and len(name) <= 129
    assert name == recording_id(path)


@given(st.lists(NAMES, unique=True, min_size=2, max_size=6))
def test_different_odd_names_differ(paths: list[str]) -> None:
    odd = [path for path in paths if not re.fullmatch(r"[A-Za-z0-9_/-]+\.wav", path)]
    assert len({recording_id(path) for path in odd}) == len(odd)


def test_odd_names_on_disk(tmp_path: Path) -> None:
    names = ["with space.wav", "with_space.wav", "späce.wav", "名.wav", "new\nline.wav", "a.b.wav", "a_b.wav", "-x.wav"]
    names += ["x" * 200 + ".wav", "x" * 201 + ".wav", "'quote\".wav", "%41.wav", "#.wav", "..wav"]
    touch(tmp_path, *names)
    found = listed(tmp_path)
    assert len({r.recording for r in found}) == len(names) and all(KEY.fullmatch(r.recording) for r in found)
    assert all(Path(r.uri).exists() for r in found)


def test_name_that_is_not_utf8_can_be_listed(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav")).touch()
    (only,) = listed(tmp_path)
    assert KEY.fullmatch(only.recording) and only.uri.encode()


def test_files_that_come_to_one_identifier_are_told_apart(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "a.flac", "x/y.wav", "x-y.wav", "b.wav")
    found = listed(tmp_path)
    names = [r.recording for r in found]
    assert len(set(names)) == 5 and "b" in names
    assert all(re.fullmatch(r"(a|x-y)-[0-9a-f]{8}", name) for name in names if name != "b")
    assert found == listed(tmp_path)


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
    assert found["/abs/84-1-2.flac"].speaker == "84" and found["/abs/84-1-2.flac"].recording == "abs-84-1-2"
    assert found["s3://bucket/b c.mp3"].recording.startswith("s3-bucket-b_c-")


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
        {"uri": "b.wav", "mood": "good"},
        {"uri": "b.wav", "recording": "a.b"},
        {"uri": "b.wav", "source_snr_db": "loud"},
        {"uri": "b.wav", "recording": "a"},
        {"uri": "b.wav", "license": "MIT", "licence": "MIT"},
    ],
    ids=str,
)
def test_error_names_the_row(suffix: str, bad: dict[str, Any], tmp_path: Path) -> None:
    path = write_listing(tmp_path / f"list.{suffix}", [{"uri": "a.wav", "recording": "a"}, bad])
    with pytest.raises(ListingError, match=r"row [12]:"):
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
