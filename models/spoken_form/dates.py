"""Dates and times: of the calendar, of the clock, decades, and chapter and verse."""

import re

from voxbeam.models.spoken_form.numbers import cardinal, number, ordinal, plural, spell, two_digits, year
from voxbeam.models.spoken_form.rule import Rule, choice, listed, rule

_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_MONTH = f"(?:{choice(_MONTHS)})"
_BOOKS = listed("""
    Genesis Exodus Leviticus Numbers Deuteronomy Joshua Judges Ruth Samuel Kings Chronicles Ezra Nehemiah Esther Job
    Psalm Psalms Proverbs Ecclesiastes Songs Solomon Isaiah Jeremiah Lamentations Ezekiel Daniel Hosea Joel Amos
    Obadiah Jonah Micah Nahum Habakkuk Zephaniah Haggai Zechariah Malachi Matthew Mark Luke John Acts Romans
    Corinthians Galatians Ephesians Philippians Colossians Thessalonians Timothy Titus Philemon Hebrews James Peter
    Jude Revelation Revelations Surah Sura Quran Verse verse
""")
_SHORT_BOOKS = {
    "Gen": "Genesis", "Ex": "Exodus", "Lev": "Leviticus", "Deut": "Deuteronomy", "Ps": "Psalm", "Prov": "Proverbs",
    "Isa": "Isaiah", "Jer": "Jeremiah", "Matt": "Matthew", "Rom": "Romans", "Cor": "Corinthians", "Eph": "Ephesians",
    "Phil": "Philippians", "Heb": "Hebrews", "Rev": "Revelation",
}  # fmt: skip
_AMPM = r"(?:\s?(?P<half>[AaPp])\.?\s?[Mm]\b\.?(?!\w))"
_HOUR = r"(?<![\d:.,$€£])(?P<hour>[01]?\d|2[0-4])"
_CLOCK = rf"{_HOUR}:(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?(?!\d|:\d|\.\d){_AMPM}?"
_HALF_DAY = rf"{_HOUR}(?P<minute>(?!))?(?P<second>(?!))?{_AMPM}"
_YEAR = r"(?:1[0-9]|20|21)\d\d"


def _date(month: str, day: str, written_year: str | None) -> str:
    return f"{month} {ordinal(day)}" + (f", {_short_year(written_year)}" if written_year else "")


def _short_year(written: str) -> str:
    return year(written) if len(written) == 4 else two_digits(written)


def _named(match: re.Match[str]) -> str:
    until = f" to {ordinal(match['until'])}" if match["until"] else ""
    return f"{match['month']} {ordinal(match['day'])}{until}" + (f", {year(match['year'])}" if match["year"] else "")


def _day_first(match: re.Match[str]) -> str:
    return f"{match['the'] or 'the'} {ordinal(match['day'])} of {match['month']}" + (
        f" {year(match['year'])}" if match["year"] else ""
    )


def _numeric(match: re.Match[str]) -> str:
    """American order, month first, unless only the other order is possible; what is no date is read number by number."""
    first, second, written = int(match[1]), int(match[3]), match[4]
    if not (1 <= first <= 12 and 1 <= second <= 31) or match[2] == ".":
        first, second = second, first
    if not (1 <= first <= 12 and 1 <= second <= 31):
        return " ".join(map(cardinal, (match[1], match[3], match[4])))
    return _date(_MONTHS[first - 1], str(second), written)


def _iso(match: re.Match[str]) -> str:
    month, day = int(match[2] or match[4]), int(match[3] or match[5])
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return " ".join(spell(part, "oh") for part in match.groups() if part)
    return _date(_MONTHS[month - 1], str(day), match[1]) + (", " if match[0].endswith("T") else "")


def _month_day(match: re.Match[str]) -> str:
    return f"{match[1]} {_date(_MONTHS[int(match[2]) - 1], match[3], None)}"


