"""Signs: fractions, scores and ranges, arithmetic, and single signs that have a word."""

import re

from voxbeam.models.spoken_form.consonants import spelled
from voxbeam.models.spoken_form.numbers import cardinal, code, fraction, mixed, number, spell, with_article
from voxbeam.models.spoken_form.rule import NUMBER, Rule, listed, rule

_PARTS = frozenset(
    listed("""
    2 3 4 5 6 7 8 9 10 12 16 20 32 50 64 100 1000
""")
)
_SIGNS = {
    "&": "and", "%": "percent", "‰": "per mille", "+": "plus", "=": "equals", "@": "at", "°": "degrees", "±": "plus or minus",
    "×": "times", "÷": "divided by", "−": "minus", "≠": "is not equal to", "≤": "is at most", "≥": "is at least", "≈": "about",
    "∼": "about", "∞": "infinity", "√": "the square root of", "§": "section", "¶": "paragraph", "©": "copyright", "¢": "cents",
    "№": "number",
}  # fmt: skip
_GREEK_NAMES = listed("""
    alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma sigma tau upsilon phi chi psi
    omega
""")
_GREEK = dict(zip("αβγδεζηθικλμνξοπρςστυφχψω", _GREEK_NAMES, strict=True))
_SHORT = {
    "yr": "year", "mo": "month", "wk": "week", "hr": "hour", "min": "minute", "sec": "second", "kg": "kilogram", "lb": "pound",
    "mi": "mile", "gal": "gallon",
}  # fmt: skip
_POWERS = {"2": "squared", "3": "cubed"}


def _fraction(match: re.Match[str]) -> str:
    whole, top, bottom = match["whole"], match["top"], match["bottom"]
    if match["article"] and not whole and top == "1" and bottom in _PARTS:
        return with_article(match["article"], fraction(top, bottom)[4:])
    return (match["article"] or "") + _without_article(match)


def _without_article(match: re.Match[str]) -> str:
    whole, top, bottom = match["whole"], match["top"], match["bottom"]
    if whole:
        return mixed(whole, top, bottom)
    if (top, bottom) in (("24", "7"), ("9", "11"), ("7", "11")):
        return f"{cardinal(top)} {'eleven' if bottom == '11' else 'seven'}"
    if int(top) + int(bottom) == 100 and top > bottom and len(bottom) == 2:
        return f"{cardinal(top)} {cardinal(bottom)}"
    if top == bottom:
        return f"{cardinal(top)} {'out of ten' if top == '10' else cardinal(bottom)}"
    if match["time"]:
        return f"{cardinal(top)} {cardinal(bottom)} time"
    if bottom in _PARTS and int(top) < 2 * int(bottom) and top != "0":
        return fraction(top, bottom)
    if 1 <= int(top) <= 12 and 11 <= int(bottom) <= 31:
        return f"{cardinal(top)} {cardinal(bottom)}"  # a day of a month, most likely
    return f"{cardinal(top)} over {cardinal(bottom)}"


def _pair(match: re.Match[str]) -> str:
    """A range goes up; what goes down or stays is a score, or something else that is said without a word between."""
    first, second = match[1], match[2]
    if match["equals"]:
        return f"{number(first)} minus {number(second)} equals"
    if re.match(r"0\d", first) and first.isdigit() and second.isdigit():
        return f"{spell(first)} {spell(second)}"  # of an identifier
    low, high = (float(n.replace(",", "")) for n in (first, second))
    if (low < high and not _is_score(match)) or (first, second) == ("9", "5") or (second == "1" and "odds" in match.string):
        return f"{number(first)} to {number(second)}"
    return f"{number(first)} {'minus ' if ' ' in match[0] else ''}{number(second)}"


_SCORED = re.compile(
    r"\b(?:won|lost|beat|beaten|ended|finished|drew|tied|lead|leads|led|trail|trails|trailed|defeated|score|result|final)\b"
    r"(?: [\w']+){0,3},? (?:(?:\d+-\d+,?|and) )*$"
)
_PLAYED = re.compile(
    r"\s*(?:[.,;:!?)(]|$)|\s+(?:in|at|to|against|on|over|and|last|after|win|loss|lead|victory|defeat|draw|record|tie|upset)\b"
)
_GAME = re.compile(r" (?:loss|defeat|win|victory|draw|upset)\b(?! (?:rate|season|streak|team)s?\b)")
_NEAR = 60
"""characters before and behind a pair that may tell what it is"""
_OTHER_PAIRS = re.compile(r"(?<![\w.-])(\d{1,3})-(\d{1,3})(?=[,.;)]|\s+(?:\(|and )|$)")


