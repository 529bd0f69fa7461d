"""Sounds of people: the hash that names one, and whether all of one is the voice of a person.

A prompt is bound to a grant by its hash, or by its voice. A voice is compared as a whole and in parts, so that a clip in which
a second person speaks does not pass for the first.

Shapes: S samples at 24 kHz, E = 192 values of a speaker embedding, N windows.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from voxbeam.models.speech_metrics import embed_speaker
from voxbeam.schemas.errors import ConsentError
from voxbeam.schemas.formats import CODEC_RATE

MIN_ENROLMENT_S = 5.0
"""shorter speech does not tell a voice well enough"""
WINDOW_S, PART_S = 3.0, 1.5
MIN_SIMILARITY, MIN_PART_SIMILARITY = 0.52, 0.42
"""cosines with the enrolled voice that each window and each part must reach; benchmarks/voice_match.py has the error rates"""
BACKWARD_MARGIN = 0.05
"""a few voices are as near backward as forward: own prompts of one of four readers with several recordings, by up to 0.015"""


def sound_hash(wave_S: NDArray[np.float32]) -> str:
    """The name of a sound: SHA-256 of its samples in 16 bits."""
    pcm = np.clip(np.round(wave_S.astype(np.float64) * 32768), -32768, 32767).astype("<i2")
    return hashlib.sha256(pcm.tobytes()).hexdigest()


def enrolled_voice(wave_S: NDArray[np.float32]) -> NDArray[np.float32]:
    """The embedding [E] of a person's speech. Raises ConsentError for too little of it."""
    if len(wave_S) < MIN_ENROLMENT_S * CODEC_RATE:
        raise ConsentError(
            f"{len(wave_S) / CODEC_RATE:.1f} s of speech are too short to know a voice",
            remedy=f"record {MIN_ENROLMENT_S:g} s or more",
        )
    return embed_speaker(wave_S)


def voice_to_text(voice_E: NDArray[np.float32]) -> str:
    """An embedding as text, in half precision."""
    return base64.b64encode(voice_E.astype("<f2").tobytes()).decode()


def voice_from_text(text: str) -> NDArray[np.float32]:
    voice_E = np.frombuffer(base64.b64decode(text, validate=True), "<f2").astype(np.float32)
    return voice_E / max(1e-9, float(np.linalg.norm(voice_E)))


class Voiceprint:
    """The embeddings of a sound: of windows of 3 s, and of their parts of 1.5 s. Computed once, compared with many voices."""

    def __init__(self, wave_S: NDArray[np.float32]) -> None:
        self._wave_S = wave_S
        self.windows_NE = _embed(wave_S, WINDOW_S)
        self.parts_NE = _embed(wave_S, PART_S)

    def similarity(self, voice_E: NDArray[np.float32]) -> float:
        """The cosine of the least similar window."""
        return float((self.windows_NE @ voice_E).min())

    def is_voice(self, voice_E: NDArray[np.float32]) -> bool:
        """Whether every window, and every part of one, is near the voice."""
        return self.similarity(voice_E) >= MIN_SIMILARITY and float((self.parts_NE @ voice_E).min()) >= MIN_PART_SIMILARITY

    @cached_property
    def backward_NE(self) -> NDArray[np.float32]:
        """The embeddings of windows of the sound played backward."""
        return _embed(self._wave_S[::-1].copy(), WINDOW_S)

    def is_backward(self, voice_E: NDArray[np.float32]) -> bool:
        """Whether the sound is clearly nearer to the voice when it is played backward: then nobody said it so."""
        return float((self.backward_NE @ voice_E).mean() - (self.windows_NE @ voice_E).mean()) > BACKWARD_MARGIN


def _embed(wave_S: NDArray[np.float32], seconds: float) -> NDArray[np.float32]:
    return np.stack([embed_speaker(part_S) for part_S in _cut(wave_S, round(seconds * CODEC_RATE))])


def _cut(wave_S: NDArray[np.float32], length: int) -> Sequence[NDArray[np.float32]]:
    """Windows that cover all of a sound, the last one shifted back to end with it."""
    starts = [*range(0, max(1, len(wave_S) - length + 1), length)]
    if len(wave_S) > starts[-1] + length:
        starts.append(len(wave_S) - length)
    return [wave_S[start : start + length] for start in starts]
