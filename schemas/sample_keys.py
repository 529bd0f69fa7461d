"""Sample keys: from the key of a segment back to its recording."""

import re

_KEY = re.compile(r"(.+)_\d{8,}_\d{8,}(?:_c\d+)?")


def recording_of(key: str) -> str | None:
    """The recording of a segment, by its key; None for what is no key."""
    match = _KEY.fullmatch(key)
    return match[1] if match else None
