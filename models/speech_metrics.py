"""Speech metrics: word error rate by Whisper, and speaker similarity by CAM++ embeddings.

Shapes: S samples at 24 kHz, E = 192 values of a speaker embedding.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import soxr
import torch
from numpy.typing import NDArray

from voxbeam.models.campplus import DIMENSION, CAMPlusPlus, fbank, load_campplus
from voxbeam.models.words import word_errors
from voxbeam.schemas.formats import ASR_RATE, CODEC_RATE

if TYPE_CHECKING:
    from faster_whisper import WhisperModel
    from faster_whisper.transcribe import Segment

MIN_AUDIO_S = 0.1
"""shorter audio has no transcript and no speaker embedding"""


@dataclass(frozen=True)
class TimedWord:
    """A transcribed word and its time."""

    text: str
    start_s: float
    end_s: float


class WhisperTranscriber:
    """A Whisper model for English, named as in `voxbeam.models.whisper_models`; loaded on first use."""

    def __init__(self, model: str = "embedded", device: str = "cpu") -> None:
        self.model, self.device = model, device

    @cached_property
    def _whisper(self) -> WhisperModel:
        from voxbeam.models.whisper_models import load_model

        return load_model(self.model, self.device)

    def load(self) -> None:
        """Reads the model now."""
        _ = self._whisper

    def transcribe(self, wave_S: NDArray[np.float32], beam_size: int = 1) -> str:
        """The transcript of a waveform; "" without speech."""
        return " ".join(segment.text.strip() for segment in self._segments(wave_S, beam_size=beam_size))

    def transcribe_words(self, wave_S: NDArray[np.float32]) -> list[TimedWord]:
        """The words of a waveform with their times."""
        segments = self._segments(wave_S, beam_size=1, word_timestamps=True)
        return [TimedWord(word.word.strip(), word.start, word.end) for segment in segments for word in segment.words or []]

    def _segments(self, wave_S: NDArray[np.float32], **options: Any) -> Iterable[Segment]:
        if len(wave_S) < MIN_AUDIO_S * CODEC_RATE:
            return []
        audio = soxr.resample(wave_S, CODEC_RATE, ASR_RATE)
        greedy = {"language": "en", "temperature": 0.0, "condition_on_previous_text": False}
        return self._whisper.transcribe(audio, **greedy, **options)[0]


@cache
def _encoder() -> CAMPlusPlus:
    return load_campplus()


@torch.inference_mode()
def embed_speaker(wave_S: NDArray[np.float32]) -> NDArray[np.float32]:
    """CAM++ speaker embedding [E] of unit length; zeros for audio shorter than `MIN_AUDIO_S`."""
    if len(wave_S) < MIN_AUDIO_S * CODEC_RATE:
        return np.zeros(DIMENSION, np.float32)
    wave = torch.from_numpy(soxr.resample(wave_S, CODEC_RATE, ASR_RATE))
    return _encoder().embed([fbank(wave)])[0].numpy()


def speaker_similarity(one_S: NDArray[np.float32], other_S: NDArray[np.float32]) -> float:
    """Cosine of two speaker embeddings, −1 to 1; 0 if one waveform is too short."""
    return float(embed_speaker(one_S) @ embed_speaker(other_S))


def normalize_words(text: str) -> list[str]:
    """Words in lower case without punctuation, as the word error rate counts them."""
    return re.sub(r"[^\w' ]+", " ", text.lower()).split()


def word_error_rate(reference: str, hypothesis: str) -> float:
    """Word errors divided by the words of the reference, ignoring case and punctuation."""
    words = normalize_words(reference)
    return word_errors(words, normalize_words(hypothesis)) / max(1, len(words))
