"""A recording as it is in its file: its rate, channels and sample format, so that what is not changed stays bit for bit.

Shapes: S samples at the file's rate, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray

from voxbeam.schemas.errors import SynthesisError
from voxbeam.schemas.formats import CODEC_RATE
from voxbeam.transforms.audio.channels import ChannelMeter

_TYPES = {"PCM_S8": "int16", "PCM_U8": "int16", "PCM_16": "int16", "PCM_24": "int32", "PCM_32": "int32", "DOUBLE": "float64"}
"""numpy types that hold a sample format exactly; others are decoded to float32, which holds 24 bits"""
FADE_S = 0.01


@dataclass(frozen=True)
class Recording:
    """A decoded audio file."""

    samples_SC: NDArray[Any]
    rate: int
    """Hz"""
    subtype: str
    """sample format, as libsndfile names it"""

    @classmethod
    def read(cls, source: Path | str | BinaryIO, seconds: float | None = None) -> Self:
        """The whole file, or its first `seconds`. Raises SynthesisError for one that cannot be read, or has NaN or infinity."""
        try:
            with sf.SoundFile(source) as file:
                frames = -1 if seconds is None else round(seconds * file.samplerate)
                samples_SC = file.read(frames, dtype=_TYPES.get(file.subtype, "float32"), always_2d=True)
                recording = cls(samples_SC, file.samplerate, file.subtype)
        except (OSError, sf.LibsndfileError) as error:
            raise _unreadable(source, error) from error
        if not np.isfinite(recording.samples_SC).all():
            name = f" {source}" if isinstance(source, Path | str) else ""
            raise SynthesisError(
                f"the sound{name} contains NaN or infinite samples", remedy="export it again as integer PCM or FLAC"
            )
        return recording

    @cached_property
    def wave_S(self) -> NDArray[np.float32]:
        """Mono at 24 kHz, as models hear it: of two channels, those that a corpus would use (transforms/audio/channels.py)."""
        scale = 1.0 if self.samples_SC.dtype.kind == "f" else 1.0 / -float(np.iinfo(self.samples_SC.dtype).min)
        only = self._channel()
        mono_S = self.samples_SC.mean(axis=1) if only is None else self.samples_SC[:, only]
        mono = (mono_S * scale).astype(np.float32)
        return np.ascontiguousarray(soxr.resample(mono, self.rate, CODEC_RATE), dtype=np.float32)

    def _channel(self) -> int | None:
        """The only one of two channels that is heard, where their mean would cancel, echo or halve the voice; else None."""
        if self.samples_SC.shape[1] != 2:
            return None
        meter = ChannelMeter(self.rate)
        for start in range(0, len(self.samples_SC), self.rate):
            meter.add(self.samples_SC[start : start + self.rate].T)
        return meter.policy().channel

    def write(self, path: Path) -> None:
        """Writes it in its own sample format, or in the nearest that the format of the new file has."""
        format = {"AIF": "AIFF"}.get(kind := path.suffix.lstrip(".").upper(), kind)
        subtype = self.subtype if sf.check_format(format, self.subtype) else "FLOAT" if format == "WAV" else None
        sf.write(path, self.samples_SC, self.rate, subtype=subtype, format=format)

    def splice(self, new_S: NDArray[np.float32], start_s: float, end_s: float) -> Self:
        """The recording with the time from `start_s` to `end_s` replaced by a waveform at 24 kHz, in all channels.

        Before and after that time every sample is kept. At the edges the old sound fades into the new one, for `FADE_S` of the
        new part.
        """
        S = len(self.samples_SC)
        start, end = min(S, round(start_s * self.rate)), min(S, round(end_s * self.rate))
        new = soxr.resample(new_S, CODEC_RATE, self.rate) if len(new_S) else new_S
        new_SC = np.repeat(self._as_stored(new)[:, None], self.samples_SC.shape[1], axis=1)
        fade = min(round(FADE_S * self.rate), len(new_SC) // 2, end - start)
        if fade > 0:
            rising = np.linspace(0, 1, fade)[:, None]
            head, tail = self.samples_SC[start : start + fade], self.samples_SC[end - fade : end]
            new_SC[:fade] = self._rounded(new_SC[:fade] * rising + head * (1 - rising))
            new_SC[-fade:] = self._rounded(new_SC[-fade:] * (1 - rising) + tail * rising)
        return replace(self, samples_SC=np.concatenate([self.samples_SC[:start], new_SC, self.samples_SC[end:]]))

    def _as_stored(self, wave: NDArray[np.float32]) -> NDArray[Any]:
        kind = self.samples_SC.dtype
        if kind.kind == "f":
            return wave.astype(kind)
        limits = np.iinfo(kind)
        return np.clip(np.round(wave.astype(np.float64) * -float(limits.min)), limits.min, limits.max).astype(kind)

    def _rounded(self, values: NDArray[Any]) -> NDArray[Any]:
        kind = self.samples_SC.dtype
        return values.astype(kind) if kind.kind == "f" else np.round(values).astype(kind)


def _unreadable(source: Path | str | BinaryIO, error: Exception) -> SynthesisError:
    """The error of an audio file that cannot be read."""
    path = source if isinstance(source, Path | str) else "the sound"
    if isinstance(source, Path | str) and not Path(source).exists():
        return SynthesisError(f"there is no file {path}", remedy="check its name and its folder")
    if Path(path).suffix.lower() in (".m4a", ".mp4", ".aac", ".webm", ".wma"):
        wav = Path(path).with_suffix(".wav").name
        return SynthesisError(
            f"{path} is in a format that is not read here", remedy=f"convert it first: ffmpeg -i {Path(path).name} {wav}"
        )
    return SynthesisError(f"cannot read {path} ({error})", remedy="name an audio file: .wav, .flac, .ogg or .mp3")
