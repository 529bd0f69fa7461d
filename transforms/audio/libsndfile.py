"""libsndfile: format and length of a file by its header, and any stretch of it by an exact seek. Runs in the sandbox."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from voxbeam.transforms.audio.sparse_file import AudioFile, opened_for_library

_BLOCK_FRAMES = 1 << 18
_WARM_UP_S = 0.5  # MP3 and Opus decoders need some audio after a seek until their output is right
_LAST_PAGE_S = 10.0  # a seek into the last page of Vorbis, whose end is trimmed, misses by some hundred samples
_UNKNOWN_FRAMES = 1 << 50
"""libsndfile reports an unknown length as about 2^63"""


@dataclass(frozen=True, kw_only=True)
class Header:
    """Format and length by libsndfile, without decoding."""

    format: str
    sample_rate: int
    channels: int
    frames: int | None
    """samples per channel; None if the header does not state it"""
    seekable: bool


def read_header(file: AudioFile) -> Header | None:
    """The header of a file; None for a format that libsndfile cannot read."""
    try:
        with opened_for_library(file) as source:
            info = sf.info(source)
        with opened_for_library(file) as source, sf.SoundFile(source) as sound:
            seekable = sound.seekable()
    except sf.SoundFileError:
        if isinstance(file, Path) or file.complete:
            return None
        file.ensure(0, file.size)  # libsndfile recognizes some formats by their suffix only, and so needs a path
        return read_header(file)
    frames = info.frames if info.frames < _UNKNOWN_FRAMES else None
    return Header(
        format=info.format.lower(), sample_rate=info.samplerate, channels=info.channels, frames=frames, seekable=seekable
    )


def count(file: AudioFile) -> int:
    """Samples per channel that decoding the whole file yields."""
    return sum(block.shape[1] for block in blocks(file, 0, _UNKNOWN_FRAMES))


def blocks(file: AudioFile, start: int, frames: int) -> Iterator[NDArray[np.float32]]:
    """`frames` samples from `start`, float32 [channels, n]; fewer at the end of the file. Raises SoundFileError.

    libsndfile seeks after every read, so each read starts with the warm-up of its block.
    """
    with opened_for_library(file) as source, sf.SoundFile(source) as sound:
        end = start + frames
        while start < end:
            warm = min(start, round(_WARM_UP_S * sound.samplerate))
            if sound.subtype == "VORBIS" and start > (last := sound.frames - round(_LAST_PAGE_S * sound.samplerate)):
                warm = min(start, warm + start - last)
            sound.seek(start - warm)
            block = sound.read(warm + min(_BLOCK_FRAMES, end - start), dtype="float32", always_2d=True)[warm:]
            if len(block) == 0:
                return
            start += len(block)
            yield block.T
