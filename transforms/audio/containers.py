"""Containers of compressed audio: where their own structure says that they end. Complements header.py, which reads plain PCM.

A cut file ends before that place, and a joined one goes on behind it, where most decoders do not look.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO

from voxbeam.transforms.audio.sparse_file import AudioFile

MAX_OFFSET = 1 << 42
"""behind the end of every file (4 TB); file systems refuse the larger offsets that damaged headers state"""
_MAX_BOXES = 1_000_000
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_BROADCAST = 1
_MAX_HEADER = 1 << 20
_EBML, _SEGMENT = bytes.fromhex("1a45dfa3"), bytes.fromhex("18538067")
_MAX_OGG_PAGE = 27 + 255 + 255 * 255
_MPEG_SEARCH = 64 << 10


def container_end(content: BinaryIO, size: int) -> int | None:
    """Byte at which an MP4, ASF, AVI, FLV, TTA or Matroska file ends by its structure; None where that does not say."""
    content.seek(0)
    head = content.read(18)
    if head[4:8] == b"ftyp":
        return _movie_end(content, size)
    if head[:16] == _ASF_HEADER:
        return _asf_end(content)
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return _avi_end(content, size)
    if head[:4] == b"FLV\x01":
        return _flv_end(content, size)
    if head[:4] == b"TTA1":
        return _tta_end(content, head)
    if head[:4] == _EBML:
        return _matroska_end(content, size)
    return None


def _movie_end(content: BinaryIO, size: int) -> int | None:
    """Behind the last whole box, or where the last box should end; a second `ftyp` behind a movie begins another file."""
    start, movies = 0, 0
    for _ in range(_MAX_BOXES):
        content.seek(min(start, MAX_OFFSET))
        header = content.read(16)
        if len(header) < 8 or not all(32 <= byte < 127 or byte == 0xA9 for byte in header[4:8]):
            return start
        length = int.from_bytes(header[:4], "big")
        if length == 0:  # up to the end of the file
            return None
        length = int.from_bytes(header[8:16], "big") if length == 1 else length
        if length < 8 or (header[4:8] == b"ftyp" and start and movies):
            return start
        movies += header[4:8] == b"moov"
        start += length
        if start >= size:
            return start
    return None


def _asf_end(content: BinaryIO) -> int | None:
    """The file's size as its File Properties Object states it (ASF specification, 3.2); a broadcast does not know its own."""
    content.seek(0)
    head = content.read(_MAX_HEADER)
    at = head.find(_ASF_FILE)
    if at < 0 or len(head) < at + 92:
        return None
    size, flags = struct.unpack_from("<Q", head, at + 40)[0], struct.unpack_from("<I", head, at + 88)[0]
    return None if flags & _ASF_BROADCAST or not size else int(size)


def _avi_end(content: BinaryIO, size: int) -> int | None:
    """Behind the last RIFF chunk of an AVI file; one over 1 GB continues in chunks of the form AVIX (OpenDML)."""
    start = 0
    for number in range(_MAX_BOXES):
        content.seek(min(start, MAX_OFFSET))
        header = content.read(12)
        if len(header) < 12 or header[:4] != b"RIFF" or header[8:] != (b"AVIX" if number else b"AVI "):
            return start
        length = int.from_bytes(header[4:8], "little")
        if length in (0, 0xFFFFFFFF):
            return None
        start += 8 + length + (length & 1)
        if start >= size:
            return start
    return None


def _flv_end(content: BinaryIO, size: int) -> int:
    """Behind the last tag: eleven bytes and a body, then the length of both."""
    start = 13
    while start + 11 <= size:
        content.seek(min(start, MAX_OFFSET))
        header = content.read(11)
        if header[0] & 0x1F not in (8, 9, 18) or header[8:11] != b"\0\0\0":
            return start
        start += 11 + int.from_bytes(header[1:4], "big") + 4
    return start


def _matroska_end(content: BinaryIO, size: int) -> int | None:
    """Where the segment should end, if the file ends before it; decoders find segments behind it (RFC 8794, 9559)."""
    content.seek(4)
    length = _vint(content)
    content.seek(min(content.tell() + (length or 0), MAX_OFFSET))
    if content.read(4) != _SEGMENT:
        return None
    length = _vint(content)
    at = content.tell()
    return None if length is None or at + length <= size else at + length


def _vint(content: BinaryIO) -> int | None:
    """A number of variable length; None for the one that means unknown."""
    first = content.read(1)
    if not first or not first[0]:
        return None
    extra = 8 - first[0].bit_length()
    value = int.from_bytes(bytes([first[0] & (0x7F >> extra)]) + content.read(extra), "big")
    return None if value == (1 << 7 * (extra + 1)) - 1 else value


def _tta_end(content: BinaryIO, head: bytes) -> int | None:
    """By the table of frame lengths behind the header of True Audio (TTA1)."""
    if len(head) < 18:
        return None
    rate, samples = struct.unpack_from("<II", head, 10)
    per_frame = rate * 256 // 245
    if not per_frame or not samples:
        return None
    frames = -(-samples // per_frame)
    if frames * 4 > _MAX_HEADER:
        return None
    content.seek(22)
    table = content.read(frames * 4)
    if len(table) < frames * 4:
        return None
    return 22 + len(table) + 4 + sum(length for (length,) in struct.iter_unpack("<I", table))


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


def ogg_links(file: AudioFile) -> list[tuple[int, int]]:
    """The byte ranges (start, end) of the Ogg files that were chained into one (RFC 3533, 4); none for what is not Ogg."""
    with file.open("rb") as content:
        starts: list[int] = []
        begins = False
        for start, first_of_stream in _ogg_pages(content):
            if first_of_stream and not begins:  # streams of one link begin together
                starts.append(start)
            begins = first_of_stream
        ends = [*starts[1:], content.seek(0, 2)] if starts else []
    return list(zip(starts, ends, strict=True))


def _ogg_pages(content: BinaryIO) -> Iterator[tuple[int, bool]]:
    """(first byte, whether a stream begins with it) of every page."""
    start = 0
    while True:
        content.seek(min(start, MAX_OFFSET))
        header = content.read(27)
        if len(header) < 27 or header[:4] != b"OggS":
            return
        lacing = content.read(header[26])
        yield start, bool(header[5] & 2)
        start += 27 + len(lacing) + sum(lacing)


def xing_frames(file: AudioFile) -> int | None:
    """MPEG frames that the Xing or Info header of an MP3 counts; None without such a header."""
    with file.open("rb") as content:
        start = _behind_id3(content)
        content.seek(min(start, MAX_OFFSET))
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
