"""The text front end of speaking: sentences in spoken form, with the pause after each, and the phones of a sentence.

Nothing is left out in silence: what cannot be spoken is an error that names it, and stage directions, which nobody speaks, are
told.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from voxbeam.models.phones import Phonemizer, PhoneSet, UnknownPhone
from voxbeam.models.spoken_form import directions, spoken_form
from voxbeam.schemas.errors import SynthesisError

MAX_SENTENCE_CHARACTERS = 200
"""longer sentences are divided at a comma or a blank"""
PAUSE_S = {"\n": 0.7, ".": 0.35, "!": 0.35, "?": 0.35, ";": 0.25, ",": 0.15, "": 0.05}
"""silence after a sentence, by how it ends: a paragraph, a punctuation mark, or nothing where it was divided"""


@dataclass(frozen=True)
class Sentence:
    """A text to be spoken in one go."""

    text: str
    """in spoken form"""
    pause_s: float
    """silence before the next one; 0 after the last"""


def split_sentences(text: str) -> list[Sentence]:
    """The spoken form of a text, in sentences of at most `MAX_SENTENCE_CHARACTERS`.

    The text is split after it is put into words, so that the dot of an abbreviation ends no sentence. Raises SynthesisError for
    a text without words, and for words or symbols that cannot be spoken.
    """
    found: list[tuple[str, str]] = []
    for line in text.splitlines():
        sentences = re.split(r"(?<=[.!?;])\s+", in_words(line))
        pieces = [piece for sentence in sentences for piece in _divide(sentence.strip()) if any(map(str.isalnum, piece))]
        found += [(piece, piece[-1] if piece[-1] in PAUSE_S else "") for piece in pieces]
        if pieces:
            found[-1] = (found[-1][0], "\n")
    if not found:
        raise SynthesisError("the text has no words", remedy="give a text with at least one word")
    return [Sentence(piece, PAUSE_S[end] if number + 1 < len(found) else 0.0) for number, (piece, end) in enumerate(found)]


def _divide(sentence: str) -> list[str]:
    pieces = []
    while len(sentence) > MAX_SENTENCE_CHARACTERS:
        at = sentence.rfind(", ", 0, MAX_SENTENCE_CHARACTERS) + 1 or sentence.rfind(" ", 0, MAX_SENTENCE_CHARACTERS)
        at = at if at > 0 else MAX_SENTENCE_CHARACTERS
        pieces.append(sentence[:at].strip())
        sentence = sentence[at:].strip()
    return [*pieces, sentence]


def left_out(text: str) -> tuple[str, ...]:
    """What is not spoken of a text, as problems to tell: its stage directions, such as `[laughs]`."""
    return tuple(f"{direction!r} is not spoken" for direction in directions(text))


def in_words(text: str) -> str:
    """The spoken form of a text. Raises SynthesisError, which names what cannot be spoken, and its script if that is why."""
    spoken = spoken_form(text)
    if not spoken.dropped:
        return spoken.text
    named = ", ".join(map(repr, spoken.dropped))
    scripts = sorted({script for part in spoken.dropped for script in map(_script, part) if script})
    if scripts:
        raise SynthesisError(
            f"cannot say {named}: that is {' and '.join(scripts)} script, and the voice speaks English",
            remedy="write it in Latin letters, or take it out",
        )
    raise SynthesisError(f"cannot say {named}", remedy="write it in words, or take it out")


def _script(character: str) -> str:
    """The script of a letter, such as 'Cyrillic'; "" for Latin letters and for what is no letter."""
    name = unicodedata.name(character, "").split() if character.isalpha() else []
    return "" if not name or name[0] == "LATIN" else {"CJK": "Chinese"}.get(name[0], name[0].capitalize())


def phone_ids(parts: Sequence[str], phonemizer: Phonemizer, phone_set: PhoneSet) -> tuple[int, ...]:
    """The phones of texts that follow one another, as one utterance.

    Raises SynthesisError if the last has no words, or for a word with a phone that is not in the phone set.
    """
    spoken = [in_words(part) for part in parts]
    phones = phonemizer.phonemize(spoken)
    if not phones[-1]:
        raise SynthesisError(f"there are no words in {parts[-1]!r}", remedy="give a text with at least one word")
    try:
        return phone_set.encode(" | ".join(part for part in phones if part))
    except UnknownPhone as error:
        words = sorted({word for part in spoken for word in part.split()})
        unknown = [
            word
            for word, sound in zip(words, phonemizer.phonemize(words), strict=True)
            if set(sound.split()) - phone_set.id_of.keys()
        ]
        raise SynthesisError(
            f"cannot say {', '.join(map(repr, unknown or spoken))}: the phone {error}",
            remedy="write the word as it sounds in English",
        ) from error
