"""Filter: rejects segments that are not good enough for training, with every rule that they fail."""

import re
from collections.abc import Iterator
from dataclasses import replace

from apache_beam.metrics import Metrics

from voxbeam.schemas.filter_config import FilterConfig
from voxbeam.schemas.reasons import REASONS
from voxbeam.schemas.segment import Scores, Segment, Transcript
from voxbeam.transforms.base import UnitStage, UnitState


def tokenize_words(text: str) -> list[str]:
    """Lower-case words of a text, without punctuation."""
    return re.findall(r"[^\W_]+(?:['’][^\W_]+)*", text.lower())


def chars_per_second(segment: Segment) -> float:
    """Letters and digits of the transcript per second of the segment; 0 without text or duration."""
    if segment.transcript is None or segment.duration_ms <= 0:
        return 0.0
    return sum(map(str.isalnum, segment.transcript.text)) / (segment.duration_ms / 1000)


def max_ngram_repeats(words: list[str]) -> float:
    """How many times the same three words occur in a row, at most; 0 for no words.

    A loop of one or two words counts by the words that it fills: "no no no no no no" repeats three words twice.
    """
    longest = min(len(words), 3)
    for period in (1, 2, 3):
        run = period
        for i in range(period, len(words)):
            run = run + 1 if words[i] == words[i - period] else period
            longest = max(longest, run)
    return longest / 3


def rejection_reasons(segment: Segment, config: FilterConfig, *, language: str | None) -> tuple[str, ...]:
    """Codes of all rules that a segment fails, in the order of REASONS; an empty tuple for a segment to accept.

    Args:
        segment: must have scores; its transcript may be None.
        config: limits; a rule without a limit, or without the value that it compares, does not apply.
        language: of the recording as listed (ISO 639-1; a region such as in `en-GB` is ignored); None accepts any.

    Raises:
        ValueError: the segment has no scores.
    """
    if segment.scores is None:
        raise ValueError("the segment has no scores; run the stage `score` before `filter`")
    found = {*_audio_reasons(segment.scores, config), *_text_reasons(segment, config, language)}
    return tuple(reason for reason in REASONS if reason in found)


class Filter(UnitStage):
    """Rejects the segments of a unit that fail a rule. Counts accepted segments and reasons."""

    name = "filter"

    def __init__(self, config: FilterConfig) -> None:
        super().__init__()
        self.config = config

    def run(self, work: UnitState) -> UnitState:
        return replace(work, segments=tuple(self._apply_filter(s, work.unit.recording.language) for s in work.segments))

    def _apply_filter(self, segment: Segment, language: str | None) -> Segment:
        if not segment.accepted:
            return segment
        reasons = rejection_reasons(segment, self.config, language=language)
        if not reasons:
            Metrics.counter(self.name, "accepted").inc()
            return segment
        for reason in reasons:
            Metrics.counter(self.name, f"rejected_{reason}").inc()
        return replace(segment, rejected_by=self.name, reasons=reasons)


def _below(value: float | None, limit: float | None) -> bool:
    return value is not None and limit is not None and value < limit


def _above(value: float | None, limit: float | None) -> bool:
    return value is not None and limit is not None and value > limit


def _audio_reasons(scores: Scores, config: FilterConfig) -> Iterator[str]:
    failed = {
        "low_speech_ratio": _below(scores.speech_ratio, config.min_speech_ratio),
        "low_dnsmos": _below(scores.dnsmos_ovrl, config.min_dnsmos_ovrl),
        "low_snr": _below(scores.snr_db, config.min_snr_db),
        "narrow_band": _below(scores.bandwidth_hz, config.min_bandwidth_hz),
        "clipped": _above(scores.clipping, config.max_clipping),
        "dropouts": _above(scores.dropouts, config.max_dropouts),
        "music": _above(scores.background_tonality, config.max_background_tonality)
        and _below(scores.dnsmos_bak, config.max_music_dnsmos_bak),
        "quiet": _below(scores.loudness_lufs, config.min_loudness_lufs),
    }
    return (reason for reason, fails in failed.items() if fails)


def _text_reasons(segment: Segment, config: FilterConfig, language: str | None) -> Iterator[str]:
    transcript = segment.transcript
    if transcript is None or not tokenize_words(transcript.text):
        yield "no_text"
    if transcript is None:
        return
    words = tokenize_words(transcript.text)
    pace = chars_per_second(segment) if words else None
    unique = len(set(words)) / len(words) if len(words) >= 10 else None
    failed = {
        "language": _wrong_language(transcript, config, language),
        "low_logprob": _below(transcript.avg_logprob, config.min_avg_logprob),
        "no_speech": _above(transcript.no_speech_prob, config.max_no_speech_prob),
        "repetitive": _above(transcript.compression_ratio, config.max_compression_ratio),
        "too_slow": _below(pace, config.min_chars_per_second),
        "too_fast": _above(pace, config.max_chars_per_second),
        "ngram_loop": config.max_ngram_repeats is not None and max_ngram_repeats(words) >= config.max_ngram_repeats,
        "few_unique_words": _below(unique, config.min_unique_words),
        "differs_from_text": _above(transcript.reference_wer, config.max_reference_wer),
        "recognizers_differ": _above(transcript.second_wer, config.max_second_wer),
        "repetition": transcript.second_repeats is not None and _above(abs(transcript.second_repeats), config.max_second_repeats),
        "hallucinated_phrase": any(_dominated_by(words, tokenize_words(phrase)) for phrase in config.hallucinated_phrases),
    }
    yield from (reason for reason, fails in failed.items() if fails)


def _wrong_language(transcript: Transcript, config: FilterConfig, language: str | None) -> bool:
    listed = language.lower().replace("_", "-").split("-")[0] if language else None
    differs = listed is not None and transcript.language.lower() != listed
    return differs or _below(transcript.language_probability, config.min_language_probability)


def _dominated_by(words: list[str], phrase: list[str]) -> bool:
    """Whether occurrences of the phrase make up at least half of the words."""
    size, starts = len(phrase), range(len(words) - len(phrase) + 1)
    times = sum(words[i : i + size] == phrase for i in starts)
    return bool(phrase) and times * size * 2 >= len(words) and times > 0
