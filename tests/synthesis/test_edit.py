"""Editing: the right words are found, the rest is the recording itself, and the command works with real models."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr

from voxbeam.assets import PROMPT, PROMPT_TEXT
from voxbeam.commands.exit_status import DONE, UNUSABLE, WRONG
from voxbeam.commands.main import main
from voxbeam.models.phones import load_phone_set
from voxbeam.models.speech_metrics import TimedWord, WhisperTranscriber, normalize_words
from voxbeam.schemas.formats import CODEC_RATE
from voxbeam.synthesis.edit import edit, find_span, heard_between
from voxbeam.synthesis.prompt import Prompt
from voxbeam.synthesis.recording import Recording
from voxbeam.synthesis.synthesizer import Synthesizer
from voxbeam.trainer.training import Trainer

from tests.safety.ledgers import allow_prompts
from tests.trainer.factories import CONFIG, fake_steps

TEXT = ("The", "cat,", "the", "dog", "and", "the", "Cat", "sat")
SAID = [TimedWord(word, 0.5 * i + 0.1, 0.5 * i + 0.4) for i, word in enumerate(TEXT)]


def test_a_phrase_is_found_and_cut_between_its_neighbors() -> None:
    span = find_span(SAID, "Dog And", 4.2)
    assert (span.before, span.after) == ("The cat, the", "the Cat sat")
    assert (span.from_s, span.start_s, span.end_s, span.to_s) == (0, 1.5, 2.5, 4.2)
    assert (find_span(SAID, "the cat, the", 4.2).start_s, find_span(SAID, "cat sat", 4.2).end_s) == (0, 4.2)


def test_the_context_is_whole_words_of_some_seconds() -> None:
    """Of a recording of any length: two seconds are four words here."""
    said = [TimedWord(f"w{i}", 0.5 * i + 0.1, 0.5 * i + 0.4) for i in range(1000)]
    span = find_span(said, "w500 w501", 500.0, 2.0)
    assert span.before == "w496 w497 w498 w499" and span.after == "w502 w503 w504 w505"
    assert (span.from_s, span.start_s, span.end_s, span.to_s) == pytest.approx((248, 250, 251, 253))
    assert find_span(said, "w0", 500.0, 2.0).before == "" and find_span(said, "w999", 500.0, 2.0).after == ""


@pytest.mark.parametrize(
    ("phrase", "word"), [("the cat", "more than once"), ("bird", "is not in"), ("", "is not in"), ("sat on", "is not in")]
)
def test_a_phrase_that_is_not_there_once_is_an_error(phrase: str, word: str) -> None:
    with pytest.raises(ValueError, match=rf"{word}.*transcript 'The cat,"):
        find_span(SAID, phrase, 4.2)


@pytest.mark.parametrize(
    ("new", "heard", "between"),
    [
        ("Friday", "See you on Friday at noon.", "friday"),
        ("Friday", "See you on Monday at noon.", "monday"),
        ("Friday", "See you on at noon.", ""),
        ("Friday the 2nd", "See you on Friday the second at noon", "friday the second"),
        ("Friday the 2nd", "Sea you won Friday at new.", "friday"),
        ("Friday", "See you on a Friday at noon.", "friday"),
        ("Friday", "", ""),
    ],
)
def test_what_is_heard_of_the_new_words(new: str, heard: str, between: str) -> None:
    assert heard_between("See you on", new, "at noon.", heard) == between
    assert heard_between("", new, "", between) == between


@pytest.mark.slow
def test_new_words_that_are_not_heard_are_told() -> None:
    """A voice that says other words than it is told to; those of the recording around them are right all the same."""
    recording, phrase = Recording.read(PROMPT), "concluded"
    voice = Synthesizer.load(prompt=PROMPT, prompt_text=PROMPT_TEXT)
    told = voice.request_with_context
    voice.request_with_context = lambda context, codes_KP, text: told(context, codes_KP, "opened the window")  # type: ignore
    edited = edit(voice, recording, phrase, "seven green bottles")
    assert edited.candidate.finished and edited.candidate.problem.startswith("Whisper hears")
    assert edit(voice, recording, phrase, "").candidate.problem == ""


@pytest.mark.slow
def test_words_of_a_long_recording_are_replaced(speech: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Stereo at 44.1 kHz, longer than the recognizer's window. An untrained model says nothing sensible, but the rest is kept bit
    for bit, removing words needs no model, and a take that does not end is told."""
    run, audio = tmp_path / "run", tmp_path / "audio.wav"
    phones = load_phone_set("en-us").phones
    Trainer(replace(CONFIG, codebook_size=1024, steps=1, warmup_steps=1), phones, fake_steps, None, str(run)).train()
    wave = soxr.resample(np.concatenate([speech[7 * 16_000 : 27 * 16_000], speech[7 * 16_000 : 25 * 16_000]]), 16_000, 44_100)
    sf.write(audio, np.stack([wave, 0.5 * wave], axis=1), 44_100, subtype="PCM_16")
    recorded, _ = sf.read(audio, dtype="int16")
    recording = Recording.read(audio)
    words = WhisperTranscriber().transcribe_words(recording.wave_S)
    texts = [normalize_words(word.text) for word in words]
    late = next(i for i in range(len(words) - 2, 0, -1) if texts.count(texts[i]) == 1)
    phrase = words[late].text
    span = find_span(words, phrase, len(recording.wave_S) / CODEC_RATE)
    start, end = round(span.start_s * 44_100), round(span.end_s * 44_100)
    synthesizer = Synthesizer(str(run), Prompt(recording.wave_S))
    allow_prompts([recording.wave_S])

    out = edit(synthesizer, recording, phrase, "").recording.samples_SC
    np.testing.assert_array_equal(out, np.concatenate([recorded[:start], recorded[end:]]))
    other = edit(synthesizer, recording, phrase, "seven green bottles", candidates=2)
    made = other.recording.samples_SC
    assert np.array_equal(made[:start], recorded[:start]) and np.array_equal(
        made[len(made) - len(recorded) + end :], recorded[end:]
    )

    command = ["edit", str(run), "--audio", str(audio), "--out", str(tmp_path / "out.wav"), "--by", "hello there"]
    status = main([*command, "--replace", phrase])
    printed, told = sf.info(tmp_path / "out.wav"), capsys.readouterr()
    assert (printed.samplerate, printed.channels, printed.subtype) == (44_100, 2, "PCM_16") and "out.wav" in told.out
    assert status == (WRONG if "not as asked: 'hello there': the model" in told.err else DONE)
    assert main([*command, "--replace", "xylophone"]) == UNUSABLE
    assert "is not in the transcript" in capsys.readouterr().err
