"""The voice that ships speaks: the same codes for the same seed, and words that Whisper understands."""

import numpy as np
import pytest

from voxbeam.assets import PROMPT, PROMPT_TEXT
from voxbeam.models.speech_metrics import TimedWord, WhisperTranscriber, normalize_words
from voxbeam.models.words import word_errors
from voxbeam.schemas.formats import CODEC_RATE
from voxbeam.synthesis.candidates import best_of
from voxbeam.synthesis.generate import generate
from voxbeam.synthesis.synthesizer import Synthesizer
from voxbeam.synthesis.whole_words import whole_words

HELD_OUT = (
    "The boy was there when the sun rose.",
    "He opened the window to let in some fresh air.",
    "They climbed the mountain before breakfast.",
)
"""sentences that were kept out of what the voice learned from"""


@pytest.fixture(scope="module")
def voice() -> Synthesizer:
    return Synthesizer.load(prompt=PROMPT, prompt_text=PROMPT_TEXT)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_codes(voice: Synthesizer) -> None:
    one, again, other = (
        generate(voice.ar, voice.nar, [voice.request("Good morning.")], voice.sampling, seed=n)[0] for n in (1, 1, 2)
    )
    assert one.finished and np.array_equal(one.codes_KT, again.codes_KT)
    assert not np.array_equal(one.codes_KT, other.codes_KT)
    assert 0.4 < one.codes_KT.shape[1] / 75 < 4


@pytest.mark.slow
def test_held_out_sentences_are_understood(voice: Synthesizer) -> None:
    """By Whisper base, which did not choose the takes; noise or another text has 100 % or more."""
    judge, errors, words = WhisperTranscriber("embedded-base"), 0, 0
    for text in HELD_OUT:
        best = best_of(voice.synthesize([text] * 3))
        assert best.finished
        expected = normalize_words(text)
        errors, words = errors + word_errors(expected, normalize_words(judge.transcribe(best.wave_S))), words + len(expected)
    assert errors / words < 0.3


def test_a_prompt_ends_between_two_words_where_it_is_quiet() -> None:
    """Whisper's times are 0.1 s early here: the word "two" lasts from 1.1 s to 2 s, and "three" begins at 2.6 s."""
    t = np.arange(3 * CODEC_RATE) / CODEC_RATE
    spoken = ((t > 0.1) & (t < 1)) | ((t > 1.1) & (t < 2)) | (t > 2.6)
    wave_S = (np.sin(1000 * t) * spoken).astype(np.float32)
    words = [TimedWord("one", 0.1, 0.9), TimedWord("two", 1.0, 1.9), TimedWord("thr", 2.5, 2.9)]
    cut_S, text = whole_words(wave_S, words)
    assert text == "one two"
    assert 2.0 < len(cut_S) / CODEC_RATE < 2.6
    cut_S, text = whole_words(wave_S, [*words[:2], TimedWord("three", 2.1, 2.7)])
    assert text == "one two three" and len(cut_S) == len(wave_S)
    assert len(whole_words(wave_S, words[1:])[0]) == len(wave_S)  # two words are too few to lose one
    assert whole_words(wave_S, [])[1] == ""


def test_a_prompt_ends_a_word_earlier_if_only_there_it_is_quiet() -> None:
    t = np.arange(3 * CODEC_RATE) / CODEC_RATE
    wave_S = (np.sin(1000 * t) * ~((t > 2.3) & (t < 2.4))).astype(np.float32)
    words = [TimedWord(text, start, start + 0.35) for text, start in (("a", 0.1), ("b", 1.9), ("c", 2.4), ("d", 2.7))]
    cut_S, text = whole_words(wave_S, [*words[:3], TimedWord("d", 2.75, 2.98)])
    assert text == "a b" and 2.3 < len(cut_S) / CODEC_RATE < 2.4
