"""Measures: numbers with units, degrees and percent, alone, in ranges, and before a noun."""

import re

from voxbeam.models.spoken_form.numbers import fraction, mixed, number
from voxbeam.models.spoken_form.rule import NUMBER, Rule, choice, rule

_PREFIXED = {
    "m": ("meter", "n μ m c d k"), "g": ("gram", "n μ m k"), "L": ("liter", "μ m c d"), "l": ("liter", "m c d"),
    "W": ("watt", "m k M G T"), "Wh": ("watt hour", "k M G T"), "V": ("volt", "μ m k"), "Hz": ("hertz", "k M G T"),
    "B": ("byte", "k K M G T P"), "bps": ("bit per second", "k K M G T"), "b/s": ("bit per second", "k M G"),
    "Pa": ("pascal", "h k M"), "J": ("joule", "k M"), "s": ("second", "n μ m"), "Ah": ("amp hour", "m"),
    "cal": ("calorie", "k"), "bar": ("bar", "m"), "N": ("newton", "k"), "eV": ("electron volt", "k M G"),
    "Sv": ("sievert", "μ m"), "Bq": ("becquerel", "k M"), "mol": ("mole", "m μ"), "ohm": ("ohm", "k"), "Ω": ("ohm", "k M"),
    "A": ("amp", "m μ"), "px": ("pixel", "M"), "F": ("farad", "μ n"),
}  # fmt: skip
_PREFIXES = {
    "n": "nano", "μ": "micro", "m": "milli", "c": "centi", "d": "deci", "h": "hecto", "k": "kilo", "K": "kilo", "M": "mega",
    "G": "giga", "T": "tera", "P": "peta",
}  # fmt: skip
_PLAIN = {
    "m": "meter", "g": "gram", "L": "liter", "l": "liter", "W": "watt", "V": "volt", "Hz": "hertz", "Wh": "watt hour",
    "h": "hour", "ft": "foot", "yd": "yard", "yds": "yard", "mi": "mile", "lb": "pound", "lbs": "pound", "oz": "ounce",
    "gal": "gallon", "qt": "quart", "tsp": "teaspoon", "tbsp": "tablespoon", "min": "minute", "mins": "minute", "hr": "hour",
    "hrs": "hour", "sec": "second", "secs": "second", "mph": "mile per hour", "kph": "kilometer per hour",
    "kmh": "kilometer per hour", "m/s^2": "meter per second squared", "m/s2": "meter per second squared",
    "km/h": "kilometer per hour", "mpg": "mile per gallon", "rpm": "revolution per minute", "bpm": "beat per minute",
    "fps": "frame per second", "dpi": "dot per inch", "psi": "pound per square inch", "ppm": "part per million",
    "ppb": "part per billion", "dB": "decibel", "dBA": "decibel", "cc": "C C", "ha": "hectare", "mcg": "microgram",
    "cal": "calorie", "hp": "horsepower", "px": "pixel", "Pa": "pascal", "Ω": "ohm", "Bq": "becquerel", "wk": "week",
    "wks": "week", "yr": "year", "yrs": "year", "mo": "month", "mos": "month", "fl oz": "fluid ounce", "fl. oz": "fluid ounce",
    "Å": "angstrom", "eV": "electron volt", "mol": "mole", "mmHg": "millimeter of mercury", "kt": "knot", "kts": "knot",
    "kn": "knot", "in2": "square inch", "KB": "kilobyte", "lb-ft": "pound foot", "pp": "percentage point",
    "GiB": "gibibyte", "MiB": "mebibyte",
}  # fmt: skip
_UNITS = {p + unit: _PREFIXES[p] + name for unit, (name, ps) in _PREFIXED.items() for p in ps.split()} | _PLAIN
_SQUARED = ("m", "km", "cm", "mm", "ft", "mi", "yd", "in")
_UNITS |= {f"{symbol}{power}": f"{word} {_UNITS.get(symbol, 'inch')}" for symbol in _SQUARED for word, powers in
           (("square", ("2", "^2")), ("cubic", ("3", "^3"))) for power in powers}  # fmt: skip
_UNITS |= {f"{short}{dot} {symbol}": f"{word} {_UNITS.get(symbol, 'inch')}" for symbol in _SQUARED for short, word in
           (("sq", "square"), ("cu", "cubic")) for dot in ("", ".")}  # fmt: skip
