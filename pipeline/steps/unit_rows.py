"""Unit rows: a segment as a row of its unit's file, and back."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxbeam.schemas.formats import N_CODEBOOKS
from voxbeam.schemas.manifest import UnitRow
from voxbeam.schemas.sample_keys import sample_key
from voxbeam.schemas.segment import Scores, Segment, Transcript, Word
from voxbeam.schemas.unit import Unit
from voxbeam.transforms.filter import chars_per_second

_SCORES = (
    "dnsmos_ovrl", "dnsmos_sig", "dnsmos_bak", "dnsmos_windows", "snr_db", "bandwidth_hz", "clipping", "loudness_lufs",
    "dropouts", "background_tonality", "edge_jump", "spectral_pace", "codec_trace",
)  # fmt: skip
_TRANSCRIPT = (
    "text", "language", "language_probability", "avg_logprob", "no_speech_prob", "compression_ratio", "temperature",
    "used_fallback", "reference_wer", "second_wer", "second_repeats",
)  # fmt: skip


def make_row(unit: Unit, segment: Segment, flac: bytes | None = None) -> UnitRow:
    """A segment as a row of its unit's file."""
    t = segment.transcript
    recording = unit.recording.recording
    return UnitRow(
        key=sample_key(recording, segment.start_ms, segment.end_ms, unit.track),
        channel=unit.track,
        recording=recording,
        unit=unit.name,
        local_speaker=segment.speaker,
        start_ms=segment.start_ms,
        end_ms=segment.end_ms,
        duration_ms=segment.duration_ms,
        **_values(t, _TRANSCRIPT),
        chars_per_second=chars_per_second(t.text, segment.duration_ms) if t else None,
        speech_ratio=segment.speech_ratio,
        voice_distance=segment.voice_distance,
        second_voice=segment.second_voice,
        **_values(segment.scores, _SCORES),
        phones=segment.phones,
        phone_ids=list(segment.phone_ids),
        words=[asdict(word) for word in t.words] if t and t.words else None,
        frames=segment.codes.shape[1] if segment.codes is not None else 0,
        codes=segment.codes.tobytes() if segment.codes is not None else None,
        further_codes=[{"codec": name, "codes": codes.tobytes()} for name, codes in sorted(segment.further_codes.items())]
        or None,
        flac=flac,
        rejected_by=segment.rejected_by,
        reasons=list(segment.reasons),
    ).check()


def as_segment(row: UnitRow) -> Segment:
    """The segment that a row was made of, with its numbers in single precision: made a row again, it is the same."""
    words = tuple(Word(**word) for word in row.words or [])  # type: ignore[arg-type]
    return Segment(
        start_ms=row.start_ms,
        end_ms=row.end_ms,
        speaker=row.local_speaker,
        speech_ratio=row.speech_ratio,
        voice_distance=row.voice_distance,
        second_voice=row.second_voice,
        transcript=Transcript(**_values(row, _TRANSCRIPT), words=words) if row.text is not None else None,
        scores=Scores(speech_ratio=row.speech_ratio, **_values(row, _SCORES)) if row.clipping is not None else None,
        phones=row.phones,
        phone_ids=tuple(row.phone_ids),
        codes=_codes(row.codes, row) if row.codes is not None else None,
        further_codes={one["codec"]: _codes(one["codes"], row) for one in row.further_codes or ()},
        rejected_by=row.rejected_by,
        reasons=tuple(row.reasons),
    )


def _codes(content: bytes, row: UnitRow) -> NDArray[np.int16]:
    return np.frombuffer(content, np.int16).reshape(N_CODEBOOKS, row.frames)


def _values(of: Transcript | Scores | UnitRow | None, names: Sequence[str]) -> dict[str, Any]:
    """Fields by name; None each, of nothing."""
    return {name: None if of is None else getattr(of, name) for name in names}
