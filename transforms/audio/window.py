"""Window: decodes a stretch of a recording at the models' sample rates, with inner edges moved to pauses. Runs in the sandbox.

Two neighboring windows are decoded by different workers and must find the same common edge. So both look at the same samples,
`margin_ms` before and after the nominal edge, and take the center of the longest pause there.
"""

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy.signal import butter, sosfiltfilt

from voxbeam.schemas.audio import Audio
from voxbeam.schemas.formats import ASR_RATE, ASR_SAMPLES_PER_MS, CODEC_RATE
from voxbeam.transforms.audio.checks import AudioInfo, require_bytes
from voxbeam.transforms.audio.file import read_mono
from voxbeam.transforms.audio.gaps import gaps
from voxbeam.transforms.audio.pauses import find_longest_pause
from voxbeam.transforms.audio.repeats import repeated_stretches
from voxbeam.transforms.audio.similar_packets import similar_stretches
from voxbeam.transforms.audio.sparse_file import AudioFile

_MIN_OFFSET = 5e-4
"""−66 dBFS"""
_HIGH_PASS_HZ = 20.0


def decode(
    file: AudioFile, info: AudioInfo, start_ms: int, end_ms: int, margin_ms: int, track: int | None = None
) -> tuple[Audio, float]:
    """A window of a file as `Audio`, and its largest absolute sample. `track` is the channel, where each is a track of its own.

    `start_ms` and `end_ms` are the nominal edges. An edge that is not the beginning or end of the recording moves to a pause, at
    most `margin_ms` away. Raises StageError for audio that cannot be decoded.
    """
    require_bytes(file)
    total_ms = info.duration_ms
    first_ms = max(0, start_ms - margin_ms)
    last_ms = min(total_ms, end_ms + margin_ms)
    offset = _frame(first_ms, info)
    mono = read_mono(file, info, offset, _frame(last_ms, info) - offset, track)

    def edge(nominal_ms: int, *, reread: bool) -> int:
        if nominal_ms <= 0 or nominal_ms >= total_ms:
            return min(max(nominal_ms, 0), total_ms)
        left = _frame(max(0, nominal_ms - margin_ms), info)
        right = _frame(min(total_ms, nominal_ms + margin_ms), info)
        # After a seek, MP3 and Opus differ in the last digits: both windows must reach this stretch by the same seek.
        stretch = read_mono(file, info, left, right - left, track) if reread else mono[left - offset : right - offset]
        pause = find_longest_pause(stretch, info.sample_rate)
        return (left + pause) * 1000 // info.sample_rate

    start_ms, end_ms = edge(start_ms, reread=False), edge(end_ms, reread=True)
    raw = mono[_frame(start_ms, info) - offset : _frame(end_ms, info) - offset]
    window = without_offset(raw, info.sample_rate)

    def time_ms(sample: int) -> int:
        return min(start_ms + round(sample * 1000 / info.sample_rate), end_ms)

    pcm16k = resample(window, info.sample_rate, ASR_RATE, end_ms - start_ms)
    exact = ((time_ms(start), time_ms(end)) for start, end in repeated_stretches(raw, info.sample_rate))
    similar = (
        (start_ms + start // ASR_SAMPLES_PER_MS, start_ms + end // ASR_SAMPLES_PER_MS) for start, end in similar_stretches(pcm16k)
    )
    # Behind the filter of an offset nothing stands still: gaps are found before it, and count as what is repeated does.
    still = gaps(raw, info.sample_rate, window) if window is not raw else []
    audio = Audio(
        start_ms=start_ms,
        end_ms=end_ms,
        pcm16k=pcm16k,
        pcm24k=resample(window, info.sample_rate, CODEC_RATE, end_ms - start_ms),
        repeats_ms=_joined([*exact, *similar, *((time_ms(start), time_ms(end)) for start, end in still)]),
    )
    return audio, float(np.abs(window).max(initial=0.0))


def _joined(stretches: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Stretches in order, those that overlap as one."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(stretches):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return tuple(joined)


def without_offset(mono: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """Audio [n] without its DC offset, by a high-pass filter; unchanged where there is none, or where it is too short.

    An offset counts as noise in every measure of level. Speech has none: the mean of one second of it is below −70 dBFS.
    """
    seconds = len(mono) // rate
    if not seconds:
        return mono
    offset = float(np.median(mono[: seconds * rate].reshape(seconds, rate).mean(axis=1, dtype=np.float64)))
    chance = 4 * float(np.std(mono, dtype=np.float64)) / np.sqrt(len(mono))
    if abs(offset) < max(_MIN_OFFSET, chance):
        return mono
    high_pass = butter(2, _HIGH_PASS_HZ, "highpass", fs=rate, output="sos")
    filtered = sosfiltfilt(high_pass, mono.astype(np.float64) - offset, padlen=min(len(mono) - 1, rate // 4))
    return np.asarray(filtered, np.float32)


def resample(mono: NDArray[np.float32], rate: int, target: int, duration_ms: int) -> NDArray[np.float32]:
    """Mono audio at another sample rate, cut or padded to `duration_ms`: float32 [duration_ms · target / 1000]."""
    out = mono if rate == target else soxr.resample(mono, rate, target, quality="HQ")
    length = duration_ms * target // 1000
    return np.pad(out[:length], (0, max(0, length - len(out)))).astype(np.float32, copy=False)


def _frame(ms: int, info: AudioInfo) -> int:
    """First sample at or after a time, at most the end of the recording."""
    return min(info.frames, -(-ms * info.sample_rate // 1000))
