"""Discover: finds the recordings of a folder, a bucket or a listing, and names each, its speaker and its license.

A folder may have one of the layouts of `layouts.py`, or any other, with a template for the speaker (`{speaker}/*`). A listing
is a table with a column of paths (`voxbeam.storage.listing`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from voxbeam.pipeline.steps.identifiers import recording_id
from voxbeam.pipeline.steps.input_files import BucketFiles, FolderFiles, InputFiles, LeftOut, suffix_kind, unreadable_folder
from voxbeam.pipeline.steps.layouts import Layout, propose_template, require_fitting, speaker_from_path
from voxbeam.schemas.config import ListingConfig
from voxbeam.schemas.errors import ListingError, SchemaError
from voxbeam.schemas.formats import AUDIO_SUFFIXES
from voxbeam.schemas.recording import Recording
from voxbeam.storage.address import resolve_address
from voxbeam.storage.listing import LISTING_SUFFIXES, ListedRow, Listing, is_listing
from voxbeam.storage.store import is_bucket


@dataclass(frozen=True, kw_only=True)
class Discovered:
    """The recordings of an input, in order of identifier, and what the user should know about it."""

    recordings: list[Recording]
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
    """messages: recordings without a speaker, columns that are not used"""


def discover(address: str, config: ListingConfig) -> Discovered:
    """Every recording of the input at a path, relative to the working directory, or at a bucket address.

    Raises ListingError when there is none, or when a listing's row cannot be used, and AddressError for an address that voxbeam
    cannot read.
    """
    uri = resolve_address(address)
    left_out: tuple[LeftOut, ...] = ()
    if is_listing(uri):
        listing = Listing(uri=uri, max_rows=config.max_rows, keep_columns=config.keep_columns)
        recordings = list(_from_listing(listing, config))
        notes = (*_ignored_columns(listing), *_nobody(listing))
    else:
        files: InputFiles = BucketFiles(uri) if is_bucket(uri) else FolderFiles(_folder(uri))
        recordings, notes = _from_files(files, config)
        left_out = files.left_out.by_count()
    if not recordings:
        kinds = ", ".join(f"{kind.count} × {kind.kind}" for kind in left_out[:5])
        raise ListingError(
            f"no recordings in {uri}" + (f"; it has {kinds}" if kinds else ""),
            remedy=f"name a folder with audio files ({', '.join(sorted(AUDIO_SUFFIXES))}), or a listing of them",
        )
    recordings.sort(key=lambda recording: (recording.recording, recording.uri))
    return Discovered(recordings=recordings, left_out=left_out, notes=(*notes, *_without_speaker(recordings)))


def _folder(uri: str) -> Path:
    try:
        if Path(uri).is_dir():
            return Path(uri)
        what = "is neither a folder nor a listing" if Path(uri).exists() else "does not exist"
    except OSError as error:
        raise unreadable_folder(Path(uri), error) from error
    raise ListingError(f"{uri} {what}", remedy=f"name a folder, a bucket, or a listing ({', '.join(sorted(LISTING_SUFFIXES))})")


def _from_files(files: InputFiles, config: ListingConfig) -> tuple[list[Recording], tuple[str, ...]]:
    layout = Layout(files, config.keep_columns, config.max_rows)
    recordings: list[Recording] = []
    paths: list[str] = []
    others: list[str] = []
    for path in files.paths:
        name = PurePosixPath(path).name
        if PurePosixPath(path).suffix.lower() not in AUDIO_SUFFIXES or name.startswith("._"):
            others.append(path)
        elif (columns := layout.columns(path)) is not None:
            paths.append(path)
            recordings.append(_make_recording(path, files.uri(path), columns, config))
    if config.speaker_path is not None and paths:
        require_fitting(config.speaker_path, paths)
    for path in others:
        if path not in layout.used:
            files.left_out.add(suffix_kind(path), path)
    if config.speaker_path is None and not any(recording.speaker for recording in recordings):
        template = propose_template(paths)
        if template is not None:
            example = speaker_from_path(paths[0], template)
            return recordings, (
                f"The folders look like speakers, such as {example}: if they are, set listing.speaker_path: '{template}'",
            )
    return recordings, ()


def _make_recording(path: str, uri: str, columns: dict[str, Any], config: ListingConfig) -> Recording:
    defaults = {"language": config.language, "license": config.license, "consent_basis": config.consent_basis}
    if "recording" not in columns:
        defaults["recording"] = recording_id(path)
    if "speaker" not in columns:
        defaults["speaker"] = speaker_from_path(path, config.speaker_path)
    return Recording(uri=uri, **{**defaults, **columns}).check()


def _from_listing(listing: Listing, config: ListingConfig) -> Iterator[Recording]:
    seen: dict[str, tuple[str, str]] = {}
    for row in listing:
        columns = dict(row.columns)
        if (name := columns.pop("kaldi_id", None)) is not None:
            columns["recording"] = recording_id(f"{name}.flac")
        path = PurePosixPath(row.address.replace("://", "/")).as_posix().lstrip("/")
        try:
            recording = _make_recording(path, row.uri, {**columns, "extra": sorted(row.extra.items()) or None}, config)
        except (SchemaError, ValueError) as error:
            raise ListingError(f"{listing.uri}: {row.place}: {error}") from error
        _reject_duplicate(listing, row, recording, seen)
        yield recording


def _reject_duplicate(listing: Listing, row: ListedRow, recording: Recording, seen: dict[str, tuple[str, str]]) -> None:
    place, uri = seen.setdefault(recording.recording, (row.place, row.uri))
    if place == row.place:
        return
    if uri == row.uri:
        raise ListingError(f"{listing.uri}: {row.place} names the file of {place} again: {row.address!r}", remedy="list it once")
    raise ListingError(
        f"{listing.uri}: {row.place}: {recording.recording!r} is the identifier of {place} too",
        remedy="give each its own in the column 'recording'",
    )


def _ignored_columns(listing: Listing) -> tuple[str, ...]:
    if not listing.ignored:
        return ()
    names = sorted(listing.ignored)
    return (
        f"Columns of the listing that are not used: {', '.join(map(repr, names[:20]))}"
        f"{f' and {len(names) - 20} more' if len(names) > 20 else ''}; listing.keep_columns keeps them",
    )


def _nobody(listing: Listing) -> tuple[str, ...]:
    if not listing.nobody:
        return ()
    names = ", ".join(f"{name!r} in {count} {'row' if count == 1 else 'rows'}" for name, count in listing.nobody.most_common(5))
    return (f"Speakers that count as not known, and not as one person: {names}",)


def _without_speaker(recordings: list[Recording]) -> tuple[str, ...]:
    unnamed = sum(recording.speaker is None for recording in recordings)
    own = sum(recording.speaker == recording.recording for recording in recordings)
    notes = []
    if own:
        notes.append(
            f"{own} of {len(recordings)} recordings have their own identifier as speaker: it counts as no name, so voices that "
            "sound alike may become one person's; list another name where it is one"
        )
    if unnamed:
        notes.append(
            f"{unnamed} of {len(recordings)} recordings name no speaker: every voice in each counts as a speaker of its own, so "
            "one person's recordings may fall into several splits; name speakers by a listing or by listing.speaker_path"
        )
    return tuple(notes)
