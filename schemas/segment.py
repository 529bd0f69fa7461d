"""Segment: a stretch of one voice inside a unit, from the first cut to the last token; and what it is made from.

All times are whole milliseconds from the start of the recording: 1 ms is 24 samples at 24 kHz and 16 at 16 kHz, so no edge is
ever rounded twice and the accounting law can hold exactly.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One voice speaking without a break, as the diarizer heard it. Turns of different voices may overlap."""

    start_ms: int
    end_ms: int
    voice: str
    """label within the unit: `v1`, `v2`, … by amount of speech"""


@dataclass(frozen=True, kw_only=True)
class Voice:
    """One voice of a unit, with what is needed to find it again in another window."""

    voice: str
    embedding: tuple[float, ...]
    """L2-normalised speaker embedding"""
    speech_ms: int
    """speech of this voice alone, without overlap"""


@dataclass(frozen=True, kw_only=True)
class Word:
    """One recognized word and when it was said."""

    text: str
    start_ms: int
    end_ms: int
    probability: float


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """What the recognizer heard in a segment, and how sure it was."""

    text: str
    language: str
    language_probability: float | None
    """None when neither the recognizer nor a language model tells"""
    avg_logprob: float
    """mean log-probability of the tokens"""
    no_speech_prob: float
    compression_ratio: float
    """characters per gzip'd byte; high for loops"""
    temperature: float
    """sampling temperature of the accepted decode; 0 is greedy"""
    redecoded: bool
    """whether the first decode was flagged and the segment decoded again alone"""
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Acoustic scores of a segment."""

    speech_ratio: float
    """share of the segment in which the diarizer hears its voice"""
    dnsmos_ovrl: float
    dnsmos_sig: float
    dnsmos_bak: float
    snr_db: float
    bandwidth_hz: float
    """highest frequency that carries energy"""
    clipping: float
    """share of samples at full scale"""
    loudness_lufs: float
    """ITU-R BS.1770 integrated loudness"""


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A stretch of one voice. Stages fill it in order; `reasons` stays empty as long as nobody rejects it."""

    start_ms: int
    end_ms: int
    voice: str | None
    """voice within the unit; None where it belongs to nobody alone (overlap)"""
    speech_ratio: float = 1.0
    """share of the segment in which the diarizer hears its voice"""
    transcript: Transcript | None = None
    scores: Scores | None = None
    phones: str | None = None
    """IPA phones separated by blanks, words by ` | `"""
    phone_ids: tuple[int, ...] = ()
    codes: NDArray[np.int16] | None = field(default=None, compare=False)
    """EnCodec codes [8, T] at 75 frames/s"""
    rejected_by: str | None = None
    """stage that rejected it"""
    reasons: tuple[str, ...] = ()
    """reason codes; empty means accepted so far"""

    @property
    def duration_ms(self) -> int:
        return self.end_ms - self.start_ms

    @property
    def accepted(self) -> bool:
        return not self.reasons
