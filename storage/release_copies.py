"""Release copies: a second copy of every release file, from which a damaged one is put back byte for byte.

A release file has a checksum of itself, which says that it is damaged but not what it was. So the commit also writes
`copies/<number>.json`. Readers never look there.
"""

import re

from voxbeam.schemas.errors import SchemaError
from voxbeam.schemas.release import Release
from voxbeam.storage.store import Store

COPIES = "copies"
"""folder of the copies"""
_CHECKSUM = re.compile(rb'^ "sha256": "([0-9a-f]{64})"', re.MULTILINE)
"""of the release itself; those of its files are indented further"""
_MAX_DAMAGED_DIGITS = 4
"""in which the checksum of a damaged file may differ from that of its copy"""


def copy_path(number: int) -> str:
    """Path of the copy of a release below the corpus."""
    return f"{COPIES}/{number:06d}.json"


def keep_copy(store: Store, release: Release) -> None:
    """Writes the copy of a release that has been committed, unless it is there."""
    path, content = copy_path(release.number), release.to_json()
    if not store.put_if_absent(path, content) and store.get(path) != content:
        store.replace(path, content, durable=True)


def find_copy(store: Store, number: int, damaged: bytes) -> bytes | None:
    """What a damaged release file was; None if there is no copy, or if it is damaged too or that of another release.

    A release that was deleted and made anew under its number may have left an older copy: then the checksums differ.
    """
    try:
        content = store.get(copy_path(number))
        release = Release.from_json(content)
    except (FileNotFoundError, SchemaError):
        return None
    if release.number != number or release.to_json() != content:
        return None
    stated, kept = _CHECKSUM.search(damaged), _CHECKSUM.search(content)
    assert kept is not None  # to_json wrote it
    if stated is not None and sum(a != b for a, b in zip(stated[1], kept[1], strict=True)) > _MAX_DAMAGED_DIGITS:
        return None
    return content
