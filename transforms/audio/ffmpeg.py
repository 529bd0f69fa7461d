"""FFmpeg (PyAV): counts and decodes the samples of any container that it reads. Runs in the sandbox.

Only demuxers of audio containers may open a file, and only that file. Playlists and other formats that name further files or
addresses are rejected, whatever their suffix.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from voxbeam.schemas.errors import StageError
from voxbeam.transforms.audio.channels import MEAN, MONO, ChannelMeter, Policy
from voxbeam.transforms.audio.containers import ogg_links
from voxbeam.transforms.audio.file_clock import FileClock
from voxbeam.transforms.audio.sparse_file import AudioFile, opened_for_library, opened_part

_DEMUXERS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dts,eac3,flac,flv,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mp3,mpc,mpc8,mpeg,mpegts,"
    "nistsphere,ogg,rm,tta,voc,w64,wav,wv"
)
_OPTIONS = {"format_whitelist": _DEMUXERS, "protocol_whitelist": "file", "enable_drefs": "0"}
_CHECKED = {"flac": {"err_detect": "crccheck+explode"}}
"""a FLAC frame with a wrong checksum is an error; by default FFmpeg decodes it to noise"""
_STATES_ITS_DURATION = ("mov", "matroska", "asf", "avi", "flv", "ape", "tta", "wv")
_COUNTS_FROM_ZERO = ("matroska", "asf")
"""containers whose duration has the time before their first packet, too"""
_MAX_ERRORS = 1000
_MAX_FLAC_GAP = 1 << 22
_TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICSBEGIN")
"""where files were joined, their tags lie between the frames"""
REENCODE = "re-encode the recording, e.g. `ffmpeg -i IN OUT.flac`, or remove it from the input"


@dataclass(frozen=True)
class Damage:
    """A place that cannot be decoded."""

    seconds: float
    missing: int = 0
    """samples that are known to be missing there"""


@dataclass(kw_only=True)
class Decoded:
    """Result of decoding a file from beginning to end."""

    format: str
    codec: str
    sample_rate: int
    channels: int
    frames: int
    """samples per channel, at `sample_rate`"""
    stated_s: float | None
    """duration by the container's header, for formats whose headers are reliable"""
    mixed: bool
    """whether the sample rate or the number of channels changes within the file"""
    damaged: list[Damage] = field(default_factory=list)
    """with sound behind them"""
    missing: int = 0
    """samples of the damaged packets of a FLAC file"""
    gaps: bool = False
    """whether silence stands for times that the container leaves out"""
    policy: Policy = Policy(MONO)


def describe(error: Exception) -> str:
    """A library's error message without the path, which may be temporary; messages are stored in releases."""
    return str(getattr(error, "error_string", None) or getattr(error, "strerror", None) or error)


def count(file: AudioFile, max_s: float) -> Decoded:
    """Decodes a whole file and counts its samples; stops beyond `max_s`. Raises StageError if the file is not audio."""
    with opened(file) as (container, stream):
        name, codec = container.format.name, stream.codec_context.name
        stated = stream.rate or 0, stream.codec_context.channels or 0
        stated_s = stated_seconds(container, stream)
    rate = channels = frames = missing = 0
    mixed = False
    damaged: list[Damage] = []
    errors: list[Damage] = []
    gaps: list[float] = []
    meter: ChannelMeter | None = None
    for frame in _frames(file, errors, gaps):
        rate, channels = rate or frame.sample_rate, channels or frame.layout.nb_channels
        mixed |= (frame.sample_rate, frame.layout.nb_channels) != (rate, channels)
        damaged += errors  # an error after the last frame is no damage: there are tags and padding
        missing += sum(damage.missing for damage in errors)
        errors.clear()
        frames += frame.samples if frame.sample_rate == rate else round(frame.samples * rate / frame.sample_rate)
        if channels == 2 and not mixed:
            meter = meter or ChannelMeter(rate)
            meter.add(_by_channel(frame))
        if frames > max_s * rate:
            break
    decoded = Decoded(
        format=name.split(",")[0],
        codec=codec,
        sample_rate=rate or stated[0],
        channels=channels or stated[1],
        frames=frames,
        stated_s=stated_s,
        mixed=mixed,
        damaged=damaged,
        missing=missing,
        gaps=bool(gaps),
        policy=meter.policy() if meter and not mixed else Policy(MONO if channels == 1 else MEAN),
    )
    if mixed:  # how many samples remain after a change of rate depends on the resampler
        decoded.frames = sum(block.shape[1] for block in blocks(file, decoded.sample_rate, decoded.channels, 0))
    return decoded


