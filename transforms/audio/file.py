"""Audio files: the true length of a file, and any stretch of it as samples. Runs in the sandbox.

Headers are only estimates: MP3s without an index, joined files, streams written to a pipe and wrong counts make them too long or
too short. So FFmpeg decodes every file once from beginning to end, and the result is the length. If libsndfile finds the same
length, it decodes the windows, because its seeks are exact; otherwise FFmpeg decodes them from the beginning.
"""

import av
import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from voxbeam.schemas.errors import StageError
from voxbeam.transforms.audio import ffmpeg, libsndfile
from voxbeam.transforms.audio.channels import MEAN, MONO, Policy, without_bleed
from voxbeam.transforms.audio.checks import (
    COPY_AGAIN,
    AudioInfo,
    Limits,
    open_length,
    require_bytes,
    require_last_page,
    require_playable_edits,
    require_stated_bytes,
    require_whole,
    within_limits,
)
from voxbeam.transforms.audio.containers import ogg_links, xing_frames
from voxbeam.transforms.audio.estimate import estimate, reads_all_packets
from voxbeam.transforms.audio.ffmpeg import REENCODE, describe
from voxbeam.transforms.audio.header import lacks_length
from voxbeam.transforms.audio.sparse_file import AudioFile

LIBSNDFILE, FFMPEG = "libsndfile", "ffmpeg"
_LOSSY_TOLERANCE_S = 0.05
_LOSSY = ("vorbis", "opus")


def probe_file(file: AudioFile, limits: Limits) -> AudioInfo:
    """Format and true length of a file, by decoding it. Raises StageError if it is unreadable, truncated or outside limits."""
    require_bytes(file)
    require_stated_bytes(file)
    require_last_page(file)
    require_playable_edits(file)
    header = libsndfile.read_header(file)
    try:
        decoded = ffmpeg.count(file, limits.max_duration_s)
    except StageError as error:
        if lacks_length(file):
            raise open_length(file) from error
        if header is None or error.reason != "not_audio":
            raise
        info = _counted_by_libsndfile(file, header, limits)
    else:
        require_whole(file, decoded, header)
        info = _choose_decoder(file, decoded, header)
    return within_limits(file, info, limits)


def estimate_file(file: AudioFile, limits: Limits) -> AudioInfo:
    """The same without decoding, for a plan: by a header that counts samples, else by the packets (`estimate`)."""
    require_bytes(file)
    require_stated_bytes(file)
    header = libsndfile.read_header(file)
    if header is not None and header.frames and not _guesses(file, header):
        info = _by_libsndfile(header, header.frames, _unmeasured_policy(header.channels))
    else:
        name, rate, channels, seconds = estimate(file)
        info = AudioInfo(
            format=name,
            sample_rate=rate,
            channels=channels,
            frames=round(seconds * rate),
            decoder=FFMPEG,
            channel_policy=_unmeasured_policy(channels).name,
        )
    return within_limits(file, info, limits)


def _guesses(file: AudioFile, header: libsndfile.Header) -> bool:
    """Whether a header's length may be that of the first part of a joined file, or a guess by the rate of its first frames."""
    if header.format == "ogg":
        return reads_all_packets(file) and len(ogg_links(file)) > 1
    if header.format == "flac":
        return reads_all_packets(file)
    return header.format.startswith(("mp3", "mpeg")) and (reads_all_packets(file) or xing_frames(file) is None)


def read_channels(file: AudioFile, info: AudioInfo, start: int, frames: int) -> NDArray[np.float32]:
    """`frames` samples from `start` at the file's own sample rate: float32 [channels, frames].

    Raises StageError, with the time in the file, if the stretch cannot be decoded or contains NaN or infinity.
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
            f"{file.name} contains NaN or infinite samples near {place:.0f} s",
            "export it again as integer PCM or FLAC",
        )
    return sound


def read_mono(file: AudioFile, info: AudioInfo, start: int, frames: int, track: int | None = None) -> NDArray[np.float32]:
    """The same as mono by the recording's channel policy, or one channel of it as a track of its own: float32 [frames]."""
    sound = read_channels(file, info, start, frames)
    if track is not None:
        return without_bleed(sound, track, info.sample_rate)
    return sound[info.channel] if info.channel is not None else sound.mean(axis=0)


def _choose_decoder(file: AudioFile, decoded: ffmpeg.Decoded, header: libsndfile.Header | None) -> AudioInfo:
    """libsndfile where both agree, or where it decodes all of a longer length that it states; else FFmpeg."""
    if header is not None and header.frames is not None and header.seekable and not (decoded.mixed or decoded.gaps):
        conceals = bool(decoded.damaged) and decoded.codec != "flac"  # of its decoders, only FLAC's reports a damaged frame
        if not conceals and (_same_length(file, decoded, header) or _is_longer(file, decoded, header)):
            return _by_libsndfile(header, header.frames, decoded.policy)
    return AudioInfo(
        format=decoded.format,
        sample_rate=decoded.sample_rate,
        channels=decoded.channels,
        frames=decoded.frames,
        decoder=FFMPEG,
        channel_policy=decoded.policy.name,
        channel=decoded.policy.channel,
    )


def _same_length(file: AudioFile, decoded: ffmpeg.Decoded, header: libsndfile.Header) -> bool:
    if header.frames is None or not decoded.sample_rate or header.channels != decoded.channels:
        return False
    differs_s = abs(header.frames / header.sample_rate - (decoded.frames + decoded.missing) / decoded.sample_rate)
    counted = decoded.codec.startswith("mp3") and xing_frames(file) is not None  # without an index, libsndfile only estimates
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
    """Format and length, for formats that FFmpeg cannot read."""
    if header.frames is None or header.frames > limits.max_duration_s * header.sample_rate:
        frames = header.frames or 0
    else:
        try:
            frames = libsndfile.count(file)
        except sf.SoundFileError as error:
            raise StageError("corrupt", f"{file.name} cannot be decoded: {describe(error)}", REENCODE) from error
        if frames < header.frames:
            text = f"{file.name} states {header.frames} samples and ends after {frames}"
            raise StageError("truncated", text, COPY_AGAIN)
    return _by_libsndfile(header, frames, _unmeasured_policy(header.channels))


def _by_libsndfile(header: libsndfile.Header, frames: int, policy: Policy) -> AudioInfo:
    """A file of this length whose windows libsndfile decodes."""
    return AudioInfo(
        format=header.format,
        sample_rate=header.sample_rate,
        channels=header.channels,
        frames=frames,
        decoder=LIBSNDFILE,
        channel_policy=policy.name,
        channel=policy.channel,
    )


def _unmeasured_policy(channels: int) -> Policy:
    """The policy of a file whose channels have not been compared."""
    return Policy(MONO if channels == 1 else MEAN)
