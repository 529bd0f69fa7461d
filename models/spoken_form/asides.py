"""Asides: what a transcript writes and nobody says. Stage directions in brackets, music signs, tags, marks of emphasis."""

import re

from voxbeam.models.spoken_form.rule import listed

_DIRECTIONS = listed("""
    applau beep bleep blank_audio breath buzz cheer chuckl clap clears clearing click cough cries crosstalk crying
    exhal footsteps gasp giggl groan grunt gunshot humm inaudible indiscernible indistinct inhal laugh moan music
    overlapping scream sigh silence sings singing sniff sneez snort sobs sobbing static throat unintelligible unclear
    weep whisper whistl yawn
""")
"""beginnings of words that make a direction: 'laugh' of laughs, laughing and laughter"""
_COMPANIONS = frozenset(
    listed("""
    a and audience audio background both continues crowd dramatic end ends fades he her his in light loud loudly man
    no noise of off on people playing plays quiet quietly she softly soft sound sounds speech starts stops the their
    they to upbeat video voice voices with woman
""")
)
"""words that may stand beside it, as in 'the audience laughs'"""
_BRACKETED = frozenset(
    listed("""
    audio background blank bleeped censored foreign language no noise pause redacted sound speech
""")
)
"""words that are a direction in square brackets, though not in parentheses"""
_SPEAKING = re.compile(
    r"(?:(?:is )?(?:speak(?:s|ing)|sing(?:s|ing)) )?(?:in )?(?:a )?foreign language|(?:speak|sing)(?:s|ing) (?:in )?\w+"
)
_PAIRS = re.compile(r"\(([^()]{1,60})\)|\[([^\[\]]{1,60})\]|(?<![\w*])\*([^*]{1,60})\*(?![\w*])")
_UNHEARD = re.compile(r"</?[A-Za-z|][^<>\s]*>|[♪♫♬♩]")
_BRACKETS = re.compile(r"\[[^\[\]]*\]")
_EMPHASIS = re.compile(r"(?<![\w*])(\*{1,3}|_{1,3})(?=[^\s*_])([^*_\n]+?)(?<=[^\s*_])\1(?![\w*])")
_FACES = re.compile(r"(?<!\S)[:;=]['-]?[()DPp\\/|*](?!\w)")
"""faces made of punctuation, which nobody says"""
_BULLET = re.compile(r"(?m)^\s*[•·*-]\s+")


def without_asides(text: str) -> tuple[str, list[str]]:
    """The text without asides. Parentheses around other words are spoken.

    Square brackets around other words are taken out and returned: they tell of sound that is not in the text, or of words that
    nobody said.
    """
    text = _UNHEARD.sub(" ", text)
    faces = [face.strip() for face in _FACES.findall(text)]
    if faces:
        text = _FACES.sub(" ", text)
    if not any(character in text for character in "([*_•·-"):
        return text, faces
    text = _PAIRS.sub(lambda pair: " " if _is_direction(pair) else pair[0], text)
    unknown = faces + _BRACKETS.findall(text)
    return _EMPHASIS.sub(r"\2", _BULLET.sub(" ", _BRACKETS.sub(" ", text))), unknown


def directions(text: str) -> list[str]:
    """The stage directions and music signs of a text, which `without_asides` takes out without telling."""
    pairs = [(pair.start(), pair[0]) for pair in _PAIRS.finditer(text) if _is_direction(pair)]
    return [said for _, said in sorted(pairs + [(sign.start(), sign[0]) for sign in _UNHEARD.finditer(text)])]


def _is_direction(pair: re.Match[str]) -> bool:
    content = (pair[1] or pair[2] or pair[3]).lower().strip(" .!")
    words = re.findall(r"[a-z_']+", content)
    if not words or re.search(r"\d", content):
        return False
    if _SPEAKING.fullmatch(content) or (pair[2] and all(word in _BRACKETED for word in words)):
        return True
    directions = [word.startswith(_DIRECTIONS) for word in words]
    return any(directions) and all(made or word in _COMPANIONS for made, word in zip(directions, words, strict=True))
