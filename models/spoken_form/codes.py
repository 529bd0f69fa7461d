"""Codes: web addresses, phone numbers, versions, product names with digits, initials, and other things that are spelled."""

import re

from voxbeam.models.spoken_form.numbers import cardinal, code, number, plural, spell
from voxbeam.models.spoken_form.rule import Rule, choice, listed, rule

_ENDINGS = listed("""
    com org net edu gov mil io ai app dev co info biz me tv us ca eu uk de fr es it nl ch at au nz jp in br ru cn se
    no fi ie be pl int xyz site online store blog fm gg ly
""")
_FILES = listed("""
    txt pdf doc docx csv json html htm js py md png jpg jpeg gif zip exe xml yaml yml wav mp3 mp4 cfg log php asp
""")
_ADDRESS_SIGNS = {
    ".": "dot", "/": "slash", "-": "dash", "_": "underscore", "?": "question mark", "=": "equals", "&": "and", "#": "hash",
    "~": "tilde", "%": "percent", ":": "colon", "@": "at", "+": "plus", ",": "comma", "!": "exclamation mark", "'": "apostrophe",
    "*": "star", ";": "semicolon",
}  # fmt: skip
_SPELLED = frozenset(
    listed("""
    www http https ftp html htm txt pdf csv js py png jpg jpeg gif xml yml mp php asp tv io ai uk us eu
""")
)
_HOST = rf"(?:[A-Za-z0-9-]+\.)+(?:{choice(_ENDINGS)})\b"
_HERE = r"localhost(?=:\d|/\w)"
_ADDRESS = (
    r"(?:https?://|ftp://|www\.)[^\s<>\"()]*[\w/]|"
    rf"(?<![\w.@])(?:{_HOST}|{_HERE})(?::\d{{2,5}}\b)?(?:/[^\s<>\"()]*[\w/]|/)?(?![\w@])"
)

_INITIALS = listed("""
    ABC AC AD AI AKA AOL AP API APR ASAP ATM BA BBA BBQ BCE CAD CBO CEO CET CFO CIA CIO COO CPA CPU CTO DEA DIY DNA DOA
    DOJ DUI DVD EDT EEG EKG EMS EMT EPA EPS ER ESPN EST ETA ETF EU EV FAA FAQ FBI FDA FIFO GDP GE GI GIS GMO GOP GPA
    GPU GUI HDMI HIV HOA HOV HR IBM ICU ID IEEE IMF IO IP IPO IQ IRS ISP ISS IT IUD IV IVF JFK KGB LA LAPD LGBT LGBTQ MBA
    MIT MRI MRNA MTA NAACP NBA NCAA NGO NSA NYC NYU OBGYN OCD OEM OMG OS PA PBA PC PDA PHD PR PSA PTA PTO PTSD QA QR RBI
    RNA ROI RSVP SEC SEO SUV TBA TSA UAE UAV UCLA UFC UFO UI UK UN UPS URL US USA USB USC USDA USPS USSR UTC UV UX VA
    VIP YMCA
""")
"""initials with a vowel that are spelled; those without one all are. Others, such as NASA, are words"""
_WORDS_TOO = frozenset(("IT", "US"))
_CONSONANTS = r"[BCDFGHJKLMNPQRSTVWXZ]{2,6}"
_CAPITALS = rf"(?:{choice(_INITIALS)}|{_CONSONANTS})"


def letters(word: str) -> str:
    """'FBI' → 'F B I'."""
    return " ".join(word)


def _address(match: re.Match[str]) -> str:
    """A web or mail address, part by part; 'www' is spelled out, since that is how it is said."""
    return " ".join(_address_part(part) for part in re.findall(r"[A-Za-zÀ-ÿ]+|\d+|[^\sA-Za-zÀ-ÿ\d]", match[0]))


def _address_part(part: str) -> str:
    if part.isdigit():
        return code(part)
    if not part.isalpha():
        return "slash" if part == "/" else _ADDRESS_SIGNS.get(part, part)
    if part.lower() == "www":
        return "double u double u double u"
    return letters(part) if part.lower() in _SPELLED or not re.search(r"[aeiouyAEIOUY]", part) else part


def _tag(match: re.Match[str]) -> str:
    sign = "hashtag" if match[1] == "#" else "at"
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_]+|\d+|_", match[2])
    return f"{sign} " + " ".join("underscore" if p == "_" else code(p) if p.isdigit() else p for p in parts)


