"""Money: signs and codes before and after amounts, scales, cents, ranges, and amounts that stand before a noun."""

import re

from voxbeam.models.spoken_form.numbers import cardinal, number
from voxbeam.models.spoken_form.rule import NUMBER, Rule, choice, rule

_SIGNS = {
    "$": ("dollar", "cent"), "€": ("euro", "cent"), "£": ("pound", "penny"), "¥": ("yen", ""), "₹": ("rupee", ""),
    "₩": ("won", ""), "₽": ("ruble", ""), "₺": ("lira", ""), "₴": ("hryvnia", ""), "₪": ("shekel", ""), "฿": ("baht", ""),
    "₫": ("dong", ""), "₱": ("peso", ""), "₦": ("naira", ""), "₵": ("cedi", ""), "₿": ("bitcoin", ""),
    "US$": ("U S dollar", "cent"), "C$": ("Canadian dollar", "cent"), "CA$": ("Canadian dollar", "cent"),
    "A$": ("Australian dollar", "cent"), "AU$": ("Australian dollar", "cent"), "NZ$": ("New Zealand dollar", "cent"),
    "HK$": ("Hong Kong dollar", "cent"), "S$": ("Singapore dollar", "cent"), "R$": ("real", ""),
}  # fmt: skip
_CODES = {
    "USD": ("U S dollar", "cent"), "EUR": ("euro", "cent"), "GBP": ("British pound", "penny"), "JPY": ("Japanese yen", ""),
    "CHF": ("Swiss franc", ""), "CAD": ("Canadian dollar", "cent"), "AUD": ("Australian dollar", "cent"),
    "INR": ("Indian rupee", ""), "CNY": ("Chinese yuan", ""), "RMB": ("renminbi", ""), "MXN": ("Mexican peso", ""),
    "BRL": ("Brazilian real", ""), "KRW": ("Korean won", ""), "NZD": ("New Zealand dollar", "cent"),
    "HKD": ("Hong Kong dollar", "cent"), "SGD": ("Singapore dollar", "cent"), "SEK": ("Swedish krona", ""),
    "NOK": ("Norwegian krone", ""), "DKK": ("Danish krone", ""), "RUB": ("Russian ruble", ""),
    "ZAR": ("South African rand", ""), "BTC": ("bitcoin", ""), "PLN": ("Polish zloty", ""),
}  # fmt: skip
_NAMES = _SIGNS | _CODES
_MANY = {
    "penny": "pence", "krona": "kronor", "krone": "kroner", "hryvnia": "hryvnia",
} | {name: name for name in ("yen", "Japanese yen", "won", "Korean won", "baht", "dong", "naira", "Chinese yuan", "renminbi",
                             "South African rand", "Polish zloty")}  # fmt: skip
_MANY |= {
    "real": "reais",
    "Swedish krona": "Swedish kronor",
    "Norwegian krone": "Norwegian kroner",
    "Danish krone": "Danish kroner",
}
_SCALES = {
    "k": "thousand", "m": "million", "mn": "million", "mil": "million", "mm": "million", "b": "billion", "bn": "billion",
    "t": "trillion", "tn": "trillion",
}  # fmt: skip
_SCALE = r"(?:[ -]?(?P<scale>hundred|thousand|million|billion|trillion)\b|(?P<short> ?(?:mn|mil|bn|tn)|[kKmMbBtT]|mm)\b)?"
_SIGN = (
    rf"(?:(?<![A-Za-z])(?:{choice([sign for sign in _SIGNS if len(sign) > 1])})|[{''.join(s for s in _SIGNS if len(s) == 1)}])"
)
_CODE = rf"\b(?:{choice(list(_CODES))})\b"
_NOUNS = (
    "advance|allowance|bet|bill|bills|bonus|bond|bonds|budget|bounty|check|checks|cheque|coin|coins|contract|"
    "cover charge|deal|deals|deposit|"
    "discount|home|house|mansion|car|question|package|program|campaign|offer|order|purchase|increase|raise|line|"
    "credit|bail|plan|donation|fee|fees|fine|fines|fund|gift|gift card|grant|investment|jackpot|lawsuit|limit|"
    "loan|loans|minimum|note|"
    "notes|payment|price|prize|project|rebate|refund|reward|salary|settlement|stake|tag|ticket|tickets|tip|"
    "valuation|voucher|wager"
)
_BEFORE_NOUN = rf"(?P<noun>-(?:a-)?(?=[A-Za-z])| (?=(?:(?:and|or) [$€£]\d+ )?(?:{_NOUNS})\b))?"
_NO_NOUNS = (
    "a|about|after|ago|an|and|are|as|at|back|because|been|before|but|by|can|could|each|every|extra|for|from|had|"
    "has|have|he|I|if|in|into|is|"
    "it|left|less|may|might|more|now|of|off|on|or|out|over|per|plus|she|should|so|than|that|the|then|they|to|"
    "today|toward|towards|under|until|"
    "up|was|we|went|were|when|which|who|will|with|worth|would|yesterday|you|your"
)
_ARTICLE = (
    r"(?P<article>\b(?:[Aa]n?|[Aa]nother|[Ee]ach|[Ee]very)\s+)?"
    r"(?P<owner>\b(?:[Mm]y|[Yy]our|[Hh]is|[Hh]er|[Oo]ur|[Tt]heir|[Tt]his|[Tt]hat|[Tt]he)\s+)?"
)
"""an amount behind an article stands before a noun; behind 'the' or 'my' it does where a noun may follow"""
_LOW = rf"(?:(?P<low>{NUMBER})(?P<lowscale>[kKmM]|bn)?\s?-\s?(?:SIGN)?)?"