def _is_score(match: re.Match[str]) -> bool:
    """Whether a pair that goes up is a score: behind a verb of games and before no noun, or among pairs that go down."""
    text = match.string
    if " " in match[0] or "." in match[0] or len(match[0]) > 7:
        return False
    if _GAME.match(text, match.end()):
        return True
    if _PLAYED.match(text, match.end()) and _SCORED.search(text[max(0, match.start() - _NEAR) : match.start()]):
        return True
    near = _OTHER_PAIRS.finditer(text, max(0, match.start() - _NEAR), match.end() + _NEAR)
    others = [(int(one[1]), int(one[2]), one.start(), one.end()) for one in near]
    return any(
        high < low and re.fullmatch(r"[\d\s,;()-]*(?:and)?[\d\s,;()-]*", text[min(start, match.end()) : max(end, match.start())])
        for low, high, start, end in others
    )


def _groups(match: re.Match[str]) -> str:
    """A countdown or a formation; with three digits or more in a group, an identifier."""
    groups = match[0].split("-")
    return " ".join(spell(group) if max(map(len, groups)) > 2 else cardinal(group) for group in groups)


def _power(match: re.Match[str]) -> str:
    base, power = match[1], match[2]
    if power in _POWERS:
        return f"{base} {_POWERS[power]}"
    return f"{base} to the power of {'minus ' if power[0] == '-' else ''}{cardinal(power.lstrip('-'))}"


def _scientific(match: re.Match[str]) -> str:
    minus = "minus " if match[2] in "-−" and match[2] else ""
    return f"{number(match[1])} times ten to the power of {minus}{cardinal(match[3])}"


def _hexadecimal(match: re.Match[str]) -> str:
    return f"zero x {' '.join(cardinal(c) if c.isdigit() else c.upper() for c in match[1])}"


