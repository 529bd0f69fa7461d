"""Abbreviations: titles, streets, months, Latin, and initials with dots."""

import re

from voxbeam.models.spoken_form.numbers import spell
from voxbeam.models.spoken_form.rule import Rule, choice, rule

_TITLES = {
    "Dr": "doctor", "Mr": "mister", "Mrs": "missus", "Ms": "miz", "Prof": "professor", "Capt": "captain", "Cpt": "captain",
    "Col": "colonel", "Gen": "general", "Lt": "lieutenant", "Sgt": "sergeant", "Cpl": "corporal",
    "Pvt": "private",
    "Maj": "major", "Cmdr": "commander", "Cdr": "commander", "Adm": "admiral", "Rev": "reverend", "Hon": "honorable",
    "Gov": "governor",
    "Sen": "senator", "Rep": "representative", "Pres": "president", "Msgr": "monsignor", "Supt": "superintendent",
    "Mt": "mount", "Ft": "fort", "St": "saint", "Ste": "sainte", "Fr": "father", "Messrs": "messieurs", "Mme": "madame",
    "Brig": "brigadier", "Pfc": "private first class",
    "Jas": "James", "Thos": "Thomas", "Benj": "Benjamin", "Wm": "William", "Chas": "Charles", "Robt": "Robert",
    "Ens": "ensign", "Det": "detective", "Insp": "inspector", "Amb": "ambassador", "Atty": "attorney",
}  # fmt: skip
"""before a name"""
_BARE_TITLES = ("Dr", "Mr", "Mrs", "Ms", "Prof", "Lt", "Sgt", "Capt", "St", "Mt")
"""those that are written without a dot too"""
_STREETS = {
    "St": "street", "Dr": "drive", "Ave": "avenue", "Av": "avenue", "Blvd": "boulevard", "Rd": "road", "Ln": "lane",
    "Ct": "court", "Pl": "place", "Sq": "square", "Hwy": "highway", "Pkwy": "parkway", "Ter": "terrace", "Cir": "circle",
}  # fmt: skip
"""after a name"""
_ALWAYS = {
    "ca": "circa", "bldg": "building", "jr": "junior", "drs": "doctors", "sr": "senior", "vs": "versus", "etc": "et cetera",
    "viz": "namely", "dept": "department", "inc": "incorporated", "corp": "corporation", "ltd": "limited", "co": "company",
    "bros": "brothers", "esq": "esquire", "approx": "approximately", "govt": "government", "univ": "university",
    "assn": "association", "ave": "avenue", "blvd": "boulevard", "apt": "apartment", "vol": "volume", "mr": "mister",
    "mrs": "missus", "prof": "professor", "dr": "doctor", "capt": "captain", "lt": "lieutenant", "sgt": "sergeant",
    "ext": "extension", "misc": "miscellaneous", "hwy": "highway", "appt": "appointment", "tel": "telephone",
    "intl": "international", "natl": "national", "attn": "attention", "feb": "february", "apr": "april",
    "aug": "august", "sept": "september", "oct": "october", "nov": "november", "dec": "december", "tues": "tuesday",
    "thurs": "thursday", "thur": "thursday", "fri": "friday", "abbr": "abbreviation",
}  # fmt: skip
"""with a dot, anywhere"""
_WITH_NUMBER = {
    "vol": "volume", "fig": "figure", "figs": "figures", "p": "page", "pp": "pages", "pg": "page", "no": "number",
    "nos": "numbers", "c": "circa", "ch": "chapter", "chap": "chapter", "sec": "section", "eq": "equation", "ext": "extension",
    "apt": "apartment", "ver": "version", "col": "column", "rm": "room", "rte": "route", "est": "established",
}  # fmt: skip
"""with a dot, before a number"""
_WORDS_TOO = {"Art": "article", "Par": "paragraph", "Ex": "exercise"}
"""before a number, with a capital or behind a word that points: others end a sentence as the words that they are"""
_IN_LOWER_CASE = {"max": "maximum", "est": "established"}
"""with a dot, anywhere; with a capital they are a name, and a time zone"""
_CHAPTER = r"[Cc]h(?:apter|ap\.|\.) (?:\d{1,3}|[IVXLC]+),?"
_MONTHS = {
    "Jan": "January", "Feb": "February", "Mar": "March", "Apr": "April", "Jun": "June", "Jul": "July", "Aug": "August",
    "Sep": "September", "Sept": "September", "Oct": "October", "Nov": "November", "Dec": "December",
}  # fmt: skip
_DAYS = {
    "Mon": "Monday", "Tue": "Tuesday", "Tues": "Tuesday", "Wed": "Wednesday", "Thu": "Thursday", "Thur": "Thursday",
    "Thurs": "Thursday", "Fri": "Friday", "Sat": "Saturday", "Sun": "Sunday",
}  # fmt: skip
_STATES = {
    "AL": "Alabama", "AK": "Alaska", "AZ": "Arizona", "AR": "Arkansas", "CA": "California", "CO": "Colorado",
    "CT": "Connecticut", "DE": "Delaware", "FL": "Florida", "GA": "Georgia", "HI": "Hawaii", "ID": "Idaho", "IL": "Illinois",
    "IN": "Indiana", "IA": "Iowa", "KS": "Kansas", "KY": "Kentucky", "LA": "Louisiana", "ME": "Maine", "MD": "Maryland",
    "MA": "Massachusetts", "MI": "Michigan", "MN": "Minnesota", "MS": "Mississippi", "MO": "Missouri", "MT": "Montana",
    "NE": "Nebraska", "NV": "Nevada", "NH": "New Hampshire", "NJ": "New Jersey", "NM": "New Mexico", "NY": "New York",
    "NC": "North Carolina", "ND": "North Dakota", "OH": "Ohio", "OK": "Oklahoma", "OR": "Oregon", "PA": "Pennsylvania",
    "RI": "Rhode Island", "SC": "South Carolina", "SD": "South Dakota", "TN": "Tennessee", "TX": "Texas", "UT": "Utah",
    "VT": "Vermont", "VA": "Virginia", "WA": "Washington", "WV": "West Virginia", "WI": "Wisconsin", "WY": "Wyoming",
}  # fmt: skip
"""behind the name of a town and a comma"""
_SHORT_STATES = {
    "Ariz": "Arizona", "Calif": "California", "Colo": "Colorado", "Conn": "Connecticut", "Fla": "Florida", "Kans": "Kansas",
    "Mich": "Michigan", "Minn": "Minnesota", "Nebr": "Nebraska", "Okla": "Oklahoma", "Tenn": "Tennessee", "Wisc": "Wisconsin",
    "Wyo": "Wyoming", "Ont": "Ontario", "Sask": "Saskatchewan",
}  # fmt: skip
"""with a dot, behind the name of a town or inside a sentence"""
_BEHIND_TOWNS = _SHORT_STATES | {
    "Mass": "Massachusetts", "Ill": "Illinois", "Penn": "Pennsylvania", "Alta": "Alberta", "Ind": "Indiana", "Ore": "Oregon",
    "Tex": "Texas", "Ark": "Arkansas", "Wis": "Wisconsin", "Neb": "Nebraska", "Nev": "Nevada",
}  # fmt: skip
"""others are words and names too"""
_NAME = r"(?:[A-Z][\w'-]+|\d+(?:st|nd|rd|th))"
_STREET_END = r"(?=\s*$|\s+[a-z0-9]|\s*[,;:?!)]|\s+(?:Apt|Suite|Unit|N|S|E|W|NE|NW|SE|SW)\b)"


