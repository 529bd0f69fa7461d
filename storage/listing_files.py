"""Listing files: rows of every format in which people write tables, each with its place in the file, in bounded memory."""

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from voxbeam.schemas.errors import ListingError
from voxbeam.storage.listing_text import json_values, read_lines, read_whole, split_plain

IsPath = Callable[[str], bool]
"""whether a column's name is one that holds paths"""
_PARQUET_BATCH = 512
_LIST_SUFFIX = ".txt"


class Row(NamedTuple):
    """One row: where it is in the file, for messages, and its columns."""

    place: str
    values: dict[str, Any]


def read_parquet(path: Path, is_path: IsPath, max_rows: int) -> Iterator[Row]:
    """Rows of a Parquet file. Raises ListingError for one that holds the audio itself instead of paths."""
    try:
        file = pq.ParquetFile(path)
        if file.metadata.num_rows > max_rows:
            raise too_many_rows(max_rows, file.metadata.num_rows)
        columns = [_path_inside(file, name, is_path) for name in file.schema_arrow.names]
        number = 0
        for batch in file.iter_batches(batch_size=_PARQUET_BATCH, columns=columns):
            for values in batch.to_pylist():
                number += 1
                yield Row(f"row {number}", values)
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, ListingError | FileNotFoundError):
            raise
        raise ListingError(f"not a readable Parquet file: {error}") from error


def _path_inside(file: pq.ParquetFile, name: str, is_path: IsPath) -> str:
    """The column to read: of Hugging Face's {"bytes": …, "path": …} the path alone."""
    kind = file.schema_arrow.field(name).type
    if not is_path(name) or not pa.types.is_struct(kind) or "path" not in {field.name for field in kind}:
        return name
    if "bytes" in {field.name for field in kind}:
        first = next(file.iter_batches(batch_size=1, columns=[f"{name}.bytes"]), None)
        if first is not None and first.num_rows and first.to_pylist()[0][name]["bytes"] is not None:
            raise ListingError(
                f"the column {name!r} holds the audio itself, not paths", remedy="write the audio to files, and list their paths"
            )
    return f"{name}.path"


def read_json_lines(path: Path) -> Iterator[Row]:
    """One JSON object per line."""
    number = 0
    for line_number, line in read_lines(path):
        if line.strip():
            number += 1
            place = f"row {number}" if number == line_number else f"row {number} (line {line_number})"
            values = list(json_values(line, place))
            if len(values) != 1:
                raise ListingError(f"{place}: {len(values)} values on one line", remedy="write one JSON object per line")
            yield Row(place, _object(values[0][1], place))


def read_json(path: Path, is_path: IsPath) -> Iterator[Row]:
    """An array of objects, an object with one array of them, or objects one after another (NeMo's manifests)."""
    text = read_whole(path)
    start = text.lstrip()[:1]
    if start == "[":
        inside = text[text.index("[") + 1 :].rstrip()
        if not inside.endswith("]"):
            raise ListingError("the JSON array is not closed; the file may be cut off")
        for number, (line, value) in enumerate(json_values(inside[:-1], "the array", separator=","), start=1):
            place = f"row {number} (line {line + text[: text.index('[')].count(chr(10))})"
            yield Row(place, _object(value, place))
        return
    values = json_values(text, "the file")
    first = next(values, None)
    if first is None:
        return
    tree = _object(first[1], "row 1")
    if any(is_path(name) for name in tree) and not any(isinstance(value, dict) and "0" in value for value in tree.values()):
        yield Row("row 1", tree)
        for number, (line, value) in enumerate(values, start=2):
            place = f"row {number} (line {line})"
            yield Row(place, _object(value, place))
        return
    arrays = {name: value for name, value in tree.items() if isinstance(value, list) and value and isinstance(value[0], dict)}
    if "data" in arrays or len(arrays) == 1:
        for number, value in enumerate(arrays.get("data") or next(iter(arrays.values())), start=1):
            yield Row(f"row {number}", _object(value, f"row {number}"))
        return
    raise ListingError(
        f"the JSON object has no array of recordings; its keys are {sorted(tree)[:10]}",
        remedy="write an array of objects; pandas: to_json(orient='records')",
    )


def _object(value: Any, place: str) -> dict[str, Any]:
    if isinstance(value, str):  # a list of paths
        return {"uri": value}
    if not isinstance(value, dict):
        raise ListingError(f"{place}: {str(value)[:80]!r} is not a set of columns and values")
    return value


