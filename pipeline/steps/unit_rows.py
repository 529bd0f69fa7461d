"""Unit rows: a segment as a row of its unit's file, and back."""

from dataclasses import asdict

import numpy as np

from voxbeam.schemas.formats import N_CODEBOOKS
from voxbeam.schemas.manifest import UnitRow, sample_key
from voxbeam.schemas.segment import Scores, Segment, Transcript, Word
from voxbeam.schemas.unit import Unit
from voxbeam.transforms.filter import chars_per_second

_SCORES = (
    "speech_ratio", "dnsmos_ovrl", "dnsmos_sig", "dnsmos_bak", "dnsmos_windows", "snr_db", "bandwidth_hz", "clipping",
    "loudness_lufs", "dropouts", "background_tonality",
)  # fmt: skip
_TRANSCRIPT = (
    "text", "language", "language_probability", "avg_logprob", "no_speech_prob", "compression_ratio", "temperature",
    "used_fallback", "reference_wer", "second_wer", "second_repeats",
)  # fmt: skip


def make_row(unit: Unit, segment: Segment, flac: bytes | None = None) -> UnitRow:
    """A segment as a row of its unit's file."""
    t, s = segment.transcript, segment.scores
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
        text=t.text if t else None,
        language=t.language if t else None,
        language_probability=t.language_probability if t else None,
        avg_logprob=t.avg_logprob if t else None,
        no_speech_prob=t.no_speech_prob if t else None,
        compression_ratio=t.compression_ratio if t else None,
        temperature=t.temperature if t else None,
        used_fallback=t.used_fallback if t else None,
        chars_per_second=chars_per_second(t.text, segment.duration_ms) if t else None,
        reference_wer=t.reference_wer if t else None,
        second_wer=t.second_wer if t else None,
        second_repeats=t.second_repeats if t else None,
        speech_ratio=segment.speech_ratio,
        voice_distance=segment.voice_distance,
        second_voice=segment.second_voice,
        dnsmos_ovrl=s.dnsmos_ovrl if s else None,
        dnsmos_sig=s.dnsmos_sig if s else None,
        dnsmos_bak=s.dnsmos_bak if s else None,
        dnsmos_windows=s.dnsmos_windows if s else None,
        snr_db=s.snr_db if s else None,
        bandwidth_hz=s.bandwidth_hz if s else None,
        clipping=s.clipping if s else None,
        loudness_lufs=s.loudness_lufs if s else None,
        dropouts=s.dropouts if s else None,
        background_tonality=s.background_tonality if s else None,
        phones=segment.phones,
        phone_ids=list(segment.phone_ids),
        words=[asdict(word) for word in t.words] if t and t.words else None,
        frames=segment.codes.shape[1] if segment.codes is not None else 0,
        codes=segment.codes.tobytes() if segment.codes is not None else None,
        flac=flac,
        rejected_by=segment.rejected_by,
        reasons=list(segment.reasons),
    ).check()


def as_segment(row: UnitRow) -> Segment:
    """The segment that a row was made of, with its numbers in single precision: made a row again, it is the same."""
    words = tuple(Word(**word) for word in row.words or [])  # type: ignore[arg-type]
    codes = np.frombuffer(row.codes, np.int16).reshape(N_CODEBOOKS, row.frames) if row.codes is not None else None
    return Segment(
        start_ms=row.start_ms,
        end_ms=row.end_ms,
        speaker=row.local_speaker,
        speech_ratio=row.speech_ratio,
        voice_distance=row.voice_distance,
        second_voice=row.second_voice,
        transcript=Transcript(**{name: getattr(row, name) for name in _TRANSCRIPT}, words=words)
        if row.text is not None
        else None,
        scores=Scores(**{name: getattr(row, name) for name in _SCORES}) if row.dnsmos_ovrl is not None else None,
        phones=row.phones,
        phone_ids=tuple(row.phone_ids),
        codes=codes,
        rejected_by=row.rejected_by,
        reasons=tuple(row.reasons),
    )
