"""Values of listings: what counts as absent, and texts, names and numbers as voxbeam has them."""

import math
import re
from typing import Any
from unicodedata import normalize

from voxbeam.schemas.errors import ListingError
from voxbeam.schemas.languages import language_code

_ABSENT = frozenset({"", "nan", "NaN", "None", "null", "NULL", "<NA>"})
_MAX_FIELD = 128 << 10
_MAX_TEXT = 1 << 20
"""characters of a recording's text: fifteen hours"""
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")
"""characters of no width, with which a name would look like another and not be it"""
_FLOAT_NAME = re.compile(r"(\d+)\.0+")


def is_absent(value: Any) -> bool:
    return (
        value is None or (isinstance(value, float) and math.isnan(value)) or (isinstance(value, str) and value.strip() in _ABSENT)
    )


def read_path(value: Any, place: str, name: str) -> str | None:
    """A path; of Hugging Face's {"path": …} the path inside."""
    if isinstance(value, dict) and "path" in value:
        value = value["path"]
    if is_absent(value):
        return None
    if not isinstance(value, str):
        raise ListingError(f"{place}, column {name!r}: {str(value)[:80]!r} is not a path")
    return check_text(value, place, name)


def read_value(value: Any, column: str, place: str, name: str) -> str | float | None:
    """A value as Recording has it; None when it is absent."""
    if is_absent(value):
        return None
    if column == "source_snr_db":
        return _number(value, place, name)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ListingError(
            f"{place}, column {name!r}: {str(value)[:80]!r} is not a name", remedy="write a text or a whole number"
        )
    try:
        text = check_text(normalize("NFC", str(value)), place, name, _MAX_TEXT if column == "text" else _MAX_FIELD)
    except ValueError as error:
        if isinstance(error, ListingError):
            raise
        raise ListingError(f"{place}, column {name!r}: the number is too large") from error
    if column in ("text", "title"):
        return text
    text = text.strip()
    if column == "language":
        try:
            return language_code(text)
        except ValueError as error:
            raise ListingError(f"{place}, column {name!r}: {error}") from error
    if column in ("speaker", "recording"):
        text = " ".join(_INVISIBLE.sub("", text).split())
        return _FLOAT_NAME.sub(r"\1", text) if _FLOAT_NAME.fullmatch(text) else text
    return text


def _number(value: Any, place: str, name: str) -> float:
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not abs(number) < 1000:
        raise ListingError(f"{place}, column {name!r}: {str(value)[:80]!r} is not a number of decibels")
    return number


def check_text(text: str, place: str, name: str, most: int = _MAX_FIELD) -> str:
    if len(text) > most:
        raise ListingError(f"{place}, column {name!r}: {len(text)} characters, at most {most} are allowed")
    if "\0" in text:
        raise ListingError(f"{place}, column {name!r} contains a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ListingError(f"{place}, column {name!r} is not valid Unicode: {text[:40]!a}") from error
    return text
