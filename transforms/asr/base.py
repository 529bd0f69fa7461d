"""What recognizers share: their contract, which decodes to distrust, which of two to keep, and what a numeral is."""

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from voxbeam.schemas.config import TranscribeConfig
from voxbeam.schemas.errors import StageError
from voxbeam.schemas.segment import Transcript, Word

SAMPLE_RATE = 16_000
WINDOW_S = 30
"""seconds that a Whisper encoder can hear at once"""
MAX_TOKENS = 224
"""tokens of one decode, half of Whisper's context as in its own code; thirty seconds of fast speech take about 200"""
FALLBACK = (0.2, 0.4, 0.6, 0.8, 1.0)
"""sampling temperatures tried in turn after a failed beam search, as in Whisper's own code"""
BEAM = 5
"""beam of a second decode, and number of samples drawn at each temperature, as in Whisper's own command line"""
SEED = 20_250_625
"""of every sampled decode"""
BEFORE_WORD, AFTER_WORD = "\"'“¿([{-", "\"'.。,，!！?？:：”)]}、"
"""marks that belong to the word after or before them, as in Whisper's own code"""

Waveform = NDArray[np.float32]
"""[samples] at 16 kHz in [-1, 1]"""


@dataclass(frozen=True, kw_only=True)
class Decode:
    """One decode of one waveform."""

    transcript: Transcript
    """words are in milliseconds from the start of the waveform"""
    truncated: bool
    """whether it ran into the token limit, as loops do"""


class Recognizer(Protocol):
    """Speech to text. Results are a pure function of the arguments of one call, never of earlier calls."""

    multilingual: bool
    """whether it can tell the language of what it hears"""

    def transcribe(self, waveforms: Sequence[Waveform], *, language: str | None, numerals: bool = True) -> list[Decode]:
        """Greedy decodes in batches, in the order given; each waveform holds at most 30 s.

        `language` (ISO 639-1) is the one to write in; None lets a multilingual recognizer choose for each waveform. The
        transcripts carry the language heard and its probability, or None for it where the recognizer cannot tell.
        Without `numerals` the recognizer may write no digit, currency sign or percent sign.
        Raises StageError for a language that the recognizer does not know.
        """
        ...

    def redecode(self, waveforms: Sequence[Waveform], *, languages: Sequence[str]) -> list[Decode | None]:
        """Careful decodes, each alone: beam search, then sampling at rising temperatures where that fails too.

        `languages` holds the language to write each waveform in. None stands where the recognizer hears no speech.
        """
        ...


def flagged(decode: Decode, config: TranscribeConfig) -> bool:
    """Whether a decode is not to be believed: unsure, repetitive, or without an end."""
    transcript = decode.transcript
    return (
        decode.truncated
        or transcript.avg_logprob < config.min_avg_logprob
        or transcript.compression_ratio > config.max_compression_ratio
    )


def better(first: Decode, again: Decode | None, config: TranscribeConfig) -> Decode:
    """The decode to keep, by Whisper's own rules: one that passes, else the surest that does not repeat itself."""
    if again is None:
        return first
    if not flagged(again, config):
        return again
    calm = [d for d in (first, again) if d.transcript.compression_ratio <= config.max_compression_ratio and not d.truncated]
    return max(calm or [first, again], key=lambda d: d.transcript.avg_logprob)


def spelled(written: Decode, spelled_out: Decode, config: TranscribeConfig) -> Decode:
    """The decode to keep of one free to write numerals and one not: the second, unless it is doubtful or lost words.

    Forbidden to write `1984`, Whisper sometimes writes nothing at all and is no less sure; but numbers spelled out are
    never shorter. Numerals that stay are left to the text normalizer.
    """
    lost = len(spelled_out.transcript.text) < len(written.transcript.text)
    return written if lost or flagged(spelled_out, config) else spelled_out


def batches(waveforms: Sequence[Waveform], size: int) -> Iterator[list[int]]:
    """Positions of the waveforms in batches of like length, longest first; a pure function of the lengths."""
    order = sorted(range(len(waveforms)), key=lambda i: -len(waveforms[i]))
    for start in range(0, len(order), size):
        yield order[start : start + size]


def require_window(waveforms: Sequence[Waveform]) -> None:
    """Raises StageError if a waveform is longer than Whisper can hear: the rest of it would be lost in silence."""
    longest = max(map(len, waveforms), default=0)
    if longest > WINDOW_S * SAMPLE_RATE:
        raise StageError(
            "segment_too_long",
            f"a segment lasts {longest / SAMPLE_RATE:.1f} s, and Whisper hears {WINDOW_S} s at once",
            f"set segment.max_s to {WINDOW_S} or less",
        )


def require_language(language: str | None, known: Sequence[str]) -> None:
    """Raises StageError for a language that the recognizer does not know."""
    if language is None or language in known:
        return
    if list(known) == ["en"]:
        raise StageError(
            "recognizer_english_only",
            f"the recording is listed as {language!r}, and the recognizer knows only English",
            "set transcribe.model to a multilingual model, or correct the language in the listing",
        )
    raise StageError(
        "unknown_language",
        f"the recognizer does not know the language {language!r}",
        "list the recording with an ISO 639-1 code that Whisper knows",
    )


def ordered_words(timed: Sequence[tuple[str, float, float, float]], duration_ms: int) -> tuple[Word, ...]:
    """Words from (text, start s, end s, probability), made to lie in order inside [0, `duration_ms`]."""
    words: list[Word] = []
    earliest = 0
    for text, start, end, probability in timed:
        if not text.strip():
            continue
        start_ms = min(max(round(float(start) * 1000), earliest), duration_ms)
        end_ms = min(max(round(float(end) * 1000), start_ms), duration_ms)
        words.append(Word(text=text.strip(), start_ms=start_ms, end_ms=end_ms, probability=float(probability)))
        earliest = end_ms
    return tuple(words)


def numeral_tokens(decode: Callable[[list[int]], str], text_tokens: int) -> list[int]:
    """Tokens below `text_tokens` that write numerals; without them the recognizer can only spell numbers out."""
    return [token for token in range(text_tokens) if has_numerals(decode([token]))]


def has_numerals(text: str) -> bool:
    """Whether a text holds a digit, a currency sign or a percent sign."""
    return any(map(_is_numeral, text))


def _is_numeral(character: str) -> bool:
    return unicodedata.category(character) in ("Nd", "Nl", "No", "Sc") or character in "%‰"
