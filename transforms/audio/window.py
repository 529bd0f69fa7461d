"""Audio window: a stretch of a recording at the models' rates, its inner edges moved into pauses. Runs inside the sandbox.

Two neighbouring windows must agree on their common edge without talking to each other: both look at the same samples, `margin_ms`
on either side of the nominal edge, and take the centre of the best pause there.
"""

import numpy as np
import soxr
from numpy.typing import NDArray

from voxbeam.schemas.audio import Audio
from voxbeam.transforms.audio.file import AudioInfo, read_mono, require_bytes
from voxbeam.transforms.audio.pauses import pause_near
from voxbeam.transforms.audio.sparse_file import AudioFile

_SAMPLES_PER_MS = {16_000: 16, 24_000: 24}


def decode(file: AudioFile, info: AudioInfo, start_ms: int, end_ms: int, margin_ms: int) -> tuple[Audio, float]:
    """A window of a file as `Audio`, and the largest absolute sample in it.

    `start_ms` and `end_ms` are the nominal edges; each that is not the recording's own beginning or end moves to a pause.
    Raises StageError for audio that cannot be decoded.
    """
    require_bytes(file)
    whole_ms = info.duration_ms
    first_ms = max(0, start_ms - margin_ms)
    last_ms = min(whole_ms, end_ms + margin_ms)
    offset = _frame(first_ms, info)
    mono = read_mono(file, info, offset, _frame(last_ms, info) - offset)

    def edge(nominal_ms: int, *, read_again: bool) -> int:
        if nominal_ms <= 0 or nominal_ms >= whole_ms:
            return min(max(nominal_ms, 0), whole_ms)
        left = _frame(max(0, nominal_ms - margin_ms), info)
        right = _frame(min(whole_ms, nominal_ms + margin_ms), info)
        # After a seek, MP3 and Opus differ in the last digits: both neighbours must come to this stretch by the same seek.
        stretch = read_mono(file, info, left, right - left) if read_again else mono[left - offset : right - offset]
        pause = pause_near(stretch, info.sample_rate)
        return (left + pause) * 1000 // info.sample_rate

    start_ms, end_ms = edge(start_ms, read_again=False), edge(end_ms, read_again=True)
    window = mono[_frame(start_ms, info) - offset : _frame(end_ms, info) - offset]
    audio = Audio(
        start_ms=start_ms,
        end_ms=end_ms,
        pcm16k=resample(window, info.sample_rate, 16_000, end_ms - start_ms),
        pcm24k=resample(window, info.sample_rate, 24_000, end_ms - start_ms),
    )
    return audio, float(np.abs(window).max(initial=0.0))


def resample(mono: NDArray[np.float32], rate: int, target: int, duration_ms: int) -> NDArray[np.float32]:
    """Mono samples at another rate, exactly `duration_ms` long: float32 [duration_ms · target / 1000]."""
    out = mono if rate == target else soxr.resample(mono, rate, target, quality="HQ")
    length = duration_ms * _SAMPLES_PER_MS[target]
    return np.pad(out[:length], (0, max(0, length - len(out)))).astype(np.float32, copy=False)


def _frame(ms: int, info: AudioInfo) -> int:
    """First sample at or after a time; the end of the recording includes its last samples."""
    return min(info.frames, -(-ms * info.sample_rate // 1000))
