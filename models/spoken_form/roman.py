"""Roman numerals, where what stands before them shows that they are numerals."""

import re

from voxbeam.models.spoken_form.numbers import cardinal, ordinal, year
from voxbeam.models.spoken_form.rule import Rule, choice, listed, rule

_RULERS = listed("""
    Abdullah Albert Alexander Alexandra Alfonso Amenhotep Anne Antiochus Artaxerxes Augustus Baldwin Baudouin Benedict
    Boniface Carl Carlos Catherine Celestine Charles Christian Christina Clement Cleopatra Conrad Constantine
    Constantius Cyrus Darius David Edward Elizabeth Emanuel Emmanuel Eric Ernest Eugene Farouk Felipe Ferdinand
    Francis Franz Frederick Friedrich Fuad George Gregory Gustaf Gustav Gustavus Haakon Harald Harold Hassan Henri
    Henry Honorius Hussein Innocent Isabella Ivan James Joao Johan John Joseph Juan Julius Justin Justinian Karl Leo
    Leopold Lothar Louis Ludwig Magnus Malcolm Manuel Margaret Margrethe Mary Matthias Maximilian Mehmed Mehmet
    Michael Mithridates Mohammed Muhammad Murad Napoleon Nicholas Olaf Olav Otto Paul Pedro Peter Philip Philippe Pius
    Ptolemy Rama Ramesses Ramses Reza Richard Robert Rudolf Rudolph Selim Sigismund Sixtus Stephen Suleiman Sweyn
    Theodore Theodosius Thutmose Tiberius Umberto Urban Valentinian Victor Vittorio Vladimir Wilhelm Willem William
    Xerxes Yohannes
""")
_COUNTED = listed("""
    Act Annex Apollo Appendix Article Bowl Book Canto Category Chapter Class Division Episode Exhibit Factor Figure
    Fantasy Gemini Grade Group Level Mark Model Movement Number Opus Part Phase Plate Round Saturn iPhone OS Scene
    Schedule Section Sonata Stage Step Symphony Table Tier Title Topic Type Unit Vatican Verse Volume War WrestleMania
""")
_GIVEN = listed("""
    Adam Alan Albert Alexander Andrew Anthony Arthur Benjamin Bill Brian Charles Christopher Cornelius Daniel David
    Donald Douglas Edward Eric Eugene Francis Frank Franklin Frederick George Gerald Gordon Gregory Harold Harry Henry
    Howard Jack Jacob James Jason Jeffrey Joe John Jonathan Joseph Joshua Justin Keith Kenneth Kevin Lawrence Lee
    Louis Mark Martin Matthew Michael Nathan Nathaniel Nelson Nicholas Oliver Oscar Patrick Paul Peter Philip Ralph
    Raymond Richard Robert Roger Ronald Roy Russell Samuel Scott Sean Stephen Steven Ted Theodore Thomas Thurston
    Timothy Victor Vincent Walter Warren Wayne William
""")
_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
_ROMAN = r"(?=[IVXLCDM])M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})"
_CLEAR = r"(?:X{1,3}(?:IX|IV|VI{0,3}|I{1,3})|VI{1,3}|I[VX]|I{2,3}|X[LX]X?(?:IX|IV|VI{0,3}|I{1,3}))"
"""numerals that no word or initials look like: II, IV, XIV; not I, V, X, MIX, CD, MD, XL"""
_TAIL = r"(?![\w&-]|\.\w|'[^s\s])"
_TITLE = r"(?:King|Queen|Pope|Emperor|Empress|Tsar|Czar|Kaiser|Sultan|Prince|Saint|Shah)"
_VERBS = (
    r" (?:think|thought|know|knew|say|said|am|have|had|would|will|can|did|do|like|love|want|wanted|see|saw|mean|"
    r"guess|believe|need|"
    r"could|should|just|never|always|really|also|feel|felt|hope|went|go|got|get)\b"
)
"""behind the pronoun I"""
_DEEDS = (
    "reigned|ruled|died|became|came|fought|invaded|married|succeeded|built|founded|lost|won|signed|defeated|"
    "conquered|ordered|abdicated"
)
"""behind the name of a ruler"""
_LOWER_I = (
    r"(?= (?:diabetes|errors?|clinical|trials?|stud(?:y|ies)|collagen|interferon|hypersensitivity|"
    r"(?:and|or) (?:\w+ )?II\b)|\s*[.,;)])"
)
_INFUSION = r"(?= (?:drips?|fluids?|bags?|lines?|therapy|antibiotics?|poles?|catheters?|needles?|injections?))"


