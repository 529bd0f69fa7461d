"""Listings: tables of recordings that a user wrote, with the column names and the empty values of many tools.

Forgiving where the meaning is plain: `audio_filepath` is the path, `1088.0` is speaker "1088", NaN is nothing. Everything
else is a ListingError that names the row and the column.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from voxbeam.schemas.errors import AddressError, ListingError, StorageError
from voxbeam.schemas.recording import LISTED_DURATION, names_nobody
from voxbeam.storage.address import resolve_address
from voxbeam.storage.listing_files import (
    Row,
    read_json,
    read_json_lines,
    read_kaldi,
    read_parquet,
    read_separated,
    too_many_rows,
)
from voxbeam.storage.listing_values import check_text, is_absent, read_path, read_value
from voxbeam.storage.local_copies import open_local
from voxbeam.storage.store import is_bucket

LISTING_SUFFIXES = frozenset({".parquet", ".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt", ".scp"})
_PATHS = (
    "uri", "audio_filepath", "audio_path", "audio_file", "audio", "file_path", "filepath", "path", "file_name", "filename",
    "file", "wav_path", "wav_filename", "wav", "url",
)  # fmt: skip
_COLUMNS = {
    "recording": "recording", "recording_id": "recording", "speaker": "speaker", "speaker_id": "speaker", "client_id": "speaker",
    "spk": "speaker", "spk_id": "speaker", "speaker_name": "speaker", "language": "language", "lang": "language",
    "locale": "language", "license": "license", "licence": "license", "consent_basis": "consent_basis", "basis": "consent_basis",
    "title": "title", "source_snr_db": "source_snr_db", "text": "text", "transcript": "text", "transcription": "text",
    "sentence": "text", "kaldi_id": "kaldi_id",
}  # fmt: skip
_BEGINS = re.compile(
    r"(?:offset|onset|from|(?:(?:t|time|clip|cut|utt|utterance|seg|segment|audio|chunk)[_. -]?)?(?:start|begin)(?:s|ing)?)"
    r"(?:[_. -]?(?:s|ms|secs?|seconds?|millis|milliseconds|time|timestamp|offset|samples?|frames?|pos|position))?"
)
"""columns of where a row begins in its file, by their names in lower case"""
_UNUSED = re.compile(r"offset|index|unnamed: \d+|__index_level_\d+__|")
"""columns that are no news: what decoding finds out itself, and the index that pandas writes"""


def is_listing(uri: str) -> bool:
    """Whether an address has the suffix of a listing and is no folder."""
    if PurePosixPath(uri).suffix.lower() not in LISTING_SUFFIXES:
        return False
    try:
        return is_bucket(uri) or not Path(uri).is_dir()
    except OSError:  # in a folder that cannot be read: opening it as a listing says so
        return True


@dataclass(frozen=True, kw_only=True)
class ListedRow:
    """A row with the names and types of voxbeam."""

    place: str
    """e.g. `row 3 (line 4)`"""
    address: str
    """the path as it is written"""
    uri: str
    """the same, absolute"""
    columns: dict[str, Any]
    """of Recording's columns those that the row has a value for, and `kaldi_id`"""
    extra: dict[str, str]


