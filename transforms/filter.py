"""Filter: the rules of the section `filter`, applied to a row of a unit: every one that it fails."""

import re
from collections.abc import Iterator

from voxbeam.schemas.filter_config import FilterConfig
from voxbeam.schemas.manifest import UnitRow

DAMAGE = ("clipped", "dropouts", "quiet")
"""what is measured of segments that were not cut well, too"""


def tokenize_words(text: str) -> list[str]:
    """Lower-case words of a text, without punctuation."""
    return re.findall(r"[^\W_]+(?:['’][^\W_]+)*", text.lower())


def chars_per_second(text: str | None, duration_ms: int) -> float:
    """Letters and digits of a transcript per second of its segment; 0 without text or duration."""
    return sum(map(str.isalnum, text)) / (duration_ms / 1000) if text and duration_ms > 0 else 0.0


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


def failed_rules(row: UnitRow, config: FilterConfig, *, language: str | None, by_hand: bool = False) -> Iterator[str]:
    """Codes of all rules that a segment fails.

    Args:
        row: a segment with scores; its text may be None.
        config: limits; a rule without a limit, or without the value that it compares, does not apply.
        language: of the recording as listed (ISO 639-1; a region such as in `en-GB` is ignored); None accepts any.
        by_hand: a person has written the text, so that the rules about recognizers do not apply; nobody speaks faster than the
            limit of letters per second, so such a text belongs to another segment.

    Raises:
        ValueError: the segment has no row.
    """
    if row.dnsmos_ovrl is None:
        raise ValueError(f"{row.key} has no scores; the stage `score` comes before the rules")
    yield from _audio_reasons(row, config)
    words = tokenize_words(row.text or "")
    if not words:
        yield "no_text"
    if row.text is not None and not by_hand:
        yield from _text_reasons(row, row.text, words, config, language)
    elif row.text is not None and _above(chars_per_second(row.text, row.duration_ms), config.max_chars_per_second):
        yield "too_fast"


def damages(row: UnitRow, config: FilterConfig) -> Iterator[str]:
    """Codes of the rules about damaged sound that a segment fails, whether or not it was cut well."""
    return (reason for reason in _audio_reasons(row, config) if reason in DAMAGE)


def _below(value: float | None, limit: float | None) -> bool:
    return value is not None and limit is not None and value < limit


def _above(value: float | None, limit: float | None) -> bool:
    return value is not None and limit is not None and value > limit


def _audio_reasons(row: UnitRow, config: FilterConfig) -> Iterator[str]:
    failed = {
        "low_speech_ratio": _below(row.speech_ratio, config.min_speech_ratio),
        "low_dnsmos": _below(row.dnsmos_ovrl, config.min_dnsmos_ovrl),
        "low_snr": _below(row.snr_db, config.min_snr_db),
        "narrow_band": _below(row.bandwidth_hz, config.min_bandwidth_hz),
        "clipped": _above(row.clipping, config.max_clipping),
        "dropouts": _above(row.dropouts, config.max_dropouts),
        "music": _above(row.background_tonality, config.max_background_tonality)
        and _below(row.dnsmos_bak, config.max_music_dnsmos_bak),
        "cut_word": _above(row.edge_jump, config.max_edge_jump),
        "codec_trace": _above(row.codec_trace, config.max_codec_trace),
        "quiet": _below(row.loudness_lufs, config.min_loudness_lufs),
    }
    return (reason for reason, fails in failed.items() if fails)


def _text_reasons(row: UnitRow, text: str, words: list[str], config: FilterConfig, language: str | None) -> Iterator[str]:
    speed = chars_per_second(text, row.duration_ms) if words else None
    unique = len(set(words)) / len(words) if len(words) >= 10 else None
    failed = {
        "language": _wrong_language(row, config, language),
        "low_logprob": _below(row.avg_logprob, config.min_avg_logprob),
        "no_speech": _above(row.no_speech_prob, config.max_no_speech_prob),
        "repetitive": _above(row.compression_ratio, config.max_compression_ratio),
        "too_slow": _below(speed, config.min_chars_per_second),
        "too_fast": _above(speed, config.max_chars_per_second),
        "sped_up": _above(row.spectral_pace, config.max_spectral_pace) and _above(speed, config.min_hurried_chars_per_second),
        "ngram_loop": config.max_ngram_repeats is not None and max_ngram_repeats(words) >= config.max_ngram_repeats,
        "few_unique_words": _below(unique, config.min_unique_words),
        "differs_from_text": _above(row.reference_wer, config.max_reference_wer),
        "recognizers_differ": _above(row.second_wer, config.max_second_wer),
        "repetition": row.second_repeats is not None and _above(abs(row.second_repeats), config.max_second_repeats),
        "hallucinated_phrase": any(_dominated_by(words, tokenize_words(phrase)) for phrase in config.hallucinated_phrases),
    }
    yield from (reason for reason, fails in failed.items() if fails)


def _wrong_language(row: UnitRow, config: FilterConfig, language: str | None) -> bool:
    listed = language.lower().replace("_", "-").split("-")[0] if language else None
    differs = listed is not None and row.language is not None and row.language.lower() != listed
    return differs or _below(row.language_probability, config.min_language_probability)


def _dominated_by(words: list[str], phrase: list[str]) -> bool:
    """Whether occurrences of the phrase make up at least half of the words."""
    size, starts = len(phrase), range(len(words) - len(phrase) + 1)
    times = sum(words[i : i + size] == phrase for i in starts)
    return bool(phrase) and times * size * 2 >= len(words) and times > 0
