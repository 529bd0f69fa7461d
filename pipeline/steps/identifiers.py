"""Identifiers of recordings: each follows from the path of its file alone, whatever other files there are."""

import hashlib
import os
import re
from pathlib import PurePosixPath

from voxbeam.schemas.formats import AUDIO_SUFFIXES
from voxbeam.schemas.recording import KEY_ALPHABET

_MAX_ID_CHARS = 120
_PLAIN_PATH = re.compile(r"[A-Za-z0-9_]+(?:/[A-Za-z0-9_]+)*")
_FOREIGN = re.compile(f"[^{re.escape(''.join(sorted(KEY_ALPHABET)))}]")
_LIBRISPEECH = re.compile(
    r"(?:LibriSpeech/)?(?:(?:train|dev|test)-(?:clean|other)(?:-\d+)?/|[A-Za-z0-9_]+/)?(\d+)/(\d+)/\1-\2-\d{1,7}"
)
_LIKE_LIBRISPEECH = re.compile(r"(?:.*/)?(\d+)/(\d+)/\1/\2/\d+")
_LIKE_HASH = re.compile(r"(?:.*/)?[0-9a-f]{8}")


def recording_id(path: str) -> str:
    """A recording's identifier from its path below the input.

    Folders are joined by '-', and a suffix other than `.flac` by '_': `emma/01.flac` is `emma-01`, `emma/01.wav` is
    `emma-01_wav`. A path for which that could be the identifier of another path too, because of its characters, dashes or
    length, gains a hash of the whole. So different paths have different identifiers.
    """
    pure = PurePosixPath(path)
    suffix = pure.suffix
    stem = str(pure).removesuffix(suffix)
    named = stem if suffix == ".flac" else f"{stem}_{suffix[1:]}" if suffix else stem
    name = _FOREIGN.sub("_", named.replace("/", "-"))
    return name if _is_unique(stem, suffix, name) else f"{name[:_MAX_ID_CHARS]}-{_path_hash(path)}"


def _is_unique(stem: str, suffix: str, name: str) -> bool:
    """Whether no other path comes to this name."""
    if not suffix or len(name) > _MAX_ID_CHARS:
        return False
    if suffix == ".flac" and _LIBRISPEECH.fullmatch(stem):
        return True
    plain = _PLAIN_PATH.fullmatch(stem) is not None and not _LIKE_LIBRISPEECH.fullmatch(stem)
    if suffix == ".flac":
        ends_like_suffix = f".{stem.rpartition('_')[2].lower()}" in AUDIO_SUFFIXES and "_" in stem.rpartition("/")[2]
        return plain and not ends_like_suffix and not _LIKE_HASH.fullmatch(stem)
    return plain and suffix.lower() in AUDIO_SUFFIXES


def _path_hash(path: str) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:8]