def _phone(match: re.Match[str]) -> str:
    """Digits in groups; a leading '+' is said, and the area codes 800 and 900 are hundreds."""
    groups = re.findall(r"\d+", match[0])
    first = "plus " if match[0].lstrip("( ").startswith("+") else ""
    return first + ", ".join(
        f"{cardinal(group)}" if group in ("800", "900") and place < 2 and len(groups) > 2 else spell(group, "oh")
        for place, group in enumerate(groups)
    ).replace(",", "")


def _vanity(match: re.Match[str]) -> str:
    return f"{'one ' if match[1] else ''}{cardinal(match[2]) if match[2].endswith('00') else spell(match[2], 'oh')} {match[3]}"


def _version(match: re.Match[str]) -> str:
    parts = match[1].split(".")
    if len(parts) == 4 and all(int(part) < 256 for part in parts) and any(len(part) > 1 for part in parts):
        return " dot ".join(spell(part) for part in parts) + (f" colon {code(match[2])}" if match[2] else "")
    return " point ".join(map(cardinal, parts)) + (f" {code(match[2])}" if match[2] else "")


def _product(match: re.Match[str]) -> str:
    """Letters and digits in one word: 'CO2' → 'C O two', 'MP3s' → 'M P threes', '4K' → 'four K'."""
    word = match[0]
    many = bool(re.search(r"\ds$", word))
    parts = re.findall(r"\d+|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_]+", word[:-1] if many else word)
    words = [code(p) if p.isdigit() else letters(p) if _is_spelled(p) else p for p in parts]
    return plural(" ".join(words)) if many else " ".join(words)


def _is_spelled(part: str) -> bool:
    return (len(part) <= 3 and part.isupper()) or not re.search(r"[aeiouyAEIOUY]", part)


def _initials(match: re.Match[str]) -> str:
    """'FBI' → 'F B I', and "FBI's" → "F B I's". A text that is all capitals is not taken for initials where it may be a word."""
    word, end = match[1], match[2] or ""
    if word in _WORDS_TOO and not re.search(r"[a-z]{2}", match.string):
        return match[0]
    return letters(word) + ("'s" if end in ("s", "'s") else end)


