"""Transcribe: what each accepted segment says, in which language, and how sure the recognizer is."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from voxbeam.models.threads import pin_threads
from voxbeam.schemas.config import TranscribeConfig
from voxbeam.schemas.segment import Segment, Transcript
from voxbeam.transforms.asr.base import Recognizer, Waveform, better, flagged, has_numerals, spelled
from voxbeam.transforms.base import UnitStage, UnitWork, once_per_process

if TYPE_CHECKING:
    from voxbeam.transforms.asr.faster_whisper import LanguageModel

EXCERPTS = 3
"""longest segments of a voice that tell its language"""


@once_per_process
def load_recognizer(config: TranscribeConfig, device: str) -> Recognizer:
    """The recognizer that the configuration names, on 'cpu' or 'cuda'. Raises ModelError if it cannot load."""
    pin_threads()
    if config.engine == "openai-whisper":
        from voxbeam.transforms.asr.openai_whisper import OpenAIWhisper

        return OpenAIWhisper(config, device)
    from voxbeam.transforms.asr.faster_whisper import FasterWhisper

    return FasterWhisper(config, device)


@once_per_process
def load_language_model(name: str, device: str) -> "LanguageModel":
    """The model that tells languages where the recognizer knows only one. Raises ModelError if not."""
    from voxbeam.transforms.asr.faster_whisper import LanguageModel

    return LanguageModel(name, device)


def recognize(
    recognizer: Recognizer, waveforms: Sequence[Waveform], *, language: str | None, config: TranscribeConfig
) -> list[Transcript]:
    """Transcripts of a unit's waveforms [samples] at 16 kHz, in the order given.

    Flagged ones are decoded again alone, and those with numerals again without. `language` (ISO 639-1) is the one to
    write in; None lets a multilingual recognizer choose. Words are in milliseconds from the start of each waveform.
    """
    first = recognizer.transcribe(waveforms, language=language)
    kept = list(first)
    doubtful = [i for i, decode in enumerate(first) if flagged(decode, config)]
    written = [language or first[i].transcript.language for i in doubtful]
    again = recognizer.redecode([waveforms[i] for i in doubtful], languages=written)
    for i, second in zip(doubtful, again, strict=True):
        kept[i] = better(first[i], second, config)
    if config.suppress_numerals:
        numbers = [i for i, decode in enumerate(kept) if has_numerals(decode.transcript.text)]
        without = recognizer.transcribe([waveforms[i] for i in numbers], language=language, numerals=False)
        for i, spelled_out in zip(numbers, without, strict=True):
            kept[i] = spelled(kept[i], spelled_out, config)
    return [
        replace(
            decode.transcript,
            language=first[i].transcript.language,
            language_probability=first[i].transcript.language_probability,
            redecoded=i in doubtful,
        )
        for i, decode in enumerate(kept)
    ]


class Transcribe(UnitStage):
    """Fills `transcript` of the accepted segments of a unit; rejected ones stay as they are.

    Where the recognizer cannot tell the language, the language model does, once for each voice and not for each
    segment: people seldom change it within twenty minutes, and hearing every segment would add half to the cost.
    """

    name = "transcribe"

    def __init__(self, config: TranscribeConfig, device: str) -> None:
        super().__init__()
        self.config, self.device = config, device

    def run(self, work: UnitWork) -> UnitWork:
        accepted = [segment for segment in work.segments if segment.accepted]
        if not accepted:
            return work
        waveforms = [work.sound.slice16k(segment.start_ms, segment.end_ms) for segment in accepted]
        recognizer = load_recognizer(self.config, self.device)
        listed = work.unit.recording.language
        transcripts = recognize(recognizer, waveforms, language=listed and listed.lower().split("-")[0], config=self.config)
        if not recognizer.multilingual and self.config.language_model is not None:
            transcripts = self._with_languages(accepted, waveforms, transcripts, self.config.language_model)
        filled = {
            segment.start_ms: replace(segment, transcript=_moved(transcript, segment.start_ms))
            for segment, transcript in zip(accepted, transcripts, strict=True)
        }
        return replace(work, segments=tuple(filled.get(segment.start_ms, segment) for segment in work.segments))

    def _with_languages(
        self, segments: Sequence[Segment], waveforms: Sequence[Waveform], transcripts: Sequence[Transcript], model: str
    ) -> list[Transcript]:
        """The transcripts with the language that the language model hears in each voice."""
        voices: dict[str | None, list[int]] = {}
        for i, segment in enumerate(segments):
            voices.setdefault(segment.voice, []).append(i)
        told = list(transcripts)
        for members in voices.values():
            longest = sorted(members, key=lambda i: -len(waveforms[i]))[:EXCERPTS]
            language, probability = load_language_model(model, self.device).language([waveforms[i] for i in longest])
            for i in members:
                told[i] = replace(told[i], language=language, language_probability=probability)
        return told


def _moved(transcript: Transcript, start_ms: int) -> Transcript:
    """The transcript with its words in milliseconds from the start of the recording."""
    words = tuple(replace(w, start_ms=w.start_ms + start_ms, end_ms=w.end_ms + start_ms) for w in transcript.words)
    return replace(transcript, words=words)
