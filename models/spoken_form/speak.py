"""Speak: the rules in their order, each group only where a text has what it is about."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from voxbeam.models.spoken_form import abbreviations, codes, consonants, dates, formulas, measures, money, rewriting, roman, signs
from voxbeam.models.spoken_form.asides import without_asides
from voxbeam.models.spoken_form.characters import fold, without_left_over
from voxbeam.models.spoken_form.consonants import without_unknown
from voxbeam.models.spoken_form.numbers import number, spell
from voxbeam.models.spoken_form.rule import NUMBER, Rule, apply, rule

_NUMERAL = re.compile(
    r"[IVX]{2}|\b[A-Z][\w']* [IVX]\b|[IVXLCDM]{2}|\b[ivx]{2}|WW\d|"
    r"(?:type|phase|stage|class|grade|tier|category|level|act|scene|chapter) I\b"
)
_MONTH = "January|February|March|April|May|June|July|August|September|October|November|December"
_Stages = tuple[tuple[re.Pattern[str], Sequence[Rule]], ...]
"""what a text must have for the rules beside it to be tried, in the order in which they are tried"""
_FIRST: _Stages = (
    (re.compile(r"[@#/]|\.\w|localhost:"), codes.WEB),
    (rewriting.SIGNS_OF, rewriting.RULES),
    (abbreviations.SIGNS_OF, abbreviations.RULES),
    (_NUMERAL, roman.RULES),
)
_DIGITS: _Stages = (
    (re.compile(r"\d[eExX^*']|\d(?:st|nd|rd|th)\s?-|\.\d+/\d|\b(?:BC|CE|AD)"), signs.COMPOUND),
    (re.compile(r"\d{3}|\+\d"), codes.PHONES),
    (re.compile(r"[-−+][$€£¥₹]?\.?\d|[¢%€]\s?-"), signs.MINUS),
    (
        re.compile(rf"\d[/.:-]\d|\d\s?[aApP]\.?[mM]\b|\d(?:st|nd|rd|th|'?s|ers)\b|'\d|\b[123] [A-Z]|ho?u?rs\b|\b(?:{_MONTH})\b"),
        dates.RULES,
    ),
    (money.SIGNS_OF, money.RULES),
    (measures.SIGNS_OF, measures.RULES),
    (re.compile(r"\d\.\d|[vV]|[a-zA-Z] \d{3}"), codes.VERSIONS),
    (re.compile(r"[/^x×*<>~∼#§÷]"), signs.ARITHMETIC),
    (re.compile(r"\d-\d"), dates.YEAR_RANGES),
    (re.compile(r"\d\s?-|-'?\d"), signs.PAIRS),
    (re.compile(r"[A-Za-z]\d"), formulas.WITH_DIGITS),
    (re.compile(r"\d\(?[A-Za-z']|[A-Za-z]-?\d|\d{3}|\d [MBbt]"), codes.NUMBERS),
    (re.compile(r"\d{4}"), dates.YEARS),
    (re.compile(r"\d"), (rule(NUMBER, lambda m: number(m[0])),)),
)
_LAST: _Stages = (
    (re.compile(r"[a-zA-Z](?:Cl|[A-Z])\b"), formulas.COMMON),
    (re.compile(r"[A-Z][A-Z&#+♯]|PhD"), codes.CAPITALS),
    (consonants.SIGNS_OF, consonants.SOUNDS),
    (re.compile(r"[^\w\s',.?!;:\"()-]|_|[Α-ω]"), signs.SINGLE),
)


_BLANKS = re.compile(r"\s{2,}")
_DIGIT_RUN = re.compile(r"\d{32,}")
"""digits of no number that anyone says; the rules below would look through such a run once for each of its digits"""
_ROUNDS = 5
"""words that were set apart may make an abbreviation; one more round is the rule"""


@dataclass(frozen=True)
class SpokenForm:
    """A text as it is read aloud."""

    text: str
    """Latin letters, blanks, and `',.?!;:-`"""
    dropped: tuple[str, ...] = ()
    """the words and signs that could not be spoken, as they stood when the rules were done; they are not in `text`"""


@lru_cache(maxsize=1024)
def spoken_form(text: str) -> SpokenForm:
    """A text as it is read aloud, in American English. Any text is taken, and a spoken form is its own spoken form."""
    spoken, dropped = _spoken_once(text)
    before, rounds = text, 0
    while spoken != before and rounds < _ROUNDS:
        before, rounds = spoken, rounds + 1
        spoken = _spoken_once(spoken)[0]
    return SpokenForm(spoken, tuple(dropped))


def _spoken_once(text: str) -> tuple[str, list[str]]:
    if _BLANKS.search(text):
        text = _BLANKS.sub(lambda blanks: "\n" if "\n" in blanks[0] else " ", text)
    written, unknown = without_asides(_DIGIT_RUN.sub(lambda run: f" {spell(run[0])} ", fold(text)))
    written = _staged(_FIRST, written)
    if re.search(r"\d", written):
        written = _staged(_DIGITS, written)
    written, spelled = without_unknown(_staged(_LAST, written))
    spoken, left_over = without_left_over(written)
    return spoken, unknown + spelled + left_over


def _staged(stages: _Stages, text: str) -> str:
    for sign, rules in stages:
        if sign.search(text):
            text = apply(rules, text)
    return text
