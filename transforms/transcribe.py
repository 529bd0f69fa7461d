"""Transcribe: the text of each accepted segment, its language, and how certain both are.

What else there is says how certain: a second recognizer where the transcript is weak, and the text of the listing.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from voxbeam.models.threads import pin_threads
from voxbeam.models.words import long_text_words, spoken_words
from voxbeam.schemas.config import TranscribeConfig
from voxbeam.schemas.segment import Segment, Transcript
from voxbeam.transforms.asr.base import AsrBackend, Waveform, has_numerals, is_suspect, pick_hypothesis, pick_spelled_out
from voxbeam.transforms.asr.second import is_weak, with_second_opinion
from voxbeam.transforms.base import UnitStage, UnitState, once_per_process
from voxbeam.transforms.reference_text import HeardSegment, reference_word_error_rates

if TYPE_CHECKING:
    from voxbeam.models.moonshine import Moonshine
    from voxbeam.transforms.asr.language import LanguageModel

EXCERPTS = 3
"""number of a speaker's longest segments that the language is detected from"""


@once_per_process
def load_recognizer(config: TranscribeConfig, device: str) -> AsrBackend:
    """The ASR backend of the configuration, on 'cpu' or 'cuda'. Raises ModelError if it cannot be loaded."""
    return _open_backend(config, device)


@once_per_process
def load_second_recognizer(config: TranscribeConfig, device: str) -> AsrBackend:
    """The second recognizer, if it is a Whisper too; it is counted apart from the first. Raises ModelError likewise."""
    return _open_backend(config, device)


def _open_backend(config: TranscribeConfig, device: str) -> AsrBackend:
    pin_threads()
    if config.engine == "openai-whisper":
        from voxbeam.transforms.asr.openai_whisper import OpenAIWhisper

        return OpenAIWhisper(config, device)
    from voxbeam.transforms.asr.faster_whisper import FasterWhisper

    return FasterWhisper(config, device)


@once_per_process
def load_language_model(name: str, device: str) -> "LanguageModel":
    """The model for language detection. Raises ModelError if it cannot be loaded."""
    from voxbeam.transforms.asr.language import LanguageModel

    return LanguageModel(name, device)


@once_per_process
def load_moonshine() -> "Moonshine":
    """The second recognizer of another family. Raises ModelError if it cannot be loaded."""
    from voxbeam.models.moonshine import Moonshine

    return Moonshine()


def recognize(
    backend: AsrBackend, waveforms: Sequence[Waveform], *, language: str | None, config: TranscribeConfig
) -> list[Transcript]:
    """Transcripts of the waveforms of a unit, in their order; times of words are in ms from the start of each waveform.

    Suspect hypotheses are decoded again alone. Texts with numerals are decoded again with numerals forbidden.

    Args:
        backend: from `load_recognizer`.
        waveforms: audio [samples] at 16 kHz, of at most 30 s each.
        language: ISO 639-1 code of the text to write; None for the language that a multilingual model detects.
        config: limits for suspect hypotheses, and whether numbers are spelled out.
    """
    first = backend.transcribe(waveforms, language=language)
    picked = list(first)
    suspect = [i for i, hypothesis in enumerate(first) if is_suspect(hypothesis, config)]
    languages = [language or first[i].transcript.language for i in suspect]
    again = backend.decode_with_fallback([waveforms[i] for i in suspect], languages=languages)
    for i, second in zip(suspect, again, strict=True):
        picked[i] = pick_hypothesis(first[i], second, config)
    if config.suppress_numerals:
        numbers = [i for i, hypothesis in enumerate(picked) if has_numerals(hypothesis.transcript.text)]
        without = backend.transcribe([waveforms[i] for i in numbers], language=language, numerals=False)
        for i, spelled_out in zip(numbers, without, strict=True):
            picked[i] = pick_spelled_out(picked[i], spelled_out, config)
    return [
        replace(
            hypothesis.transcript,
            language=first[i].transcript.language,
            language_probability=first[i].transcript.language_probability,
            used_fallback=i in suspect,
        )
        for i, hypothesis in enumerate(picked)
    ]


