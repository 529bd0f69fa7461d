"""Movie edits: the edit list of an MP4 or QuickTime file (ISO 14496-12, 8.6.6). Runs in the sandbox.

FFmpeg follows one that begins late, ends early, leaves parts out or delays the whole. For a pause behind sound it plays what
follows twice, so such a file cannot be used.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO

from voxbeam.transforms.audio.containers import MAX_OFFSET
from voxbeam.transforms.audio.sparse_file import AudioFile

_MAX_BOXES = 10_000
_MAX_EDITS = 1 << 20
_NO_SOUND = -1


def pauses_between_edits(file: AudioFile) -> bool:
    """Whether a track of a movie has an edit without media behind one with media. False for what is no movie."""
    with file.open("rb") as content:
        size = content.seek(0, 2)
        content.seek(0)
        if content.read(8)[4:] != b"ftyp":
            return False
        for name, start, end in _boxes(content, 0, size):
            if name == b"moov":
                return any(_pauses(content, *place) for place in _edit_lists(content, start, end))
    return False


def _edit_lists(content: BinaryIO, start: int, end: int) -> Iterator[tuple[int, int]]:
    for name, first, last in _boxes(content, start, end):
        if name in (b"trak", b"edts"):
            yield from _edit_lists(content, first, last)
        elif name == b"elst":
            yield first, last


def _pauses(content: BinaryIO, start: int, end: int) -> bool:
    content.seek(start)
    body = content.read(min(max(0, end - start), _MAX_EDITS))
    if len(body) < 8:
        return False
    layout = struct.Struct(">QqI" if body[0] else ">IiI")
    entries = body[8 : 8 + (len(body) - 8) // layout.size * layout.size]
    silent = [begin == _NO_SOUND for _, begin, _ in layout.iter_unpack(entries)]
    return True in silent[silent.index(False) :] if False in silent else False


def _boxes(content: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(name, first byte of the body, end) of each box of a range."""
    for _ in range(_MAX_BOXES):
        content.seek(min(start, MAX_OFFSET))
        header = content.read(16)
        if start + 8 > end or len(header) < 8:
            return
        length, body = int.from_bytes(header[:4], "big"), start + 8
        if length == 1:
            length, body = int.from_bytes(header[8:16], "big"), start + 16
        if length == 0:
            length = end - start
        if length < body - start:
            return
        yield header[4:8], body, min(start + length, end)
        start += length
