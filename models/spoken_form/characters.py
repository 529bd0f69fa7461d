"""Characters: the two ends of the spoken form. Unicode to plain writing before the rules; what they left over after them."""

import re
import unicodedata

SILENT = frozenset("\"“”„«»‹›()[]¡¿™®℠*_•·♪♫♬♩´'’‘‛ʼʻ′″,.?!;:-‐‑‒–—―…")
"""characters that may go without a word: punctuation, quotes, parentheses, emphasis, marks of trade, bullets, music. Silent
too are blanks, control and format characters, and combining marks"""
LATIN = "A-Za-zÀ-ÖØ-öø-ÿŒœ"
"""letters that espeak reads in English; others of the Latin script lose their accents"""
_PLAIN = str.maketrans(
    {
        "’": "'", "‘": "'", "‛": "'", "ʼ": "'", "ʻ": "'", "′": "'", "´": "'",
        "″": '"', "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "‹": '"', "›": '"',
        "‐": "-", "‑": "-", "‒": "-", "–": "-", "﹣": "-", "－": "-", "—": " — ", "―": " — ", "…": "... ", "⁓": "~",
        "º": "°", "№": " No. ", "⁄": "/", "∕": "/", "µ": "μ", "™": " ", "®": " ", "℠": " ", "¡": " ", "¿": " ",
        "ı": "i", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ħ": "h", "Ħ": "H", "ŋ": "ng",
    }
)  # fmt: skip
_SUPERSCRIPTS = {"⁰": "0", "¹": "1", "²": "2", "³": "3", "⁻": "-", "⁺": "+"} | {chr(0x2070 + n): str(n) for n in range(4, 10)}
_NOT_DEGREES = re.compile(r"(?<![\d.,])([1-9])º(?!\s?[CFNSEW]\b)")
"""an ordinal of another language, most likely"""
_SUPERSCRIPT = re.compile(f"[{''.join(_SUPERSCRIPTS)}]+")
_LEFT_OVER = re.compile(rf"[^\s{LATIN}',.?!;:\"()—-]")
_NEAT = re.compile(r"(?:[A-Za-z]++(?:['-][A-Za-z]++)*+[,.?!;:]?+(?: |$))*+")
"""most texts: nothing in them is left over or to be tidied"""
_TIDY = (
    (re.compile(r"\s*—[\s—]*|\s-\s|\s*-{2,}\s*"), ", "),
    (re.compile(r"[\"()]"), " "),
    (re.compile(rf"(?<![{LATIN}'])-+|-+(?![{LATIN}'])|-{{2,}}"), " "),
    (re.compile(rf"(?<![{LATIN}.,?!;:-])'+(?![{LATIN}])|'{{2,}}"), " "),
    (re.compile(rf"([,;:!?]|(?<!\.)\.)(?=[{LATIN}])"), r"\1 "),
    (re.compile(r"\s+"), " "),
    (re.compile(r"\s+(?=[,.?!;:])"), ""),
    (re.compile(r"[,;:]+([,;:.?!])"), r"\1"),
    (re.compile(r"^[ ,.?!;:]+"), ""),
)


def fold(text: str) -> str:
    """Letters of other fonts and widths, dashes, quotes, digits of other scripts and vulgar fractions in their plain form."""
    if text.isascii():
        return text
    text = _NOT_DEGREES.sub(r"\1ª", text).translate(_PLAIN)
    text = _SUPERSCRIPT.sub(lambda run: "^" + "".join(_SUPERSCRIPTS[c] for c in run[0]), text)
    return "".join(map(_folded, unicodedata.normalize("NFC", text)))


def _folded(character: str) -> str:
    if character <= "ÿ" and character not in "\xad¼½¾" and character.isprintable():
        return character
    category = unicodedata.category(character)
    if category in ("Mn", "Mc", "Me", "Cf"):
        return ""
    if category[0] == "Z" or category == "Cc":
        return " "
    if category == "Nd":
        return str(unicodedata.digit(character))
    plain = unicodedata.normalize("NFKC", character)
    if category == "No" and "⁄" in plain:
        return f" {plain.replace('⁄', '/')}"
    if category == "No" and plain.isdigit() and not unicodedata.decomposition(character).startswith(("<sub>", "<super>")):
        return f" {plain} "  # a number in a circle
    if category == "Nl":
        return plain.upper()
    if len(plain) == 1 and plain not in "Œœ" and unicodedata.name(plain, "").startswith("LATIN"):
        return "".join(c for c in unicodedata.normalize("NFD", plain) if unicodedata.category(c) != "Mn")
    return plain


def without_left_over(text: str) -> tuple[str, list[str]]:
    """The text in the alphabet of the spoken form, and the words with a character outside it."""
    if _NEAT.fullmatch(text):
        return text.strip(), []
    dropped: list[str] = []
    if _LEFT_OVER.search(text):
        words = text.split()
        dropped = [word.strip(",.?!;:\"()'") for word in words if _LEFT_OVER.search(word)]
        text = " ".join(_LEFT_OVER.sub(" ", word) for word in words)
    for pattern, by in _TIDY:
        text = pattern.sub(by, text)
    return text.strip(), dropped
