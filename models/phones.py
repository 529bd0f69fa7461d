"""Espeak: text to IPA phones through the espeak-ng library of a package, and the phone inventories that give phones their ids.

A phone is what espeak calls one; the stress marks ˈ and ˌ are tokens of their own before it, which keeps the inventory small
(a vowel is one phone, not three), and ` | ` stands between words. Punctuation is not kept: the model learns pauses from speech.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cache, cached_property

import espeakng_loader
from phonemizer.backend import EspeakBackend
from phonemizer.backend.espeak.wrapper import EspeakWrapper
from phonemizer.separator import Separator

from voxbeam.assets import PHONES

INVENTORIES = PHONES
SPECIALS = ("<pad>", "|", "ˈ", "ˌ")
"""first tokens of every inventory, ids 0 to 3"""
_SEPARATOR = Separator(phone=" ", word=" | ")


class UnknownPhone(ValueError):
    """A phone outside the inventory; the message names it."""


@dataclass(frozen=True)
class Inventory:
    """The phones of a voice; a phone's id is its place. Ids never change within a version, and later ones only append."""

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
        """Ids of phones that are separated by blanks. Raises UnknownPhone."""
        try:
            return tuple(self.id_of[phone] for phone in phones.split())
        except KeyError as error:
            raise UnknownPhone(f"{error.args[0]!r} is not in the phone inventory of {self.voice}") from None

    def decode(self, ids: tuple[int, ...]) -> str:
        """Phones of ids, separated by blanks."""
        return " ".join(self.phones[i] for i in ids)


@cache
def load_inventory(voice: str, version: int = 1) -> Inventory:
    """The inventory of an espeak-ng voice. Raises FileNotFoundError, naming the remedy, where the voice has none."""
    path = INVENTORIES / f"{voice}.v{version}.json"
    if not path.is_file():
        raise FileNotFoundError(f"no phone inventory {path.name} in assets/phones; make one with tools/build_phones.py")
    content = path.read_bytes()
    tree = json.loads(content)
    return Inventory(voice=tree["voice"], version=tree["version"], phones=tuple(tree["phones"]), content=content)


def open_backend(voice: str) -> EspeakBackend:
    """The espeak-ng backend of a voice; open it once per process. Raises RuntimeError for a voice that espeak does not know."""
    _use_packaged_library()
    return EspeakBackend(voice, with_stress=True, language_switch="remove-flags", words_mismatch="ignore")


def espeak_version() -> str:
    """Version of the espeak-ng library, such as '1.52.0': another one may give other phones."""
    _use_packaged_library()
    return ".".join(map(str, EspeakBackend.version()))


def phonemize(backend: EspeakBackend, texts: list[str]) -> list[str]:
    """IPA phones of each normalised text, separated by blanks, words by ` | `; in one call. A text without words gives ''.

    Pass texts through `text_normalization.normalize_text` first: espeak ends a sentence at the dot of an abbreviation.
    """
    said = [i for i, text in enumerate(texts) if any(map(str.isalpha, text))]
    phones = backend.phonemize([texts[i] for i in said], separator=_SEPARATOR, strip=True) if said else []
    of = dict(zip(said, map(_tokens, phones), strict=True))
    return [of.get(i, "") for i in range(len(texts))]


def _tokens(phones: str) -> str:
    """Phones with stress marks set apart, and no empty words."""
    words = (re.sub(r"([ˈˌ])", r" \1 ", word).split() for word in phones.split("|"))
    return " | ".join(" ".join(word) for word in words if word)


def _use_packaged_library() -> None:
    EspeakWrapper.set_library(espeakng_loader.get_library_path())
    EspeakWrapper.set_data_path(espeakng_loader.get_data_path())
