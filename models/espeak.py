"""Espeak: text to IPA phones by the espeak-ng library, through the package `phonemizer`.

Both are under the GPL, version 3 or later; voxbeam itself is Apache-2.0. Nothing else in voxbeam imports them: a front end under
another license takes their place in `models.phones.open_phonemizer`.
"""

import logging
import re
from collections.abc import Sequence

import espeakng_loader
from phonemizer.backend import EspeakBackend
from phonemizer.backend.espeak.wrapper import EspeakWrapper
from phonemizer.separator import Separator

_LETTER_A = re.compile(
    r"\bA(?= (?:(?:and|or) [A-Z]|plus|minus|sharp|flat|[B-Z])\b(?!'))|(?<=\b[A-Z] )A\b(?!')|"
    r"(?<=[a-z] )A(?=[,.?!;:]|$| "
    r"(?:is|was|and|or|in|on|for|to|of|from|with|has|one|two|three|four|five|six|seven|eight|nine|ten)\b)"
)
"""the letter's name, which espeak-ng takes for the article: 'A T and T', 'N B A', 'vitamin A is'"""
_SEPARATOR = Separator(phone=" ", word=" | ")


class EspeakPhonemizer:
    """The `Phonemizer` of an espeak-ng voice. Raises RuntimeError for a voice that espeak-ng does not know."""

    def __init__(self, voice: str) -> None:
        _use_packaged_library()
        log = logging.getLogger(__name__)
        log.setLevel(logging.ERROR)  # it warns of texts that espeak-ng divides into other words, as it does "eigh T"
        self._backend = EspeakBackend(
            voice, with_stress=True, language_switch="remove-flags", words_mismatch="ignore", logger=log
        )

    def phonemize(self, texts: Sequence[str]) -> list[str]:
        """Phones of each text in its spoken form, in one call of the library. A text without words gives ''.

        Pass texts through `spoken_form.spoken_form` first: espeak-ng ends a sentence at the dot of an abbreviation.
        """
        spoken = [i for i, text in enumerate(texts) if any(map(str.isalpha, text))]
        written = [_LETTER_A.sub("eigh", texts[i]) for i in spoken]
        phones = self._backend.phonemize(written, separator=_SEPARATOR, strip=True) if spoken else []
        phones_of = dict(zip(spoken, map(_tokens, phones), strict=True))
        return [phones_of.get(i, "") for i in range(len(texts))]


def espeak_version() -> str:
    """Version of the espeak-ng library, such as '1.52.0'."""
    _use_packaged_library()
    return ".".join(map(str, EspeakBackend.version()))


def _tokens(phones: str) -> str:
    """Phones with stress marks set apart, and no empty words."""
    words = (re.sub(r"([ˈˌ])", r" \1 ", word).split() for word in phones.split("|"))
    return " | ".join(" ".join(word) for word in words if word)


def _use_packaged_library() -> None:
    EspeakWrapper.set_library(espeakng_loader.get_library_path())
    EspeakWrapper.set_data_path(espeakng_loader.get_data_path())
