"""Judge: whether a segment is good enough to learn from, and every reason why not."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from apache_beam.metrics import Metrics

from voxbeam.schemas.config import JudgeConfig
from voxbeam.schemas.reasons import REASONS
from voxbeam.schemas.segment import Scores, Segment, Transcript
from voxbeam.transforms.base import UnitStage, UnitWork

Verdict = Literal[True] | tuple[Literal[False], tuple[str, ...]]


def words_of(text: str) -> list[str]:
    """Lower-case words of a text, without punctuation."""
    return re.findall(r"[^\W_]+(?:['’][^\W_]+)*", text.lower())


def chars_per_second(segment: Segment) -> float:
    """Letters and digits of the transcript per second of the segment; 0 without text or length."""
    if segment.transcript is None or segment.duration_ms <= 0:
        return 0.0
    return sum(map(str.isalnum, segment.transcript.text)) / (segment.duration_ms / 1000)


def longest_loop(words: list[str]) -> float:
    """How often the same three words stand in a row at most, the words of a shorter loop filling the three; 0 for no words."""
    longest = min(len(words), 3)
    for period in (1, 2, 3):
        run = period
        for i in range(period, len(words)):
            run = run + 1 if words[i] == words[i - period] else period
            longest = max(longest, run)
    return longest / 3


def judge(segment: Segment, config: JudgeConfig, *, language: str | None) -> Verdict:
    """True for a segment to keep, else (False, every reason against it, in the order of REASONS).

    `language` is the one listed for the recording (ISO 639-1, a region is ignored); None asks for none in particular.
    A rule without a limit, or without the value that it looks at, does not apply. Scores must be there: ValueError otherwise.
    """
    if segment.scores is None:
        raise ValueError("a segment is judged by its scores; run `score` first")
    found = {*_against_sound(segment.scores, config), *_against_text(segment, config, language)}
    return (False, tuple(reason for reason in REASONS if reason in found)) if found else True


class Judge(UnitStage):
    """Rejects the segments of a unit that do not reach the configured limits, and counts both kinds."""

    name = "judge"

    def __init__(self, config: JudgeConfig) -> None:
        super().__init__()
        self.config = config

    def run(self, work: UnitWork) -> UnitWork:
        return replace(work, segments=tuple(self._judged(s, work.unit.recording.language) for s in work.segments))

    def _judged(self, segment: Segment, language: str | None) -> Segment:
        if not segment.accepted:
            return segment
        verdict = judge(segment, self.config, language=language)
        if verdict is True:
            Metrics.counter("judge", "accepted").inc()
            return segment
        for reason in verdict[1]:
            Metrics.counter("judge", f"rejected_{reason}").inc()
        return replace(segment, rejected_by=self.name, reasons=verdict[1])


def _under(value: float | None, limit: float | None) -> bool:
    return value is not None and limit is not None and value < limit


def _over(value: float | None, limit: float | None) -> bool:
    return value is not None and limit is not None and value > limit


def _against_sound(scores: Scores, config: JudgeConfig) -> Iterator[str]:
    failed = {
        "low_speech_ratio": _under(scores.speech_ratio, config.min_speech_ratio),
        "low_dnsmos": _under(scores.dnsmos_ovrl, config.min_dnsmos_ovrl),
        "low_snr": _under(scores.snr_db, config.min_snr_db),
        "narrow_band": _under(scores.bandwidth_hz, config.min_bandwidth_hz),
        "clipped": _over(scores.clipping, config.max_clipping),
        "quiet": _under(scores.loudness_lufs, config.min_loudness_lufs),
    }
    return (reason for reason, fails in failed.items() if fails)


def _against_text(segment: Segment, config: JudgeConfig, language: str | None) -> Iterator[str]:
    transcript = segment.transcript
    if transcript is None or not words_of(transcript.text):
        yield "no_text"
    if transcript is None:
        return
    words = words_of(transcript.text)
    pace = chars_per_second(segment) if words else None
    unique = len(set(words)) / len(words) if len(words) >= 10 else None
    failed = {
        "language": _wrong_language(transcript, config, language),
        "low_logprob": _under(transcript.avg_logprob, config.min_avg_logprob),
        "no_speech": _over(transcript.no_speech_prob, config.max_no_speech_prob),
        "repetitive": _over(transcript.compression_ratio, config.max_compression_ratio),
        "too_slow": _under(pace, config.min_chars_per_second),
        "too_fast": _over(pace, config.max_chars_per_second),
        "ngram_loop": config.max_ngram_repeats is not None and longest_loop(words) >= config.max_ngram_repeats,
        "few_unique_words": _under(unique, config.min_unique_words),
        "hallucinated_phrase": any(_is_little_else(words, words_of(phrase)) for phrase in config.phrases),
    }
    yield from (reason for reason, fails in failed.items() if fails)


def _wrong_language(transcript: Transcript, config: JudgeConfig, language: str | None) -> bool:
    listed = language.lower().replace("_", "-").split("-")[0] if language else None
    differs = listed is not None and transcript.language.lower() != listed
    return differs or _under(transcript.language_probability, config.min_language_probability)


def _is_little_else(words: list[str], phrase: list[str]) -> bool:
    """Whether the phrase makes up at least half of the words."""
    size, starts = len(phrase), range(len(words) - len(phrase) + 1)
    times = sum(words[i : i + size] == phrase for i in starts)
    return bool(phrase) and times * size * 2 >= len(words) and times > 0