def _value(numeral: str) -> str:
    values = [_VALUES[letter] for letter in numeral]
    return str(sum(-v if v < after else v for v, after in zip(values, [*values[1:], 0], strict=True)))


def _ordinal(numeral: str) -> str:
    return ordinal(_value(numeral))


def _series(match: re.Match[str]) -> str:
    joint = " to " if match[3].strip() == "-" else f" {match[3].strip()} "
    return f"{match[1]}s {cardinal(_value(match[2]))}{joint}{cardinal(_value(match[4]))}"


RULES: tuple[Rule, ...] = (
    rule(rf"\b({_CLEAR}|{_ROMAN})(?:st|nd|rd|th)\b", lambda m: _ordinal(m[1])),
    rule(rf"\b({choice(_COUNTED)})s ({_ROMAN})(\s+(?:and|or|to|through)\s+|\s*-\s*)({_ROMAN}){_TAIL}", _series),
    rule(r"\bWW(II?|[12])\b", lambda m: f"World War {'one' if m[1] in ('I', '1') else 'two'}"),
    rule(
        rf"\b({choice(_COUNTED)})s? (I(?!{_VERBS})|[VX]|{_CLEAR}){_TAIL}",
        lambda m: f"{m[0].rsplit(' ', 1)[0]} {cardinal(_value(m[2]))}",
    ),
    rule(rf"\b(type|phase|stage|class|grade|tier|category|level|act|scene|chapter) I{_LOWER_I}", lambda m: f"{m[1]} one"),
    rule(rf"\b(Bowl|Chapter|Psalm|Sonnet|Canto|Volume) ({_ROMAN}){_TAIL}", lambda m: f"{m[1]} {cardinal(_value(m[2]))}"),
    rule(rf"\b({_TITLE} [A-Z]\w+) (I){_TAIL}(?!{_VERBS})", lambda m: f"{m[1]} the first"),
    rule(rf"\b({choice(_RULERS)}) I(?=\s*[,.;:?!)]|'s|\s*$| (?:of|was|is|and [A-Z]|{_DEEDS})\b)", lambda m: f"{m[1]} the first"),
    rule(rf"\b({choice(_RULERS)}),? [Tt]he ({_CLEAR}|[IVX]){_TAIL}", lambda m: f"{m[1]} the {_ordinal(m[2])}"),
    rule(
        r"(?i)\b(act|scene|chapter|part|section|volume|book|canto|pages?) (?=[ivx]{2,}\b)"
        r"(x{1,2}(?:ix|iv|v?i{0,3})|ix|iv|vi{0,3}|i{1,3})\b",
        lambda m: f"{m[1]} {cardinal(_value(m[2].upper()))}",
    ),
    rule(r"\b(?=[MDCLXVI]{4,}\b)(M{1,2}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3}))\b", lambda m: year(_value(m[1]))),
    rule(rf"\b(?<!Malcolm )({choice(_RULERS)}) ({_CLEAR}|[VX]){_TAIL}(?<!Malcolm X)", lambda m: f"{m[1]} the {_ordinal(m[2])}"),
    rule(rf"\b((?:{choice(_GIVEN)}) (?:[A-Z]\w*\.? )?[A-Z]\w+,?) (II|III|IV|V){_TAIL}", lambda m: f"{m[1]} the {_ordinal(m[2])}"),
    rule(
        rf"\b([Tt]he|of the) ({_CLEAR}|XX) (?=century|centuries|Olympi|Congress|Summit|Army|Corps|Legion|Dynasty|dynasty)",
        lambda m: f"{m[1]} {_ordinal(m[2])}",
    ),
    rule(rf"\bIV{_INFUSION}|(?<=\b[Aa]n )IV\b", lambda m: "I V"),
    rule(rf"\b(?<!-)({_CLEAR}){_TAIL}", lambda m: cardinal(_value(m[1]))),
    rule(r"(?<![\w-])(i{2,3}|vi{2,3}|x{1,3}(?:i{2,3}|iv|ix|vi{0,3}))(?![\w-])", lambda m: cardinal(_value(m[1].upper()))),
)