def _lower(match: re.Match[str], words: dict[str, str]) -> str:
    return words[match[1].lower()] + _end(match)


def _end(match: re.Match[str]) -> str:
    """The dot of an abbreviation that ends the text ends its sentence too."""
    return "." if match[0].endswith(".") and match.end() == len(match.string.rstrip()) else ""


def _letters(match: re.Match[str]) -> str:
    """Initials with dots, without their dots but for one that ends the text: 'U.S.' → 'U S', 'M.D.s' → "M D's"."""
    initials, _, last = match[0].rpartition(".")
    many = last.lstrip("'") == "s"
    words = " ".join(c.upper() for c in (initials if many else match[0]) if c.isalpha())
    return words + ("'s" if many else _end(match))


def _street(match: re.Match[str]) -> str:
    return f"{match[1]} {_STREETS[match[2]]}{_end(match)}"


def _state(match: re.Match[str]) -> str:
    return " ".join([_STATES[match[1]], *(spell(part, "oh") for part in match.groups()[1:] if part)])


def _days(match: re.Match[str]) -> str:
    return f"{_DAYS[match[1]]} {'to' if match[2] == '-' else match[2]} {_DAYS[match[3]]}{_end(match)}"


_MONTH_END = r"(?=\s+[a-z0-9]|\s*[,;:?!)]|\s*$)"

SLASHED: dict[str, str] = {
    "w/out": "without",
    "w/o": "without",
    "w/": "with",
    "c/o": "care of",
    "b/c": "because",
    "n/a": "N A",
    "a/c": "A C",
}

