"""Numbers: digits as words. Every function takes digits as they are written and returns lower-case words without hyphens."""

from functools import lru_cache

from num2words import num2words

LONGEST = 15
"""digits of a whole number that is read as a number; a longer one is read digit by digit"""
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@lru_cache(maxsize=20_000)
def cardinal(digits: str) -> str:
    """'260' → 'two hundred and sixty'. A number with a leading zero, or a very long one, is read digit by digit."""
    if len(digits) > LONGEST or (digits[0] == "0" and len(digits) > 1):
        return spell(digits)
    return str(num2words(int(digits))).replace("-", " ").replace(",", "")


@lru_cache(maxsize=5_000)
def ordinal(digits: str) -> str:
    """'21' → 'twenty first'."""
    if len(digits) > LONGEST:
        return spell(digits)
    return str(num2words(int(digits), to="ordinal")).replace("-", " ").replace(",", "")


def spell(digits: str, zero: str = "zero") -> str:
    """'209' → 'two zero nine'."""
    return " ".join(zero if digit == "0" else _DIGITS[int(digit)] for digit in digits)


def number(written: str) -> str:
    """'1,234.50' → 'one thousand two hundred and thirty four point five zero'."""
    whole, point, decimals = written.replace(",", "").partition(".")
    words = cardinal(whole) if whole else ""
    return f"{words} point {spell(decimals)}".strip() if point else words


def year(digits: str) -> str:
    """'1945' → 'nineteen forty five', '1908' → 'nineteen oh eight', '2005' → 'two thousand and five'."""
    century, rest = digits[:-2], digits[-2:]
    if digits.startswith("0") or len(digits) != 4:
        return cardinal(digits)
    if rest == "00":
        return cardinal(digits) if century[1] == "0" else f"{cardinal(century)} hundred"
    if rest[0] == "0":
        return cardinal(digits) if century[1] == "0" else f"{cardinal(century)} oh {cardinal(rest[1])}"
    return f"{cardinal(century)} {cardinal(rest)}"


def code(digits: str) -> str:
    """The number of a flight, a room or a product: '747' → 'seven forty seven', '101' → 'one oh one', '90210' → by digits."""
    if len(digits) <= 2 or (len(digits) == 3 and digits.endswith("00")):
        return spell(digits, "oh") if digits[0] == "0" else cardinal(digits)
    if digits[0] == "0" or len(digits) > 4:
        return spell(digits, "oh")
    if len(digits) == 4:
        return year(digits)
    return f"{cardinal(digits[0])} {'oh ' + cardinal(digits[2]) if digits[1] == '0' else cardinal(digits[1:])}"


def two_digits(digits: str) -> str:
    """Minutes or a short year: '05' → 'oh five', '30' → 'thirty'."""
    return f"oh {cardinal(digits[1])}" if digits[0] == "0" else cardinal(digits)


def plural(words: str) -> str:
    """'eighty' → 'eighties', 'six' → 'sixes'."""
    if words.endswith("y"):
        return words[:-1] + "ies"
    return words + ("es" if words.endswith(("x", "s")) else "s")


def fraction(top: str, bottom: str) -> str:
    """'1', '2' → 'one half'; '3', '4' → 'three quarters'."""
    name = {"2": "half", "4": "quarter"}.get(bottom) or ordinal(bottom)
    many = "halves" if name == "half" else plural(name)
    return f"{cardinal(top)} {name if top == '1' else many}"


def mixed(whole: str, top: str, bottom: str) -> str:
    """'2', '1', '2' → 'two and a half'."""
    words = fraction(top, bottom)
    return f"{cardinal(whole)} and {with_article('a ', words[4:]) if top == '1' else words}"


def with_article(article: str, words: str) -> str:
    """'a ', 'eighth' → 'an eighth'; an article that is one already, or another word, stays."""
    return f"{article.rstrip()}n {words}" if article.strip().lower() == "a" and words.startswith("e") else article + words
