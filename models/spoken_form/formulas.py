"""Formulas: chemical formulas, letter by letter and number by number."""

import re

from voxbeam.models.spoken_form.numbers import cardinal
from voxbeam.models.spoken_form.rule import Rule, choice, listed, rule

_ELEMENTS = listed("""
    H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh
    Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce W Pt Au Hg Tl Pb Bi Po Rn Ra Th U Pu
""")
_TWO_LETTERS = choice([element for element in _ELEMENTS if len(element) == 2])
_ANY = choice(_ELEMENTS)
_COMMON = listed("""
    NaCl KCl HCl LiCl AgCl CsCl NaOH KOH LiOH NaF NaBr AgBr KBr HBr NaI MgO CaO CuO ZnO FeO FeS ZnS PbS SiC GaN GaAs NaClO HClO
    NaCN KCN
""")
"""those without a number, which look like words"""


def _spelled(match: re.Match[str]) -> str:
    return " ".join(cardinal(part) if part.isdigit() else part.upper() for part in re.findall(r"\d+|[A-Za-z]", match[0]))


WITH_DIGITS: tuple[Rule, ...] = (
    rule(
        rf"(?<![\w.-])(?=\w*\d)(?:(?:{_ANY})\d{{0,2}})*(?:{_TWO_LETTERS})(?:\d{{0,2}}(?:{_ANY}))+\d{{0,2}}(?![\w.]\w|\w)",
        _spelled,
    ),
    rule(rf"(?<![\w.-])(?:{_TWO_LETTERS})\d(?=[-+](?!\w))", _spelled),
)
"""where one element has two letters: others are read as product names are, which comes to the same"""
COMMON: tuple[Rule, ...] = (rule(rf"(?<![\w-])(?:{choice(_COMMON)})(?![\w-])", _spelled),)
