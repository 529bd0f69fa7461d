"""Headers: what a container's header says of its length, read from its bytes. Some headers state a length that can be trusted.

A recorder that writes to a pipe does not know the length and leaves a placeholder; such a header states nothing.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO

from voxbeam.transforms.audio.sparse_file import AudioFile

_PLACEHOLDERS_32 = frozenset({0, *range(0xFFFFFF00, 0x100000000), *range(0x7FFFFF00, 0x80000100)})
_PLACEHOLDERS_64 = frozenset({0, 0xFFFFFFFFFFFFFFFF, 0x7FFFFFFFFFFFFFFF})
_MAX_CHUNKS = 10_000
_MAX_TAGS = 64 << 10
_MAX_OGG_PAGE = 27 + 255 + 255 * 255
_MPEG_SEARCH = 64 << 10


def stated_bytes(file: AudioFile) -> int | None:
    """Byte at which the sound ends by a WAV, RF64, W64, AIFF, AU or CAF header; None where the header does not say."""
    with file.open("rb") as content:
        magic = content.read(12)
        if magic[:4] in (b"RIFF", b"RF64", b"BW64") and magic[8:] == b"WAVE":
            return _wave_end(content)
        if magic[:4] == b"FORM" and magic[8:12] in (b"AIFF", b"AIFC"):
            return _chunk_end(_chunks(content, ">4sI", 12), b"SSND", _PLACEHOLDERS_32)
        if magic[:4] == b"riff":  # Sony Wave64: chunks are named by GUIDs that begin with the four letters
            return _chunk_end(_wave64_chunks(content), b"data", _PLACEHOLDERS_64)
        if magic[:4] == b"caff":
            return _chunk_end(_chunks(content, ">4sQ", 8, even=False), b"data", _PLACEHOLDERS_64)
        if magic[:4] == b".snd":
            offset, size = struct.unpack(">II", magic[4:12])
            return None if size in _PLACEHOLDERS_32 else offset + size
    return None


def unexplained_bytes(file: AudioFile) -> int:
    """Bytes behind the sound of a WAV, AIFF, W64, CAF, AU or MP4 file that belong to no chunk of it; zeros do not count.

    Such bytes are sound that a decoder passes over: a second file that was appended, or a recording that went on after its
    header was written.
    """
    with file.open("rb") as content:
        magic = content.read(12)
        size = content.seek(0, 2)
        if magic[4:8] == b"ftyp":
            return _second_movie(content, size)
        end = stated_bytes(file)
        if end is None or end >= size:
            return 0
        if magic[:4] in (b"RIFF", b"RF64", b"BW64"):
            end = _behind_chunks(_chunks(content, "<4sI", end + (end & 1)), end, size)
        elif magic[:4] == b"FORM":
            end = _behind_chunks(_chunks(content, ">4sI", end + (end & 1)), end, size)
        elif magic[:4] == b"caff":
            end = _behind_chunks(_chunks(content, ">4sQ", end, even=False), end, size)
        elif magic[:4] == b"riff":
            return 0 if size - end < _MAX_TAGS else size - end
        content.seek(end)
        return len(content.read(size - end).strip(b"\0"))


def _behind_chunks(chunks: Iterator[tuple[bytes, int, int]], end: int, size: int) -> int:
    """Where the last whole chunk ends: a name is four printable characters, and no chunk is longer than the file."""
    for name, start, length in chunks:
        if name in (b"RIFF", b"RF64", b"FORM") or not all(32 <= byte < 127 for byte in name) or start + length > size + 1:
            return end
        end = min(size, start + length + (length & 1))
    return end


def _second_movie(content: BinaryIO, size: int) -> int:
    start, movies = 0, 0
    for _ in range(_MAX_CHUNKS):
        content.seek(start)
        header = content.read(16)
        if len(header) < 8:
            return 0
        length = int.from_bytes(header[:4], "big")
        length = int.from_bytes(header[8:16], "big") if length == 1 else length
        movies += header[4:8] == b"moov"
        if header[4:8] == b"ftyp" and start and movies:
            return size - start
        if length < 8:
            return 0
        start += length
    return 0


def ogg_is_complete(file: AudioFile) -> bool:
    """Whether an Ogg file ends with a whole page that says that it is the last. True for what is not Ogg."""
    with file.open("rb") as content:
        if content.read(4) != b"OggS":
            return True
        content.seek(max(0, content.seek(0, 2) - _MAX_OGG_PAGE))
        tail = content.read()
    page = tail[tail.rfind(b"OggS") :]
    lacing = page[27 : 27 + page[26]] if len(page) > 26 else b""
    return len(page) > 26 and bool(page[5] & 4) and len(page) >= 27 + page[26] + sum(lacing)


def xing_frames(file: AudioFile) -> int | None:
    """MPEG frames that the Xing or Info header of an MP3 counts; None without such a header."""
    with file.open("rb") as content:
        start = _behind_id3(content)
        content.seek(start)
        head = content.read(_MPEG_SEARCH)
    for tag in (b"Xing", b"Info"):
        at = head.find(tag, 0, 4096)
        if at >= 0 and len(head) >= at + 12 and head[at + 7] & 1:
            return int.from_bytes(head[at + 8 : at + 12], "big")
    return None


def _behind_id3(content: BinaryIO) -> int:
    content.seek(0)
    head = content.read(10)
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    return 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))


def _wave_end(content: BinaryIO) -> int | None:
    """In RF64 the true sizes stand in the chunk `ds64`."""
    data_size_64: int | None = None
    for name, start, size in _chunks(content, "<4sI", 12):
        if name == b"ds64":
            content.seek(start + 8)
            data_size_64 = int.from_bytes(content.read(8), "little")
        if name == b"data":
            if size == 0xFFFFFFFF and data_size_64 is not None:
                return None if data_size_64 in _PLACEHOLDERS_64 else start + data_size_64
            return None if size in _PLACEHOLDERS_32 else start + size
    return None


def _chunks(content: BinaryIO, layout: str, start: int, *, even: bool = True) -> Iterator[tuple[bytes, int, int]]:
    """(name, first byte, size) of every chunk; `even` ones are padded to two bytes."""
    length = struct.calcsize(layout)
    for _ in range(_MAX_CHUNKS):
        content.seek(start)
        header = content.read(length)
        if len(header) < length:
            return
        name, size = struct.unpack(layout, header)
        yield name, start + length, size
        start += length + size + (size & 1 if even else 0)


def _wave64_chunks(content: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    start = 40
    for _ in range(_MAX_CHUNKS):
        content.seek(start)
        header = content.read(24)
        if len(header) < 24:
            return
        size = int.from_bytes(header[16:], "little")  # with its own 24 bytes
        yield header[:4], start + 24, max(0, size - 24)
        start += max(24, -(-size // 8) * 8)


def _chunk_end(chunks: Iterator[tuple[bytes, int, int]], name: bytes, placeholders: frozenset[int]) -> int | None:
    for found, start, size in chunks:
        if found == name:
            return None if size in placeholders else start + size
    return None
