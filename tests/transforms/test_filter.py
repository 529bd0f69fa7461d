"""Filter: every failing rule is listed, in a stable order; REASONS explains each."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxbeam.schemas.filter_config import FilterConfig
from voxbeam.schemas.reasons import REASONS
from voxbeam.schemas.segment import Scores, Segment, Transcript
from voxbeam.transforms.filter import chars_per_second, max_ngram_repeats

from tests.pipeline.factories import rejection_reasons

CONFIG = FilterConfig()
GOOD = Segment(
    start_ms=0,
    end_ms=4000,
    speaker="v1",
    transcript=Transcript(
        text="The quick brown fox jumps over the lazy dog, and then it sleeps.", language="en", language_probability=0.9,
        avg_logprob=-0.3, no_speech_prob=0.01, compression_ratio=1.2, temperature=0.0, used_fallback=False,
    ),
    scores=Scores(
        speech_ratio=0.9, dnsmos_ovrl=3.2, dnsmos_sig=3.5, dnsmos_bak=4.0, snr_db=30.0, bandwidth_hz=8000.0, clipping=0.0,
        loudness_lufs=-23.0,
        dropouts=0.0,
        background_tonality=0.05,
    ),
)  # fmt: skip

BAD_SCORES = {
    "low_speech_ratio": {"speech_ratio": 0.1},
    "low_dnsmos": {"dnsmos_ovrl": 1.0},
    "low_snr": {"snr_db": -5.0},
    "narrow_band": {"bandwidth_hz": 1000.0},
    "clipped": {"clipping": 0.1},
    "dropouts": {"dropouts": 0.1},
    "music": {"background_tonality": 0.6, "dnsmos_bak": 2.0},
    "cut_word": {"edge_jump": 0.95},
    "codec_trace": {"codec_trace": 2.5},
    "quiet": {"loudness_lufs": -70.0},
}
BAD_TRANSCRIPT = {
    "language": {"language": "de"},
    "low_logprob": {"avg_logprob": -2.0},
    "no_speech": {"no_speech_prob": 0.9},
    "repetitive": {"compression_ratio": 3.0},
    "differs_from_text": {"reference_wer": 0.9},
    "recognizers_differ": {"second_wer": 0.8},
    "repetition": {"second_repeats": -1},
}
BAD_TEXT = {
    ("no_text",): " ... ",
    ("too_slow",): "Yes indeed.",
    ("too_fast",): "Extraordinary misunderstandings accompany " * 3
    + "several incomprehensible interpretations every day, surely.",
    ("ngram_loop", "few_unique_words"): "I see you " * 5,
    ("hallucinated_phrase",): "Thanks for watching, everybody!",
    (): GOOD.transcript.text,
}


def with_faults(reasons, text=GOOD.transcript.text):
    scores, transcript = GOOD.scores, replace(GOOD.transcript, text=text)
    for reason in reasons:
        scores = replace(scores, **BAD_SCORES.get(reason, {}))
        transcript = replace(transcript, **BAD_TRANSCRIPT.get(reason, {}))
    return replace(GOOD, speech_ratio=scores.speech_ratio, scores=scores, transcript=transcript)


def test_a_good_segment_is_accepted():
    assert rejection_reasons(GOOD, CONFIG, language="en-GB") == ()
    assert rejection_reasons(GOOD, CONFIG, language=None) == ()


@given(st.sets(st.sampled_from([*BAD_SCORES, *BAD_TRANSCRIPT])), st.sampled_from(list(BAD_TEXT.items())))
def test_every_failing_rule_is_listed_in_order(faults, text):
    expected = tuple(reason for reason in REASONS if reason in {*faults, *text[0]})
    assert rejection_reasons(with_faults(faults, text[1]), CONFIG, language="en") == expected


def test_a_fast_spectrum_counts_only_with_many_letters():
    hurried = replace(GOOD, scores=replace(GOOD.scores, spectral_pace=0.5))
    assert rejection_reasons(hurried, CONFIG, language="en") == ()
    many = replace(hurried.transcript, text=hurried.transcript.text + " Nobody woke it up again.")
    assert rejection_reasons(replace(hurried, transcript=many), CONFIG, language="en") == ("sped_up",)


def test_null_turns_a_rule_off():
    off = FilterConfig(
        **{name: None for name in FilterConfig.model_fields if name != "hallucinated_phrases"}, hallucinated_phrases=()
    )
    spoiled = with_faults([*BAD_SCORES, "low_logprob", "no_speech", "repetitive"], "I see you " * 5)
    assert rejection_reasons(spoiled, off, language="en") == ()


def test_an_uncertain_language_counts_and_an_unknown_one_does_not():
    uncertain = replace(GOOD, transcript=replace(GOOD.transcript, language_probability=0.2))
    unknown = replace(GOOD, transcript=replace(GOOD.transcript, language_probability=None))
    assert rejection_reasons(uncertain, CONFIG, language="en") == ("language",)
    assert rejection_reasons(unknown, CONFIG, language="en") == ()


def test_a_phrase_inside_real_speech_is_no_hallucination():
    text = "He held the copyright of every poem that she had written."
    assert rejection_reasons(replace(GOOD, transcript=replace(GOOD.transcript, text=text)), CONFIG, language="en") == ()


def test_a_segment_without_transcript_has_no_text_and_one_without_scores_is_an_error():
    assert rejection_reasons(replace(GOOD, transcript=None), CONFIG, language="en") == ("no_text",)
    with pytest.raises(ValueError, match="score"):
        rejection_reasons(replace(GOOD, scores=None), CONFIG, language="en")


@pytest.mark.parametrize(
    ("text", "loops"), [("", 0), ("no " * 12, 4), ("a b " * 6, 4), ("a b c " * 4, 4), ("a b c d e f g h", 1)]
)
def test_loops_of_one_two_and_three_words_are_counted(text, loops):
    assert max_ngram_repeats(text.split()) == loops


def test_pace_counts_letters_only():
    assert chars_per_second("ab, cd!", 4000) == 1.0
    assert chars_per_second(None, 4000) == 0.0
