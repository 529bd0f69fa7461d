"""Person: what a corpus knows of recordings that were taken down, and whether some bytes or values tell any of it."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import quote

from voxbeam.schemas.manifest import RecordingRow
from voxbeam.schemas.segment_row import SegmentRow
from voxbeam.transforms.identity.voices import real_name

MIN_TEXT = 24
"""characters; shorter texts may be said by anybody"""
_CODES_BYTES = 256
"""of a sample, from the middle of its codes: they tell it from all others"""
NAMED = "an identifier, a name or an address"
_WORD_BYTE = rb"[0-9A-Za-z_-]"
_NPY_MAGIC = b"\x93NUMPY\x01\x00"


def codes_excerpt(content: bytes) -> bytes:
    """A part of codes, with or without the header of an npy file; nothing of short ones."""
    start = 10 + int.from_bytes(content[8:10], "little") if content.startswith(_NPY_MAGIC) else 0
    middle = start + (len(content) - start) // 2
    return content[middle : middle + _CODES_BYTES] if len(content) - start >= 4 * _CODES_BYTES else b""


@dataclass
class Person:
    """What is known of the recordings."""

    recordings: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    """speakers and titles that nobody else has"""
    uris: set[str] = field(default_factory=set)
    files: set[str] = field(default_factory=set)
    """SHA-256 of the bytes of the recordings"""
    texts: set[str] = field(default_factory=set)
    codes: set[bytes] = field(default_factory=set)
    """excerpts"""

    def add_recording(self, row: RecordingRow) -> None:
        self.recordings.add(row.recording)
        self.uris.add(row.uri)
        self.files |= {row.sha256} if row.sha256 else set()
        name = real_name(row.speaker, row.recording)
        self.names |= {text for text in (name, row.title) if text}
        self.texts |= {text for text in (row.text,) if text and len(text) >= MIN_TEXT}

    def add_segment(self, row: SegmentRow, *codes: bytes) -> None:
        if row.text and len(row.text) >= MIN_TEXT:
            self.texts.add(row.text)
        self.codes |= {excerpt for content in codes if (excerpt := codes_excerpt(content))}

    def is_named_in(self, content: bytes) -> bool:
        """Whether an identifier, a name, a hash or an address is in some bytes."""
        return self._words is not None and self._words.search(content) is not None

    def in_bytes(self, content: bytes) -> set[str]:
        """What of the person is anywhere in some bytes. Slow where many texts are known."""
        found = {NAMED} if self.is_named_in(content) else set[str]()
        found |= {"a text"} if any(text in content for text in self._written_texts) else set()
        return found | ({"codes"} if any(codes in content for codes in self.codes) else set())

    def in_values(self, values: Iterable[str | bytes | None]) -> set[str]:
        """What of the person is among some values."""
        found = set[str]()
        words: list[bytes] = []
        for value in values:
            if isinstance(value, str):
                found |= {"a text"} if value in self.texts else set()
                words.append(value.encode())
            elif value is not None:
                found |= {"codes"} if codes_excerpt(value) in self.codes else set()
                words.append(value)
        return found | ({NAMED} if self.is_named_in(b"\n".join(words)) else set())

    @cached_property
    def _written_texts(self) -> set[bytes]:
        return {way.encode() for text in self.texts for way in _ways_to_write(text)}

    @cached_property
    def _words(self) -> re.Pattern[bytes] | None:
        """Identifiers and names as whole words. A voice and a key begin with an identifier, and go on with `_` and a number."""
        parts = []
        if words := _longest_first((*self.recordings, *self.names, *self.files)):
            parts.append(rb"(?<!%s)(?:%s)(?:_v?\d+|(?!%s))" % (_WORD_BYTE, b"|".join(words), _WORD_BYTE))
        parts += _longest_first(self.uris)
        return re.compile(b"|".join(parts)) if parts else None


def _longest_first(words: Iterable[str]) -> list[bytes]:
    ways = {way for word in words for way in _ways_to_write(word)}
    return [re.escape(way.encode()) for way in sorted(ways, key=lambda way: (-len(way), way))]


def _ways_to_write(text: str) -> set[str]:
    """A text as it is, and as JSON, pages and addresses write it."""
    in_json = {json.dumps(text, ensure_ascii=ascii)[1:-1] for ascii in (True, False)}
    return {text, *in_json, html.escape(text), html.escape(text, quote=False), quote(text), quote(text, safe="")}
