"""Audio of a unit, at the two sample rates that the models take."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxbeam.schemas.formats import ASR_SAMPLES_PER_MS, CODEC_SAMPLES_PER_MS


@dataclass(frozen=True, kw_only=True)
class Audio:
    """Mono audio of a unit at 16 and 24 kHz. The first sample of each is at `start_ms` of the recording."""

    start_ms: int
    end_ms: int
    pcm16k: NDArray[np.float32]
    """[16 · (end_ms − start_ms)] in [−1, 1], for the diarizer, Whisper and the scores"""
    pcm24k: NDArray[np.float32]
    """[24 · (end_ms − start_ms)] in [−1, 1], for the codec"""
    repeats_ms: tuple[tuple[int, int], ...] = ()
    """stretches of the recording, in order, that repeat the packet before them, or stand still where an offset was taken off"""

    def slice16k(self, start_ms: int, end_ms: int) -> NDArray[np.float32]:
        """Samples at 16 kHz between two times of the recording."""
        return self.pcm16k[(start_ms - self.start_ms) * ASR_SAMPLES_PER_MS : (end_ms - self.start_ms) * ASR_SAMPLES_PER_MS]

    def repeated(self, start_ms: int, end_ms: int) -> float:
        """Fraction of the time between two times of the recording that repeats the packet before it."""
        inside = sum(max(0, min(end, end_ms) - max(start, start_ms)) for start, end in self.repeats_ms)
        return inside / max(1, end_ms - start_ms)

    def slice24k(self, start_ms: int, end_ms: int) -> NDArray[np.float32]:
        """Samples at 24 kHz between two times of the recording."""
        return self.pcm24k[(start_ms - self.start_ms) * CODEC_SAMPLES_PER_MS : (end_ms - self.start_ms) * CODEC_SAMPLES_PER_MS]