def _time(match: re.Match[str]) -> str:
    hour, minute, half = match["hour"], match["minute"], match["half"]
    words = (
        two_digits(hour)
        if len(hour) == 2 and hour[0] == "0" and hour != "00" and minute and not half
        else cardinal(str(int(hour)))
    )
    if minute and minute != "00":
        words += f" {two_digits(minute)}"
    elif minute and not half:
        words = f"{cardinal(str(int(hour)))} o'clock" if 1 <= int(hour) <= 12 else f"{words} hundred"
    if match["second"] and match["second"] != "00":
        words = words.replace(" o'clock", "") + f" and {cardinal(str(int(match['second'])))} seconds"
    end = "." if half and match[0].endswith(".") and match.end() == len(match.string.rstrip()) else ""
    return f"{words} {half.upper()} M{end}" if half else words


def _verse(match: re.Match[str]) -> str:
    until = f" to {cardinal(match[4])}" if match[4] else ""
    return f"{match[1]} {cardinal(match[2])} {cardinal(match[3])}{until}"


def _decade(match: re.Match[str]) -> str:
    digits = match[1]
    if digits == "1000":
        return "thousands"
    if len(digits) == 4 and digits[1] + digits[2] != "00":
        return plural(year(digits))
    return plural(cardinal(digits)) if digits[0] != "0" else "two thousands"


RULES: tuple[Rule, ...] = (
    rule(r"(?<![\d/.-])(\d{4})(?:-(\d\d)-(\d\d)(?:T(?=\d\d:)|\b)|/(\d\d?)/(\d\d?)\b)(?![/-])", _iso),
    rule(r"(?<![\d/.-])(\d{1,2})([/.-])(\d{1,2})\2(\d{4}|(?<=/)\d\d)(?![\d/-]|\.\d)", _numeric),
    rule(
        r"\b([Oo]n|[Bb]y|[Uu]ntil|[Bb]efore|[Ss]ince|[Aa]fter|[Dd]ated|"
        r"(?:Sun|Mon|Tues|Wednes|Thurs|Fri|Satur)day,?) (?!9/11\b)(1[0-2]|0?[1-9])/(3[01]|[12]\d|"
        r"0?[1-9])(?![\d/%]|\.\d|\s+of\b)",
        _month_day,
    ),
    rule(
        rf"\b(?P<month>{_MONTH}) (?P<day>3[01]|[12]\d|0?[1-9])(?:st|nd|rd|th)?\b(?!:\d|/\d|[.,]\d|\s?(?:[ap]\.?m\b|"
        rf"%|percent|million))"
        rf"(?:\s?-\s?(?P<until>3[01]|[12]\d|[1-9])(?:st|nd|rd|th)?\b)?(?:,? (?P<year>{_YEAR})\b(?!:))?",
        _named,
    ),
    rule(
        rf"(?:\b(?P<the>[Tt]he) )?(?<![\d:.,/$-])\b(?P<day>3[01]|[12]\d|[1-9])(?:st|nd|rd|th)?(?: of)? "
        rf"(?P<month>{_MONTH})\b(?:,? (?P<year>{_YEAR})\b)?(?<!\d May)",
        _day_first,
    ),
    rule(rf"\b({_YEAR})/(\d\d)(?![\d/])", lambda m: f"{year(m[1])} {two_digits(m[2])}"),
    rule(rf"\b({choice(list(_SHORT_BOOKS))})\.? (?=\d+:\d)", lambda m: _SHORT_BOOKS[m[1]]),
    rule(
        r"\b([123]) (?=(?:Samuel|Kings|Chronicles|Corinthians|Thessalonians|Timothy|Peter|John) \d)",
        lambda m: ordinal(m[1]),
    ),
    rule(
        rf"\b({choice(_BOOKS)}) (\d{{1,3}}):(\d{{1,3}})\s?-\s?(\d{{1,3}}):(\d{{1,3}})\b",
        lambda m: f"{m[1]} {' '.join(map(cardinal, m.group(2, 3)))} to {' '.join(map(cardinal, m.group(4, 5)))}",
    ),
    rule(rf"\b({choice(_BOOKS)}) (\d{{1,3}}):(\d{{1,3}})(?:\s?-\s?(\d{{1,3}}))?\b", _verse),
    rule(r"(?<=\d)\s?-\s?(?=\d\d?:\d\d)|(?<=:\d\d)\s?-\s?(?=\d)|(?i:(?<=\d[ap]m)|(?<=\d [ap]m))\s?-\s?(?=\d)", lambda m: "to"),
    rule(r"\b(\d{1,2})\s?-\s?(?=\d{1,2}(?::\d\d)?\s?[AaPp]\.?\s?[Mm]\b)", lambda m: f"{cardinal(str(int(m[1])))} to"),
    rule(r"(?<![\d.,$€£])(1[0-2]|[1-9])\.([0-5]\d)(?=\s?[ap]\.?m\b)", lambda m: f"{m[1]}:{m[2]}"),
    rule(_CLOCK, _time),
    rule(_HALF_DAY, _time),
    rule(r"(?<![\d:.,])(\d{1,2}):([0-5]\d)(?::([0-5]\d))?(?:\.(\d+))?(?![\d:])", lambda m: _stopwatch(m)),
    rule(
        r"(?<![\w:.,])(?:(\d+)h(?:rs?)?\s?(\d+)m(?:ins?)?|(\d+)m(?:in)?(?=\s?\d+s))(?:\s?(\d+(?:\.\d+)?)s(?:ec)?)?\b",
        lambda m: _lasting((m[1], "hour"), (m[2] or m[3], "minute"), (m[4], "second")),
    ),
    rule(r"(?<![\d:.,])(\d{1,3}):(\d{1,6})(?![\d:]|\.\d)", lambda m: f"{cardinal(m[1])} to {cardinal(m[2])}"),
    rule(r"\b([01]\d|2[0-4])([0-5]\d) (?:hours|hrs)\b", lambda m: f"{_military(m[1], m[2])} hours"),
    rule(r"(?<=[a-z])-(?='?\d{2,4}'?s\b)", lambda m: " "),
    rule(r"(?<![\w.,$€£])'?(\d{3}0|\d0)'?s\b", _decade),
    rule(r"(?<![\w'])'?(\d\d)ers\b", lambda m: f"{cardinal(m[1]).rstrip('e')}ers"),
    rule(r"(?<![\w'])'(\d\d)\b(?!')", lambda m: two_digits(m[1])),
    rule(r"(?<![\d,.])(\d[\d,]*)(?:st|nd|rd|th)\b", lambda m: ordinal(m[1].replace(",", ""))),
)


