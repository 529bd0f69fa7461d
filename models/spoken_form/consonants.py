"""Words without a vowel: sounds that people make, put as what is read right, and abbreviations that no rule knows.

Also those with a vowel that stand for one of several words.
"""

import re

from voxbeam.models.spoken_form.rule import Rule, choice, listed, rule

_SPOKEN = listed("""
    hmm psst tsk Tsk Hmm cwm lbs tbsp Ltd Mr Mrs Dr St
""")
"""those that espeak reads as words; it would spell every other"""
SIGNS_OF = re.compile(r"(?i)(?<![a-z])(?:m*h?m+|nth|ng)(?![a-z])")
SOUNDS: tuple[Rule, ...] = (
    rule(r"(?<![\w'-])(?:[Mm]+-[Hh]m+|[Mm]hm+)(?![\w'])", lambda m: "um hmm"),
    rule(r"(?<![\w'.-])(?<!\d )(?<!\bin )(?<!\bof )(?<!\bper )(?:[Mm]m+|[Hh]m+)(?![\w'])", lambda m: "hmm"),
    rule(r"(?<![\w'])[Nn]th\b", lambda m: "enth"),
    rule(r"(?<![\w'])Ng\b", lambda m: "Ing"),
)
_UNDECIDED = listed("""
    encl enc incl excl assoc elec resp dist gov
""")
"""abbreviations of one of several words: 'incl' of including and inclusive"""
_UNKNOWN = re.compile(
    rf"(?<![\w'-])(?!(?:{choice(_SPOKEN)}|[A-Z]s)\b)(?=\w*[a-z])[B-DF-HJ-NP-TV-XZb-df-hj-np-tv-xz]{{2,}}(?![\w'|])"
    rf"|(?<![\w'-])(?i:{choice(_UNDECIDED)})(?=\.(?:\s+[a-z0-9]|,))|^(?i:encl|enc)(?=[.:])"
)


def spelled(word: str) -> str:
    """A word letter by letter where it has no vowel, as behind a number: 'rc' of 1.0-rc1."""
    return word if re.search(r"(?i)[aeiouy]", word) else " ".join(word)


def without_unknown(text: str) -> tuple[str, list[str]]:
    """The text without words that would be spelled and that nobody spells, and those words: 'Lvl', 'yrs', 'shh', 'incl'."""
    unknown = _UNKNOWN.findall(text)
    return (_UNKNOWN.sub(" ", text), unknown) if unknown else (text, unknown)
