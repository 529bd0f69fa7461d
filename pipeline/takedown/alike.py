"""Alike: names that a person reads as one, and a program as two: other cases, accents, blanks, letters of other scripts."""

from __future__ import annotations

import unicodedata

_LOOK_ALIKES = str.maketrans("аеорсухіјѕԁһкмтвнαορτυικνεβηχƖı01", "aeopcyxijsdhkmtbhaoptuikvebhxllol")
"""letters of other scripts, and digits, that look like Latin ones"""


def skeleton(name: str) -> str:
    """What names have in common that look alike."""
    plain = unicodedata.normalize("NFKD", name.casefold()).translate(_LOOK_ALIKES)
    return "".join(letter for letter in plain if letter.isalnum())