_GROUP = r"[ .-]"
_EMERGENCY = "911|999|112|411|311|211|511|711|811|988"
WEB: tuple[Rule, ...] = (
    rule(r"(?<![\w.+-])[\w.+-]+@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}\b", _address),
    rule(_ADDRESS, _address),
    rule(rf"(?<!\w)[\w-]+\.(?:{choice(_FILES)})\b(?![\w.])", _address),
    rule(rf"(?<!\S)\.(?:{choice([*_ENDINGS, *_FILES])})\b", _address),
    rule(r"(?<![\w&])([#@])([A-Za-z_]\w*)", _tag),
)
PHONES: tuple[Rule, ...] = (
    rule(
        r"(?<=, )([A-Z]{2} )?(\d{5})(?:-(\d{4}))?\b(?![.,]?\d|00\b)",
        lambda m: f"{m[1] or ''}{spell(m[2], 'oh')}" + (f" {spell(m[3], 'oh')}" if m[3] else ""),
    ),
    rule(
        r"\b((?!US )[A-Z]{2}|[Zz][Ii][Pp](?: code)?(?: is)?|[Cc]ode(?: is)?|[Bb]ox) (?!\d{3}00\b)(\d{5})"
        r"(?:-(\d{4}))?\b(?![.,]?\d)",
        lambda m: f"{m[1]} {spell(m[2], 'oh')}" + (f" {spell(m[3], 'oh')}" if m[3] else ""),
    ),
    rule(rf"(?<![\w+])(1{_GROUP})?(\d{{3}}){_GROUP}([A-Z]{{4,10}})\b", _vanity),
    rule(rf"(?<![\w+])\+\d{{1,3}}(?:{_GROUP}?\(?\d{{1,5}}\)?){{1,6}}(?!\w|[.,]\d)(?<=\d{{3}})", _phone),
    rule(rf"(?<![\w+])\+\d{{1,3}}{_GROUP}\(?\d{{1,4}}\)?(?:{_GROUP}\d\d){{3,5}}(?!\w|[.,]\d)", _phone),
    rule(rf"(?<![\w.,$€£-])(?:1{_GROUP})?\(?\d{{3}}\)?{_GROUP}? ?\d{{3}}{_GROUP}\d{{4}}(?![\w-])", _phone),
    rule(r"(?<![\w.,$€£-])1-([89]00|8[3-8]{2})(?![\w-])", lambda m: f"one {code(m[1])}"),
    rule(r"(?<![\w.,$€£-])\d{3}-\d{4}(?![\w-])", _phone),
    rule(
        r"\b([Cc]all|[Dd]ial|[Tt]ext|[Pp]hone|[Nn]umber|at|is) (\d{3} \d{4})(?![\w-]|[.,]\d)",
        lambda m: f"{m[1]} {spell(m[2].replace(' ', ''), 'oh')}",
    ),
    rule(r"(?<![\w.,$€£-])0\d{2,4}(?:[ -]\d{3,4}){2,3}(?![\w-])", _phone),
    rule(r"(?<![\w.,$€£-])\d{3}-\d{2}-\d{4}(?![\w-])", _phone),
    rule(r"(?<![\w.,$€£-])\d{4}([ -])\d{4}\1\d{4}\1\d{1,4}(?![\w-])", _phone),
    rule(
        rf"\b([Cc]all|[Cc]alled|[Cc]alling|[Dd]ial|[Dd]ialed|[Dd]ialing) ({_EMERGENCY})(?:( or )({_EMERGENCY}))?\b(?![.,-]?\d)",
        lambda m: f"{m[1]} {spell(m[2])}" + (f"{m[3]}{spell(m[4])}" if m[3] else ""),
    ),
    rule(r"\b911 (?=calls?|operators?|dispatch\w*|emergenc\w*)", lambda m: "nine one one"),
)
_ROOMS = (
    "Boeing|Airbus|[Ff]light|[Rr]oom|[Rr]oute|[Hh]ighway|[Ii]nterstate|[Aa]rea [Cc]ode|[Ss]uite|[Aa]partment|[Uu]nit|Porsche|"
    "Channel|Studio|Gate|bus"
)
"""what stands before a number that is read as a code"""
VERSIONS: tuple[Rule, ...] = (
    rule(rf"\b({_ROOMS}) (\d{{3,4}})\b(?![.,:/]?\d)", lambda m: f"{m[1]} {code(m[2])}"),
    rule(r"(?<=[Vv]ersion )[vV]\.?\s?(?=\d)", lambda m: ""),
    rule(r"\b[vV](?:er)?\.?\s?(?=\d+\.\d)", lambda m: "version"),
    rule(r"(?<![\w.])(\d{1,3}(?:\.\d{3}){2,})(?![\d]|[.:]\d)", lambda m: number(m[1].replace(".", ""))),
    rule(r"(?<![\w.])(\d{1,6}(?:\.\d{1,6}){2,})(?::(\d{1,5}))?(?![\d]|[.:]\d)", _version),
)
NUMBERS: tuple[Rule, ...] = (
    rule(r"\b([A-Z]{2,3})-(?=\d)", lambda m: f"{letters(m[1])} "),
    rule(r"\b(\d+)\(?([kKbBcC])\)(?=\W|$)", lambda m: f"{code(m[1])} {m[2].upper()}"),
    rule(r"\b401k\b", lambda m: "four oh one K"),
    rule(r"\b(\d+(?:\.\d+)?)x\b", lambda m: f"{number(m[1])} times"),
    rule(r"\b(\d+(?:\.\d+)?)\s?(bn|tn)\b", lambda m: f"{number(m[1])} {'billion' if m[2] == 'bn' else 'trillion'}"),
    rule(
        r"\b(\d+(?:\.\d+)?)([MB]) (?=(?:people|users|views|subscribers|followers|parameters|downloads|copies|records|tokens)\b)",
        lambda m: f"{number(m[1])} {'million' if m[2] == 'M' else 'billion'}",
    ),
    rule(r"(?<![\w.,])(\d+)'?s\b", lambda m: plural(code(m[1])).removeprefix("one " if set(m[1][1:]) == {"0"} else "")),
    rule(r"(?<![A-Za-z0-9])(?<!\d[.,])(?:\d+[A-Za-z]|[A-Za-z]+\d)[A-Za-z0-9]*\b", _product),
    rule(r"(?<![\d.,$])(?!\d+0{3}\b)\d{7,}\b(?![.,]\d)", lambda m: spell(m[0])),
)
CAPITALS: tuple[Rule, ...] = (
    rule(r"\bPhD(s?)\b", lambda m: "P H D" + ("'s" if m[1] else "")),
    rule(r"\b([A-Z]{1,3})&([A-Z]{1,3})('?s)?\b", lambda m: f"{letters(m[1])} and {letters(m[2])}" + ("'s" if m[3] else "")),
    rule(r"\b([A-G])[#♯](?!\w)", lambda m: f"{m[1]} sharp"),
    rule(r"\b([A-Z])\+\+", lambda m: f"{m[1]} plus plus"),
    rule(r"\b(the )(WHO)\b", lambda m: f"{m[1]}W H O"),
    rule(rf"\b({_CAPITALS})('?s)?\b(?!\w|'\w)", _initials),
)
