"""Headers: where the sound ends by the header of a container of PCM. Other containers are in containers.py.

A recorder that writes to a pipe does not know the length and writes a placeholder; then the header states no length.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO

from voxbeam.transforms.audio.containers import MAX_OFFSET, container_end
from voxbeam.transforms.audio.sparse_file import AudioFile

_PLACEHOLDERS_32 = frozenset({0, *range(0xFFFFFF00, 0x100000000), *range(0x7FFFEF00, 0x80000100), *range(0x7F000000, 0x7F001000)})
"""SoX writes 0x7FFFF000 less its header, in AIFF 0x7F000000, others the largest number that the field can hold, signed or not"""
_PLACEHOLDERS_64 = frozenset({0, 0xFFFFFFFFFFFFFFFF, 0x7FFFFFFFFFFFFFFF})
_MAX_CHUNKS = 10_000
_MAX_TAGS = 64 << 10
_OF_SOUND = (b"RIFF", b"RF64", b"FORM", b"data", b"SSND")
"""chunks that hold sound: another file that was appended, or a second part"""


def stated_bytes(file: AudioFile) -> int | None:
    """Byte at which the sound ends by the header or the structure of a file; None where these do not say."""
    with file.open("rb") as content:
        size = content.seek(0, 2)
        content.seek(0)
        magic = content.read(12)
        if magic[:4] in (b"RIFF", b"RF64", b"BW64") and magic[8:] == b"WAVE":
            return _wave_end(content)
        if magic[:4] == b"FORM" and magic[8:12] in (b"AIFF", b"AIFC"):
            return _chunk_end(_chunks(content, ">4sI", 12), b"SSND", _PLACEHOLDERS_32)
        if magic[:4] == b"riff":  # Sony Wave64: the names of chunks are GUIDs that begin with four letters
            return _chunk_end(_wave64_chunks(content), b"data", _PLACEHOLDERS_64)
        if magic[:4] == b"caff":
            return _chunk_end(_chunks(content, ">4sQ", 8, even=False), b"data", _PLACEHOLDERS_64)
        if magic[:4] == b".snd" and len(magic) == 12:
            offset, length = struct.unpack(">II", magic[4:12])
            return None if length in _PLACEHOLDERS_32 else offset + length
        if magic[:7] == b"NIST_1A":
            return _sphere_end(content)
        return container_end(content, size)


def lacks_length(file: AudioFile) -> bool:
    """Whether an RF64 file leaves its length open, which no decoder reads past."""
    with file.open("rb") as content:
        magic = content.read(12)
        return magic[:4] in (b"RF64", b"BW64") and magic[8:] == b"WAVE" and _wave_end(content) is None


def unexplained_bytes(file: AudioFile) -> int:
    """Bytes behind the end of a file as `stated_bytes` has it that belong to no chunk or tag of it; zeros do not count.

    Such bytes are sound that a decoder passes over: a second file that was appended, or a recording that went on after its
    header was written.
    """
    with file.open("rb") as content:
        magic = content.read(12)
        size = content.seek(0, 2)
        end = stated_bytes(file)
        if end is None or end >= size:
            return 0
        if magic[:4] in (b"RIFF", b"RF64", b"BW64") and magic[8:] == b"WAVE":
            end = _end_of_chunks(_chunks(content, "<4sI", end + (end & 1)), end, size)
        elif magic[:4] == b"FORM":
            end = _end_of_chunks(_chunks(content, ">4sI", end + (end & 1)), end, size)
        elif magic[:4] == b"caff":
            end = _end_of_chunks(_chunks(content, ">4sQ", end, even=False), end, size)
        elif magic[:4] == b"riff":
            return 0 if size - end < _MAX_TAGS else size - end
        return _unlike_tags(content, end)


def _unlike_tags(content: BinaryIO, start: int) -> int:
    """Bytes from `start` on that are neither zeros nor tags."""
    for _ in range(_MAX_CHUNKS):
        content.seek(min(start, MAX_OFFSET))
        if not (length := _tag_length(content.read(32))):
            break
        start += length
    content.seek(min(start, MAX_OFFSET))
    return sum(len(block.strip(b"\0")) for block in iter(lambda: content.read(1 << 20), b""))


def _tag_length(head: bytes) -> int:
    """Length of the ID3 or APE tag that begins with these bytes; 0 for anything else."""
    if head.startswith(b"ID3") and len(head) >= 10:
        return 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    if head.startswith(b"TAG"):
        return 128
    if head.startswith(b"APETAGEX") and len(head) == 32:
        return int.from_bytes(head[12:16], "little") + 32
    return 0


def _end_of_chunks(chunks: Iterator[tuple[bytes, int, int]], end: int, size: int) -> int:
    """End of the last complete chunk that may stand behind the sound.

    A chunk has a name of four printable characters and is not longer than the file. One of sound is read by no decoder there.
    """
    for name, start, length in chunks:
        if name in _OF_SOUND or not all(32 <= byte < 127 for byte in name) or start + length > size + 1:
            return end
        end = min(size, start + length + (length & 1))
    return end


def _sphere_end(content: BinaryIO) -> int | None:
    """NIST SPHERE: a text header of the size that its second line states, with a line for each property."""
    content.seek(0)
    head = content.read(16)
    if not head[8:15].strip().isdigit():
        return None
    length = int(head[8:15])
    content.seek(0)
    lines = content.read(min(length, _MAX_TAGS)).decode("latin-1").splitlines()
    words = [line.split() for line in lines]
    values = {line[0]: line[2] for line in words if len(line) == 3 and line[1] == "-i" and line[2].isdigit()}
    samples, channels, width = (int(values.get(name, 0)) for name in ("sample_count", "channel_count", "sample_n_bytes"))
    return length + samples * max(1, channels) * width if samples and width else None


def _wave_end(content: BinaryIO) -> int | None:
    """End of the chunk `data`. RF64 has its true size in the chunk `ds64`."""
    data_size_64: int | None = None
    for name, start, size in _chunks(content, "<4sI", 12):
        if name == b"ds64":
            content.seek(min(start + 8, MAX_OFFSET))
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
        content.seek(min(start, MAX_OFFSET))
        header = content.read(length)
        if len(header) < length:
            return
        name, size = struct.unpack(layout, header)
        yield name, start + length, size
        start += length + size + (size & 1 if even else 0)


def _wave64_chunks(content: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    start = 40
    for _ in range(_MAX_CHUNKS):
        content.seek(min(start, MAX_OFFSET))
        header = content.read(24)
        if len(header) < 24:
            return
        size = int.from_bytes(header[16:], "little")  # includes these 24 bytes
        yield header[:4], start + 24, max(0, size - 24)
        start += max(24, -(-size // 8) * 8)


def _chunk_end(chunks: Iterator[tuple[bytes, int, int]], name: bytes, placeholders: frozenset[int]) -> int | None:
    for found, start, size in chunks:
        if found == name:
            return None if size in placeholders else start + size
    return None