_SAME = ("horsepower", "C C")
_PER = _UNITS | {
    "s": "second", "h": "hour", "d": "day", "day": "day", "week": "week", "month": "month", "year": "year", "hour": "hour",
    "minute": "minute", "second": "second", "person": "person", "unit": "unit", "kg": "kilogram", "in": "inch", "night": "night",
}  # fmt: skip
_UNIT = rf"(?:{choice(list(_UNITS))})"
_QUANTITY = rf"(?:(?P<whole>\d{{1,4}})[ -])?(?<![\d/])(?P<top>\d{{1,3}})/(?P<bottom>[1-9]\d{{0,2}})|(?P<amount>{NUMBER})"
_ARTICLE = r"(?P<article>\b[Aa]n?\s+)?"
_LOW = rf"(?:(?<![\w/.-])(?P<low>{NUMBER})\s?(?:-|(?P<by>[x×])|±)\s?)?"
_NOUN = re.compile(
    r" (?:race|run|dash|sprint|relay|swim|hurdles|freestyle|butterfly|radius|film|gun|lens|camera|pistol|rifle|"
    r"bullets?|bag|bottle|can|"
    r"jar|box|screen|card|battery|engine|bulb|motor|limit|zone|tank|trip|ride|climb|ladder|board|drive|cable|pipe|speed limit)\b"
)
"""what a measure stands before in the singular"""
_ABBREVIATION_DOT = r"(?:\.(?=\s+[a-z0-9]|\s*[,;)]))?"


def _amount(match: re.Match[str]) -> tuple[str, bool]:
    """The words of a quantity, and whether it is one."""
    if match["top"]:
        whole, top, bottom = match["whole"], match["top"], match["bottom"]
        return (mixed(whole, top, bottom), False) if whole else (fraction(top, bottom), True)
    return number(match["amount"]), match["amount"] == "1"


def _counted(name: str, one: bool) -> str:
    if one or name in _SAME or name.endswith("hertz"):
        return name
    first, per, second = name.partition(" per ")
    if first.endswith(" of mercury"):
        return "millimeters of mercury"
    return (first[:-4] + "feet" if first.endswith("foot") else first + ("es" if first.endswith("inch") else "s")) + per + second


def _unit(match: re.Match[str]) -> str:
    words, one = _amount(match)
    low = f"{number(match['low'])} {'by' if match['by'] else 'to'} " if match["low"] else ""
    single = bool(match["article"] or match["joint"] == "-" or (one and not low) or _NOUN.match(match.string, match.end()))
    per = "".join(f" per {_PER[each]}" for each in match["per"].split("/")) if match["per"] else ""
    return f"{match['article'] or ''}{low}{words} {_counted(_UNITS.get(match['unit'], 'second'), single)}{per}"


def _feet(match: re.Match[str]) -> str:
    one = match["feet"] == "1" or match["article"] or match["joint"]
    return f"{match['article'] or ''}{number(match['feet'])} {'foot' if one else 'feet'}"


_SIZED = re.compile(
    r" (?!(?:wide|long|tall|deep|thick|high|of|by|and|or|in|apart|from|to|above|below|away|off|is|was|at)\b)[a-z]{3,}"
)


def _inches(match: re.Match[str]) -> str:
    if len(re.findall(r'(?<!\d)"', match.string[: match.start()])) % 2:
        return match[0]  # it closes a quotation
    if match["top"]:
        whole, top, bottom = match["whole"], match["top"], match["bottom"]
        single = not whole or _SIZED.match(match.string, match.end())
        words = mixed(whole, top, bottom) if whole else fraction(top, bottom)
        return f"{match['article'] or ''}{words} inch{'' if single else 'es'}"
    one = match["article"] or match["amount"] == "1" or _SIZED.match(match.string, match.end())
    return f"{match['article'] or ''}{number(match['amount'])} inch{'' if one else 'es'}"


def _degrees(match: re.Match[str]) -> str:
    low = f"{number(match['low'])} to " if match["low"] else ""
    one = (match["amount"] == "1" and not low) or match["article"] or match["joint"]
    scale = {"C": " Celsius", "F": " Fahrenheit"}.get(match["scale"] or "", "")
    return f"{match['article'] or ''}{low}{number(match['amount'])} degree{'' if one else 's'}{scale}"


