"""Second opinions: which transcripts are weak, and how far a second recognizer disagrees with one."""

from dataclasses import replace
from itertools import pairwise

from voxbeam.models.words import spoken_words, word_errors
from voxbeam.schemas.config import TranscribeConfig
from voxbeam.schemas.segment import Transcript


def is_weak(transcript: Transcript, config: TranscribeConfig) -> bool:
    """Whether the language and the text of a segment need a second opinion.

    Whisper writes words of its own language for those of another, improbable ones; and it cuts or adds repetitions with as much
    confidence as it writes other words.
    """
    return (
        transcript.avg_logprob < config.weak_avg_logprob
        or transcript.used_fallback
        or count_repeats(spoken_words(transcript.text, transcript.language)) > 0
    )


def count_repeats(words: tuple[str, ...]) -> int:
    """How many words are the same as the word before them."""
    return sum(a == b for a, b in pairwise(words))


def with_second_opinion(transcript: Transcript, second: str, language: str) -> Transcript:
    """The transcript with what another recognizer's text of the same segment says of it. `language` is that of both texts."""
    ours, theirs = spoken_words(transcript.text, language), spoken_words(second, language)
    return replace(
        transcript,
        second_wer=word_errors(ours, theirs) / max(1, len(ours), len(theirs)),
        second_repeats=count_repeats(theirs) - count_repeats(ours),
    )
