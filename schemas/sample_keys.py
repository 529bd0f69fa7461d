"""Sample keys: the key of a segment, from it back to its recording, and a short hash of any key."""

import hashlib
import re

_KEY = re.compile(r"(.+)_\d{8,}_\d{8,}(?:_c\d+)?")


def sample_key(recording: str, start_ms: int, end_ms: int, channel: int | None = None) -> str:
    """Key of a segment: `<recording>_<start_ms>_<end_ms>`, padded with zeros to sort by time; a track adds `_c<channel>`."""
    return f"{recording}_{start_ms:08d}_{end_ms:08d}" + (f"_c{channel}" if channel is not None else "")


def key_digest(key: str) -> int:
    """A hash of a key in 64 bits, for tables of millions of keys: 8 bytes each where text takes a hundred."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")


def recording_of(key: str) -> str | None:
    """The recording of a segment, by its key; None for what is no key."""
    match = _KEY.fullmatch(key)
    return match[1] if match else None