_SIZES = (
    r"(\b(?:[Mm]easure[sd]?|wide|long|tall|thick|deep|high|boards?|length|width|height|depth|diameter|radius|rain|snow|[Aa]bout|"
    r"by|x|×)\b(?: (?:is|was|of|by|only|about|exactly|at)\b){0,3} ?(?:\d[\d./ ]{0,9}(?:x|×|by|-|to) ?)?)"
)
"""what tells that a number is one of inches"""
SIGNS_OF = re.compile(rf"\d\s?(?:[-]?(?:{_UNIT}|s|in\.)(?![A-Za-z])|[°%‰'\"]|(?:feet|foot) \d)")
_DIRECTIONS = {"N": " north", "S": " south", "E": " east", "W": " west"}
RULES: tuple[Rule, ...] = (
    rule(
        r"""(?<=\d)°\s?(\d{1,2})'(?:\s?(\d{1,2}(?:\.\d+)?)(?:"|''))?(?:\s?([NSEW])\b)?""",
        lambda m: (
            f" degrees {number(m[1])} minutes" + (f" {number(m[2])} seconds" if m[2] else "") + _DIRECTIONS.get(m[3] or "", "")
        ),
    ),
    rule(r"(?<=\d)°\s?([NSEW])\b", lambda m: f" degrees{_DIRECTIONS[m[1]]}"),
    rule(r"(?<![\w.,])(\d+\.\d+)s\b", lambda m: f"{number(m[1])} seconds"),
    rule(
        r"""\b(\d{1,2})(?:\s?'\s?|\s?(?:ft|feet|foot)\.?\s)(\d{1,2}(?:\.\d+)?)(?:"|''|\s?in(?:ches)?\b\.?)""",
        lambda m: f"{number(m[1])} foot {number(m[2])}",
    ),
    rule(
        r"""(?<![\w'])(\d{1,2})'\s?(1[01]|\d)[ -]([1-9])/(\d{1,2})(?:"|'')?""",
        lambda m: f"{number(m[1])} foot {mixed(m[2], m[3], m[4])}",
    ),
    rule(r"(?<=\d\.\d)(\d*) ?K\b(?!\w)", lambda m: f"{m[1]} kelvin"),
    rule(r"(?<![\w'])([3-8])'(1[01]|\d)(?![\w'\"])", lambda m: f"{number(m[1])} foot {number(m[2])}"),
    rule(rf"({NUMBER})\s?in\.(?=\s+[a-z]|\s*[,;)])", lambda m: f"{number(m[1])} inch{'' if m[1] == '1' else 'es'}"),
    rule(
        rf"{_SIZES}(?:(\d{{1,3}}) ([1-9])/(\d{{1,2}})|({NUMBER})) ?in\.(?=\s*$)",
        lambda m: f"{m[1]}{mixed(m[2], m[3], m[4]) if m[2] else number(m[5])} inch{'' if m[5] == '1' else 'es'}.",
    ),
    rule(r"(?<=\d) ?in\.(?=\s*$)", lambda m: " in|."),  # inches, or the word: named
    rule(r"(\d[\d.]*\s?(?:'|\"|[a-z]{1,2}))\s?[x×]\s?(?=\d)", lambda m: f"{m[1]} by "),
    rule(rf"{_ARTICLE}(?<![\w'])(?:{_QUANTITY})\"(?!\w)", _inches),
    rule(
        r"(?<=\d)(\s?(?:%|°[CF]?|'|\"|[A-Za-zμ]{1,3}))\s?-\s?(?=\d+(?:\.\d+)?\s?(?:%|°|'|\"|[a-zμ]))",
        lambda m: f"{m[1].rstrip()} to",
    ),
    rule(
        rf"{_ARTICLE}{_LOW}(?:{_QUANTITY})(?P<joint>[ -]?)(?P<unit>{_UNIT}|(?<= )s){_ABBREVIATION_DOT}(?:/"
        rf"(?P<per>(?:{choice(list(_PER))})(?:/(?:{choice(list(_PER))}))*))?(?![\w'^²/-]|\.\d)",
        _unit,
    ),
    rule(rf"(?<=\d)(\s?{_UNIT})/(?=\w)", lambda m: f"{m[1]}|"),  # per what is not known: the word is named
    rule(rf"{_ARTICLE}{_LOW}(?P<amount>{NUMBER})\s?°\s?(?:(?P<scale>[CF])\b)?(?P<joint>-(?=[a-z]))?", _degrees),
    rule(
        r"(?:(\d+)[ -])?(?<![\d/.])(\d+)/([1-9]\d{0,3})\s?%",
        lambda m: f"{mixed(*m.groups()) if m[1] else fraction(m[2], m[3])} percent",
    ),
    rule(rf"{_LOW}({NUMBER})\s?%", lambda m: (f"{number(m['low'])} to " if m["low"] else "") + f"{number(m[3])} percent"),
    rule(rf"{_LOW}({NUMBER})\s?‰", lambda m: (f"{number(m['low'])} to " if m["low"] else "") + f"{number(m[3])} per mille"),
    rule(rf"""{_ARTICLE}(?P<joint>(?!))?(?<![\w'])(?P<feet>\d{{1,3}})'(?=[\s,.;:?!)]|$)""", _feet),
)