def stated_seconds(container: Any, stream: Any) -> float | None:
    """Length of the audio by a header that is reliable; None without one, and where it is that of longer pictures."""
    if not container.format.name.startswith(_STATES_ITS_DURATION):
        return None
    if container.format.name.startswith("mov") and stream.duration:
        return float(stream.duration * stream.time_base)
    if not container.duration or len(container.streams) > 1:
        return None
    begin = container.start_time if container.format.name.startswith(_COUNTS_FROM_ZERO) else 0
    return float(container.duration - (begin or 0)) / av.time_base


def blocks(file: AudioFile, rate: int, channels: int, start: int) -> Iterator[NDArray[np.float32]]:
    """Sound from sample `start` on, float32 [channels, n], at one rate throughout. Raises StageError at a damaged place.

    Decodes from the beginning and skips: seeking in lossy formats is not exact, and windows must be.
    """
    position = 0
    errors: list[Damage] = []
    for block in _converted(_frames(file, errors), rate, channels):
        skip = max(0, start - position)
        position += block.shape[1]
        if skip < block.shape[1]:
            if errors:
                place = (position - block.shape[1]) / rate
                raise StageError("corrupt", f"{file.name} cannot be decoded near {place:.0f} s", REENCODE)
            yield block[:, skip:]
        errors.clear()


def _converted(frames: Iterator[Any], rate: int, channels: int) -> Iterator[NDArray[np.float32]]:
    """Frames as float32 [channels, n], resampled to `rate`. Each format gets a resampler of its own."""
    shape: tuple[int, int, str] | None = None
    resampler: Any = None
    for frame in frames:
        if (frame.sample_rate, frame.layout.nb_channels, frame.format.name) != shape:
            if resampler is not None:
                yield from (_planar(out, channels) for out in resampler.resample(None))
            shape = frame.sample_rate, frame.layout.nb_channels, frame.format.name
            resampler = av.AudioResampler(format="fltp", rate=rate)
        frame.pts = None  # `_frames_of` has filled the gaps between time stamps; the rest is rounding
        yield from (_planar(out, channels) for out in resampler.resample(frame))
    if resampler is not None:
        yield from (_planar(out, channels) for out in resampler.resample(None))


def _by_channel(frame: Any) -> NDArray[np.generic]:
    samples = frame.to_ndarray()
    return samples if frame.format.is_planar else samples.reshape(-1, frame.layout.nb_channels).T


def _planar(frame: Any, channels: int) -> NDArray[np.float32]:
    sound = frame.to_ndarray().astype(np.float32, copy=False)
    return sound if len(sound) == channels else np.broadcast_to(sound.mean(axis=0), (channels, sound.shape[1]))


def _frames(file: AudioFile, errors: list[Damage], gaps: list[float] | None = None) -> Iterator[Any]:
    """Every frame that can be decoded, and silence for gaps, whose seconds go into `gaps`; places that cannot be decoded go
    into `errors`. Raises StageError where reading cannot go on.

    Each link of a chained Ogg file is read as a file of its own: FFmpeg does not follow a change of rate, channels or codec.
    """
    links = ogg_links(file)
    begin_s = 0.0
    for link in links if len(links) > 1 else [None]:
        try:
            with opened(file, link) as (container, stream):
                for frame in _frames_of(file, container, stream, begin_s, errors, gaps):
                    yield frame
                    begin_s += frame.samples / frame.sample_rate
        except StageError as error:
            if link is None or link == links[0]:
                raise
            text = f"the part of {file.name} that begins at {begin_s:.0f} s cannot be read: {error.message}"
            raise StageError("corrupt", text, REENCODE) from error


