"""Rewriting: writings of which the other rules would take only a part, put into one that they know or into words."""

import re

from voxbeam.models.spoken_form.numbers import cardinal, fraction, mixed, number, spell
from voxbeam.models.spoken_form.rule import Rule, choice, rule

_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_SHORT_MONTH = rf"(?:{choice([month[:3] for month in _MONTHS])}|Sept)"
_ITEMS = "ISBN|ISSN|ISMN|UPC|EAN|GTIN|IMEI|IBAN|VIN|EIN|SKU"
_COINS = {"zl": ("zloty", "zlotys"), "kr": ("krone", "kroner"), "Kc": ("koruna", "korunas"), "Kč": ("koruna", "korunas")}
_SHORT_TIMES = {"yr": "year", "mo": "month", "wk": "week", "hr": "hour", "min": "minute", "sec": "second"}
_DECIMALS = {"1/2": "5", "1/4": "25", "3/4": "75"}
_MEASURED = (
    r"\s?%|\s?(?:km|kg|cm|mm|ml|mg|km/h|°C?|L|l|m|g)\b|\s(?:liters?|meters?|kilo\w+|centi\w+|degrees|percent|million|billion)\b"
)


def _month(name: str) -> str:
    return next(month for month in _MONTHS if month.startswith(name[:3]))


def _characters(written: str) -> str:
    """Digits by name, letters in capitals, all else left out."""
    return " ".join(spell(c) if c.isdigit() else c.upper() for c in written if c.isalnum())


def _name(written: str) -> str:
    """The name of an identifier: initials but for two, which are said as words."""
    return written if written in ("SKU", "VIN") else " ".join(written)


def _object(match: re.Match[str]) -> str:
    """A DOI or a paper of arXiv: digits one by one, points and slashes named."""
    parts = re.findall(r"\d+|[A-Za-z]+|[./_-]", match[2])
    named = {".": "point", "/": "slash", "-": "dash", "_": "underscore"}
    first = "D O I" if match[1].lower() == "doi" else match[1]
    return f"{first} {' '.join(spell(p) if p.isdigit() else named.get(p, p) for p in parts)}"


def _amount(match: re.Match[str]) -> str:
    return f"{match[1]}{match[2] or '0'}.{_DECIMALS[match[3]]}{'0' if match[3] == '1/2' and not match[4] else ''}{match[4] or ''}"


def _coins(match: re.Match[str]) -> str:
    one, many = _COINS[match[2]]
    return f"{number(match[1])} {one if match[1] == '1' else many}"


