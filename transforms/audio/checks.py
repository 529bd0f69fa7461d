"""Checks of audio files: what they must be before and after they are decoded once. Runs inside the sandbox."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from voxbeam.schemas.errors import StageError
from voxbeam.transforms.audio import ffmpeg, libsndfile
from voxbeam.transforms.audio.containers import ogg_is_complete, xing_frames
from voxbeam.transforms.audio.ffmpeg import REENCODE
from voxbeam.transforms.audio.header import lacks_length, stated_bytes, unexplained_bytes
from voxbeam.transforms.audio.movie_edits import pauses_between_edits
from voxbeam.transforms.audio.sparse_file import AudioFile

COPY_AGAIN = "copy it again from its source, or " + REENCODE
_MPEG_FRAME = 1152
_MAX_UNEXPLAINED_BYTES = 1024
_REPLACED = "\N{REPLACEMENT CHARACTER}"
"""what stands in a listing for bytes of a name that are not UTF-8 (pipeline/steps/input_files.py)"""
_BLANK_BYTES = 1 << 18
_MIN_SAMPLE_RATE = 4000
"""Hz; below it there is no speech, and a few bytes state hours"""


@dataclass(frozen=True, kw_only=True)
class AudioInfo:
    """Format and length of a file's audio."""

    format: str
    sample_rate: int
    channels: int
    frames: int
    """samples per channel, at `sample_rate`"""
    decoder: str
    """`libsndfile` or `ffmpeg`, for its windows"""
    channel_policy: str = "mono"
    """how the channels make its sound (channels.py)"""
    channel: int | None = None
    """the only channel that is used, if not all"""

    @property
    def duration_ms(self) -> int:
        return self.frames * 1000 // self.sample_rate


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Which formats and durations are accepted (`DecodeConfig`)."""

    max_sample_rate: int
    max_channels: int
    min_duration_s: float
    max_duration_s: float


def require_bytes(file: AudioFile) -> None:
    """Raises StageError for what is not a regular file, cannot be opened, or is empty.

    Nothing is opened before it is known to be a regular file: opening a FIFO waits for a writer, and a device has no end.
    """
    try:
        if isinstance(file, Path) and not stat.S_ISREG(file.stat().st_mode):
            raise StageError(
                "not_a_file",
                f"{file.name} is a folder, pipe, socket or device",
                "remove it from the input, or save its content as a file",
            )
        with file.open("rb") as content:
            blank = not content.read(_BLANK_BYTES).strip(b"\0")
            size = content.seek(0, os.SEEK_END)
    except OSError as error:
        remedy = (
            "rename it, since its name is not UTF-8" if _REPLACED in str(file) else "check that it exists, and its owner and mode"
        )
        raise StageError("unreadable", f"{file.name} cannot be opened for reading", remedy) from error
    if size == 0:
        raise StageError("empty_file", f"{file.name} has 0 bytes", "copy it again from its source")
    if blank and size >= _BLANK_BYTES:
        raise StageError("not_audio", f"{file.name} begins with zeros only, as a download does that was not finished", COPY_AGAIN)


def require_stated_bytes(file: AudioFile) -> None:
    with file.open("rb") as content:
        size = content.seek(0, os.SEEK_END)
    stated = stated_bytes(file)
    if stated is not None and stated > size + 1:
        raise StageError("truncated", f"the header of {file.name} states {stated} bytes, the file has {size}", COPY_AGAIN)


def require_last_page(file: AudioFile) -> None:
    if not ogg_is_complete(file):
        raise StageError("truncated", f"{file.name} ends before its last Ogg page", COPY_AGAIN)


def require_playable_edits(file: AudioFile) -> None:
    if pauses_between_edits(file):
        raise StageError(
            "edit_list",
            f"{file.name} has an edit list with a pause in it, for which decoders repeat the sound that follows",
            "export it again from the program that made it, with its edits applied",
        )


def require_whole(file: AudioFile, decoded: ffmpeg.Decoded, header: libsndfile.Header | None) -> None:
    """Raises StageError if audio that the header states is missing, or if there is audio that no decoder reads."""
    rate = max(1, decoded.sample_rate)
    found_s = (decoded.frames + decoded.missing) / rate
    stated_s = decoded.stated_s - max(0.5, 0.02 * decoded.stated_s) if decoded.stated_s else 0.0
    if decoded.codec == "flac" and decoded.format == "flac" and header is not None and header.frames is not None:
        stated_s = header.frames / header.sample_rate
    if decoded.format == "mp3" and (frames := xing_frames(file)) is not None:
        stated_s = (frames - 4) * _MPEG_FRAME / 2 / rate if rate < 32_000 else (frames - 4) * _MPEG_FRAME / rate
    damaged_s = min(0.1 * stated_s, float(len(decoded.damaged))) if decoded.damaged else 0.001
    if found_s < stated_s - damaged_s:
        raise StageError("truncated", f"{file.name} states {stated_s:.1f} s and ends at {found_s:.1f} s", COPY_AGAIN)
    if (extra := unexplained_bytes(file)) > _MAX_UNEXPLAINED_BYTES:
        raise StageError(
            "trailing_data",
            f"{file.name} has {extra} bytes after its audio, which look like a second recording",
            "split joined files, or repair the header, e.g. by `ffmpeg -i IN OUT.flac`, and compare the lengths",
        )


def open_length(file: AudioFile) -> StageError:
    return StageError(
        "no_length",
        f"the header of {file.name} states no length; its recorder was probably stopped before it could write it",
        "repair the header, e.g. by `sox --ignore-length IN OUT.flac`",
    )


def within_limits(file: AudioFile, info: AudioInfo, limits: Limits) -> AudioInfo:
    if info.frames == 0 and lacks_length(file):
        raise open_length(file)
    if info.frames == 0 or info.sample_rate == 0 or info.channels == 0:
        raise StageError("no_samples", f"{file.name} has a header but no samples", "copy it again from its source")
    if info.sample_rate > limits.max_sample_rate:
        raise StageError(
            "sample_rate",
            f"{info.sample_rate} Hz exceeds {limits.max_sample_rate} Hz",
            "resample it, or raise decode.max_sample_rate",
        )
    if info.channels > limits.max_channels:
        raise StageError(
            "channels",
            f"{info.channels} channels exceed {limits.max_channels}",
            "mix it to mono or extract the speaker's channel, or raise decode.max_channels",
        )
    seconds = info.frames / info.sample_rate
    if seconds < limits.min_duration_s:
        raise StageError(
            "too_short",
            f"{seconds:.4f} s is shorter than {limits.min_duration_s} s",
            "remove it from the input, or lower decode.min_duration_s",
        )
    if seconds > limits.max_duration_s:
        raise StageError(
            "too_long",
            f"{seconds:.0f} s is longer than {limits.max_duration_s:.0f} s",
            "split the file, or raise decode.max_duration_s",
        )
    if info.sample_rate < _MIN_SAMPLE_RATE:
        raise StageError(
            "sample_rate", f"{info.sample_rate} Hz carries no speech", "check the header, or remove it from the input"
        )
    return info
