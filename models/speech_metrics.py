"""Listen: what a recognizer hears in speech, and whose voice it is. Judges codecs and takes.

Shapes: S samples at 24 kHz, E = 256 values of a voice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import soxr
import torch
from numpy.typing import NDArray

from voxbeam.models.ge2e import DIMENSION, GE2E, load_ge2e, loudness_gain
from voxbeam.schemas.formats import ASR_RATE, CODEC_RATE

if TYPE_CHECKING:
    from faster_whisper import WhisperModel
    from faster_whisper.transcribe import Segment

SHORTEST_S = 0.1
"""of sound in which anything can be told"""
PARTIALS = 20


@dataclass(frozen=True)
class Word:
    """A word, and when it is said, in seconds."""

    text: str
    start_s: float
    end_s: float


class Recognizer:
    """A Whisper model as `whisper_models` names them; by default the embedded tiny.en. Loaded when it first listens."""

    def __init__(self, model: str = "embedded", device: str = "cpu") -> None:
        self.model, self.device = model, device

    @cached_property
    def _whisper(self) -> WhisperModel:
        from voxbeam.models.whisper_models import load_model

        return load_model(self.model, self.device)

    def hear(self, wave_S: NDArray[np.float32], beam: int = 1) -> str:
        """What is said in a sound; "" where there is none."""
        return " ".join(segment.text.strip() for segment in self._segments(wave_S, beam_size=beam))

    def words(self, wave_S: NDArray[np.float32]) -> list[Word]:
        """What is said in a sound, word by word, and when."""
        segments = self._segments(wave_S, beam_size=1, word_timestamps=True)
        return [Word(word.word.strip(), word.start, word.end) for segment in segments for word in segment.words or []]

    def _segments(self, wave_S: NDArray[np.float32], **options: Any) -> Iterable[Segment]:
        if len(wave_S) < SHORTEST_S * CODEC_RATE:
            return []
        sound = soxr.resample(wave_S, CODEC_RATE, ASR_RATE)
        plain = {"language": "en", "temperature": 0.0, "condition_on_previous_text": False}
        return self._whisper.transcribe(sound, **plain, **options)[0]


@cache
def _ge2e() -> GE2E:
    return load_ge2e()


@torch.inference_mode()
def voice_of(wave_S: NDArray[np.float32]) -> NDArray[np.float32]:
    """GE2E embedding [E] of a sound, of unit length; zeros where it is too short to tell."""
    if len(wave_S) < SHORTEST_S * CODEC_RATE:
        return np.zeros(DIMENSION, np.float32)
    wave = torch.from_numpy(soxr.resample(wave_S, CODEC_RATE, ASR_RATE))
    return _ge2e().embed([_ge2e().mels(wave) * loudness_gain(wave)], PARTIALS)[0].numpy()


def similarity(one_S: NDArray[np.float32], other_S: NDArray[np.float32]) -> float:
    """Cosine of the voices of two sounds, −1 to 1; 0 where one is too short to tell."""
    return float(voice_of(one_S) @ voice_of(other_S))


def words_of(text: str) -> list[str]:
    """Words in lower case, without punctuation, as word error rates count them."""
    return re.sub(r"[^\w' ]+", " ", text.lower()).split()


def word_errors(reference: Sequence[str], heard: Sequence[str]) -> int:
    """Words put in, left out or changed, at least: Levenshtein's distance."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(reference, start=1):
        before, row = row, [i]
        for j, other in enumerate(heard, start=1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (word != other)))
    return row[-1]


def word_error_rate(truth: str, heard: str) -> float:
    """Word errors over the words of the truth; case and punctuation do not count."""
    words = words_of(truth)
    return word_errors(words, words_of(heard)) / max(1, len(words))
