"""Ends a prompt between two words, where it is quiet, and its text where its sound ends.

A model that is told half a word in sound and none or all of it in text says the rest of it, or something else, first. Whisper's
times of words are wrong by up to 0.2 s, so the quietest place near them counts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from voxbeam.models.speech_metrics import TimedWord, normalize_words
from voxbeam.models.words import word_errors
from voxbeam.schemas.errors import SynthesisError
from voxbeam.schemas.formats import CODEC_RATE

CUT_WORD_S = 0.25
"""a word that ends this close to the end of a prompt may be only a part of one"""
LOST_S = 0.8
"""as much of a prompt is given up for a quieter end"""
AROUND_S = 0.15
"""how far from Whisper's boundary the end may be"""
QUIET_S = 0.03
"""length of the quiet part"""


def whole_words(wave_S: NDArray[np.float32], words: Sequence[TimedWord]) -> tuple[NDArray[np.float32], str]:
    """The sound and the text of a prompt, without a last word that its end may cut; two words or fewer stay."""
    end = len(wave_S)
    if len(words) > 2 and words[-1].end_s > end / CODEC_RATE - CUT_WORD_S:
        last = len(words) - 1
        counts = [n for n in range(2, last) if words[n].start_s > end / CODEC_RATE - LOST_S] + [last]
        places = [quietest(wave_S, words[n - 1], words[n]) for n in counts]
        best = min(range(len(counts)), key=lambda index: (places[index][1], -index))
        end, words = min(end, places[best][0]), words[: counts[best]]
    return wave_S[:end], " ".join(word.text for word in words)


def quietest(wave_S: NDArray[np.float32], before: TimedWord, after: TimedWord) -> tuple[int, float]:
    """The quietest place between two words, and its loudness (root mean square)."""
    window = round(QUIET_S * CODEC_RATE)
    first = max(0, round((min(before.end_s, after.start_s) - AROUND_S) * CODEC_RATE), round(before.start_s * CODEC_RATE))
    last = min(len(wave_S), round((max(before.end_s, after.start_s) + AROUND_S) * CODEC_RATE), round(after.end_s * CODEC_RATE))
    if last - first < window:
        return round(after.start_s * CODEC_RATE), np.inf
    power = np.concatenate([[0.0], np.cumsum(wave_S[first:last].astype(np.float64) ** 2)])
    energy = power[window:] - power[:-window]
    at = int(energy.argmin())
    return first + at + window // 2, float(np.sqrt(max(0.0, energy[at]) / window))


def text_of_prompt(text: str, heard: str) -> str:
    """The beginning of a text that is the transcript of a prompt, in which Whisper heard `heard`.

    Raises SynthesisError if it is unlike any beginning.
    """
    words, spoken = text.split(), normalize_words(heard)
    errors: list[int] = []
    for count in range(len(words) + 1):
        beginning = normalize_words(" ".join(words[:count]))
        if len(beginning) > 2 * len(spoken):  # from here on, all have more errors than no words at all
            break
        errors.append(word_errors(beginning, spoken))
    best = min(range(len(errors)), key=lambda count: (errors[count], abs(count - len(spoken))))
    if not best or errors[best] > len(spoken) / 2:
        raise SynthesisError(
            f"the text of the prompt is {text!r}, and Whisper hears {heard!r} in it",
            remedy="give the transcript of the first seconds (--prompt-seconds), or none",
        )
    return " ".join(words[:best])