@dataclass(kw_only=True)
class Listing:
    """A listing at an absolute path or bucket address. Iterating reads it; `ignored` fills on the way."""

    uri: str
    max_rows: int = 1_000_000
    keep_columns: Collection[str] = ()
    ignored: Counter[str] = field(default_factory=Counter)
    """columns that are not used, with the number of their values"""
    nobody: Counter[str] = field(default_factory=Counter)
    """names of speakers that say that nobody knows the speaker, with the number of their rows"""

    def __iter__(self) -> Iterator[ListedRow]:
        """Rows in order. Raises ListingError, with the listing and the place, when it cannot be read or a row cannot be used."""
        base = self.uri.rpartition("/")[0]
        with self._naming_the_listing(), open_local(self.uri) as path:
            kept = set[str]()
            for number, row in enumerate(_rows(path, self.uri, self.max_rows), start=1):
                if number > self.max_rows:
                    raise too_many_rows(self.max_rows)
                listed = self._read(row, base)
                kept.update(listed.extra)
                yield listed
            if missing := sorted(set(self.keep_columns) - kept - set(self.ignored)):
                raise ListingError(f"listing.keep_columns names {missing[0]!r}, which has no value in any row")

    @contextmanager
    def _naming_the_listing(self) -> Iterator[None]:
        try:
            yield
        except StorageError:
            raise
        except ListingError as error:
            if error.message.startswith(self.uri):
                raise
            raise ListingError(f"{self.uri}: {error.message}", remedy=error.remedy) from error
        except OSError as error:
            raise ListingError(f"cannot read the listing {self.uri}: {error.strerror or error}") from error

    def _read(self, row: Row, base: str) -> ListedRow:
        found: dict[str, tuple[str, Any]] = {}
        paths: dict[str, tuple[str, Any]] = {}
        extra: dict[str, str] = {}
        for name, value in row.values.items():
            if not isinstance(name, str):
                raise ListingError(f"{row.place} has more fields than the header")
            plain = name.strip().lower()
            column = _COLUMNS.get(plain)
            if plain in _PATHS:
                if (text := read_path(value, row.place, name)) is not None:
                    paths[plain] = (name, text)
            elif column is not None:
                if (cleaned := read_value(value, column, row.place, name)) is None:
                    continue
                if column == "speaker" and names_nobody(str(cleaned)):
                    self.nobody[str(cleaned)] += 1
                    continue
                if column in found:
                    raise ListingError(
                        f"{row.place}: the columns {found[column][0]!r} and {name!r} mean the same; leave one of them out"
                    )
                found[column] = (name, cleaned)
            elif plain == LISTED_DURATION:
                if not is_absent(value):
                    extra[LISTED_DURATION] = check_text(str(value), row.place, name)
            elif _BEGINS.fullmatch(plain) and _is_later(value):
                raise ListingError(
                    f"{row.place}: {name!r} is {str(value)[:40]}: a row is a whole file, not a part of one",
                    remedy="list every file once, without beginnings; voxbeam cuts recordings itself",
                )
            else:
                self._other(name, value, row.place, extra)
        if not paths:
            raise ListingError(
                f"{row.place}: the column 'uri' is missing or empty; the columns are {', '.join(map(repr, row.values))[:400]}",
                remedy=f"name the column of paths 'uri' or one of {', '.join(_PATHS[1:])}",
            )
        chosen = min(paths, key=_PATHS.index)
        for plain, (name, value) in paths.items():
            if plain != chosen:
                self._other(name, value, row.place, extra)
        address = _posix(paths[chosen][1], row.place)
        try:
            uri = resolve_address(address, base)
        except AddressError as error:
            raise ListingError(f"{row.place}, column {paths[chosen][0]!r}: {error.message}", remedy=error.remedy) from error
        columns = {column: value for column, (_, value) in found.items()}
        return ListedRow(place=row.place, address=address, uri=uri, columns=columns, extra=extra)

    def _other(self, name: str, value: Any, place: str, extra: dict[str, str]) -> None:
        if name in self.keep_columns:
            if not is_absent(value):
                extra[name] = check_text(str(value), place, name)
        elif not _UNUSED.fullmatch(name.strip().lower()):
            self.ignored[name] += 1


def _is_later(value: Any) -> bool:
    """Whether a value is a time after the beginning of a file: a number, or a time such as 00:01:30,5."""
    if is_absent(value) or isinstance(value, bool):
        return False
    try:
        return float(value) > 0
    except (TypeError, ValueError, OverflowError):
        return isinstance(value, str) and bool(re.fullmatch(r"[\d:.,]*[1-9][\d:.,]*\s*(?:s|ms|sec)?", value.strip()))


def _posix(address: str, place: str) -> str:
    """A path that was written on Windows, below the listing, with slashes."""
    if re.match(r"[A-Za-z]:[\\/]|\\\\", address):
        raise ListingError(f"{place}: {address[:80]!r} is a path of Windows", remedy="write paths relative to the listing")
    return address.replace("\\", "/") if "\\" in address and "/" not in address else address


def _rows(path: Path, uri: str, max_rows: int) -> Iterator[Row]:
    suffix = PurePosixPath(uri).suffix.lower()

    def is_path(name: str) -> bool:
        return name.strip().lower() in _PATHS

    if suffix == ".parquet":
        return read_parquet(path, is_path, max_rows)
    if suffix in (".jsonl", ".ndjson"):
        return read_json_lines(path)
    if suffix == ".json":
        return read_json(path, is_path)
    return read_kaldi(path) if suffix == ".scp" else read_separated(path, is_path, suffix)
