"""Discover: finds recordings in a folder, a bucket or a listing, and names each, its speaker and its license.

Layouts:

- LibriLight: `<speaker>/<book>/<chapter>.flac` beside `<chapter>.json` (Kahn et al. 2020, speaker, book_meta, snr);
- LibriSpeech: `<speaker>/<chapter>/<speaker>-<chapter>-<number>.flac`;
- any folder, with a template for the speaker (`{speaker}/*`);
- a Parquet, JSONL or CSV listing: `uri`, and optionally every other column of
  `voxbeam.schemas.recording.Recording`, of which `license` may be spelled `licence`, and `consent_basis` just `basis`.
"""

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import fields, replace
from pathlib import Path, PurePosixPath
from typing import Any

from voxbeam.schemas.config import ListingConfig
from voxbeam.schemas.errors import ListingError, SchemaError
from voxbeam.schemas.recording import KEY_ALPHABET, Recording
from voxbeam.storage.listing import LISTING_SUFFIXES, is_listing, read_listing
from voxbeam.storage.store import Store, is_bucket, local_path

_AUDIO_NAMES = """
3g2 3gp 3gpp aac ac3 adts aif aifc aiff aiffc amr ape asf au avi bwf caf dts eac3 ec3 f4a f4v flac flv m2a m2ts m4a m4b m4r m4v
mka mkv mov mp1 mp2 mp3 mp4 mpa mpc mpeg mpg mpga mts nist oga ogg ogm ogv ogx opus qt ra rf64 rm rmvb snd sph spx ts tta voc vob
w64 wav wave weba webm wma wmv wv
"""
AUDIO_SUFFIXES = frozenset(f".{name}" for name in _AUDIO_NAMES.split())
"""of every container that a decoder reads (transforms/audio/ffmpeg.py); what a file truly is, its content decides"""
_LIBRISPEECH = re.compile(r"(\d+)-(\d+)-\d+")
_MAX_ID_CHARS = 120
_INPUT_NAMES = {"licence": "license", "basis": "consent_basis"}
"""other names that an input may use for a column"""


def list_recordings(uri: str, config: ListingConfig) -> Iterator[Recording]:
    """Every recording of the input, in order of identifier.

    Raises ListingError when there is none, or when a listing's row cannot be used.
    """
    if is_listing(uri):
        found = list(_from_listing(uri, config))
        _reject_duplicate_ids(uri, found)
    elif is_bucket(uri):
        found = _disambiguate_ids(_from_bucket(uri, config))
    else:
        found = _disambiguate_ids(_from_folder(local_path(uri), config))
    if not found:
        raise ListingError(f"no recordings in {uri}: expected {', '.join(sorted(AUDIO_SUFFIXES))} files or a listing of them")
    return iter(sorted(found, key=lambda recording: (recording.recording, recording.uri)))


def recording_id(path: str) -> str:
    """A recording's identifier from its path below the input.

    Folders are joined by '-'. A path that cannot be written in [A-Za-z0-9_-] keeps what can and gains a hash of the whole, so
    that different paths never share an identifier.
    """
    stem = str(PurePosixPath(path).with_suffix(""))
    name = "".join(c if c in KEY_ALPHABET else "-" if c == "/" else "_" for c in stem)
    lossless = len(name) <= _MAX_ID_CHARS and all(c in KEY_ALPHABET or c == "/" for c in stem)
    return name if lossless else _with_hash(name, path)


def _with_hash(name: str, path: str) -> str:
    return f"{name[:_MAX_ID_CHARS]}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}"


def _disambiguate_ids(found: Iterable[tuple[str, Recording]]) -> list[Recording]:
    """Recordings found at paths; files that come to the same identifier (`a.wav`, `a.flac`) all gain a hash of their paths."""
    pairs = list(found)
    times = Counter(recording.recording for _, recording in pairs)
    return [
        recording if times[recording.recording] == 1 else replace(recording, recording=_with_hash(recording.recording, path))
        for path, recording in pairs
    ]


def _reject_duplicate_ids(uri: str, found: list[Recording]) -> None:
    row_of: dict[str, int] = {}
    for number, recording in enumerate(found, start=1):
        first = row_of.setdefault(recording.recording, number)
        if first != number:
            raise ListingError(
                f"{uri}, row {number}: {recording.recording!r} is the identifier of row {first} too",
                remedy="give each its own in the column 'recording'",
            )


def speaker_from_path(path: str, template: str | None) -> str | None:
    """The speaker that a path names: by the template, else by LibriSpeech's file names; None when it names none."""
    if template is not None:
        pattern = "".join(
            "(?P<speaker>[^/]+)" if part == "{speaker}" else "[^/]+" if part == "*" else re.escape(part)
            for part in re.split(r"(\{speaker\}|\*)", template)
        )
        match = re.fullmatch(pattern, str(PurePosixPath(path).with_suffix("")))
        return match.group("speaker") if match else None
    match = _LIBRISPEECH.fullmatch(PurePosixPath(path).stem)
    return match.group(1) if match else None


