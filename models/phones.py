"""Phones: the set that gives each phone of a language its id, and the interface of what turns text into phones.

Phones are strings of IPA symbols separated by blanks. The stress marks ˈ and ˌ are tokens of their own, which keeps the set small
(a vowel is one phone, not three), and ` | ` stands between words. Punctuation is dropped: the model learns pauses from speech.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Protocol

from voxbeam.assets import PHONES

SPECIALS = ("<pad>", "|", "ˈ", "ˌ")
"""first tokens of every phone set, ids 0 to 3"""


class UnknownPhone(ValueError):
    """A phone outside the phone set; the message names it."""


@dataclass(frozen=True)
class PhoneSet:
    """The phones of a voice; a phone's id is its position. Ids never change within a version, and later versions only append."""

    voice: str
    version: int
    phones: tuple[str, ...]
    content: bytes
    """the file as it ships with a release"""

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def id_of(self) -> dict[str, int]:
        return {phone: i for i, phone in enumerate(self.phones)}

    def encode(self, phones: str) -> tuple[int, ...]:
        """Ids of phones separated by blanks. Raises UnknownPhone."""
        try:
            return tuple(self.id_of[phone] for phone in phones.split())
        except KeyError as error:
            raise UnknownPhone(f"{error.args[0]!r} is not in the phone set of {self.voice}") from None

    def decode(self, ids: tuple[int, ...]) -> str:
        """Phones of ids, separated by blanks."""
        return " ".join(self.phones[i] for i in ids)


@cache
def load_phone_set(voice: str, version: int = 1) -> PhoneSet:
    """The phone set of an espeak-ng voice. Raises FileNotFoundError, naming the remedy, if the voice has none."""
    path = PHONES / f"{voice}.v{version}.json"
    if not path.is_file():
        raise FileNotFoundError(f"no phone set {path.name} in assets/phones; make one with tools/build_phones.py")
    content = path.read_bytes()
    tree = json.loads(content)
    return PhoneSet(voice=tree["voice"], version=tree["version"], phones=tuple(tree["phones"]), content=content)


class Phonemizer(Protocol):
    """A front end: text to phones. `open_phonemizer` is the only place that chooses one."""

    def phonemize(self, texts: Sequence[str]) -> list[str]:
        """Phones of each text in its spoken form. A text without words gives ''."""


def open_phonemizer(voice: str) -> Phonemizer:
    """The phonemizer of a voice; open it once per process. Raises RuntimeError for a voice that it does not know.

    Today that is espeak-ng through the package `phonemizer`. Both are under the GPL, version 3 or later (docs/licences.md), so
    only `models/espeak.py` imports them.
    """
    from voxbeam.models.espeak import EspeakPhonemizer

    return EspeakPhonemizer(voice)


def phonemizer_version() -> str:
    """Version of the library behind `open_phonemizer`, such as '1.52.0': another one may give other phones."""
    from voxbeam.models.espeak import espeak_version

    return espeak_version()
