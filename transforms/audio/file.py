"""Audio files: what a file holds, and any stretch of it as mono samples. Runs inside the sandbox.

libsndfile reads WAV, FLAC, OGG/Opus and MP3; FFmpeg (PyAV) reads what it cannot: M4A/AAC.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from voxbeam.schemas.errors import StageError
from voxbeam.transforms.audio.sparse_file import AudioFile

_BLOCK_FRAMES = 1 << 18
_LONGEST_OGG_PAGE = 27 + 255 + 255 * 255
_WARM_UP_S = 0.5  # MP3 and Opus need some sound before they are right again after a seek
_FFMPEG_SUFFIXES = frozenset({".m4a"})
_REENCODE = "re-encode the recording, e.g. `ffmpeg -i IN OUT.flac`, or take it out of the input"


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a file's audio looks like."""

    format: str
    sample_rate: int
    channels: int
    frames: int

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


def probe_file(file: AudioFile, limits: Limits) -> Shape:
    """The shape of a file. Raises StageError for one that is empty, unreadable, or outside the limits."""
    try:
        with file.open("rb") as content:
            size = content.seek(0, os.SEEK_END)
    except OSError as error:
        raise StageError(
            "unreadable", f"{file.name} cannot be opened for reading", "check that it exists, and its owner and mode"
        ) from error
    if size == 0:
        raise StageError("empty_file", f"{file.name} has 0 bytes", "copy it again from its source")
    shape = _ffmpeg_shape(file) if file.suffix.lower() in _FFMPEG_SUFFIXES else _soundfile_shape(file)
    if shape.frames == 0:
        raise StageError("no_samples", f"{file.name} has a header but no samples", "copy it again from its source")
    if shape.sample_rate > limits.max_sample_rate:
        raise StageError(
            "sample_rate",
            f"{shape.sample_rate} Hz exceeds {limits.max_sample_rate} Hz",
            "resample it, or raise decode.max_sample_rate",
        )
    if shape.channels > limits.max_channels:
        raise StageError(
            "channels",
            f"{shape.channels} channels exceed {limits.max_channels}",
            "mix down or pick the channel of the speaker, or raise decode.max_channels",
        )
    seconds = shape.frames / shape.sample_rate
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
            "check the header, split the file, or raise decode.max_duration_s",
        )
    return shape


def read_mono(file: AudioFile, shape: Shape, start: int, frames: int) -> NDArray[np.float32]:
    """`frames` samples from `start` at the file's own rate, channels averaged: float32 [frames].

    Raises StageError when the file ends before its header says, or holds NaN or infinity.
    """
    mono = np.empty(frames, dtype=np.float32)
    blocks = _ffmpeg_blocks(file, start) if file.suffix.lower() in _FFMPEG_SUFFIXES else _soundfile_blocks(file, start, frames)
    filled = 0
    try:
        for block in blocks:
            take = min(len(block), frames - filled)
            mono[filled : filled + take] = block[:take]
            filled += take
            if filled == frames:
                break
    except (sf.SoundFileError, av.FFmpegError) as error:
        raise StageError(
            "corrupt", f"{file.name} breaks off near {(start + filled) / shape.sample_rate:.1f} s: {_said(error)}", _REENCODE
        ) from error
    if filled < frames:
        raise StageError(
            "truncated",
            f"{file.name} promises {shape.frames / shape.sample_rate:.1f} s and ends at "
            f"{(start + filled) / shape.sample_rate:.1f} s",
            "copy it again from its source, or " + _REENCODE,
        )
    if not np.isfinite(mono).all():
        raise StageError("non_finite", f"{file.name} holds NaN or infinite samples", "export it again as integer PCM or FLAC")
    return mono


@contextmanager
def _opened(file: AudioFile) -> Iterator[str | BinaryIO]:
    """What a library reads: it opens a local file itself, and one that is filled while it is read through Python."""
    if isinstance(file, Path):
        yield str(file)
    elif file.whole:
        yield str(file.path)
    else:
        with file.open("rb") as content:
            yield content


def _said(error: Exception) -> str:
    """What a library says of a failure, without the path: it may be a worker's own, and messages go into releases."""
    return str(getattr(error, "error_string", None) or getattr(error, "strerror", None) or error)


