"""Audio files: how long a file truly is, and any stretch of it as samples. Runs inside the sandbox.

A header is only an estimate: MP3s without an index, joined files, streams from a pipe and wrong counts make it state too much or
too little. So FFmpeg decodes every file once, from beginning to end, and the length is what that yields. Where libsndfile states
the same length it reads the windows, because its seeks are exact; else FFmpeg decodes them from the beginning.
"""

import os
from dataclasses import dataclass

import av
import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from voxbeam.schemas.errors import StageError
from voxbeam.transforms.audio import ffmpeg, libsndfile
from voxbeam.transforms.audio.containers import ogg_codecs, ogg_is_complete, xing_frames
from voxbeam.transforms.audio.ffmpeg import REENCODE, describe
from voxbeam.transforms.audio.header import lacks_length, stated_bytes, unexplained_bytes
from voxbeam.transforms.audio.sparse_file import AudioFile

LIBSNDFILE, FFMPEG = "libsndfile", "ffmpeg"
_COPY_AGAIN = "copy it again from its source, or " + REENCODE
_LOSSY_TOLERANCE_S = 0.05
_LOSSY = ("vorbis", "opus")
_MPEG_FRAME = 1152
_MAX_UNEXPLAINED_BYTES = 1024


@dataclass(frozen=True, kw_only=True)
class AudioInfo:
    """What a file's audio looks like."""

    format: str
    sample_rate: int
    channels: int
    frames: int
    """samples per channel, at `sample_rate`"""
    decoder: str
    """`libsndfile` or `ffmpeg`: which one reads its windows"""

    @property
    def duration_ms(self) -> int:
        return self.frames * 1000 // self.sample_rate


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a recording may look like (`DecodeConfig`)."""

    max_sample_rate: int
    max_channels: int
    min_duration_s: float
    max_duration_s: float


def probe_file(file: AudioFile, limits: Limits) -> AudioInfo:
    """Decodes a file once and describes it. Raises StageError for one that is unreadable, cut off, or outside the limits."""
    require_bytes(file)
    _require_stated_bytes(file)
    _require_one_codec(file)
    header = libsndfile.read_header(file)
    try:
        decoded = ffmpeg.count(file, limits.max_duration_s)
    except StageError as error:
        if lacks_length(file):
            raise _open_length(file) from error
        if header is None or error.reason != "not_audio":
            raise
        info = _counted_by_libsndfile(file, header, limits)
    else:
        _require_whole(file, decoded, header)
        info = _choose_decoder(file, decoded, header)
    return _within_limits(file, info, limits)


def estimate_file(file: AudioFile, limits: Limits) -> AudioInfo:
    """The same by the header alone, for a plan: quick, and wrong where the header is."""
    require_bytes(file)
    _require_stated_bytes(file)
    header = libsndfile.read_header(file)
    if header is not None and header.frames is not None:
        info = AudioInfo(
            format=header.format,
            sample_rate=header.sample_rate,
            channels=header.channels,
            frames=header.frames,
            decoder=LIBSNDFILE,
        )
    else:
        name, rate, channels, seconds = ffmpeg.read_header(file)
        info = AudioInfo(format=name, sample_rate=rate, channels=channels, frames=round(seconds * rate), decoder=FFMPEG)
    return _within_limits(file, info, limits)


def read_channels(file: AudioFile, info: AudioInfo, start: int, frames: int) -> NDArray[np.float32]:
    """`frames` samples from `start` at the file's own rate: float32 [channels, frames].

    Raises StageError, naming the place to a second, when the stretch cannot be decoded or holds NaN or infinity.
    """
    sound = np.empty((info.channels, frames), dtype=np.float32)
    filled = 0
    blocks = (
        ffmpeg.blocks(file, info.sample_rate, info.channels, start)
        if info.decoder == FFMPEG
        else libsndfile.blocks(file, start, frames)
    )
    try:
        for block in blocks:
            take = min(block.shape[1], frames - filled)
            sound[:, filled : filled + take] = block[:, :take]
            filled += take
            if filled == frames:
                break
    except (sf.SoundFileError, av.FFmpegError) as error:
        place = (start + filled) / info.sample_rate
        raise StageError("corrupt", f"{file.name} cannot be decoded near {place:.0f} s: {describe(error)}", REENCODE) from error
    if filled < frames:
        place = (start + filled) / info.sample_rate
        raise StageError("corrupt", f"{file.name} cannot be decoded near {place:.0f} s: samples are missing", REENCODE)
    if not np.isfinite(sound).all():
        place = (start + int(np.flatnonzero(~np.isfinite(sound).all(axis=0))[0])) / info.sample_rate
        raise StageError(
            "non_finite",
            f"{file.name} holds NaN or infinite samples near {place:.0f} s",
            "export it again as integer PCM or FLAC",
        )
    return sound


def read_mono(file: AudioFile, info: AudioInfo, start: int, frames: int) -> NDArray[np.float32]:
    """The same with channels averaged: float32 [frames]."""
    return read_channels(file, info, start, frames).mean(axis=0)


def require_bytes(file: AudioFile) -> None:
    """Raises StageError for a file that cannot be opened or is empty."""
    try:
        with file.open("rb") as content:
            size = content.seek(0, os.SEEK_END)
    except OSError as error:
        raise StageError(
            "unreadable", f"{file.name} cannot be opened for reading", "check that it exists, and its owner and mode"
        ) from error
    if size == 0:
        raise StageError("empty_file", f"{file.name} has 0 bytes", "copy it again from its source")


def _require_stated_bytes(file: AudioFile) -> None:
    with file.open("rb") as content:
        size = content.seek(0, os.SEEK_END)
    stated = stated_bytes(file)
    if stated is not None and stated > size + 1:
        raise StageError("truncated", f"the header of {file.name} states {stated} bytes, the file has {size}", _COPY_AGAIN)


def _require_one_codec(file: AudioFile) -> None:
    codecs = ogg_codecs(file)
    if len(set(codecs)) > 1:
        raise StageError("format_change", f"{file.name} changes from {codecs[0]} to {codecs[-1]} midway", REENCODE)


def _require_whole(file: AudioFile, decoded: ffmpeg.Decoded, header: libsndfile.Header | None) -> None:
    """Raises StageError for a file that lacks sound which its header states, and for one with sound that no decoder reaches."""
    if not ogg_is_complete(file):
        raise StageError("truncated", f"{file.name} ends before its last Ogg page", _COPY_AGAIN)
    rate = max(1, decoded.sample_rate)
    found_s = (decoded.frames + decoded.missing) / rate
    stated_s = decoded.stated_s - max(0.5, 0.02 * decoded.stated_s) if decoded.stated_s else 0.0
    if decoded.codec == "flac" and decoded.format == "flac" and header is not None and header.frames is not None:
        stated_s = header.frames / header.sample_rate
    if decoded.format == "mp3" and (frames := xing_frames(file)) is not None:
        stated_s = (frames - 4) * _MPEG_FRAME / 2 / rate if rate < 32_000 else (frames - 4) * _MPEG_FRAME / rate
    damaged_s = min(0.1 * stated_s, float(len(decoded.damaged))) if decoded.damaged else 0.001
    if found_s < stated_s - damaged_s:
        raise StageError("truncated", f"{file.name} states {stated_s:.1f} s and ends at {found_s:.1f} s", _COPY_AGAIN)
    if (extra := unexplained_bytes(file)) > _MAX_UNEXPLAINED_BYTES:
        raise StageError(
            "trailing_data",
            f"{file.name} has {extra} bytes behind its sound, which look like a second recording",
            "split joined files, or repair the header, e.g. by `ffmpeg -i IN OUT.flac`, and compare the lengths",
        )


def _choose_decoder(file: AudioFile, decoded: ffmpeg.Decoded, header: libsndfile.Header | None) -> AudioInfo:
    """libsndfile where both agree, or where it decodes all of a longer length that it states; else FFmpeg."""
    if header is not None and header.frames is not None and header.seekable and not decoded.mixed:
        conceals = bool(decoded.damaged) and decoded.codec != "flac"  # of its decoders, only FLAC's reports a damaged frame
        if not conceals and (_same_length(file, decoded, header) or _is_longer(file, decoded, header)):
            return AudioInfo(
                format=header.format,
                sample_rate=header.sample_rate,
                channels=header.channels,
                frames=header.frames,
                decoder=LIBSNDFILE,
            )
    return AudioInfo(
        format=decoded.format,
        sample_rate=decoded.sample_rate,
        channels=decoded.channels,
        frames=decoded.frames,
        decoder=FFMPEG,
    )


def _same_length(file: AudioFile, decoded: ffmpeg.Decoded, header: libsndfile.Header) -> bool:
    if header.frames is None or not decoded.sample_rate or header.channels != decoded.channels:
        return False
    differs_s = abs(header.frames / header.sample_rate - (decoded.frames + decoded.missing) / decoded.sample_rate)
    counted = decoded.codec.startswith("mp3") and xing_frames(file) is not None  # without an index, libsndfile estimates
    return differs_s <= (_LOSSY_TOLERANCE_S if counted or decoded.codec.startswith(_LOSSY) else 0)


def _is_longer(file: AudioFile, decoded: ffmpeg.Decoded, header: libsndfile.Header) -> bool:
    if header.frames is None or header.channels != decoded.channels or header.sample_rate != decoded.sample_rate:
        return False
    if header.frames <= decoded.frames + decoded.missing:
        return False
    try:
        return libsndfile.count(file) == header.frames
    except sf.SoundFileError:
        return False


def _counted_by_libsndfile(file: AudioFile, header: libsndfile.Header, limits: Limits) -> AudioInfo:
    """For formats that FFmpeg does not read."""
    if header.frames is None or header.frames > limits.max_duration_s * header.sample_rate:
        frames = header.frames or 0
    else:
        try:
            frames = libsndfile.count(file)
        except sf.SoundFileError as error:
            raise StageError("corrupt", f"{file.name} cannot be decoded: {describe(error)}", REENCODE) from error
        if frames < header.frames:
            text = f"{file.name} states {header.frames} samples and ends after {frames}"
            raise StageError("truncated", text, _COPY_AGAIN)
    return AudioInfo(
        format=header.format, sample_rate=header.sample_rate, channels=header.channels, frames=frames, decoder=LIBSNDFILE
    )


def _open_length(file: AudioFile) -> StageError:
    return StageError(
        "no_length",
        f"the header of {file.name} leaves its length open, as that of a recorder which was stopped before it could state it",
        "repair the header, e.g. by `sox --ignore-length IN OUT.flac`",
    )


def _within_limits(file: AudioFile, info: AudioInfo, limits: Limits) -> AudioInfo:
    if info.frames == 0 and lacks_length(file):
        raise _open_length(file)
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
            "mix down or pick the channel of the speaker, or raise decode.max_channels",
        )
    seconds = info.frames / info.sample_rate
    if seconds < limits.min_duration_s:
        raise StageError(
            "too_short",
            f"{seconds:.4f} s is shorter than {limits.min_duration_s} s",
            "take it out of the input, or lower decode.min_duration_s",
        )
    if seconds > limits.max_duration_s:
        raise StageError(
            "too_long",
            f"{seconds:.0f} s is longer than {limits.max_duration_s:.0f} s",
            "split the file, or raise decode.max_duration_s",
        )
    return info
