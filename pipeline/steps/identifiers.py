"""Identifiers of recordings: each follows from the path of its file alone, whatever other files there are."""

import hashlib
import os
import re
from pathlib import PurePosixPath

from voxbeam.schemas.formats import AUDIO_SUFFIXES
from voxbeam.schemas.recording import KEY_ALPHABET

_MAX_ID_CHARS = 120
_PLAIN = re.compile(r"[A-Za-z0-9_]+")
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
    stem = str(pure.with_suffix("")) if pure.suffix else str(pure)
    named = stem if pure.suffix == ".flac" else f"{stem}_{pure.suffix[1:]}" if pure.suffix else stem
    name = "".join(c if c in KEY_ALPHABET else "-" if c == "/" else "_" for c in named)
    return name if _is_unique(pure, stem, name) else f"{name[:_MAX_ID_CHARS]}-{_path_hash(path)}"


def _is_unique(path: PurePosixPath, stem: str, name: str) -> bool:
    """Whether no other path comes to this name."""
    if not path.suffix or len(name) > _MAX_ID_CHARS:
        return False
    if path.suffix == ".flac" and _LIBRISPEECH.fullmatch(stem):
        return True
    plain = all(map(_PLAIN.fullmatch, stem.split("/"))) and not _LIKE_LIBRISPEECH.fullmatch(stem)
    if path.suffix == ".flac":
        ends_like_suffix = f".{stem.rpartition('_')[2].lower()}" in AUDIO_SUFFIXES and "_" in path.stem
        return plain and not ends_like_suffix and not _LIKE_HASH.fullmatch(stem)
    return plain and path.suffix.lower() in AUDIO_SUFFIXES


def _path_hash(path: str) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:8]
