"""Audio: the sound of a unit, at the rates that models want."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Audio:
    """A unit's sound, mono, at the two rates that models want. Sample 0 is at `start_ms` of the recording."""

    start_ms: int
    end_ms: int
    pcm16k: NDArray[np.float32]
    """[16 · (end_ms − start_ms)] in [−1, 1], for diarizer, recognizer and scores"""
    pcm24k: NDArray[np.float32]
    """[24 · (end_ms − start_ms)] in [−1, 1], for the codec"""

    def slice16k(self, start_ms: int, end_ms: int) -> NDArray[np.float32]:
        return self.pcm16k[(start_ms - self.start_ms) * 16 : (end_ms - self.start_ms) * 16]

    def slice24k(self, start_ms: int, end_ms: int) -> NDArray[np.float32]:
        return self.pcm24k[(start_ms - self.start_ms) * 24 : (end_ms - self.start_ms) * 24]
