"""What ASR backends share: their interface, which hypotheses are suspect, which of two to use, and what a numeral is."""

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from voxbeam.schemas.config import TranscribeConfig
from voxbeam.schemas.errors import StageError
from voxbeam.schemas.formats import ASR_RATE
from voxbeam.schemas.segment import Transcript, Word

WINDOW_S = 30
"""input length of Whisper's encoder"""
MAX_TOKENS = 224
"""tokens of a hypothesis, half of Whisper's context as in its own code; 30 s of fast speech take about 200"""
FALLBACK = (0.2, 0.4, 0.6, 0.8, 1.0)
"""sampling temperatures, tried in turn after a failed beam search, as in Whisper's own code"""
BEAM = 5
"""beam size of the fallback, and number of samples per temperature, as in Whisper's own command line"""
SEED = 20_250_625
"""of all sampling"""
BEFORE_WORD, AFTER_WORD = "\"'“¿([{-", "\"'.。,，!！?？:：”)]}、"
"""punctuation that belongs to the word after or before it, as in Whisper's own code"""

Waveform = NDArray[np.float32]
"""[samples] at 16 kHz in [-1, 1]"""


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """One possible transcript of a waveform."""

    transcript: Transcript
    """times of words are in ms from the start of the waveform"""
    truncated: bool
    """whether it reached MAX_TOKENS, as repetitive text does"""


class AsrBackend(Protocol):
    """Speech to text. Results depend on the arguments of a call only, not on earlier calls."""

    multilingual: bool
    """whether it detects the language"""

    def transcribe(self, waveforms: Sequence[Waveform], *, language: str | None, numerals: bool = True) -> list[Hypothesis]:
        """Greedy hypotheses, decoded in batches, in the order of the waveforms.

        Args:
            waveforms: of at most 30 s each.
            language: ISO 639-1 code of the text to write; None for the detected one (English if the model is not multilingual).
            numerals: False forbids digits, currency signs and percent signs, so that numbers are spelled out.

        Returns:
            One hypothesis per waveform, with the detected language and its probability; None for the probability if the model is
            not multilingual.

        Raises:
            StageError: the model does not support the language, or a waveform is too long.
        """
        ...

    def decode_with_fallback(self, waveforms: Sequence[Waveform], *, languages: Sequence[str]) -> list[Hypothesis | None]:
        """Hypotheses for waveforms that are hard to transcribe, each decoded alone.

        Beam search comes first, then sampling at rising temperatures while the result is suspect. `languages` gives the language
        to write for each waveform. None means that the backend finds no speech.
        """
        ...


def is_suspect(hypothesis: Hypothesis, config: TranscribeConfig) -> bool:
    """Whether a hypothesis is improbable, repetitive or truncated."""
    transcript = hypothesis.transcript
    return (
        hypothesis.truncated
        or transcript.avg_logprob < config.min_avg_logprob
        or transcript.compression_ratio > config.max_compression_ratio
    )


def pick_hypothesis(first: Hypothesis, second: Hypothesis | None, config: TranscribeConfig) -> Hypothesis:
    """The second if it is not suspect; otherwise the more probable of those that are not repetitive (Whisper's own rules)."""
    if second is None:
        return first
    if not is_suspect(second, config):
        return second
    both = (first, second)
    non_repetitive = [h for h in both if h.transcript.compression_ratio <= config.max_compression_ratio and not h.truncated]
    return max(non_repetitive or both, key=lambda h: h.transcript.avg_logprob)


def pick_spelled_out(written: Hypothesis, spelled_out: Hypothesis, config: TranscribeConfig) -> Hypothesis:
    """The hypothesis without numerals, unless it is suspect or lacks words.

    If `1984` is forbidden, Whisper sometimes omits the words instead of spelling them out, with the same log-probability. The
    text is then shorter, which spelled-out numbers never are. The text normalizer handles numerals that remain.
    """
    lacks_words = len(spelled_out.transcript.text) < len(written.transcript.text)
    return written if lacks_words or is_suspect(spelled_out, config) else spelled_out


def batches(waveforms: Sequence[Waveform], size: int) -> Iterator[list[int]]:
    """Indices of the waveforms in batches of similar length, longest first. They depend on the lengths only."""
    order = sorted(range(len(waveforms)), key=lambda i: -len(waveforms[i]))
    for start in range(0, len(order), size):
        yield order[start : start + size]


def require_window(waveforms: Sequence[Waveform]) -> None:
    """Raises StageError if a waveform is longer than Whisper's input, which would drop the rest without a message."""
    longest = max(map(len, waveforms), default=0)
    if longest > WINDOW_S * ASR_RATE:
        raise StageError(
            "segment_too_long",
            f"a segment is {longest / ASR_RATE:.1f} s long, and Whisper's input is {WINDOW_S} s",
            f"set segment.max_s to {WINDOW_S} or less",
        )


def require_language(language: str | None, known: Sequence[str]) -> None:
    """Raises StageError for a language that the model does not support."""
    if language is None or language in known:
        return
    if list(known) == ["en"]:
        raise StageError(
            "recognizer_english_only",
            f"the listed language is {language!r}, and the ASR model is English only",
            "set transcribe.model to a multilingual model, or correct the language in the listing",
        )
    raise StageError(
        "unknown_language",
        f"the ASR model does not support the listed language {language!r}",
        "correct the language in the listing: an ISO 639-1 code that Whisper supports",
    )


def ordered_words(timed: Sequence[tuple[str, float, float, float]], duration_ms: int) -> tuple[Word, ...]:
    """Words from (text, start s, end s, probability), with times clipped to [0, `duration_ms`] and to increasing order."""
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
    """Tokens below `text_tokens` that contain numerals; without them a model can only spell numbers out."""
    return [token for token in range(text_tokens) if has_numerals(decode([token]))]


def has_numerals(text: str) -> bool:
    """Whether a text contains a digit, a currency sign or a percent sign."""
    return any(map(_is_numeral, text))


def _is_numeral(character: str) -> bool:
    return unicodedata.category(character) in ("Nd", "Nl", "No", "Sc") or character in "%‰"
