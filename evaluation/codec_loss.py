"""What the codec loses: the decoded codes of samples against the source that they were made of.

Word errors are counted between two transcripts of one recognizer, of the source and of the decoded sound: so they show what the
codec changes, and not what the recognizer mishears anyway. Shape: S samples at 24 kHz.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray

from voxbeam.corpus import Corpus
from voxbeam.evaluation.built import BuiltRecording, BuiltSegment
from voxbeam.models.speech_metrics import WhisperTranscriber, normalize_words, speaker_similarity
from voxbeam.models.words import word_errors
from voxbeam.schemas.formats import CODEC_RATE

Wave = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class CodecLoss:
    """One sample, decoded and compared with its source."""

    recording: str
    key: str
    words: int
    """that the recognizer writes for the source"""
    word_errors: int
    similarity: float
    """cosine of CAM++ embeddings of the decoded sound and of the source"""


def codec_loss(
    corpus: Corpus,
    chosen: Sequence[tuple[BuiltRecording, BuiltSegment]],
    transcriber: WhisperTranscriber,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[list[CodecLoss], list[str]]:
    """Of each sample what its codec loses, and the samples whose source cannot be read any more."""
    found, unread = list[CodecLoss](), list[str]()
    for number, (built, sample) in enumerate(chosen):
        if progress:
            progress("codec", number, len(chosen))
        source_S = read_source(built, sample)
        if source_S is None:
            unread.append(sample.key)
            continue
        decoded_S = corpus.audio(sample.key)
        before, after = (normalize_words(transcriber.transcribe(wave)) for wave in (source_S, decoded_S))
        found.append(
            CodecLoss(
                recording=built.recording,
                key=sample.key,
                words=len(before),
                word_errors=word_errors(before, after),
                similarity=speaker_similarity(source_S, decoded_S),
            )
        )
    return found, unread


def read_source(built: BuiltRecording, sample: BuiltSegment) -> Wave | None:
    """The stretch [S] of a recording that a sample was made of; None if its file is not here, or libsndfile does not read it."""
    path = Path(built.uri.removeprefix("file://"))
    if "://" in str(path) or not path.is_file():
        return None
    try:
        with sf.SoundFile(path) as file:
            file.seek(sample.start_ms * file.samplerate // 1000)
            frames = (sample.end_ms - sample.start_ms) * file.samplerate // 1000
            sound_SC, rate = file.read(frames, dtype="float32", always_2d=True), file.samplerate
    except sf.LibsndfileError:
        return None
    mono_S = sound_SC[:, built.channel] if built.channel is not None else sound_SC.mean(axis=1)
    return np.asarray(soxr.resample(mono_S, rate, CODEC_RATE), np.float32)