SIGNS_OF = re.compile(r"\d|n!|\b(?:cf|[bd])\.|\+/-|\^|\bDOI\b|\bdoi\b|[A-Z][a-z]{2,3}\.?\s?-\s?[A-Z]|\b[fgh]\([a-z]\)")
RULES: tuple[Rule, ...] = (
    # identifiers, which are no numbers
    rule(
        rf"\b({_ITEMS})(?:-1[03])?(?: number| code| no\.)?(?: is)?:? ?((?:[A-Z]{{2}})?\d[\dXA-Z]*(?:[ -][\dX]+)*)\b",
        lambda m: f"{_name(m[1])} {_characters(m[2])}",
    ),
    rule(r"\b([Dd][Oo][Ii]):?\s?(10\.\d{4,9}/[\w./-]*\w)", _object),
    rule(r"\b(arXiv):?\s?(\d{4}\.\d{4,5}(?:v\d+)?)\b", _object),
    rule(r"\b([A-Z]{2}\d{2}(?: ?[0-9A-Z]{4}){3,7}(?: ?[0-9A-Z]{1,3})?)\b", lambda m: _characters(m[1])),
    rule(r"(?<![\w:])((?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2})(?![\w:])", lambda m: _characters(m[1])),
    # numbers
    rule(r"(?<![\w.,$€£-])([1-9]\d{0,2}(?: \d{3})* 000)(?![\w]| \d|[.,]\d)", lambda m: m[1].replace(" ", "")),
    rule(r"(?<![\w.,])(\d{1,3}(?:\.\d{3})+),(\d{1,2})(?![\d,])", lambda m: f"{m[1].replace('.', '')}.{m[2]}"),
    rule(
        r"(?<![\w:.,])(\d{1,3}):(\d{1,3}) ([1-9])/(\d{1,2})(?![\w/])",
        lambda m: f"{cardinal(m[1])} to {mixed(m[2], m[3], m[4])}",
    ),
    rule(
        r"(?<![\w:.,/])(?:(\d{1,3}) )?([1-9])/(\d{1,2}):(\d{1,3})(?![\w:/]|[.,]\d)",
        lambda m: f"{mixed(m[1], m[2], m[3]) if m[1] else fraction(m[2], m[3])} to {cardinal(m[4])}",
    ),
    rule(r"(?<![\w.,!])(\d{1,6}|n)!(?=\s?[=/*×÷+]|\s(?:is|equals|means)\b)", lambda m: f"{m[1]} factorial"),
    rule(r"(?<![\w.,!])(\d{1,6})!(?=\s[a-z])", lambda m: f"{m[1]}|"),  # a factorial, or a sentence in small letters: named
    rule(r"\b1-2(?= (?:punch|combo|combination|knockout)\b)", lambda m: "one two"),
    rule(r"\b([fgh])\(([a-z])\)(?=\s?=)", lambda m: f"{m[1]} of {m[2]}"),
    rule(r"(?<![\d,.])(\d{1,2}(?:,\d\d)+,\d{3})(?![\d,])", lambda m: f"{int(m[1].replace(',', '')):,}"),
    rule(rf"(?<![\w.,])(\d+),(\d{{1,2}})(?={_MEASURED})", lambda m: f"{m[1]}.{m[2]}"),
    rule(r"(?<![\w.,/])(\d*\.\d+)/(\d*\.\d+)(?![\w/]|\.\d)", lambda m: f"{number(m[1])} to {number(m[2])}"),
    rule(r"(?<![\d/.-])((?:\d+ )?[1-9]/\d{1,2})\s?-\s?(?=\d+(?: |/\d))", lambda m: f"{m[1]} to "),
    rule(r"(?<=\dst|\dnd|\drd|\dth)/(?=\d+(?:st|nd|rd|th)\b)", lambda m: " "),
    rule(r"\b[nN]°\s?(?=\d)", lambda m: "number "),
    rule(r"\+/-\s?(?=[\d$€£.])", lambda m: "±"),
    rule(r"[~∼]\s?(?=[$€£¥])", lambda m: "about "),
    rule(r"(?<=[A-Za-z)\]])\^(\d?)([-+])(?![\w^])", lambda m: f" {m[1]} {'plus' if m[2] == '+' else 'minus'}"),
    rule(r"#(?!\d+(?:st|nd|rd|th)\b)(?=\d+[A-Za-z]{2,})", lambda m: "hashtag "),
    # money
    rule(r"([$€£]\s?)(\d{1,3}(?:\.\d{3})+),(\d\d)(?!\d)", lambda m: f"{m[1]}{m[2].replace('.', '')}.{m[3]}"),
    rule(r"(?<=\d)\.-(?![\w-])", lambda m: ""),
    rule(r"([$€£])(?:(\d+) )?(1/2|1/4|3/4)(\s?(?:[kKMm]|bn|[mb]illion)\b)?", _amount),
    rule(
        r"(?<![\w.,])(\d+)s\.? (\d+)d\.?(?=\W|$)",
        lambda m: f"{cardinal(m[1])} shilling{'' if m[1] == '1' else 's'} {cardinal(m[2])} {'penny' if m[2] == '1' else 'pence'}",
    ),
    rule(r"(?<![\w.,])(\d[\d,]*(?:\.\d+)?) ?(zl|kr|Kc|Kč)\b(?:\.(?=\s*\S))?", _coins),
    # dates and times
    rule(r"\b(noon|midnight)\s?-\s?(?=\d)", lambda m: f"{m[1]} to "),
    rule(r"\b([ap]\.\s?m\.)\s?-\s?(?=\d)", lambda m: f"{m[1]} to "),
    rule(r"(?<![\w/.-])(0?[1-9]|1[0-2])/((?:19|20)\d\d)(?![\w/-]|\.\d)", lambda m: f"{_MONTHS[int(m[1]) - 1]} {m[2]}"),
    rule(r"(?<![\w:.,])([01]?\d|2[0-3])h([0-5]\d)(?!\w)", lambda m: f"{m[1]}:{m[2]}"),
    rule(r"(?<![\w'])(\d{1,2})'([0-5]\d)\"(\d{1,3})(?!\w)", lambda m: f"{m[1]}:{m[2]}.{m[3]}"),
    rule(rf"\b({_SHORT_MONTH})\.?\s?-\s?({_SHORT_MONTH})\b\.?", lambda m: f"{_month(m[1])} to {_month(m[2])}"),
    rule(r"(?<=\dst|\dnd|\drd|\dth) c\.(?=\s|$)", lambda m: " century"),
    (re.compile(r"(?<=\d)\s:\s(?=\d)"), lambda m: ":"),
    rule(r"(?<!\w)(at|by|until|till|@) (\d{1,2})p\b", lambda m: f"{m[1]} {m[2]} pm"),
    rule(r"\b((?:1[0-9]|20)\d\d)\s?-\s?(present|today|now)\b", lambda m: f"{m[1]} to {m[2]}"),
    rule(r"(?<![\w.])c\.?(?=(?:1[0-9]|20)\d\d\b)", lambda m: "circa "),
    rule(r"(?<![\w'])('\d\d)\s?-\s?(?='\d\d\b)", lambda m: f"{m[1]} to "),
    # measures
    rule(r"(?<=\d)\s?[Ll]/100\s?km\b", lambda m: " liters per one hundred kilometers"),
    rule(r"(?<=\d)\s?N·m\b", lambda m: " newton meters"),
    rule(r"(?<=\d) BTU/h\b", lambda m: " BTU per hour"),
    rule(r"(?<=\d) st (?=\d{1,2} lbs?\b)", lambda m: " stone "),
    rule(r"(?<=\d)\s?deg\.?(?:\s?([CF])\b)?(?:\.(?=\s*\S))?(?=\W|$)", lambda m: f"°{m[1] or ''}"),
    rule(r"(?<=\d)[ -]?(?:y/o|y\.o(?:\.(?=\s*\S))?)(?!\w)", lambda m: " years old"),
    rule(r"(?<=\d)-(yr|mo|wk|hr|min|sec)(?=-[a-z])", lambda m: f"-{_SHORT_TIMES[m[1]]}"),
    rule(r"(?<![\w.,)\]%°'\"-])(?<!\d )([-−]\d{1,3}(?:\.\d+)?)\s?([CF])\b(?![\w-])", lambda m: f"{m[1]}°{m[2]}"),
    # abbreviations before a number
    rule(r"(?<!\d )\b([Mm])in\. (?=\d)", lambda m: f"{m[1]}inimum "),
    rule(r"\bSte\. (?=\d)", lambda m: "Suite "),
    rule(r"\bb\. (?=1\d{3}\b|20\d\d\b)", lambda m: "born "),
    rule(r"\bd\. (?=1\d{3}\b|20\d\d\b)", lambda m: "died "),
    rule(r"\bcf\.(?=\s)", lambda m: "compare"),
)