def _from_folder(root: Path, config: ListingConfig) -> Iterator[tuple[str, Recording]]:
    if not root.is_dir():
        raise ListingError(f"{root} is neither a folder nor a listing ({', '.join(sorted(LISTING_SUFFIXES))})")

    def reject(error: OSError) -> None:
        raise ListingError(
            f"cannot read the folder {error.filename}: {error.strerror}", remedy="change its mode, or leave it out"
        ) from error

    for folder, _, names in os.walk(root, onerror=reject):
        for name in names:
            path = Path(folder) / name
            if path.suffix.lower() in AUDIO_SUFFIXES:
                relative = path.relative_to(root).as_posix()
                sidecar = path.with_suffix(".json")
                sidecar_fields = _read_sidecar(_sidecar_bytes(sidecar)) if sidecar.is_file() else {}
                yield relative, _make_recording(relative, _printable(str(path)), sidecar_fields, config)


def _from_bucket(uri: str, config: ListingConfig) -> Iterator[tuple[str, Recording]]:
    store = Store(uri)
    paths = [path for path, _ in store.walk()]
    known = set(paths)
    for path in paths:
        if PurePosixPath(path).suffix.lower() in AUDIO_SUFFIXES:
            sidecar = str(PurePosixPath(path).with_suffix(".json"))
            sidecar_fields = _read_sidecar(store.get(sidecar)) if sidecar in known else {}
            yield path, _make_recording(path, store.uri(path), sidecar_fields, config)


def _printable(path: str) -> str:
    """A path as UTF-8 text for a table. A name that is not UTF-8 fails when it is opened, instead of failing the build."""
    return os.fsencode(path).decode("utf-8", "replace")


def _sidecar_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ListingError(
            f"cannot read {path}: {error.strerror}", remedy="change its mode, or take it out of the input"
        ) from error


def _read_sidecar(content: bytes) -> dict[str, Any]:
    """The fields of a LibriLight sidecar; none if it is not JSON, which is no reason to reject the audio."""
    try:
        sidecar = json.loads(content)
    except ValueError:
        return {}
    return _rename_columns(sidecar) if isinstance(sidecar, dict) else {}


def _make_recording(relative: str, uri: str, sidecar: dict[str, Any], config: ListingConfig) -> Recording:
    book = sidecar.get("book_meta")
    book = book if isinstance(book, dict) else {}
    snr = sidecar.get("snr")
    speaker = sidecar.get("speaker")
    return Recording(
        recording=recording_id(relative),
        uri=uri,
        speaker=str(speaker) if speaker is not None else speaker_from_path(relative, config.speaker_path),
        language=_text(sidecar.get("language")) or config.language,
        license=_text(sidecar.get("license")) or config.license,
        consent_basis=_text(sidecar.get("consent_basis")) or config.consent_basis,
        title=_text(book.get("title")),
        source_snr_db=float(snr) if isinstance(snr, int | float) else None,
    ).check()


def _from_listing(uri: str, config: ListingConfig) -> Iterator[Recording]:
    known = {f.name for f in fields(Recording)}
    base = uri.rpartition("/")[0] or "."
    for number, row in enumerate(_listing_rows(uri), start=1):
        if not isinstance(row, dict):
            raise ListingError(f"{uri}, row {number}: {row!r} is not a set of columns and values")
        row = {key: value for key, value in row.items() if value not in (None, "")}
        if twice := [name for name, column in _INPUT_NAMES.items() if name in row and column in row]:
            raise ListingError(
                f"{uri}, row {number}: {twice[0]!r} and {_INPUT_NAMES[twice[0]]!r} name the same column; leave one of them out"
            )
        row = _rename_columns(row)
        if unknown := set(row) - known:
            raise ListingError(f"{uri}, row {number}: unknown columns {sorted(map(str, unknown))}; known are {sorted(known)}")
        if "uri" not in row:
            raise ListingError(f"{uri}, row {number}: the column 'uri' is missing")
        address = str(row.pop("uri"))
        absolute = address if is_bucket(address) or local_path(address).is_absolute() else f"{base}/{address}"
        defaults: dict[str, Any] = {
            "recording": recording_id(PurePosixPath(address.replace("://", "/")).as_posix().lstrip("/")),
            "speaker": speaker_from_path(address, config.speaker_path),
            "language": config.language,
            "license": config.license,
            "consent_basis": config.consent_basis,
        }
        text: dict[str, Any] = {key: value if key == "source_snr_db" else str(value) for key, value in row.items()}
        try:
            if "source_snr_db" in text:
                text["source_snr_db"] = float(text["source_snr_db"])
            yield Recording(uri=absolute, **{**defaults, **text}).check()
        except (SchemaError, ValueError) as error:
            raise ListingError(f"{uri}, row {number}: {error}") from error


def _listing_rows(uri: str) -> Iterator[dict[str, Any]]:
    try:
        yield from read_listing(uri)
    except (OSError, ValueError) as error:
        raise ListingError(f"cannot read the listing {uri}: {error}") from error


def _rename_columns(row: dict[str, Any]) -> dict[str, Any]:
    return {_INPUT_NAMES.get(name, name): value for name, value in row.items()}


def _text(value: Any) -> str | None:
    return str(value) if value not in (None, "") else None
