"""Window: decodes a stretch of a recording at the models' sample rates, with inner edges moved to pauses. Runs in the sandbox.

Two neighboring windows are decoded by different workers and must find the same common edge. So both look at the same samples,
`margin_ms` before and after the nominal edge, and take the center of the longest pause there.
"""

import numpy as np
import soxr
from numpy.typing import NDArray

from voxbeam.schemas.audio import Audio
from voxbeam.schemas.formats import ASR_RATE, CODEC_RATE
from voxbeam.transforms.audio.file import AudioInfo, read_mono, require_bytes
from voxbeam.transforms.audio.pauses import find_longest_pause
from voxbeam.transforms.audio.sparse_file import AudioFile


def decode(file: AudioFile, info: AudioInfo, start_ms: int, end_ms: int, margin_ms: int) -> tuple[Audio, float]:
    """A window of a file as `Audio`, and its largest absolute sample.

    `start_ms` and `end_ms` are the nominal edges. An edge that is not the beginning or end of the recording moves to a pause, at
    most `margin_ms` away. Raises StageError for audio that cannot be decoded.
    """
    require_bytes(file)
    total_ms = info.duration_ms
    first_ms = max(0, start_ms - margin_ms)
    last_ms = min(total_ms, end_ms + margin_ms)
    offset = _frame(first_ms, info)
    mono = read_mono(file, info, offset, _frame(last_ms, info) - offset)

    def edge(nominal_ms: int, *, reread: bool) -> int:
        if nominal_ms <= 0 or nominal_ms >= total_ms:
            return min(max(nominal_ms, 0), total_ms)
        left = _frame(max(0, nominal_ms - margin_ms), info)
        right = _frame(min(total_ms, nominal_ms + margin_ms), info)
        # After a seek, MP3 and Opus differ in the last digits: both windows must reach this stretch by the same seek.
        stretch = read_mono(file, info, left, right - left) if reread else mono[left - offset : right - offset]
        pause = find_longest_pause(stretch, info.sample_rate)
        return (left + pause) * 1000 // info.sample_rate

    start_ms, end_ms = edge(start_ms, reread=False), edge(end_ms, reread=True)
    window = mono[_frame(start_ms, info) - offset : _frame(end_ms, info) - offset]
    audio = Audio(
        start_ms=start_ms,
        end_ms=end_ms,
        pcm16k=resample(window, info.sample_rate, ASR_RATE, end_ms - start_ms),
        pcm24k=resample(window, info.sample_rate, CODEC_RATE, end_ms - start_ms),
    )
    return audio, float(np.abs(window).max(initial=0.0))


def resample(mono: NDArray[np.float32], rate: int, target: int, duration_ms: int) -> NDArray[np.float32]:
    """Mono audio at another sample rate, cut or padded to `duration_ms`: float32 [duration_ms · target / 1000]."""
    out = mono if rate == target else soxr.resample(mono, rate, target, quality="HQ")
    length = duration_ms * target // 1000
    return np.pad(out[:length], (0, max(0, length - len(out)))).astype(np.float32, copy=False)


def _frame(ms: int, info: AudioInfo) -> int:
    """First sample at or after a time, at most the end of the recording."""
    return min(info.frames, -(-ms * info.sample_rate // 1000))
