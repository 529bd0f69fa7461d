"""The voice that ships speaks: the same codes for the same seed, and words that Whisper understands."""

import numpy as np
import pytest
import torch

from voxbeam.assets import PROMPT, PROMPT_TEXT
from voxbeam.models.batch import TokenizedUtterance, collate
from voxbeam.models.speech_metrics import TimedWord, WhisperTranscriber, normalize_words
from voxbeam.models.transformer import TransformerConfig
from voxbeam.models.valle import ARModel, ModelConfig, NARModel
from voxbeam.models.words import word_errors
from voxbeam.schemas.formats import CODEC_RATE
from voxbeam.synthesis.adaptation import adapt_ar, adapt_nar, adapted
from voxbeam.synthesis.candidates import best_of
from voxbeam.synthesis.generate import generate
from voxbeam.synthesis.synthesizer import Synthesizer
from voxbeam.synthesis.text import phone_ids
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
def test_adapted_to_its_prompt_it_knows_the_prompt_better_and_another_voice_as_before(voice: Synthesizer) -> None:
    ids = np.array(phone_ids([PROMPT_TEXT], voice.phonemizer, voice.phone_set), np.int64)
    batch = collate([TokenizedUtterance("prompt", ids, voice.prompt_KP)])
    half = batch.frame_lengths_B // 2

    @torch.no_grad()
    def losses(speaker: Synthesizer) -> tuple[float, float]:
        return float(speaker.ar(batch).loss), float(speaker.nar(batch, torch.tensor([1]), half).loss)

    before = losses(voice)
    tuned = adapted(voice)
    assert all(after < 0.7 * loss for after, loss in zip(losses(tuned), before, strict=True))
    assert losses(voice) == losses(tuned.in_voice_of(tuned.prompt)) == before


def test_adapting_is_the_same_for_the_same_prompt_and_draws_nothing() -> None:
    config = ModelConfig(n_phones=5, codebook_size=8, transformer=TransformerConfig(d_model=16, n_layers=1, n_heads=2, d_ff=16))
    codes_KP = np.arange(8 * 40, dtype=np.int16).reshape(8, 40) % 8
    for model, adapt in ((ARModel(config), adapt_ar), (NARModel(config), adapt_nar)):
        state = torch.get_rng_state()
        one, again = (list(adapt(model, np.array([1, 2, 3]), codes_KP).parameters()) for _ in range(2))
        assert torch.equal(torch.get_rng_state(), state)
        for a, b, base in zip(one, again, model.parameters(), strict=True):
            assert torch.equal(a, b) and not a.requires_grad and base.requires_grad
        assert any(not torch.equal(a, base) for a, base in zip(one, model.parameters(), strict=True))


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