def _military(hour: str, minute: str) -> str:
    return f"{two_digits(hour)} {'hundred' if minute == '00' else two_digits(minute)}"


def _lasting(*parts: tuple[str | None, str]) -> str:
    """Hours, minutes and seconds, those that there are."""
    return " ".join(f"{number(count)} {unit}{'' if count == '1' else 's'}" for count, unit in parts if count)


def _stopwatch(match: re.Match[str]) -> str:
    words = [cardinal(str(int(match[1]))), two_digits(match[2])]
    if match[3]:
        words.append(two_digits(match[3]))
    return " ".join(words) + (f" point {spell(match[4])}" if match[4] else "")


YEAR_RANGES: tuple[Rule, ...] = (
    rule(rf"\b({_YEAR})-({_YEAR}|\d\d)\b(?![-\d]|\.\d)", lambda m: f"{year(m[1])} to {_short_year(m[2])}"),
)
YEARS: tuple[Rule, ...] = (
    rule(
        r"\b([Ii]n|[Ss]ince|[Bb]y|[Ff]rom|[Uu]ntil|[Oo]f|[Yy]ear|[Bb]efore|[Aa]fter|[Aa]round|[Cc]irca|AD|"
        r"A D) (10\d\d)\b(?![.,]\d|-)(?! \w+s\b)",
        lambda m: f"{m[1]} {year(m[2])}",
    ),
    rule(r"(?<![\d.,-])(1[1-9]\d\d|20\d\d)\b(?![.,]\d)", lambda m: year(m[1])),
)
