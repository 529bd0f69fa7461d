"""Members of a tar file from anywhere: every header is checked, and no header makes the reader loop, allocate or skip the rest.

Python's tarfile ends in silence at a damaged header, expands sparse members, and reads a member of any size. This reader knows
regular files with GNU and pax names, and gives the type of all others; it stops with the place of the first damage.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

BLOCK = 512
_MAX_NAME_BYTES = 64 << 10
_REGULAR = b"0\0"
_TYPES = {
    b"1": "hard link", b"2": "symbolic link", b"3": "device", b"4": "device", b"5": "folder", b"6": "pipe", b"7": "other file",
    b"S": "sparse file",
}  # fmt: skip


class DamagedTarError(ValueError):
    """A tar that cannot be read to its end. The message names the place."""


@dataclass(frozen=True, kw_only=True)
class TarMember:
    """A member of a tar."""

    name: str
    offset: int
    """of its content in the tar"""
    size: int
    kind: str | None
    """what it is instead of a regular file, such as 'folder'; None for a regular file"""


def tar_members(file: BinaryIO) -> Iterator[TarMember]:
    """Every member of an uncompressed tar, in order. Raises DamagedTarError unless the tar is whole up to its end mark."""
    total = file.seek(0, 2)
    position = 0
    attributes: dict[str, str] = {}
    while True:
        header = _read(file, position, BLOCK)
        if len(header) < BLOCK:
            raise DamagedTarError(f"it ends at byte {total} without an end mark: the rest is missing")
        if not any(header):
            break
        _check_sum(header, position)
        kind, size = header[156:157], _number(header[124:136], position)
        extends = kind in b"LKxgX"
        if not extends and "size" in attributes:
            size = _pax_number(attributes["size"], position)
        content = position + BLOCK
        holds_content = kind in b"017SLKxgX\0"
        following = content + (-(-size // BLOCK) * BLOCK if holds_content and kind != b"1" else 0)
        if content + (size if holds_content and kind != b"1" else 0) > total:
            raise DamagedTarError(f"the member at byte {position} states {size} bytes, more than the file has")
        if extends:
            if size > _MAX_NAME_BYTES:
                raise DamagedTarError(f"the extended header at byte {position} has {size} bytes")
            if kind in b"LxX":
                attributes |= _attributes(kind, _read(file, content, size), position)
        else:
            sparse = any(name.startswith("GNU.sparse.") for name in attributes)
            yield TarMember(
                name=attributes.get("path") or _name(header),
                offset=content,
                size=size,
                kind="sparse file" if sparse else None if kind in _REGULAR else _TYPES.get(kind, f"member of type {kind!r}"),
            )
            attributes = {}
        position = following
    _check_end(file, position, total)


def _read(file: BinaryIO, position: int, size: int) -> bytes:
    file.seek(position)
    return file.read(size)


def _check_sum(header: bytes, position: int) -> None:
    stated = _number(header[148:156], position)
    if stated != sum(header[:148]) + 8 * 0x20 + sum(header[156:]):
        raise DamagedTarError(f"the header at byte {position} is damaged (its checksum differs)")


def _number(field: bytes, position: int) -> int:
    """A number in octal digits, or in binary where the first byte says so (GNU)."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    if not all(byte in b"01234567" for byte in digits):
        raise DamagedTarError(f"the header at byte {position} is damaged (it has a number that is none)")
    return int(digits or b"0", 8)


def _pax_number(text: str, position: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise DamagedTarError(f"the extended header before byte {position} has a size that is no number")
    return int(text)


def _name(header: bytes) -> str:
    name, prefix = (header[start:end].split(b"\0", 1)[0] for start, end in ((0, 100), (345, 500)))
    ustar = header[257:263] == b"ustar\0"  # GNU has other fields in the place of the prefix
    return (prefix + b"/" + name if prefix and ustar else name).decode("utf-8", "replace")


def _attributes(kind: bytes, content: bytes, position: int) -> dict[str, str]:
    """Properties of the next member: a long name (L), or pax records `<length> <name>=<value>`."""
    if kind == b"L":
        return {"path": content.split(b"\0", 1)[0].decode("utf-8", "replace")}
    found: dict[str, str] = {}
    start = 0
    while start < len(content) and content[start]:
        digits, _, _ = content[start : start + 8].partition(b" ")
        end = start + int(digits) if digits.isdigit() else 0
        name, equals, value = content[start + len(digits) + 1 : max(0, end - 1)].partition(b"=")
        if end <= start or end > len(content) or not equals:
            raise DamagedTarError(f"the extended header at byte {position} is damaged")
        found[name.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
        start = end
    return found


def _check_end(file: BinaryIO, position: int, total: int) -> None:
    """Raises DamagedTarError for anything but zeros from a position to the end."""
    file.seek(position)
    while block := file.read(1 << 20):
        if any(block):
            first = position + len(block) - len(block.lstrip(b"\0"))
            raise DamagedTarError(
                f"an empty header at byte {position} is followed by data at byte {first} of {total}: "
                "a header is damaged, or tars were joined"
            )
        position += len(block)
