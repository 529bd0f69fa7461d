"""Listings: forgiving where the meaning is plain, and exact about the place where it is not."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from voxbeam.schemas.errors import ListingError
from voxbeam.storage.listing import ListedRow, Listing


def read(path: Path, **options: Any) -> list[ListedRow]:
    return list(Listing(uri=str(path), **options))


def rows(path: Path) -> list[tuple[str, dict[str, Any]]]:
    return [(row.address, row.columns) for row in read(path)]


TABLE = "uri{0}speaker{0}text\na.wav{0}7{0}Hello\nb.wav{0}nan{0}\n"
EXPECTED = [("a.wav", {"speaker": "7", "text": "Hello"}), ("b.wav", {})]


@pytest.mark.parametrize("suffix", ["csv", "tsv", "txt"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators_and_byte_order_marks(suffix: str, encoding: str, separator: str, tmp_path: Path) -> None:
    path = tmp_path / f"list.{suffix}"
    path.write_text(TABLE.format(separator), encoding=encoding)
    if suffix == "tsv" and separator != "\t":
        with pytest.raises(ListingError, match="tabs"):
            read(path)
        return
    assert rows(path) == EXPECTED
    path.write_bytes(TABLE.format(separator).replace("\n", "\r\n").encode(encoding))
    assert rows(path) == EXPECTED


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", '[{"uri": "a.wav", "speaker": 7, "text": "Hello"}, {"uri": "b.wav", "speaker": NaN, "text": null}]'),
        ("a.json", '\ufeff{"data": [{"uri": "a.wav", "speaker": 7.0, "text": "Hello"}, {"uri": "b.wav"}], "version": 1}'),
        ("a.json", '{"audio_filepath": "a.wav", "speaker": "7", "text": "Hello", "duration": 3}\n{"audio_filepath": "b.wav"}'),
        ("a.jsonl", '{"path": "a.wav", "speaker_id": 7, "transcript": "Hello"}\n\n{"path": "b.wav", "lang": ""}'),
        ("a.ndjson", '{"audio": {"path": "a.wav"}, "client_id": "7", "sentence": "Hello"}\n{"audio": {"path": "b.wav"}}'),
        ("a.csv", ',file_name,spk,transcription\n0,a.wav,7.0,Hello\n1,b.wav,,\n'),
        ("a.csv", 'Unnamed: 0,wav,speaker,text,offset\n0,a.wav,7,"Hello",0.0\n1,b.wav,NaN,,0\n'),
    ],
)  # fmt: skip
def test_names_and_shapes_of_other_tools(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    listing = Listing(uri=str(tmp_path / name))
    assert [(row.address, row.columns) for row in listing] == EXPECTED
    assert not listing.ignored


def test_a_text_file_of_paths_and_kaldi(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x/a.wav\n\nx/b c.wav\n")
    assert rows(tmp_path / "a.txt") == [("x/a.wav", {}), ("x/b c.wav", {})]
    (tmp_path / "wav.scp").write_text("u1 a.wav\nu2 /b.wav\n")
    (tmp_path / "utt2spk").write_text("u1 anna\n")
    (tmp_path / "text").write_text("u1 Hello there\n")
    first, second = read(tmp_path / "wav.scp")
    assert first.columns == {"kaldi_id": "u1", "speaker": "anna", "text": "Hello there"}
    assert (second.uri, second.columns) == ("/b.wav", {"kaldi_id": "u2"})
    (tmp_path / "wav.scp").write_text("u1 sox a.wav -t wav - |\n")
    with pytest.raises(ListingError, match=r"row 1 \(line 1\) is a command"):
        read(tmp_path / "wav.scp")


def test_parquet_of_pandas_and_of_hugging_face(tmp_path: Path) -> None:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table(
        {
            "audio": pa.array([{"bytes": None, "path": "a.wav"}, {"bytes": None, "path": "b.wav"}], kind),
            "speaker": [7.0, float("nan")],
            "text": ["Hello", None],
            "__index_level_0__": [0, 1],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    assert rows(tmp_path / "a.parquet") == EXPECTED
    pq.write_table(pa.table({"audio": pa.array([{"bytes": b"RIFF", "path": "a.wav"}], kind)}), tmp_path / "b.parquet")
    with pytest.raises(ListingError, match="holds the audio itself"):
        read(tmp_path / "b.parquet")


def test_the_remedy_for_a_row_that_is_too_short_or_too_long(tmp_path: Path) -> None:
    for content, remedy in ((b"uri\na.wav,x\n", "quotes"), (b"uri,text\na.wav\n", "write every field")):
        (tmp_path / "a.csv").write_bytes(content)
        with pytest.raises(ListingError) as refused:
            read(tmp_path / "a.csv")
        assert refused.value.remedy is not None and remedy in refused.value.remedy


@pytest.mark.parametrize(
    ("name", "content", "place"),
    [
        ("a.csv", b"uri\na.wav\n\nb.wav,x\n", "row 2 (line 4) has 2 fields"),
        ("a.csv", b"uri,speaker\na.wav,1\nb.wav\n", "row 2 (line 3) has 1 fields"),
        ("a.csv", b'uri,text\na.wav,"open\nb.wav,x\n', "row 1 (line 2): unexpected end of data; is a quote not closed?"),
        ("a.csv", b"uri,text\na.wav," + b"x" * 140_000, "row 1 (line 2): field larger than field limit"),
        ("a.csv", b"uri\na.wav\nb\0.wav\n", "line 3 contains a NUL"),
        ("a.csv", b"uri\na.wav\nb\xff.wav\n", "line 3 is not UTF-8"),
        ("a.csv", b"uri,text,text\na.wav,1,2\n", "names the column 'text' twice"),
        ("a.csv", b"name,speaker\nx,1\n", "row 1 (line 2): the column 'uri' is missing"),
        ("a.csv", b"uri\nhttps://example.org/a.wav\n", "row 1 (line 2), column 'uri': https://example.org/a.wav"),
        ("a.csv", b"uri\nhdfs://x/a.wav\n", "row 1 (line 2), column 'uri': hdfs://x/a.wav"),
        ("a.csv", b"uri\ns3://not a bucket/a.wav\n", "cannot be the name of a bucket"),
        ("a.csv", b"uri,offset\na.wav,3.5\n", "row 1 (line 2): 'offset' is 3.5"),
        ("a.csv", b"uri,from,to\na.wav,1.5,3\n", "'from' is 1.5"),
        ("a.csv", b"uri,t_start,t_end\na.wav,1.5,3\n", "'t_start' is 1.5"),
        ("a.csv", b"uri,startTime,endTime\na.wav,00:01:30.5,00:02:00\n", "'startTime' is 00:01:30.5"),
        ("a.csv", b"uri,start_sample,num_frames\na.wav,16000,32000\n", "'start_sample' is 16000"),
        ("a.csv", b"uri,clip_begin_ms\na.wav,120\n", "'clip_begin_ms' is 120"),
        ("a.jsonl", b'{"uri": "a.wav"}\n{"uri": }\n', "row 2, column 9: not JSON"),
        ("a.jsonl", b'{"uri": "a.wav", "speaker": ["x"]}\n', "row 1, column 'speaker'"),
        ("a.jsonl", b'{"uri": "a.wav", "speaker": {"x": 1}}\n', "row 1, column 'speaker'"),
        ("a.jsonl", b'{"uri": "a.wav", "speaker": "\\ud800"}\n', "row 1, column 'speaker' is not valid Unicode"),
        ("a.jsonl", b'{"uri": "a.wav", "speaker": "\\u0000"}\n', "row 1, column 'speaker' contains a NUL"),
        ("a.jsonl", b'{"uri": 5}\n', "row 1, column 'uri': '5' is not a path"),
        ("a.jsonl", b'{"uri": "a.wav", "speaker": 1' + b"0" * 5000 + b"}\n", "row 1:"),
        ("a.jsonl", b'{"uri": "a.wav", "x": ' + b"[" * 100_000 + b"\n", "row 1"),
        ("a.jsonl", b'{"uri": "a.wav", "uri": "b.wav"}\n', "row 1: the key 'uri' is there twice"),
        ("a.jsonl", b'{"uri": "a.wav", "title": "' + b"x" * 140_000 + b'"}\n', "row 1, column 'title': 140000 characters"),
        ("a.jsonl", b'{"uri": "a.wav", "source_snr_db": "loud"}\n', "row 1, column 'source_snr_db'"),
        ("a.jsonl", b'{"uri": "a.wav", "path": null, "licence": "x", "license": "x"}\n', "'licence' and 'license' mean the same"),
        ("a.json", b'[{"uri": "a.wav"},\n{"uri": "b.wav"}', "the JSON array is not closed"),
        ("a.json", b'[{"uri": "a.wav"},\n3]', "row 2 (line 2): '3' is not a set"),
        ("a.json", b'[{"uri": "a.wav"},\n{"uri" "b.wav"}]', "the array, line 2, column 8: not JSON"),
        ("a.json", b'{"uri": {"0": "a.wav"}}', "orient='records'"),
        ("a.parquet", b"PAR1", "not a readable Parquet file"),
    ],
)  # fmt: skip
def test_an_error_names_the_place(name: str, content: bytes, place: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ListingError) as caught:
        read(tmp_path / name)
    assert place in str(caught.value) and name in str(caught.value)


def test_a_text_of_fifteen_hours_is_taken_and_a_longer_one_is_told(tmp_path: Path) -> None:
    pq.write_table(pa.table({"uri": ["a.wav"], "text": ["x" * 1_000_000]}), tmp_path / "a.parquet")
    assert len(read(tmp_path / "a.parquet")[0].columns["text"]) == 1_000_000
    pq.write_table(pa.table({"uri": ["a.wav"], "text": ["x" * 1_100_000]}), tmp_path / "a.parquet")
    with pytest.raises(ListingError, match="row 1, column 'text': 1100000 characters"):
        read(tmp_path / "a.parquet")


def test_a_bad_row_among_many_is_named(tmp_path: Path) -> None:
    lines = [json.dumps({"uri": f"{n}.wav"}) for n in range(100_000)]
    lines[50_000] = '{"uri": nope}'
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    with pytest.raises(ListingError, match="row 50001, column 9"):
        read(tmp_path / "a.jsonl")


def test_unknown_columns_are_named_and_kept_on_request(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("uri,mood,age,duration\na.wav,good,31,3\nb.wav,,32,3\n")
    listing = Listing(uri=str(tmp_path / "a.csv"), keep_columns=("mood", "duration"))
    assert [row.extra for row in listing] == [{"mood": "good", "duration": "3"}, {"duration": "3"}]
    assert set(listing.ignored) == {"age"}
    with pytest.raises(ListingError, match="'colour'"):
        read(tmp_path / "a.csv", keep_columns=("colour",))


def test_a_parquet_file_of_a_hundred_million_rows_is_refused_before_it_is_read(tmp_path: Path) -> None:
    schema = pa.schema([("uri", pa.dictionary(pa.int32(), pa.string()))])
    block = pa.DictionaryArray.from_arrays(pa.array([0] * 1_000_000, pa.int32()), ["a.wav"])
    with pq.ParquetWriter(tmp_path / "a.parquet", schema) as writer:
        for _ in range(100):
            writer.write_table(pa.table({"uri": block}, schema=schema))
    tracemalloc.start()
    with pytest.raises(ListingError, match=r"listing\.max_rows"):
        read(tmp_path / "a.parquet")
    assert tracemalloc.get_traced_memory()[1] < 50 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.json"])
def test_too_many_rows(name: str, tmp_path: Path) -> None:
    tables = {"a.csv": "uri\n" + "a.wav\n" * 11, "a.jsonl": '{"uri": "a.wav"}\n' * 11, "a.json": json.dumps([{"uri": "a"}] * 11)}
    (tmp_path / name).write_text(tables[name])
    with pytest.raises(ListingError, match=r"listing\.max_rows"):
        read(tmp_path / name, max_rows=10)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", "path, speaker\n a.wav , x \n", [("a.wav", {"speaker": "x"})]),
        ("a.csv", "path,start\na.wav,0.0\n", [("a.wav", {})]),
        ("a.csv", "path\nclips\\a.wav\n", [("clips/a.wav", {})]),
        ("a.csv", "path,speaker\na.wav,e\u0301\n", [("a.wav", {"speaker": "\xe9"})]),
        ("a.json", '["a.wav", "b.wav"]', [("a.wav", {}), ("b.wav", {})]),
        ("a.jsonl", '"a.wav"\n', [("a.wav", {})]),
        ("a.txt", " a.wav \n b.wav\n", [("a.wav", {}), ("b.wav", {})]),
        *[
            ("a.csv", f"path,language\na.wav,{written}\n", [("a.wav", {"language": code})])
            for written, code in [
                ("English", "en"), ("eng", "en"), ("EN", "en"), ("en_US", "en"), ("deu", "de"), ("ger", "de"),
                ("zh-Hant-TW", "zh"), ("nan-tw", "nan"), ("yue", "yue"),
            ]
        ],
    ],
)  # fmt: skip
def test_what_is_plain_is_understood(name: str, content: str, expected: list[tuple[str, dict[str, str]]], tmp_path: Path) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    rows = list(Listing(uri=str(tmp_path / name)))
    assert [(row.uri, row.columns) for row in rows] == [(str(tmp_path / path), columns) for path, columns in expected]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path,start,end\na.wav,0,3\nb.wav,3.5,6\n", "row 2 .*'start' is 3.5"),
        ("path,begin\na.wav,2\n", "row 1 .*'begin' is 2"),
        ("path\nC:\\data\\a.wav\n", "row 1 .*Windows"),
        ("path,language\na.wav,british english\n", "row 1 .*'language'.*'british english' is no language"),
        ("path,speaker,speaker_id\na.wav,x,y\n", "mean the same"),
    ],
)
def test_what_would_be_misread_is_an_error(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(ListingError, match=message):
        list(Listing(uri=str(tmp_path / "a.csv")))


def test_unknown_speakers_are_not_one_person(tmp_path: Path) -> None:
    names = ["unknown", "N/A", "-", "UNK", "Anna", "nan"]
    (tmp_path / "a.csv").write_text("path,speaker\n" + "".join(f"{i}.wav,{name}\n" for i, name in enumerate(names)))
    listing = Listing(uri=str(tmp_path / "a.csv"))
    assert [row.columns.get("speaker") for row in listing] == [None, None, None, None, "Anna", None]
    assert listing.nobody == {"unknown": 1, "N/A": 1, "-": 1, "UNK": 1}


def test_a_name_of_the_same_look_is_the_same_speaker(tmp_path: Path) -> None:
    """Blanks between words and characters of no width are not what a name differs by."""
    (tmp_path / "a.csv").write_text("uri,speaker,started\na.wav,Anna Lee,yes\nb.wav,Anna  Lee,\nc.wav,An\u200bna\u00a0Lee,\n")
    assert {row.columns["speaker"] for row in read(tmp_path / "a.csv")} == {"Anna Lee"}
