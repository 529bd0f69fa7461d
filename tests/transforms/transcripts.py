"""What tests of recognizers share: sentences, how far a transcript is from them, and a device that is too small."""

import re
from typing import Any

import jiwer
import pytest

from voxbeam.schemas.segment import Transcript

TEXTS = (
    "The old lighthouse keeper climbed the stairs every evening to light the lamp.",
    "She opened the window and listened to the rain falling on the roof.",
    "We walked along the river until the sun went down behind the hills.",
    "Nobody in the village remembered who had built the stone bridge.",
    "The train to the city leaves early in the morning.",
    "He wrote a long letter to his brother, but he never sent it.",
    "A small dog was sleeping in the middle of the road.",
    "They planted apple trees in the garden behind the school.",
    "My grandmother used to tell us stories about the sea.",
    "The captain ordered the sailors to lower the boats before the storm.",
)


def normalize_words(text: str) -> str:
    return " ".join(re.sub(r"[^a-z' ]+", " ", text.lower()).split()) or "-"


def wer(expected: list[str], heard: list[str]) -> float:
    return float(jiwer.wer([normalize_words(text) for text in expected], [normalize_words(text) for text in heard]))


def texts(transcripts: list[Transcript]) -> list[str]:
    return [transcript.text for transcript in transcripts]


def short_of_memory(patch: pytest.MonkeyPatch, model: Any, method: str, most: int, error: Exception) -> list[int]:
    """Has a model's method fail for more than `most` rows, as on a GPU that is too small; the sizes that it was given."""
    whole, sizes = getattr(model, method), []

    def call(rows: Any) -> Any:
        sizes.append(len(rows))
        if len(rows) > most:
            raise error
        return whole(rows)

    patch.setattr(model, method, call)
    return sizes
