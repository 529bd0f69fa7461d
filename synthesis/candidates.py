"""What was made of a text, how good it is, and which of several versions is the best.

Shapes: S samples at 24 kHz.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ATTEMPTS = 3
"""times that a text is tried before a failed version of it is accepted"""


@dataclass(frozen=True)
class Candidate:
    """One synthesized version of a sentence, and its quality."""

    wave_S: NDArray[np.float32]
    finished: bool
    """the model ended the sentence; False if it was truncated"""
    wer: float
    """word error rate of the transcript"""
    speaker_similarity: float
    """cosine of CAM++ embeddings with the prompt, −1 to 1"""
    problem: str = ""
    """why this is no version of the sentence: the model did not end it, or ended it at once; "" if it is one"""


@dataclass(frozen=True)
class Speech:
    """What was made of a text."""

    wave_S: NDArray[np.float32]
    problems: tuple[str, ...]
    """what is not spoken; and sentences that did not succeed, with the reason: the best of all attempts is heard of them"""


def best_of(candidates: Sequence[Candidate]) -> Candidate:
    """The best candidate: without a problem, then fewest word errors, then most similar voice. What is not a number is worst."""
    return min(candidates, key=lambda one: (bool(one.problem), _or_worst(one.wer), _or_worst(-one.speaker_similarity)))


def attempt_seeds(seed: int) -> Iterator[int]:
    """The seed of each attempt, `ATTEMPTS` in all."""
    return (seed + attempt * 1_000_003 for attempt in range(ATTEMPTS))


def _or_worst(value: float) -> float:
    return value if math.isfinite(value) else math.inf