class Transcribe(UnitStage):
    """Fills `transcript` of the accepted segments of a unit.

    If the ASR model is not multilingual, a separate model detects the language, once per speaker instead of once per segment:
    people rarely change it within twenty minutes, and detection on every segment would add half to the cost. Only where the
    transcript is weak, or the speaker's language uncertain, is a segment asked alone.
    """

    name = "transcribe"

    def __init__(self, config: TranscribeConfig, device: str) -> None:
        super().__init__()
        self.config, self.device = config, device

    def run(self, state: UnitState) -> UnitState:
        accepted = [segment for segment in state.segments if segment.accepted]
        if not accepted:
            return state
        audio = state.require_audio()
        waveforms = [audio.slice16k(segment.start_ms, segment.end_ms) for segment in accepted]
        backend = load_recognizer(self.config, self.device)
        listed = state.unit.recording.language
        language = listed and listed.lower().split("-")[0]
        transcripts = recognize(backend, waveforms, language=language, config=self.config)
        weak = [i for i, transcript in enumerate(transcripts) if is_weak(transcript, self.config)]
        asked = list(range(len(accepted))) if self.config.second_for == "all" else weak
        if asked and self.config.second is not None:
            self._add_second_opinions(asked, waveforms, transcripts, language)
        if not backend.multilingual and self.config.language_model is not None:
            self._detect_languages(accepted, waveforms, transcripts, weak, self.config.language_model)
        if state.unit.recording.text:
            _compare_with_text(state, accepted, transcripts, state.unit.recording.text)
        filled = {
            segment.start_ms: replace(segment, transcript=_offset_words(transcript, segment.start_ms))
            for segment, transcript in zip(accepted, transcripts, strict=True)
        }
        return replace(state, segments=tuple(filled.get(segment.start_ms, segment) for segment in state.segments))

    def _add_second_opinions(
        self, asked: list[int], waveforms: Sequence[Waveform], transcripts: list[Transcript], language: str | None
    ) -> None:
        """Has the second recognizer hear some segments, and changes their transcripts in the list."""
        for written in sorted({language or transcripts[i].language for i in asked}):
            rows = [i for i in asked if (language or transcripts[i].language) == written]
            for i, second in zip(rows, self._second_texts([waveforms[i] for i in rows], written), strict=False):
                transcripts[i] = with_second_opinion(transcripts[i], second, written)

    def _second_texts(self, waveforms: Sequence[Waveform], language: str) -> list[str]:
        """What the second recognizer writes; nothing at all in a language that it does not know."""
        if self.config.second == "moonshine":
            return [load_moonshine().transcribe(waveform) for waveform in waveforms] if language == "en" else []
        model = "embedded-base" if self.config.second == "embedded" else self.config.second
        plain = {"engine": "faster-whisper", "model": model, "second": None, "word_timestamps": False}
        backend = load_second_recognizer(self.config.model_copy(update=plain), self.device)
        return [hypothesis.transcript.text for hypothesis in backend.transcribe(waveforms, language=language)]

    def _detect_languages(
        self,
        segments: Sequence[Segment],
        waveforms: Sequence[Waveform],
        transcripts: list[Transcript],
        weak: list[int],
        model: str,
    ) -> None:
        """Puts the language of each speaker, or of the segment itself, into the transcripts of the list."""
        language_model = load_language_model(model, self.device)
        by_speaker: dict[str | None, list[int]] = {}
        for i, segment in enumerate(segments):
            by_speaker.setdefault(segment.speaker, []).append(i)
        for indices in by_speaker.values():
            longest = sorted(indices, key=lambda i: -len(waveforms[i]))[:EXCERPTS]
            language, probability = language_model.detect([waveforms[i] for i in longest])
            for i in indices:
                found, sure = language, probability
                if len(indices) > 1 and (i in weak or not language_model.is_confident(probability)):
                    alone, certainty = language_model.detect([waveforms[i]])
                    if alone == language:
                        sure = max(probability, certainty)
                    elif i in weak or certainty > 0.5:  # a short clip alone may sound like anything; its text says more
                        found, sure = alone, certainty
                transcripts[i] = replace(transcripts[i], language=found, language_probability=sure)


def _compare_with_text(state: UnitState, segments: Sequence[Segment], transcripts: list[Transcript], text: str) -> None:
    """Puts the word error rate against the recording's text into the transcripts of the list."""
    unit = state.unit
    language = unit.recording.language or ""
    reference = long_text_words(text, language)
    if not reference:
        return
    heard = [
        HeardSegment(words=spoken_words(transcript.text, language), start_ms=segment.start_ms, end_ms=segment.end_ms)
        for segment, transcript in zip(segments, transcripts, strict=True)
    ]
    rates = reference_word_error_rates(reference, heard, unit.source.duration_ms)
    transcripts[:] = [replace(t, reference_wer=rate) for t, rate in zip(transcripts, rates, strict=True)]


def _offset_words(transcript: Transcript, start_ms: int) -> Transcript:
    """The transcript with times of words from the start of the recording."""
    words = tuple(replace(w, start_ms=w.start_ms + start_ms, end_ms=w.end_ms + start_ms) for w in transcript.words)
    return replace(transcript, words=words)