def _spoken(match: re.Match[str]) -> str:
    unit, part = _NAMES[match["sign"]]
    scale = match["scale"] or _SCALES.get((match["short"] or "").strip().lower(), "")
    follows = re.match(rf"\s(?!(?:{_NO_NOUNS})\b)[a-z]{{3,}}", match.string[match.end() :])
    single = bool(match["article"] or match["noun"] or (match["owner"] and follows))
    article, noun = (
        (match["article"] or "") + (match["owner"] or ""),
        (" a " if "a" in match["noun"] else " ") if match["noun"] else "",
    )
    low = ""
    if match["low"]:
        low_scale = _SCALES.get((match["lowscale"] or "").lower(), "")
        low = f"{number(match['low'])} {low_scale} to "
    amount = match["amount"].replace(",", "")
    whole, _, cents = amount.partition(".")
    if scale or not part or len(cents) not in (0, 2) or low:
        one = single or (amount == "1" and not scale and not low)
        return f"{article}{low}{number(amount)} {scale} {_counted(unit, one)}{noun}"
    spoken = [(whole or "0", unit), (cents or "0", part)]
    named = [f"{cardinal(str(int(n)))} {_counted(name, single or int(n) == 1)}" for n, name in spoken if int(n)]
    return f"{article}{' and '.join(named) or f'zero {_counted(unit, False)}'}{noun}"


def _counted(name: str, one: bool) -> str:
    return name if one else _MANY.get(name, name + "s")


def _cents(match: re.Match[str]) -> str:
    one = match["amount"] == "1" or match["article"] or match["noun"]
    names = ("cent", "cents") if match["sign"] == "¢" else ("penny", "pence")
    low = f"{number(match['low'])} to " if match["low"] else ""
    before, after = (match["article"] or "") + (match["owner"] or ""), " " if match["noun"] else ""
    return f"{before}{low}{number(match['amount'])} {names[0] if one else names[1]}{after}"


_AMOUNT = rf"(?P<amount>{NUMBER})"
SIGNS_OF = re.compile(rf"[¢{''.join(s for s in _SIGNS if len(s) == 1)}]|{_CODE}|Rs|\dp\b")
RULES: tuple[Rule, ...] = (
    rule(r"([€$£]\s?\d{1,3}),(\d\d)(?!\d)", lambda m: f"{m[1]}.{m[2]}"),
    rule(r"\b(?:Rs\.?|INR)\s?(?=\d)", lambda m: "₹"),
    rule(r"\bU\.?S\.? \$(?=\d)", lambda m: "US$"),
    rule(
        rf"{_ARTICLE}(?P<sign>{_SIGN}|{_CODE})\s?{_LOW.replace('SIGN', _SIGN)}{_AMOUNT}{_SCALE}(?![\d]){_BEFORE_NOUN}",
        _spoken,
    ),
    rule(rf"{_ARTICLE}{_LOW.replace('(?:SIGN)?', '')}{_AMOUNT}{_SCALE}\s?(?P<sign>{_SIGN}|{_CODE})(?!\d){_BEFORE_NOUN}", _spoken),
    rule(rf"{_ARTICLE}(?:(?P<low>{NUMBER})\s?-\s?)?{_AMOUNT}\s?(?P<sign>¢){_BEFORE_NOUN}", _cents),
    rule(rf"{_ARTICLE}(?P<low>(?!))?(?P<amount>\b[1-9]\d?)(?P<sign>p)\b{_BEFORE_NOUN}", _cents),
)
