"""Segment: a stretch of speech of one speaker, and what the stages add to it.

All times are whole milliseconds from the start of the recording. 1 ms is exactly 24 samples at 24 kHz and 16 at 16 kHz, so no
edge is ever rounded, and accepted, rejected and non-speech time add up exactly to the duration of the recording.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One speaker talking without a break, as found by the diarizer."""

    start_ms: int
    end_ms: int
    speaker: str
    """label of a `LocalSpeaker`"""


@dataclass(frozen=True, kw_only=True)
class LocalSpeaker:
    """A speaker within one unit. Speakers of different units are matched by their embeddings (transforms/link_speakers.py)."""

    label: str
    """`v1`, `v2`, … in order of amount of speech; valid within the unit only"""
    embedding: tuple[float, ...]
    """speaker embedding of length 1; zeros if there is too little speech for one"""
    speech_ms: int
    """time in which this speaker talks alone"""


@dataclass(frozen=True, kw_only=True)
class Word:
    """A word of a transcript with its time."""

    text: str
    start_ms: int
    end_ms: int
    probability: float


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """The recognized text of a segment, with measures of confidence."""

    text: str
    language: str
    """ISO 639-1"""
    language_probability: float | None
    """None if neither the recognizer nor a language model detects the language"""
    avg_logprob: float
    """mean log-probability of the tokens"""
    no_speech_prob: float
    compression_ratio: float
    """length of the text / length of its zlib-compressed bytes; high for repetitive text"""
    temperature: float
    """sampling temperature of the accepted hypothesis; 0 is greedy or beam search"""
    used_fallback: bool
    """whether the first hypothesis was suspect, so that the segment was decoded again alone"""
    words: tuple[Word, ...] = ()
    reference_wer: float | None = None
    """word error rate against the segment's stretch of the recording's listed text; None without one"""
    second_wer: float | None = None
    """word errors between this text and a second recognizer's / words of the longer one; None where it was not asked"""
    second_repeats: int | None = None
    """words said twice in a row, by the second recognizer minus by this text; None where it was not asked"""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Signal quality of a segment. Of one that was not cut well, only what a second voice does not change: the rest is None."""

    speech_ratio: float
    """fraction of the segment in which the diarizer finds its speaker"""
    dnsmos_ovrl: float | None = None
    dnsmos_sig: float | None = None
    dnsmos_bak: float | None = None
    """DNSMOS P.835 overall, speech and background quality, 1 to 5"""
    snr_db: float | None = None
    bandwidth_hz: float | None = None
    """highest frequency with speech energy"""
    clipping: float
    """fraction of samples at full scale"""
    loudness_lufs: float
    """integrated loudness, ITU-R BS.1770"""
    dropouts: float
    """fraction of the time in which sound is interrupted by a waveform that stands still, or is what was just heard once more"""
    background_tonality: float | None = None
    """how steady the lines in the spectrum of the pauses are; high for music and hum"""
    edge_jump: float | None = None
    """share of the range of levels that the sound jumps within 3 ms where it begins or ends; None where the range is small"""
    spectral_pace: float | None = None
    """how much of the spectrum's change in 120 ms happens within 20 ms; None without speech"""
    codec_trace: float | None = None
    """log-likelihood ratio that the sound passed through the embedded codec; None where it was not asked, or too short"""
    dnsmos_windows: int | None = None
    """windows that the DNSMOS scores are the mean of"""


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A stretch of one speaker. The stages fill it in order; a segment with `reasons` is rejected, and later stages skip
    it, except that `score` measures its damage."""

    start_ms: int
    end_ms: int
    speaker: str | None
    """label of a `LocalSpeaker`; None if there is no single one (overlap)"""
    speech_ratio: float = 1.0
    """fraction of the segment in which the diarizer finds its speaker"""
    voice_distance: float | None = None
    """largest cosine distance between a piece of the segment and its speaker's voice"""
    second_voice: float | None = None
    """highest probability that anyone but its speaker is heard"""
    transcript: Transcript | None = None
    scores: Scores | None = None
    phones: str | None = None
    """IPA phones separated by spaces, words by ` | `"""
    phone_ids: tuple[int, ...] = ()
    codes: NDArray[np.int16] | None = field(default=None, compare=False)
    """EnCodec codes [8, T] at 75 frames/s"""
    further_codes: Mapping[str, NDArray[np.int16]] = field(default_factory=dict, compare=False)
    """those of further codecs, by name, as many frames as `codes`"""
    rejected_by: str | None = None
    """name of the stage that rejected it"""
    reasons: tuple[str, ...] = ()
    """reason codes (schemas/reasons.py); empty for a segment that no stage has rejected"""

    @property
    def duration_ms(self) -> int:
        return self.end_ms - self.start_ms

    @property
    def accepted(self) -> bool:
        return not self.reasons
