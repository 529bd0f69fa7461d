"""Editing: the right words are found, the rest is the recording itself, and the command works with real models."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given
from hypothesis import strategies as st

from voxbeam.commands.exit_status import UNUSABLE
from voxbeam.commands.main import main
from voxbeam.models.phones import load_phone_set
from voxbeam.models.speech_metrics import TimedWord, WhisperTranscriber
from voxbeam.schemas.formats import CODEC_RATE
from voxbeam.synthesis.edit import edit, find_span, splice
from voxbeam.synthesis.synthesizer import Prompt, Synthesizer
from voxbeam.trainer.training import Trainer

from tests.trainer.factories import CONFIG, fake_steps

TEXT = ("The", "cat,", "the", "dog", "and", "the", "Cat", "sat")
SAID = [TimedWord(word, 0.5 * i + 0.1, 0.5 * i + 0.4) for i, word in enumerate(TEXT)]


def test_a_phrase_is_found_and_cut_between_its_neighbours() -> None:
    span = find_span(SAID, "Dog And", 320, 75)
    assert (span.before, span.after) == ("The cat, the", "the Cat sat")
    assert (span.start, span.end) == (round(1.5 * 75), round(2.5 * 75))
    assert (find_span(SAID, "the cat, the", 320, 75).start, find_span(SAID, "cat sat", 320, 75).end) == (0, 320)


@pytest.mark.parametrize(
    ("phrase", "word"), [("the cat", "more than once"), ("bird", "is not in"), ("", "is not in"), ("sat on", "is not in")]
)
def test_a_phrase_that_is_not_there_once_is_an_error(phrase: str, word: str) -> None:
    with pytest.raises(ValueError, match=rf"{word}.*transcript 'The cat,"):
        find_span(SAID, phrase, 320, 75)


@given(st.integers(0, 900), st.integers(0, 900), st.integers(0, 2000), st.integers(0, 100))
def test_outside_of_the_span_the_recording_is_kept(start: int, length: int, made: int, beyond: int) -> None:
    rng = np.random.default_rng(0)
    recorded_S, made_S = rng.normal(size=1000).astype(np.float32), rng.normal(size=made).astype(np.float32)
    end = min(start + length, 1000 + beyond)
    spliced_S = splice(recorded_S, made_S, start, end)
    assert len(spliced_S) == start + made + max(0, 1000 - end)
    assert np.array_equal(spliced_S[:start], recorded_S[:start])
    assert np.array_equal(spliced_S[start + made :], recorded_S[end:])


def test_at_the_edges_the_recording_goes_over_into_what_was_made() -> None:
    spliced_S = splice(np.ones(10_000, np.float32), np.zeros(5_000, np.float32), 2_000, 6_000)
    assert np.abs(np.diff(spliced_S)).max() < 0.01 and spliced_S[4_000] == 0


@pytest.mark.slow
def test_words_of_a_recording_are_replaced(speech: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """An untrained model says nothing sensible, but the rest is kept, and removing words needs no model."""
    run, audio = tmp_path / "run", tmp_path / "audio.wav"
    phones = load_phone_set("en-us").phones
    Trainer(replace(CONFIG, codebook_size=1024, steps=1, warmup_steps=1), phones, fake_steps, None, str(run)).train()
    sf.write(audio, speech[7 * 16_000 : 13 * 16_000], 16_000)
    recorded_S = Prompt.read(audio, seconds=30).wave_S
    words = WhisperTranscriber().transcribe_words(recorded_S)
    assert len(words) > 3
    phrase = " ".join(word.text for word in words[1:3])
    synthesizer = Synthesizer(str(run), Prompt(recorded_S))
    span = find_span(words, phrase, synthesizer.prompt_KP.shape[1], 75)
    start, end = span.start * 320, span.end * 320

    out = edit(synthesizer, phrase, "").wave_S
    np.testing.assert_array_equal(out, np.concatenate([recorded_S[:start], recorded_S[end:]]))
    other = edit(synthesizer, phrase, "seven green bottles", candidates=2)
    assert np.array_equal(other.wave_S[:start], recorded_S[:start])
    assert np.array_equal(other.wave_S[-(len(recorded_S) - end) :], recorded_S[end:])

    command = ["edit", str(run), "--audio", str(audio), "--out", str(tmp_path / "out.wav"), "--by", "hello there"]
    assert main([*command, "--replace", phrase]) == 0
    assert "out.wav" in capsys.readouterr().out and sf.info(tmp_path / "out.wav").samplerate == CODEC_RATE
    assert main([*command, "--replace", "xylophone"]) == UNUSABLE
    assert "is not in the transcript" in capsys.readouterr().err