def _frames_of(
    file: AudioFile, container: Any, stream: Any, begin_s: float, errors: list[Damage], gaps: list[float] | None
) -> Iterator[Any]:
    """The same for an open container that begins at `begin_s`."""
    stream.codec_context.options = _CHECKED.get(stream.codec_context.name, {})
    counts_samples = container.format.name == "flac"
    clock = FileClock(container.format.name)
    seconds, expected, damages, rate = begin_s, 0, 0, 0
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.EOFError):
            return
        except av.error.PatchWelcomeError:
            raise
        except av.FFmpegError as error:
            text = f"{file.name} cannot be read beyond {seconds:.0f} s: {describe(error)}"
            raise StageError("corrupt", text, REENCODE) from error
        if packet.pts is not None:
            seconds = begin_s + float((packet.pts - (stream.start_time or 0)) * packet.time_base)
        try:
            decoded = packet.decode()
        except av.FFmpegError as error:
            if isinstance(error, av.error.PatchWelcomeError):
                raise
            if not bytes(packet)[:16].startswith(_TAGS):
                errors.append(Damage(seconds))
                damages += 1
            if damages > _MAX_ERRORS:
                return
            continue
        for frame in decoded:
            rate = rate or frame.sample_rate
            counts_samples &= frame.sample_rate == rate  # behind a change of rate, FFmpeg counts in the first one's time
            if counts_samples and frame.pts is not None:
                gap = frame.pts - expected
                if 0 < gap <= _MAX_FLAC_GAP:  # the parser drops a damaged frame without an error
                    errors.append(Damage(expected / frame.sample_rate, gap))
                expected = frame.pts
            expected += frame.samples
            start = None if frame.pts is None else float(frame.pts * frame.time_base)
            if gap_s := clock.gap(start, frame.samples / frame.sample_rate):
                if gaps is not None:
                    gaps.append(gap_s)
                yield from _silence(frame, gap_s)
            yield frame


def _silence(like: Any, seconds: float) -> Iterator[Any]:
    """Frames without sound, of the format of another one."""
    left = round(seconds * like.sample_rate)
    while left > 0:
        frame = av.AudioFrame(format=like.format.name, layout=like.layout.name, samples=min(left, like.sample_rate))
        frame.sample_rate = like.sample_rate
        for plane in frame.planes:
            plane.update((b"\x80" if like.format.name.startswith("u8") else b"\0") * plane.buffer_size)
        left -= frame.samples
        yield frame


@contextmanager
def opened(file: AudioFile, part: tuple[int, int] | None = None) -> Iterator[tuple[Any, Any]]:
    """(container, its first audio stream) of a file, or of the bytes (start, end) of it."""
    opened = opened_part(file, *part) if part else opened_for_library(file)
    try:
        with opened as source, av.open(source, options=dict(_OPTIONS), metadata_errors="replace") as container:
            if not container.streams.audio:
                raise StageError("not_audio", f"{file.name} has no audio stream", REENCODE)
            if container.streams.audio[0].codec_context is None:
                raise StageError("not_audio", f"{file.name} has a codec that FFmpeg does not know", REENCODE)
            if len(container.streams.audio) > 1:
                raise StageError(
                    "several_streams",
                    f"{file.name} has {len(container.streams.audio)} audio streams, and only one would be read",
                    "extract each into its own file, e.g. `ffmpeg -i IN -map 0:a:1 OUT.flac`",
                )
            yield container, container.streams.audio[0]
    except av.error.PatchWelcomeError as error:
        raise StageError(
            "format_change",
            f"{file.name} changes its format within the file in a way that FFmpeg cannot read",
            "split it at the change into files of one format each, or remove it from the input",
        ) from error
    except av.FFmpegError as error:
        raise StageError("not_audio", f"{file.name} cannot be read by FFmpeg: {describe(error)}", REENCODE) from error
