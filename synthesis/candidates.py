"""What was made of a text, how good it is, and which of several versions is the best.

Shapes: S samples at 24 kHz.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from voxbeam.models.speech_metrics import normalize_words, speaker_similarity, word_error_rate
from voxbeam.models.spoken_form import spoken_form
from voxbeam.models.words import word_errors

ATTEMPTS = 3
"""times that a text is tried before a failed version of it is accepted"""
MAX_WORD_ERRORS = 0.5
"""a take with more word errors does not say its text; Whisper itself mishears a word now and then"""
MAX_LETTER_ERRORS = 0.25
"""of the letters: with fewer, the words are only written otherwise"""


@dataclass(frozen=True)
class Candidate:
    """One synthesized version of a sentence, and its quality."""

    wave_S: NDArray[np.float32]
    finished: bool
    """the model ended the sentence; False if it was truncated"""
    wer: float
    """word error rate of the transcript"""
    prompt_S: NDArray[np.float32]
    """the voice to which it should be similar"""
    problem: str = ""
    """why this is no version of the sentence: the model did not end it, or ended it at once, or said something else"""

    @cached_property
    def speaker_similarity(self) -> float:
        """Cosine of the CAM++ embeddings of the sound and the prompt, −1 to 1."""
        return speaker_similarity(self.wave_S, self.prompt_S)


@dataclass(frozen=True)
class Speech:
    """What was made of a text."""

    wave_S: NDArray[np.float32]
    left_out: tuple[str, ...]
    """what is not spoken"""
    failed: tuple[str, ...]
    """sentences that did not succeed, with the reason: the best of all attempts is heard of them"""
    warnings: tuple[str, ...]
    """what about the prompt costs words, though each sentence may have succeeded"""

    @property
    def problems(self) -> tuple[str, ...]:
        """What is not as asked."""
        return (*self.left_out, *self.failed)


def best_of(candidates: Sequence[Candidate]) -> Candidate:
    """The best candidate: without a problem, then fewest word errors, then most similar voice. What is not a number is worst."""
    ranks = [(bool(one.problem), _or_worst(one.wer)) for one in candidates]
    best = [one for one, rank in zip(candidates, ranks, strict=True) if rank == min(ranks)]
    return best[0] if len(best) == 1 else min(best, key=lambda one: _or_worst(-one.speaker_similarity))


def word_errors_of(text: str, heard: str) -> float:
    """Word error rate of a transcript, both in spoken form: "2nd" is heard as "second"."""
    return word_error_rate(spoken_form(text).text, spoken_form(heard).text)


def words_problem(text: str, heard: str) -> str:
    """Why a transcript is not that of a text; "" if it may be: "abc" is heard as "ABC", whose words are three."""
    letters, others = ("".join(normalize_words(spoken_form(one).text)) for one in (text, heard))
    if word_errors_of(text, heard) <= MAX_WORD_ERRORS or word_errors(letters, others) <= MAX_LETTER_ERRORS * len(letters):
        return ""
    return f"Whisper hears {heard!r}" if heard.strip() else "Whisper hears no words"


def attempt_seeds(seed: int) -> Iterator[int]:
    """The seed of each attempt, `ATTEMPTS` in all."""
    return (seed + attempt * 1_000_003 for attempt in range(ATTEMPTS))


def _or_worst(value: float) -> float:
    return value if math.isfinite(value) else math.inf
