"""The prompt: speech of the speaker to imitate.

Shapes: S samples at 24 kHz.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from voxbeam.schemas.errors import SynthesisError
from voxbeam.schemas.formats import CODEC_RATE
from voxbeam.synthesis.recording import Recording
from voxbeam.transforms.audio.noise_and_clipping import clipping, snr_db

MIN_PROMPT_S = 0.5
"""shorter prompts tell nothing of a voice"""
_BEYOND_S = 0.1
"""read after the end of a prompt: it tells whether the recording goes on, and the resampler does not fade out in the prompt"""
MIN_SNR_DB = 16.0
MAX_CLIPPED = 0.005
MIN_PEAK_DB = -50.0
"""beyond these a prompt costs words (docs/measured.md)"""


@dataclass(frozen=True)
class Prompt:
    """Speech of the speaker to imitate, mono at 24 kHz, and its transcript if known."""

    wave_S: NDArray[np.float32]
    text: str | None = None
    is_cut: bool = False
    """the beginning of a longer recording, so that `text` may go on after it"""

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """What about its sound costs words of what is said, in sentences."""
        found = []
        if (share := clipping(self.wave_S)) > MAX_CLIPPED:
            found.append(f"{share:.1%} of the prompt is clipped, which costs words: record it at a lower level")
        if (peak := 20 * np.log10(np.abs(self.wave_S).max(initial=1e-9))) < MIN_PEAK_DB:
            found.append(f"the prompt is almost silent ({peak:.0f} dB at its loudest), which costs words: record it louder")
        elif (snr := snr_db(self.wave_S, CODEC_RATE)) < MIN_SNR_DB:
            found.append(
                f"the voice in the prompt is {snr:.0f} dB above what is between its words, which costs words: record it louder, "
                "in a quiet place, with a pause"
            )
        return tuple(found)

    @classmethod
    def read(cls, source: Path | str | BinaryIO, text: str | None = None, seconds: float = 3.0) -> Self:
        """The first `seconds` of an audio file. `text`, if given, is its transcript, of that part or of more.

        Raises SynthesisError for a file that cannot be read, or is shorter than `MIN_PROMPT_S`.
        """
        whole_S = Recording.read(source, seconds + _BEYOND_S).wave_S
        wave_S = whole_S[: round(seconds * CODEC_RATE)]
        if len(wave_S) < MIN_PROMPT_S * CODEC_RATE:
            name = f" {source}" if isinstance(source, Path | str) else ""
            raise SynthesisError(
                f"the prompt{name} is {len(wave_S) / CODEC_RATE:.2f} s long",
                remedy=f"give at least {MIN_PROMPT_S:g} s of speech",
            )
        return cls(np.ascontiguousarray(wave_S), text, is_cut=len(whole_S) > len(wave_S))
