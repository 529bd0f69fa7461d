"""Leaks of a benchmark: whether the sentences, the recordings or the voices of a test set are in a corpus.

The text of a test utterance is compared with those of all samples; where it is found, the sounds are compared too, so that
the same sentence by another reader is not taken for the recording. Voices are compared by speaker embeddings. Shapes: S
samples, E values.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from voxbeam.corpus import Corpus
from voxbeam.evaluation.near_duplicates import Pair, compare_sounds, similar_texts
from voxbeam.models.speech_metrics import WhisperTranscriber, embed_speaker
from voxbeam.models.words import spoken_words
from voxbeam.schemas.errors import TruthError
from voxbeam.schemas.formats import ASR_RATE, CODEC_RATE
from voxbeam.schemas.identity import VoiceRow
from voxbeam.storage.releases import table_batches
from voxbeam.trainer.codec.data import AudioUtterance, find_utterances, read_at

SAME_VOICE = 0.54
"""cosine from which two voices are one person, as calibrated on LibriSpeech: one person has 0.75 ± 0.11, two −0.08 ± 0.15"""
VOICE_S = 30
"""of a test speaker, the speech that is listened to"""
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class VoiceLeak:
    """A speaker of the test set who may be in the corpus."""

    speaker: str
    voice: str
    """of the corpus, the nearest"""
    similarity: float


@dataclass
class Leaks:
    """What of a test set is in a release."""

    output: str
    release: int
    utterances: int
    speakers: int
    texts: list[Pair] = field(default_factory=list)
    """test utterance, sample; those with the same sound are leaks of the recording itself"""
    voices: list[VoiceLeak] = field(default_factory=list)

    @property
    def sounds(self) -> list[Pair]:
        return [pair for pair in self.texts if pair.same_sound]

    def document(self) -> dict[str, Any]:
        return {
            "output": self.output,
            "release": self.release,
            "utterances": self.utterances,
            "speakers": self.speakers,
            "texts": [vars(pair) | {"same_sound": pair.same_sound} for pair in self.texts],
            "voices": [vars(voice) for voice in self.voices],
        }


def find_leaks(
    corpus: Corpus,
    test_sets: Sequence[str],
    *,
    recognizer: str = "embedded",
    same_voice: float = SAME_VOICE,
    progress: Progress | None = None,
) -> Leaks:
    """Looks for test sets in a release.

    Args:
        corpus: a release.
        test_sets: folders of speech, or listings with `uri`, `speaker` and `text`; a text that is missing is transcribed.
        recognizer: Whisper model for that.
        same_voice: cosine of two embeddings from which they are one person.
        progress: called with a step's name, the items done, and the items in all.

    Raises TruthError for a test set without speech.
    """
    utterances: dict[str, AudioUtterance] = {}
    for place in test_sets:
        try:
            utterances |= {f"{place}:{one.name}": one for one in find_utterances(place)}
        except (ValueError, OSError) as error:
            raise TruthError(str(error), remedy="name a folder of .flac or .wav files, or a listing") from error
    speakers = defaultdict[str, list[AudioUtterance]](list)
    for one in utterances.values():
        speakers[one.speaker].append(one)
    result = Leaks(corpus.uri, corpus.release.number, len(utterances), len(speakers))
    transcriber, texts = WhisperTranscriber(recognizer), dict[str, tuple[str, ...]]()
    for number, (name, one) in enumerate(utterances.items()):
        if progress:
            progress("texts", number, len(utterances))
        text = one.text if one.text is not None else transcriber.transcribe(read_at(one, CODEC_RATE))
        texts[name] = spoken_words(text, "en")
    pairs = similar_texts(texts, sample_words(corpus))
    result.texts = list(
        compare_sounds(pairs, lambda name: read_at(utterances[name], ASR_RATE), lambda key: sound_of(corpus, key))
    )
    result.voices = _voices(corpus, speakers, same_voice, progress)
    return result


def sample_words(corpus: Corpus) -> dict[str, tuple[str, ...]]:
    """Key → words of every sample."""
    found: dict[str, tuple[str, ...]] = {}
    for batch in corpus.samples(columns=["key", "text", "language"]):
        for row in batch.to_pylist():
            found[row["key"]] = spoken_words(row["text"], row["language"] or "en")
    return found


def longest_recordings_first(corpus: Corpus) -> list[str]:
    """The keys of all samples: those of the recording with the most accepted speech first, each recording's in order."""
    rows = [row for batch in corpus.samples(columns=["key", "recording", "duration_ms"]) for row in batch.to_pylist()]
    ms = defaultdict[str, int](int)
    for row in rows:
        ms[row["recording"]] += row["duration_ms"]
    return [row["key"] for row in sorted(rows, key=lambda row: (-ms[row["recording"]], row["recording"], row["key"]))]


def sound_of(corpus: Corpus, key: str) -> NDArray[np.float32]:
    """The sound [S] of a sample at 16 kHz, decoded from its codes."""
    return np.asarray(soxr.resample(corpus.audio(key), CODEC_RATE, ASR_RATE), np.float32)


def _voices(
    corpus: Corpus, speakers: dict[str, list[AudioUtterance]], same_voice: float, progress: Progress | None
) -> list[VoiceLeak]:
    names, embeddings = list[str](), list[NDArray[np.float32]]()
    for batch in table_batches(corpus.store, corpus.release, VoiceRow, ["voice", "embedding"]):
        for row in batch.to_pylist():
            if row["embedding"]:
                names.append(row["voice"])
                embeddings.append(np.frombuffer(row["embedding"], np.float16).astype(np.float32))
    if not names:
        return []
    mean_E = _mean_voice()
    voices_NE = np.stack([_centered(embedding, mean_E) for embedding in embeddings])
    leaks: list[VoiceLeak] = []
    for number, (speaker, ones) in enumerate(sorted(speakers.items())):
        if progress:
            progress("voices", number, len(speakers))
        wave_S = np.zeros(0, np.float32)
        for one in ones:
            if len(wave_S) < VOICE_S * CODEC_RATE:
                wave_S = np.concatenate([wave_S, read_at(one, CODEC_RATE)])
        similar_N = voices_NE @ _centered(embed_speaker(wave_S[: VOICE_S * CODEC_RATE]), mean_E)
        nearest = int(similar_N.argmax())
        if similar_N[nearest] >= same_voice:
            leaks.append(VoiceLeak(speaker=speaker, voice=names[nearest], similarity=float(similar_N[nearest])))
    return sorted(leaks, key=lambda leak: -leak.similarity)


def _mean_voice() -> NDArray[np.float32]:
    """The mean [E] of many speakers' embeddings, which all of CAM++'s have in common."""
    return np.array(json.loads((files("voxbeam.assets") / "identity" / "campplus.json").read_text())["center"], np.float32)


def _centered(embedding_E: NDArray[np.float32], mean_E: NDArray[np.float32]) -> NDArray[np.float32]:
    moved_E = embedding_E - mean_E
    return np.asarray(moved_E / max(1e-9, float(np.linalg.norm(moved_E))), np.float32)
