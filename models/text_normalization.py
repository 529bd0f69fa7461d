"""Spoken text: written English as it is read aloud. Numerals, money, ordinals, years and abbreviations become words."""

import re
import unicodedata
from decimal import Decimal

from num2words import num2words

_TITLES = {
    "dr": "doctor", "mr": "mister", "mrs": "missus", "ms": "miz", "prof": "professor", "capt": "captain", "col": "colonel",
    "gen": "general", "lt": "lieutenant", "sgt": "sergeant", "rev": "reverend", "hon": "honorable", "gov": "governor",
    "sen": "senator", "rep": "representative", "jr": "junior", "sr": "senior", "vs": "versus", "etc": "et cetera",
    "mt": "mount", "ft": "fort", "dept": "department", "vol": "volume",
}  # fmt: skip
_CURRENCIES = {"$": ("dollar", "cent"), "€": ("euro", "cent"), "£": ("pound", "penny"), "¥": ("yen", "")}
_MANY = {"penny": "pence", "yen": "yen"}
_SIGNS = {
    "&": " and ",
    "%": " percent ",
    "+": " plus ",
    "=": " equals ",
    "@": " at ",
    "°": " degrees ",
    "‰": " per mille ",
}
_NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+"
_SCALE = r"(?:\s+(hundred|thousand|million|billion|trillion))?\b"
_LONGEST = 15
"""digits of a number that is read as a number; a longer one is read digit by digit"""


def normalize_text(text: str) -> str:
    """A text as it is spoken: no digits, no signs, no bracketed asides; letters, apostrophes and `,.?!;:-` between words stay.

    English only. A year is a bare number from 1100 to 2099 (but 2000 to 2009, which are read as numbers).
    """
    text = unicodedata.normalize("NFKC", text).replace("’", "'").replace("‘", "'").replace("–", "-").replace("—", ", ")
    text = re.sub(r"\[[^\]]*\]|\([^)]*\)|<[^>]*>|\*[^*]*\*|[♪♫]", " ", text)
    text = re.sub(r"\bSt\.(?=\s+[A-Z])", "saint", text)
    text = re.sub(r"\bst\.", "street", text, flags=re.IGNORECASE)
    text = re.sub(rf"\b({'|'.join(_TITLES)})\.", lambda m: _TITLES[m[1].lower()], text, flags=re.IGNORECASE)
    text = re.sub(r"\b[Nn]o\.\s*(?=\d)", "number ", text)
    text = re.sub(rf"([$€£¥])\s*({_NUMBER}){_SCALE}", _money, text)
    text = re.sub(r"(\d[\d,]*)(?:st|nd|rd|th)\b", lambda m: _words(m[1].replace(",", ""), "ordinal"), text)
    text = re.sub(r"\b(1[1-9]|20)(\d)0s\b", lambda m: _plural(_words(f"{m[1]}{m[2]}0", "year")), text)
    text = re.sub(r"\b(\d{1,2}):(\d\d)\b", _time, text)
    text = re.sub(r"\b(?:1[1-9]\d\d|20\d\d)\b(?![.,]\d)", lambda m: _words(m[0], "year"), text)
    text = re.sub(_NUMBER, lambda m: f" {_words(m[0].replace(',', ''), 'cardinal')} ", text)
    text = "".join(_SIGNS.get(character, character) for character in text)
    text = "".join(_digit(character) for character in text)
    text = "".join(c if unicodedata.category(c)[0] in "LM" or c in "',.?!;:- " else " " for c in text)
    return re.sub(r"\s+([,.?!;:])", r"\1", re.sub(r"\s+", " ", text)).strip()


def _words(number: str, to: str) -> str:
    if len(number.split(".")[0]) > _LONGEST:
        return " ".join(num2words(int(digit)) for digit in number if digit.isdigit())
    value = Decimal(number) if "." in number else int(number)
    if to == "year" and 2000 <= value <= 2009:
        to = "cardinal"
    return str(num2words(value, to=to)).replace("-", " ").replace(",", "")


def _plural(words: str) -> str:
    return words[:-1] + "ies" if words.endswith("y") else words + "s"


def _money(found: re.Match[str]) -> str:
    unit, part = _CURRENCIES[found[1]]
    number = found[2].replace(",", "")
    whole, _, cents = number.partition(".")
    if found[3] or not part or len(cents) not in (0, 2):
        scale = f" {found[3]}" if found[3] else ""
        return f" {_words(number, 'cardinal')}{scale} {_counted(unit, 1 if number == '1' and not scale else 2)} "
    spoken = [(int(whole or 0), unit), (int(cents or 0), part)]
    named = [f"{_words(str(count), 'cardinal')} {_counted(name, count)}" for count, name in spoken if count]
    return f" {' and '.join(named) or f'zero {_counted(unit, 0)}'} "


def _counted(name: str, count: int) -> str:
    return name if count == 1 else _MANY.get(name, name + "s")


def _time(found: re.Match[str]) -> str:
    hour, minute = int(found[1]), int(found[2])
    spoken = "o'clock" if minute == 0 else ("oh " if minute < 10 else "") + _words(str(minute), "cardinal")
    return f"{_words(str(hour), 'cardinal')} {spoken}"


def _digit(character: str) -> str:
    """Digits of other scripts, and fractions that NFKC leaves, as a word."""
    value = unicodedata.numeric(character, None) if unicodedata.category(character)[0] == "N" else None
    if value is None:
        return character
    return f" {num2words(int(value) if value == int(value) else round(value, 3))} ".replace("-", " ")