_BARE = choice([*_BARE_TITLES, *_MONTHS, "Jr", "Sr", "vs", "v", "etc", "Tue", "Tues", "Thu", "Thur", "Thurs"])
_ANYWHERE = [*_IN_LOWER_CASE, *_ALWAYS, *(word.capitalize() for word in _ALWAYS)]
_LAST = choice(["al", "Ret", *_ANYWHERE, *_STREETS, *_DAYS, *_MONTHS, *_BEHIND_TOWNS])
SIGNS_OF = re.compile(
    rf"[A-Za-z]\.(?!\s*$)|\b(?:{_LAST}|\w)\.\s*$|\b(?:{_BARE})\b|(?:{choice(list(_DAYS))})-|\b\w/|, [A-Z]{{2}}\b"
)
RULES: tuple[Rule, ...] = (
    # a street ends a name and is not followed by one; a title is
    rule(rf"(?<=\d )({_NAME}(?: {_NAME})?) ({choice(list(_STREETS))})\.?(?=\s|,|$)", _street),
    rule(rf"(?<![.!?:] )(?<!^)\b(?<=[\w'&,] )({_NAME}) ({choice(list(_STREETS))})\.{_STREET_END}", _street),
    rule(rf"^({_NAME}) ({choice(list(_STREETS))})\.{_STREET_END}", _street),
    rule(rf"\b({choice(list(_TITLES))})\.(?=\s*[A-Z])", lambda m: _TITLES[m[1]]),
    rule(rf"\b({choice(_BARE_TITLES)})(?=\s+[A-Z][\w'])", lambda m: _TITLES[m[1]]),
    rule(rf"({_CHAPTER}) v(?:v|s|er)?\.? ?(?=\d+\s?-\s?\d)", lambda m: f"{m[1]} verses "),
    rule(rf"({_CHAPTER}) v(?:v|s|er)?\.? ?(?=\d)", lambda m: f"{m[1]} verse "),
    rule(rf"\b({choice(list(_WORDS_TOO))})\.\s*(?=\d|[IVX]+\b)", lambda m: f"{_WORDS_TOO[m[1]]} "),
    rule(
        rf"(^|[(;:]\s?|\b(?:see|in|under|by|to|from|and|cf|with|per) )({choice([w.lower() for w in _WORDS_TOO])})\.\s*(?=\d)",
        lambda m: f"{m[1]}{_WORDS_TOO[m[2].capitalize()]} ",
    ),
    rule(rf"\b({choice(list(_WITH_NUMBER))})\.\s*(?=#?\d|[IVX]+\b)", lambda m: _lower(m, _WITH_NUMBER), re.IGNORECASE),
    rule(rf"\b({choice(list(_MONTHS))})\b\.?(?=\s+\d)", lambda m: _MONTHS[m[1]]),
    rule(rf"\b({choice(list(_MONTHS))})\.{_MONTH_END}", lambda m: _MONTHS[m[1]] + _end(m)),
    rule(rf"(?<=[a-z], )({choice(list(_STATES))})\b(?:\s+(\d{{5}})(?:-(\d{{4}}))?\b)?(?=[,.;]|\s*$|\s+[a-z])", _state),
    rule(
        rf"(?:(?<=[a-z], )({choice(list(_BEHIND_TOWNS))})\.|\b({choice(list(_SHORT_STATES))})\.(?=,|\s+[a-z]))",
        lambda m: _BEHIND_TOWNS[m[1] or m[2]] + _end(m),
    ),
    rule(rf"\b({choice(list(_DAYS))})\.? ?(and|or|to|through|-) ?({choice(list(_DAYS))})\b\.?", _days),
    rule(r"\b(Tues?|Thu|Thurs?)\b\.?", lambda m: _DAYS[m[1]]),
    rule(rf"\b({choice(list(_DAYS))})\.(?=,|\s+(?:\d|{choice(list(_MONTHS))}))", lambda m: _DAYS[m[1]]),
    rule(r"\bPh\.? ?D\b(?!\.)", lambda m: "P H D"),
    rule(r"\b(?:[A-Z][a-z]?\.){2,}(?:[A-Z]\b|'?s\b)?|\b(?:[A-Za-z]\.){2,}(?:[A-RT-Za-rt-z]\b|'?s\b)?", _letters),
    rule(r"\b([A-Z])\.\s+(?=[A-Z]\.)", lambda m: f"{m[1]} "),
    rule(
        r"(^|[.!?,]\s|\b[A-Z][a-z]* )([A-HJ-Z])\.\s+(?=[A-Z][a-z]+)(?!(?:The|An?|It|He|She|They|We|You|In|On|At|"
        r"This|That|But|And|So|There|Then|If|What|When|Now|For|My)\b)",
        lambda m: f"{m[1]}{m[2]} ",
    ),
    rule(r"(?<=[a-z] )v\.? (?=[A-Z])", lambda m: "versus"),
    rule(r"\b(et al)\.", lambda m: m[1] + _end(m)),
    rule(r"(?<=, )([Rr])et\.(?=,|\s*$)", lambda m: f"{m[1]}etired{_end(m)}"),
    rule(rf"\b({choice(list(_IN_LOWER_CASE))})\.", lambda m: _lower(m, _IN_LOWER_CASE)),
    rule(rf"\b({choice(list(_ALWAYS))})\.", lambda m: _lower(m, _ALWAYS), re.IGNORECASE),
    rule(r"\b(Jr|Sr|vs|etc)\b", lambda m: _ALWAYS[m[1].lower()]),
    rule(r"(?i)(?<![\w/])(w/out|w/o|w/|c/o|b/c|n/a|a/c)(?![\w/])", lambda m: SLASHED[m[1].lower()]),
)
