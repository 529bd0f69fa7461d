"""Rule: a pattern of written text, and how a match of it is spoken."""

import re
from collections.abc import Callable, Sequence

Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]

NUMBER = r"(?:(?<![\d.,])\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|(?<![\d.])\.\d+)"
"""an unsigned number: 5, 1,234, 3.50 or .5"""


def rule(pattern: str, speak: Callable[[re.Match[str]], str], flags: int = 0) -> Rule:
    """A rule whose words stand apart from the letters and digits beside them."""
    return re.compile(pattern, flags), lambda match: _apart(match, speak(match))


def _apart(match: re.Match[str], words: str) -> str:
    text, start, end = match.string, match.start(), match.end()
    before = " " if start and text[start - 1].isalnum() else ""
    after = " " if end < len(text) and (text[end].isalnum() or text[end] in "$€£¥-") else ""
    return before + words + after


def apply(rules: Sequence[Rule], text: str) -> str:
    """The text after every rule in turn."""
    for pattern, speak in rules:
        text = pattern.sub(speak, text)
    return text


def choice(words: Sequence[str]) -> str:
    """A pattern of any of these words, the longest first."""
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


def listed(words: str) -> tuple[str, ...]:
    """The words of a text."""
    return tuple(words.split())
