"""Ends a prompt with a whole word, and its text where its sound ends.

A model that is told half a word in sound and none or all of it in text says the rest of it, or something else, first.
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


def whole_words(wave_S: NDArray[np.float32], words: Sequence[TimedWord]) -> tuple[NDArray[np.float32], str]:
    """The sound and the text of a prompt, without a last word that its end may cut; two words or fewer stay."""
    end = len(wave_S)
    if len(words) > 2 and words[-1].end_s > end / CODEC_RATE - CUT_WORD_S:
        end, words = min(end, round(words[-1].start_s * CODEC_RATE)), words[:-1]
    return wave_S[:end], " ".join(word.text for word in words)


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