def read_separated(path: Path, is_path: IsPath, suffix: str) -> Iterator[Row]:
    """A table with a header, separated by commas, semicolons, tabs or bars; a .txt without a header is a list of paths."""
    lines = read_lines(path)
    try:
        header_line, header = next((number, line) for number, line in lines if line.strip())
    except StopIteration:
        return
    separator, names = _split_header(header, is_path)
    if suffix == ".tsv" and separator != "\t" and len(names) > 1:
        raise ListingError(f"line {header_line}: the header of a .tsv is separated by {separator!r}, not by tabs")
    if not any(map(is_path, names)) and suffix == _LIST_SUFFIX and separator is None:
        yield Row("row 1", {"uri": header.strip()})
        for number, (line_number, line) in enumerate(((n, text) for n, text in lines if text.strip()), start=2):
            yield Row(f"row {number} (line {line_number})", {"uri": line.strip()})
        return
    if twice := [name for name in names if name and names.count(name) > 1]:
        raise ListingError(f"line {header_line}: the header names the column {twice[0]!r} twice")
    for number, (line_number, fields) in enumerate(_split(lines, separator or ",", header_line), start=1):
        place = f"row {number} (line {line_number})"
        while len(fields) > len(names) and not fields[-1].strip():
            fields.pop()
        if len(fields) != len(names):
            quotes, fill = (
                'put a field that contains the separator in "quotes"',
                "write every field of the row, also those that are empty",
            )
            raise ListingError(
                f"{place} has {len(fields)} fields, the header has {len(names)}",
                remedy=quotes if len(fields) > len(names) else fill,
            )
        yield Row(place, dict(zip(names, (field.strip(" \t") for field in fields), strict=True)))


def _split_header(header: str, is_path: IsPath) -> tuple[str | None, list[str]]:
    """The separator and the names of a header: the separator that yields a name for paths, else the most frequent one."""
    ways = [(separator, split_plain(header, separator)) for separator in (",", "\t", ";", "|")]
    known = [way for way in ways if any(map(is_path, way[1])) and len(way[1]) > 1]
    separator, names = known[0] if known else max(ways, key=lambda way: len(way[1]))
    return (separator if len(names) > 1 else None), [name.strip() for name in names]


def _split(lines: Iterator[tuple[int, str]], separator: str, header_line: int) -> Iterator[tuple[int, list[str]]]:
    """Rows as (line, fields). Tabs and bars separate without quotes, as in Common Voice and LJSpeech."""
    if separator in "\t|":
        yield from ((number, split_plain(line, separator)) for number, line in lines if line.strip())
        return
    last, number = [header_line], 0

    def text() -> Iterator[str]:
        for last[0], line in lines:
            yield line

    reader = csv.reader(text(), delimiter=separator, strict=True)
    while True:
        first = last[0] + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            what = str(error)
            if "field larger" in what or "end of data" in what:
                what += "; is a quote not closed?"
            raise ListingError(f"row {number + 1} (line {first}): {what}") from error
        if len(fields) > 1 or any(field.strip() for field in fields):
            number += 1
            yield first, fields


def read_kaldi(path: Path) -> Iterator[Row]:
    """Kaldi's wav.scp: an identifier and a path per line; speakers and texts from utt2spk and text beside it."""
    speakers, texts = (_kaldi_table(path.with_name(name)) for name in ("utt2spk", "text"))
    number = 0
    for line_number, line in read_lines(path):
        name, _, address = line.strip().partition(" ")
        if not name:
            continue
        number += 1
        place = f"row {number} (line {line_number})"
        if address.rstrip().endswith("|"):
            raise ListingError(f"{place} is a command, not a path", remedy="list the file that the command reads")
        yield Row(place, {"uri": address.strip(), "kaldi_id": name, "speaker": speakers.get(name), "text": texts.get(name)})


def _kaldi_table(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    pairs = (line.strip().partition(" ") for _, line in read_lines(path))
    return {name: value.strip() for name, _, value in pairs if name}


def too_many_rows(max_rows: int, rows: int | None = None) -> ListingError:
    found = f"it has {rows} rows" if rows else f"it has more than {max_rows} rows"
    return ListingError(
        f"{found}, the limit is {max_rows}", remedy="raise listing.max_rows, or build from parts of it, one after another"
    )
