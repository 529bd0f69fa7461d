"""The statement that a person speaks to consent: fresh words, that nobody can have recorded before, and two minutes to say them.

`heard_problem` compares what a recognizer heard with the statement. It is strict where it matters: every random word, in order,
and the words of consent without a denial; elsewhere it forgives `MAX_WER`.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from voxbeam.models.words import word_errors

VALID_FOR = timedelta(seconds=120)
MAX_WER = 0.15
N_WORDS = 4
_CONSENT = ("i", "consent")
_DENIALS = frozenset(("no", "not", "never", "don't", "do'nt", "cannot", "can't", "won't", "without", "refuse", "deny"))
WORDS = (
    "apple", "bridge", "candle", "dragon", "eagle", "forest", "garden", "hammer", "island", "jacket", "kitchen", "ladder",
    "mountain", "needle", "ocean", "paper", "queen", "river", "silver", "tiger", "umbrella", "valley", "window", "yellow",
    "anchor", "basket", "castle", "diamond", "elephant", "feather", "guitar", "honey", "jungle", "kettle", "lemon", "monkey",
    "napkin", "orange", "pencil", "rabbit", "sailor", "table", "uncle", "violin", "winter", "zebra", "bottle", "carpet",
    "dinner", "engine", "flower", "hotel", "insect", "letter", "market", "number", "pocket", "rocket", "summer", "tunnel",
    "village", "wagon",
)  # fmt: skip
"""words that recognizers know and do not confuse"""


@dataclass(frozen=True)
class Challenge:
    """A statement to say, once, soon."""

    identifier: str
    words: tuple[str, ...]
    issued: datetime
    name: str
    organisation: str
    purposes: tuple[str, ...]

    @property
    def statement(self) -> str:
        """What the person says."""
        day = f"{self.issued:%B} {self.issued.day}, {self.issued.year}"
        return (
            f"I, {self.name}, consent: {self.organisation} may speak in my voice. The purpose is {' and '.join(self.purposes)}. "
            f"Today is {day}. My words are {', '.join(self.words)}."
        )

    def late(self, now: datetime) -> bool:
        """Whether it is too late to answer, or too early: the clock was set back."""
        return not self.issued <= now <= self.issued + VALID_FOR


def new_challenge(name: str, organisation: str, purposes: tuple[str, ...], now: datetime) -> Challenge:
    """A challenge with words drawn from the system's random numbers."""
    words = tuple(secrets.SystemRandom().sample(WORDS, N_WORDS))
    return Challenge(secrets.token_hex(16), words, now, name, organisation, purposes)


def heard_problem(challenge: Challenge, heard: list[str]) -> str:
    """Why words, in lower case, are not the statement; "" if they are. `heard` is in the form of `normalize_words`."""
    from voxbeam.models.speech_metrics import normalize_words
    from voxbeam.models.spoken_form import spoken_form

    expected = normalize_words(spoken_form(challenge.statement).text)
    spoken = iter(heard)
    if missing := [word for word in challenge.words if word not in spoken]:  # consumes `spoken`: the words come in order
        return f"the word {missing[0]!r} was not heard in its place"
    if denial := sorted(_DENIALS & set(heard) - set(expected)):
        return f"{denial[0]!r} was heard, which is not in the statement"
    if not set(_CONSENT) <= set(heard):
        return "the words 'I … consent' were not heard"
    errors = word_errors(expected, heard) / len(expected)
    return f"{errors:.0%} of the words were heard otherwise, more than {MAX_WER:.0%}" if errors > MAX_WER else ""
