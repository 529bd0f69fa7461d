"""Text of listings: lines in any Unicode encoding, and JSON values one after another, each error with its line."""

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from voxbeam.schemas.errors import ListingError

MAX_LINE = 1 << 20
"""characters"""
_MAX_JSON_BYTES = 512 << 20
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def _encoding(path: Path) -> str:
    """From the byte order mark; UTF-8 without one."""
    with path.open("rb") as file:
        start = file.read(4)
    return next((name for mark, name in _BOMS if start.startswith(mark)), "utf-8")


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines with their ends. Raises ListingError for a line that is no text, or longer than MAX_LINE."""
    number, encoding = 0, _encoding(path)
    with path.open(encoding=encoding, newline="", errors="strict" if encoding != "utf-8" else "surrogateescape") as file:
        while True:
            try:
                line = file.readline(MAX_LINE + 1)
            except UnicodeError as error:
                raise ListingError(f"line {number + 1} or a little below is not {encoding}: {error}") from error
            if not line:
                return
            number += 1
            if len(line) > MAX_LINE:
                raise ListingError(f"line {number} is longer than {MAX_LINE} characters")
            if "\0" in line:
                raise ListingError(f"line {number} contains a NUL character", remedy="save the listing as text in UTF-8")
            if not line.isascii() and any("\udc80" <= c <= "\udcff" for c in line):
                raise ListingError(f"line {number} is not UTF-8", remedy="save the listing in UTF-8")
            yield number, line


def read_whole(path: Path) -> str:
    """All of a text. Raises ListingError when it is too large to be read whole."""
    size = path.stat().st_size
    if size > _MAX_JSON_BYTES:
        raise ListingError(f"it has {size >> 20} MB, a JSON array may have {_MAX_JSON_BYTES >> 20}", remedy="write it as .jsonl")
    return "".join(line for _, line in read_lines(path))


def json_values(text: str, place: str, separator: str = "") -> Iterator[tuple[int, Any]]:
    """JSON values one after another, each with the line where it begins. Raises ListingError with the line of an error."""
    decoder = json.JSONDecoder(object_pairs_hook=unique_pairs)
    position, line, counted, first = 0, 1, 0, True
    while True:
        position = _skip_space(text, position)
        if position == len(text):
            return
        if separator and not first:
            if text[position] != separator:
                raise ListingError(f"{place}, line {line + text.count(chr(10), counted, position)}: expected {separator!r}")
            position = _skip_space(text, position + 1)
        line, counted = line + text.count("\n", counted, position), position
        try:
            value, position = decoder.raw_decode(text, position)
        except json.JSONDecodeError as error:
            where = line + text.count("\n", counted, error.pos)
            column = error.pos - text.rfind("\n", 0, error.pos)
            more = f", line {where}" if "\n" in text.strip() else ""
            raise ListingError(f"{place}{more}, column {column}: not JSON: {error.msg}") from error
        except (ValueError, RecursionError) as error:
            more = f", line {line}" if "\n" in text.strip() else ""
            raise ListingError(f"{place}{more}: {str(error)[:200]}") from error
        first = False
        yield line, value


def unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of a JSON text. Raises ValueError for a key that is there twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} is there twice")
    return found


def _skip_space(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    return position


def split_plain(line: str, separator: str) -> list[str]:
    """Fields of one line. A field that is wholly in quotes loses them; a quote elsewhere is a quote."""
    return [_unquoted(field) for field in line.rstrip("\r\n").split(separator)]


def _unquoted(field: str) -> str:
    inner = field.strip()
    if len(inner) < 2 or not (inner.startswith('"') and inner.endswith('"')):
        return field
    inner = inner[1:-1].replace('""', "\0")
    return field if '"' in inner else inner.replace("\0", '"')