def _soundfile_shape(file: AudioFile) -> Shape:
    try:
        info = _soundfile_info(file)
    except sf.SoundFileError as error:
        raise StageError("not_audio", f"{file.name} is not audio that libsndfile reads: {_said(error)}", _REENCODE) from error
    _refuse_short_riff(file)
    _refuse_short_ogg(file)
    return Shape(format=info.format.lower(), sample_rate=info.samplerate, channels=info.channels, frames=info.frames)


def _soundfile_info(file: AudioFile) -> Any:
    with _opened(file) as source:
        try:
            return sf.info(source)
        except sf.SoundFileError:
            if isinstance(file, Path) or isinstance(source, str):
                raise
    file.bring(0, file.size)  # what it does not know by its bytes, the library judges by its suffix, for which it needs the path
    return _soundfile_info(file)


def _refuse_short_riff(file: AudioFile) -> None:
    """libsndfile takes a WAV that was cut off for a shorter one; its RIFF header still knows the true size."""
    with file.open("rb") as content:
        header = content.read(12)
        size = content.seek(0, os.SEEK_END)
    promised = int.from_bytes(header[4:8], "little") + 8
    streamed = promised >= 0xFFFFFFF0  # written by a recorder that did not know the length
    if header[:4] == b"RIFF" and not streamed and promised > size + 1:
        raise StageError(
            "truncated",
            f"{file.name} promises {promised} bytes and has {size}",
            "copy it again from its source, or " + _REENCODE,
        )


def _refuse_short_ogg(file: AudioFile) -> None:
    """libsndfile takes an OGG that was cut off for a shorter one; only its true last page says that it is the last."""
    with file.open("rb") as content:
        if content.read(4) != b"OggS":
            return
        size = content.seek(0, os.SEEK_END)
        content.seek(max(0, size - _LONGEST_OGG_PAGE))
        tail = content.read()
    page = tail[tail.rfind(b"OggS") :]
    lacing = page[27 : 27 + page[26]] if len(page) > 26 else b""
    if len(page) <= 26 or not page[5] & 4 or len(page) < 27 + page[26] + sum(lacing):
        raise StageError(
            "truncated",
            f"{file.name} breaks off before its last page",
            "copy it again from its source, or " + _REENCODE,
        )


def _soundfile_blocks(file: AudioFile, start: int, frames: int) -> Iterator[NDArray[np.float32]]:
    """Every read of the library ends with a seek, so every block brings its own warm-up, in the same read."""
    with _opened(file) as source, sf.SoundFile(source) as sound:
        end = start + frames
        while start < end:
            warm = min(start, round(_WARM_UP_S * sound.samplerate))
            sound.seek(start - warm)
            block = sound.read(warm + min(_BLOCK_FRAMES, end - start), dtype="float32", always_2d=True)[warm:]
            if len(block) == 0:
                return
            start += len(block)
            yield block.mean(axis=1)


def _ffmpeg_shape(file: AudioFile) -> Shape:
    """AAC says its length only roughly, so its samples are counted by decoding once."""
    try:
        with _opened(file) as source, av.open(source) as container:
            if not container.streams.audio:
                raise StageError("not_audio", f"{file.name} has no audio stream", _REENCODE)
            stream = container.streams.audio[0]
            frames = sum(frame.samples for frame in container.decode(stream))
            return Shape(format=container.format.name, sample_rate=stream.rate, channels=stream.channels, frames=frames)
    except av.FFmpegError as error:
        raise StageError("not_audio", f"{file.name} is not audio that FFmpeg reads: {_said(error)}", _REENCODE) from error


def _ffmpeg_blocks(file: AudioFile, start: int) -> Iterator[NDArray[np.float32]]:
    """Decodes from the beginning and skips: seeking in AAC is not exact, and windows must be."""
    position = 0
    with _opened(file) as source, av.open(source) as container:
        to_float = av.AudioResampler(format="fltp")
        for frame in container.decode(container.streams.audio[0]):
            for planar in to_float.resample(frame):
                block = planar.to_ndarray().astype(np.float32).mean(axis=0)
                skip = max(0, start - position)
                position += len(block)
                if skip < len(block):
                    yield block[skip:]
