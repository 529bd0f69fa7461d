"""Ends a prompt with a whole word.

A model that is told half a word in sound and none or all of it in text says the rest of it, or something else, first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from voxbeam.models.speech_metrics import TimedWord
from voxbeam.schemas.formats import CODEC_RATE

CUT_WORD_S = 0.25
"""a word that ends this close to the end of a prompt may be only a part of one"""


def whole_words(wave_S: NDArray[np.float32], words: Sequence[TimedWord]) -> tuple[NDArray[np.float32], str]:
    """The sound and the text of a prompt, without a last word that its end may cut; two words or fewer stay."""
    end = len(wave_S)
    if len(words) > 2 and words[-1].end_s > end / CODEC_RATE - CUT_WORD_S:
        end, words = min(end, round(words[-1].start_s * CODEC_RATE)), words[:-1]
    return wave_S[:end], " ".join(word.text for word in words)
