"""Transcribe: the text of each accepted segment, its language, and how certain both are."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from voxbeam.models.threads import pin_threads
from voxbeam.schemas.config import TranscribeConfig
from voxbeam.schemas.segment import Segment, Transcript
from voxbeam.transforms.asr.base import AsrBackend, Waveform, has_numerals, is_suspect, pick_hypothesis, pick_spelled_out
from voxbeam.transforms.base import UnitStage, UnitState, once_per_process

if TYPE_CHECKING:
    from voxbeam.transforms.asr.language import LanguageModel

EXCERPTS = 3
"""number of a speaker's longest segments that the language is detected from"""


@once_per_process
def load_recognizer(config: TranscribeConfig, device: str) -> AsrBackend:
    """The ASR backend of the configuration, on 'cpu' or 'cuda'. Raises ModelError if it cannot be loaded."""
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
    people rarely change it within twenty minutes, and detection on every segment would add half to the cost.
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
        transcripts = recognize(backend, waveforms, language=listed and listed.lower().split("-")[0], config=self.config)
        if not backend.multilingual and self.config.language_model is not None:
            transcripts = self._with_languages(accepted, waveforms, transcripts, self.config.language_model)
        filled = {
            segment.start_ms: replace(segment, transcript=_offset_words(transcript, segment.start_ms))
            for segment, transcript in zip(accepted, transcripts, strict=True)
        }
        return replace(state, segments=tuple(filled.get(segment.start_ms, segment) for segment in state.segments))

    def _with_languages(
        self, segments: Sequence[Segment], waveforms: Sequence[Waveform], transcripts: Sequence[Transcript], model: str
    ) -> list[Transcript]:
        """The transcripts with the language that the language model detects for each speaker."""
        by_speaker: dict[str | None, list[int]] = {}
        for i, segment in enumerate(segments):
            by_speaker.setdefault(segment.speaker, []).append(i)
        result = list(transcripts)
        for indices in by_speaker.values():
            longest = sorted(indices, key=lambda i: -len(waveforms[i]))[:EXCERPTS]
            language, probability = load_language_model(model, self.device).detect([waveforms[i] for i in longest])
            for i in indices:
                result[i] = replace(result[i], language=language, language_probability=probability)
        return result


def _offset_words(transcript: Transcript, start_ms: int) -> Transcript:
    """The transcript with times of words from the start of the recording."""
    words = tuple(replace(w, start_ms=w.start_ms + start_ms, end_ms=w.end_ms + start_ms) for w in transcript.words)
    return replace(transcript, words=words)
