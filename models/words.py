"""Words: a text as the words by which it is compared with another, and how many of them differ."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache

from voxbeam.models.spoken_form import spoken_form

_PIECE = 1000
"""characters of a long text that are put into words at once, from one end of a sentence to another"""
_PIECE_END = re.compile(r"[.!?][\"')\]”’]*\s|\n")
_MARKUP = re.compile(r"<[^<>]{1,40}>|\{[^{}]{1,40}\}")
"""such as `<unk>`, `{noise}`"""
_UNSPACED = re.compile(r"([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff])")
"""letters of scripts that put no blanks between words (Thai, Lao, Burmese, Khmer, kana, Han): each counts as a word"""


def spoken_words(text: str, language: str) -> tuple[str, ...]:
    """The words of a text as they are spoken, in lower case, without punctuation.

    English is put into its spoken form, so that "$5" and "five dollars" are the same. In other languages numbers stay as they
    are written, and differ from numbers in words.

    Args:
        text: at most some sentences; for long ones `long_text_words` is faster when asked again.
        language: ISO 639-1, with or without a region.
    """
    text = _MARKUP.sub(" ", text)
    if language.lower().replace("_", "-").split("-")[0] == "en":
        if text.isupper():  # as in LibriSpeech's texts; in mixed case, capitals are spelled
            text = text.lower()
        text = " ".join(spoken_form(piece).text for piece in _pieces(text))
    else:
        text = _UNSPACED.sub(r" \1 ", unicodedata.normalize("NFKC", text))
    text = text.casefold().replace("’", "'")
    kept = "".join(c if c == "'" or unicodedata.category(c)[0] in "LMN" else " " for c in text)
    return tuple(word for word in (word.strip("'") for word in kept.split()) if word)


@lru_cache(maxsize=2)
def long_text_words(text: str, language: str) -> tuple[str, ...]:
    """`spoken_words` of a recording's text, remembered: each of its windows asks for the same."""
    return spoken_words(text, language)


def _pieces(text: str) -> Iterator[str]:
    """A text in pieces: its spoken form is made of some sentences at a time."""
    start = 0
    while start < len(text):
        middle, last = start + _PIECE, start + 2 * _PIECE
        found = _PIECE_END.search(text, middle, last)
        end = found.end() if found else text.rfind(" ", middle, last) + 1 or last
        yield text[start:end]
        start = end


def word_errors(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    """Levenshtein distance in words: insertions, deletions and substitutions."""
    return errors_of_beginnings(reference, hypothesis)[-1]


def errors_of_beginnings(reference: Sequence[str], hypothesis: Sequence[str]) -> list[int]:
    """The Levenshtein distance of each beginning of `hypothesis`, from none of it to all."""
    row = list(range(len(hypothesis) + 1))
    for i, word in enumerate(reference, start=1):
        previous, row = row, [i]
        for j, other in enumerate(hypothesis, start=1):
            row.append(min(previous[j] + 1, row[-1] + 1, previous[j - 1] + (word != other)))
    return row