COMPOUND: tuple[Rule, ...] = (
    rule(r"(?<![\w.])0[xX]([0-9A-Fa-f]{1,16})\b(?!\.\d)", _hexadecimal),
    rule(r"(?<![\w.,])(\d+(?:\.\d+)?)[eE]([-−+])(\d{1,3})(?![\w]|[.,]\d)", _scientific),
    rule(r"(?<![\w.,])(\d+\.\d+)[eE]()(\d{1,3})(?![\w]|[.,]\d)", _scientific),
    rule(r"(?<=\dst|\dnd|\drd|\dth)\s?-\s?(?=\d+(?:st|nd|rd|th)\b)", lambda m: " to "),
    rule(r"(?<![\w.,'])(\d{1,3}(?:'\d{3})+)(?![\w']|[.,]\d)", lambda m: m[1].replace("'", ",")),
    rule(r"(?<![\w.,/])(\d+\.\d+)/(\d+)(?![\w/]|[.,]\d)", lambda m: f"{number(m[1])} out of {number(m[2])}"),
    rule(r"\b(BC|BCE|CE|AD)\s?-\s?(?=AD\b|\d)", lambda m: f"{m[1]} to "),
    rule(r"(?<=\d )CE\b", lambda m: "C E"),
    rule(r"(?<![\w.])(\d+)x(?=\s?[-+*/=^])", lambda m: f"{number(m[1])} x"),
    rule(r"(?<![\w.^*])(\d+)(?:\^|\*\*)(-?\d{1,4})(?![\w]|[.,]\d)", _power),
)
"""numbers of several parts, of which no other rule may take one"""
MINUS: tuple[Rule, ...] = (
    rule(r"(thousand|[mbtr]illion)\s?-\s?(?=[$€£]?\d)", lambda m: f"{m[1]} to "),
    rule(r"(?<=[¢%€])\s?-\s?(?=[\d$€£])", lambda m: " to "),
    rule(r"([$€£¥])[-−](?=\.?\d)", lambda m: f"minus {m[1]}"),
    rule(r"(?<![\w.,)\]%°'\"^-])(?<!\d )(?<!\^\()[-−](?=[$€£¥₹]?\.?\d)", lambda m: "minus"),
    rule(r"(?<![\w.,)\]%°'\"+])\+(?=[$€£¥₹]?\.?\d)", lambda m: "plus"),
)
ARITHMETIC: tuple[Rule, ...] = (
    rule(r"(?<![\w^])(\d+|[A-Za-z]|\))\^\(?(-?\d{1,4})\)?(?!\d)", _power),
    rule(r"\b([A-Za-z]{2,})\^([23])(?!\d)", lambda m: f"{spelled(m[1])} {_POWERS[m[2]]}"),
    rule(
        rf"({NUMBER})\s?[x×]\s?(?={NUMBER}\s*=)|({NUMBER})\s[×*]\s(?=\d)|({NUMBER})\*(?=\d)",
        lambda m: f"{number(m[1] or m[2] or m[3])} times",
    ),
    rule(rf"({NUMBER})\s?[x×]\s?(?=10(?:\^| to the power))", lambda m: f"{number(m[1])} times "),
    rule(rf"({NUMBER})\s?[x×]\s?(?=\d)", lambda m: f"{number(m[1])} by"),
    rule(rf"({NUMBER})\s?/\s?(?={NUMBER}\s*=)", lambda m: f"{number(m[1])} divided by"),
    rule(
        r"(?<![\d/.,])(?P<article>\b[Aa]n?\s+)?(?:(?P<whole>\d{1,4})[ -])?(?<![\d/.])(?P<top>\d{1,4})/(?P<bottom>[1-9]\d{0,3})"
        r"(?:ths?|rds?|nds?)?(?![\d/]|\.\d|[A-Za-z])(?P<time> time\b)?",
        _fraction,
    ),
    rule(r"(?<=\d)\s?/\s?(?=(?:day|week|month|year|hour|minute|second|night|person|unit|kg|lb)\b)", lambda m: " per "),
    rule(r"[~∼](?=\s?[\d$€£])", lambda m: "about"),
    rule(r"#\s?(?=\d)", lambda m: "number"),
    rule(r"§§\s?", lambda m: "sections"),
)
PAIRS: tuple[Rule, ...] = (
    rule(r"\b([A-Z]{1,4})-(\d{3})(?![\w-]|[.,]\d)", lambda m: f"{' '.join(m[1])} {code(m[2])}"),
    rule(rf"(?<![\w-])({NUMBER})\s?-\s?({NUMBER})(?![\d-]|,\d|\.\d)(?P<equals>\s?=)?", _pair),
    rule(r"(?<![\w.])\d{1,12}(?:-\d{1,12}){2,}(?![\w.]\d)", _groups),
    rule(r"(?<=\d)((?:-[A-Za-z]+)+)", lambda m: " ".join(map(spelled, m[1].split("-")))),
    rule(r"(?<=[A-Za-z])-(?='?\d)", lambda m: " "),
)
SINGLE: tuple[Rule, ...] = (
    rule(r"(?<=[a-z])\s?/\s?(yr|mo|wk|hr|min|sec|kg|lb|mi|gal)\b", lambda m: f" per {_SHORT[m[1]]}"),
    rule(r"(?<=\w)>(?=\w)|(?<=\w)\s>\s(?=\w)", lambda m: " is greater than "),
    rule(r"(?<=\w)<(?=\w)|(?<=\w)\s<\s(?=\w)", lambda m: " is less than "),
    rule(r"(?<!\S)<\s?(?=[a-z])", lambda m: "less than "),
    rule(r"(?<!\S)>\s?(?=[a-z])", lambda m: "more than "),
    rule(r"(?<=[a-z])\s?/\s?(?=(?:day|week|month|year|hour|minute|second|night|person|unit)\b)", lambda m: "per"),
    rule(r"(?<=[A-Za-z])/(?=[A-Za-z])", lambda m: " "),
    rule(r"(?<![\w*])([A-Za-z])\^2(?!\d)", lambda m: f"{m[1]} squared"),
    rule(r"[&%‰+=@°±×÷−≠≤≥≈∼∞√§¶©¢]", lambda m: _SIGNS[m[0]]),
    rule(r"(?<![Α-Ωα-ωά-ώ])[Α-Ωα-ω](?![Α-Ωα-ωά-ώ])", lambda m: _GREEK.get(m[0].lower(), m[0])),
)
